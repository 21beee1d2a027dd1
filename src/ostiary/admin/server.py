"""The admin API of one worker: from a request to a page, and to what all workers say for it."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Final, TypeVar, final

from ostiary.admin.catalogue import find, help_text
from ostiary.admin.origin import refusal
from ostiary.admin.page import HTML, Page, Part, Reply, Request
from ostiary.app.administration import Peers
from ostiary.app.lifecycle import Doorkeeper
from ostiary.app.slices import in_slices
from ostiary.net.log import log
from ostiary.net.small_server import SmallAnswer, SmallRequest, SmallServer, is_loopback

T = TypeVar("T")
_LOG: Final = log("admin")
_ASK: Final = "/admin"
_FORM: Final = "application/x-www-form-urlencoded"
_UNFRAMED: Final = (("x-frame-options", "DENY"), ("content-security-policy", "frame-ancestors 'none'"))
"""A page of another site must not show a button of ours under its own."""
_COMMON: Final = (("cache-control", "no-cache, max-age=0"), ("x-content-type-options", "nosniff"))


@final
class AdminServer:
    """Serves the catalogue's pages. `Doorkeeper`'s `admin` factory."""

    def __init__(self, worker: Doorkeeper) -> None:
        self._worker = worker
        self._peers: Peers = worker.peers
        self._server: SmallServer | None = None
        self._loopback = False
        self._threads = ThreadPoolExecutor(1, "admin")
        """Not the loop's own, where lookups wait for a name server: then this is needed most."""

    async def listen(self, sockets: list[socket.socket]) -> list[str]:
        """Listen there and nowhere else; returns the addresses. What is asked elsewhere is still answered. Raises
        OSError."""
        self._peers.handle(_ASK, self._asked)
        server = SmallServer(sockets, self._serve)
        addresses = await server.start()
        self._loopback = all(is_loopback(sock) for sock in sockets)
        before, self._server = self._server, server
        if before is not None:
            before.leave()
        return addresses

    async def stop(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.stop()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _serve(self, small: SmallRequest) -> SmallAnswer:
        form = small.body.decode("latin-1") if small.get("content-type").startswith(_FORM) else ""
        request = Request(small.method, small.target, small.get("accept"), form)
        page = find(request.path)
        refused = refusal(
            host=small.get("host"),
            origin=small.get("origin"),
            fetch_site=small.get("sec-fetch-site"),
            mutates=page is not None and page.mutates,
            loopback=self._loopback,
        )
        reply = Reply(f"{refused}\n", 403) if refused is not None else await self.answer(request)
        body = reply.body.encode() if isinstance(reply.body, str) else reply.body
        framing = _UNFRAMED if reply.content_type == HTML else ()
        headers = (("content-type", reply.content_type), *_COMMON, *framing, *reply.headers)
        return SmallAnswer(reply.status, headers, body, self._worker.end if reply.ends_process else None)

    async def answer(self, request: Request) -> Reply:
        """What all workers say."""
        _LOG.debug("request complete: path: %s", request.target)
        page = find(request.path)
        if page is None:
            return Reply(f"invalid path. {help_text()}", 404)
        if page.mutates and request.method != "POST":
            _LOG.error('admin path "%s" mutates state, method=%s rather than POST', page.path, request.method)
            return Reply(f"Method {request.method} not allowed, POST required.", 405)
        parts: list[Part] = [await self._part(page, request)]
        if self._peers.count == 0 or page.alike:
            return await self._made(page, parts, [], request)
        question = json.dumps([request.method, request.target, request.accept, request.form]).encode()
        answers = await self._peers.ask(_ASK, question, page.patience)
        reply = await self._made(page, parts, answers, request)
        heard = ("x-ostiary-workers", f"{1 + len(answers)}/{self._peers.count + 1}")
        return replace(reply, headers=(*reply.headers, heard))

    async def _made(self, page: Page, parts: list[Part], answers: list[bytes], request: Request) -> Reply:
        def make() -> Reply:
            return page.render([*parts, *map(json.loads, answers)], request)

        return await self._in_thread(make) if page.large else make()

    async def _part(self, page: Page, request: Request) -> Part:
        part = page.collect(self._worker, request)
        return await in_slices(part) if isinstance(part, Generator) else part

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def _asked(self, _path: str, question: bytes, _descriptors: list[int]) -> bytes:
        """This worker's part for another worker's request."""
        request = Request(*json.loads(question))
        page = find(request.path)
        part = await self._part(page, request) if page is not None else None

        def written() -> bytes:
            return json.dumps(part).encode()

        return await self._in_thread(written) if page is not None and page.large else written()
