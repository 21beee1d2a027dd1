"""A small HTTP/1.1 server for few requests of few clients: the admin API. Every size and time is bounded.

It is not the doorkeeper's own (net/http1.py): answers are made whole, bodies are read whole, and one coroutine serves a
connection.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from email.utils import formatdate
from ipaddress import ip_address
from typing import Final, final

from ostiary.core.chunked import ChunkedReader
from ostiary.core.header_lines import BadMessage
from ostiary.core.http1 import HeadReader, RequestHead, parse_request_line
from ostiary.model import limits
from ostiary.net.log import log
from ostiary.net.status import status_line

_LOG: Final = log("admin")


@final
@dataclass(frozen=True, slots=True)
class SmallRequest:
    """One request."""

    method: str
    target: str
    head: RequestHead
    body: bytes

    def get(self, name: str) -> str:
        """The first value of the field `name` (lower case), or nothing."""
        return self.head.as_headers().get(name) or ""


@final
@dataclass(frozen=True, slots=True)
class SmallAnswer:
    """What is answered. What frames it is added."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    afterwards: Callable[[], None] | None = None
    """Called once it has been sent, or can't be."""


Handle = Callable[[SmallRequest], Awaitable[SmallAnswer]]


@final
class SmallServer:
    """Serves `handle` at bound sockets."""

    def __init__(self, sockets: list[socket.socket], handle: Handle) -> None:
        self._sockets = sockets
        self._handle = handle
        self._servers: list[asyncio.Server] = []
        self._running: set[asyncio.Task[None]] = set()
        self._idle: dict[asyncio.Task[None], None] = {}
        """Those that wait for a request; who has waited longest makes room for a newcomer."""
        self._leaving = False

    async def start(self) -> list[str]:
        """Accept; the addresses."""
        for sock in self._sockets:
            start = asyncio.start_unix_server if sock.family == socket.AF_UNIX else asyncio.start_server
            self._servers.append(await start(self._accept, sock=sock, limit=limits.MAX_ADMIN_HEAD_BYTES))
        return [_name(sock.getsockname()) for sock in self._sockets]

    def stop(self) -> None:
        """Accept no more, and cut what runs."""
        self.leave()
        for task in self._running:
            task.cancel()

    def leave(self) -> None:
        """Accept no more; requests that run are answered."""
        self._leaving = True
        for server in self._servers:
            server.close()
        self._servers.clear()
        for sock in self._sockets:
            sock.close()
        for task in list(self._idle):
            task.cancel()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._running) >= limits.MAX_ADMIN_CONNECTIONS:
            if not self._idle:
                writer.close()
                return
            longest = next(iter(self._idle))
            del self._idle[longest]  # a second newcomer takes the place of another one
            longest.cancel()
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        try:
            while await self._exchange(task, reader, writer):
                pass
        except (TimeoutError, EOFError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._running.discard(task)
            self._idle.pop(task, None)
            writer.close()

    async def _exchange(
        self, task: asyncio.Task[None], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """One request; whether another may follow."""
        self._idle[task] = None
        try:
            async with asyncio.timeout(limits.ADMIN_REQUEST_TIMEOUT):
                request, goes_on = await _read(reader, writer)
        except BadMessage as error:
            headers = (("content-type", "text/plain; charset=UTF-8"),)
            answer, goes_on, head_only = SmallAnswer(error.status, headers, f"{error.details}\n".encode()), False, False
        else:
            self._idle.pop(task, None)
            answer, head_only = await self._answer(request), request.method == "HEAD"
            goes_on = goes_on and not self._leaving
        lines = "".join(f"{name}: {value}\r\n" for name, value in answer.headers)
        lines += f"date: {formatdate(usegmt=True)}\r\nserver: ostiary\r\n"
        lines += f"content-length: {len(answer.body)}\r\n" if answer.status != 204 else ""
        lines += "" if goes_on else "connection: close\r\n"
        writer.write(
            status_line(answer.status) + lines.encode("latin-1") + b"\r\n" + (b"" if head_only else answer.body)
        )
        try:
            async with asyncio.timeout(limits.ADMIN_WRITE_TIMEOUT):
                await writer.drain()
        finally:  # also when nobody waits for the answer
            if answer.afterwards is not None:
                answer.afterwards()
        return goes_on

    async def _answer(self, request: SmallRequest) -> SmallAnswer:
        try:
            return await self._handle(request)
        except Exception:  # noqa: BLE001 - a defect of ours must not look like a network's
            _LOG.exception("%s %s could not be answered", request.method, request.target)
            return SmallAnswer(500, (("content-type", "text/plain"),), b"this failed, the log says why\n")


async def _read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[SmallRequest, bool]:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError:
        raise BadMessage("headers_too_large", 431) from None
    line, _, block = head[:-2].partition(b"\r\n")
    method, target, old = parse_request_line(line)
    fields = HeadReader().read(block)
    if fields.has_body and fields.expect_continue:
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    body = await _body(reader, fields)
    return SmallRequest(method.decode(), target.decode(), fields, body), not (fields.close or fields.chunked or old)


async def _body(reader: asyncio.StreamReader, fields: RequestHead) -> bytes:
    if (length := fields.content_length or 0) > limits.MAX_ADMIN_BODY_BYTES:
        raise BadMessage("payload_too_large", 413)
    if not fields.chunked:
        return await reader.readexactly(length)
    chunks, body = ChunkedReader(), b""
    while not chunks.done:
        if not (data := await reader.read(4096)):
            raise EOFError
        body += chunks.feed(data)
        if len(body) > limits.MAX_ADMIN_BODY_BYTES:
            raise BadMessage("payload_too_large", 413)
    return body


def _name(address: tuple[str, int] | str) -> str:
    if isinstance(address, str):
        return address
    return f"[{address[0]}]:{address[1]}" if ":" in address[0] else f"{address[0]}:{address[1]}"


def is_loopback(sock: socket.socket) -> bool:
    """Whether only programs of this machine can connect to it."""
    return sock.family == socket.AF_UNIX or ip_address(sock.getsockname()[0]).is_loopback
