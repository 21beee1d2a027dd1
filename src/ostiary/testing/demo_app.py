"""The demo's application: it shows what reached it, in HTML for people and in JSON for programs.

    /, /anything   the request as it arrived      /status/N   an answer with that status
    /headers       its headers                    /bytes/N    N bytes
    /stream        server-sent events, ticking    /ws         a WebSocket that answers with what it gets
    /upload        a body of any size, counted and hashed

HTTP/1.1 by hand on asyncio streams: it needs no framework, and a proxy deserves an upstream that does exactly what is
asked, framing included. It trusts the identity headers it gets, as an application behind a doorkeeper does.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from ostiary.testing import demo_pages, websocket

MAX_HEAD_BYTES: Final = 256 * 1024
MAX_SHOWN_BODY_BYTES: Final = 64 * 1024
MAX_BYTES: Final = 1024 * 1024 * 1024
TICK: Final = 1.0
"""Seconds between two server-sent events."""
_CHUNK: Final = b"0123456789abcdef" * 4096
_PIECE: Final = 64 * 1024


class _Malformed(Exception):
    """A request that can't be read; the connection ends."""


@dataclass(slots=True)
class Received:
    """A request as it arrived."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    peer: str
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    body_read: bool = False
    keep_alive: bool = True

    @property
    def path(self) -> str:
        """The path without the query."""
        return urlsplit(self.target).path or "/"

    def header(self, name: str) -> str:
        """All values of a header, joined; empty if there is none."""
        return ", ".join(value for key, value in self.headers if key.lower() == name)

    def wants_html(self) -> bool:
        """True if a person looks at it."""
        return "text/html" in self.header("accept")

    async def body(self) -> AsyncIterator[bytes]:
        """The body in pieces, by its length or chunked. Raises _Malformed."""
        self.body_read = True
        if self.header("expect").lower() == "100-continue":
            self.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if "chunked" in self.header("transfer-encoding").lower():
            while size := await self._chunk_size():
                async for piece in self._exactly(size):
                    yield piece
                await self.reader.readexactly(2)
            while (await self.reader.readline()).strip():
                pass
        else:
            async for piece in self._exactly(self._content_length()):
                yield piece

    def _content_length(self) -> int:
        text = self.header("content-length") or "0"
        if not (text.isascii() and text.isdigit()):
            raise _Malformed
        return int(text)

    async def _chunk_size(self) -> int:
        line = (await self.reader.readline()).split(b";")[0].strip()
        if not line or line.strip(b"0123456789abcdefABCDEF"):
            raise _Malformed
        return int(line, 16)

    async def _exactly(self, size: int) -> AsyncIterator[bytes]:
        while size > 0:
            piece = await self.reader.read(min(size, _PIECE))
            if not piece:
                raise _Malformed
            size -= len(piece)
            yield piece


_Handler = Callable[[Received], Awaitable[None]]


class DemoApp:
    """The application, on a port of its own. `async with DemoApp() as app: app.url`."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self._host, self._port = host, port
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen. Raises OSError if the port is taken."""
        self._server = await asyncio.start_server(self._connected, self._host, self._port, limit=MAX_HEAD_BYTES)
        self._port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and end every connection."""
        if self._server is not None:
            self._server.close()
            for task in list(self._connections):
                task.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)

    async def __aenter__(self) -> DemoApp:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def port(self) -> int:
        """The port it listens on, once started."""
        return self._port

    @property
    def url(self) -> str:
        """Its address, once started."""
        return f"http://{self._host}:{self._port}"

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            while await _serve_one(reader, writer):
                pass
        except (_Malformed, OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the client left or spoke something else (a line beyond the limit is a ValueError)
        except asyncio.CancelledError:
            pass  # stop(): asyncio.streams would log a cancelled handler as an error
        finally:
            self._connections.discard(task)
            writer.close()


async def _serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Answer one request; True if the connection can carry another."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return False
    request = _parse(head, reader, writer)
    handler = next((h for prefix, h in _ROUTES if _under(prefix, request.path)), _show)
    await handler(request)
    if not request.body_read:
        async for _ in request.body():
            pass
    await writer.drain()
    return request.keep_alive


def _parse(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Received:
    first, *lines = head.decode("latin-1").split("\r\n")[:-2]
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise _Malformed
    fields = [line.partition(":") for line in lines]
    peer = writer.get_extra_info("peername") or ("",)
    headers = [(name, value.strip()) for name, _, value in fields]
    request = Received(words[0], words[1], headers, str(peer[0]), reader, writer)
    request.keep_alive = request.header("connection").lower() != "close"
    return request


def _under(prefix: str, path: str) -> bool:
    return path == prefix or path.startswith(prefix + "/")


async def _answer(
    request: Received, body: bytes, content_type: str, status: int = 200, headers: tuple[tuple[str, str], ...] = ()
) -> None:
    """A whole answer. Caches must not keep it: it is about one user."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Unknown"
    bodiless = status in (204, 304)
    fields = [("content-type", content_type), ("cache-control", "no-store"), *headers]
    if not bodiless:
        fields.append(("content-length", str(len(body))))
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
    request.writer.write(f"HTTP/1.1 {status} {phrase}\r\n{lines}\r\n".encode("latin-1"))
    if request.method != "HEAD" and not bodiless:
        request.writer.write(body)
    await request.writer.drain()


async def _answer_json(request: Received, document: Any, status: int = 200) -> None:
    await _answer(request, json.dumps(document, indent=2).encode() + b"\n", "application/json", status)


async def _answer_page(request: Received, page: str) -> None:
    await _answer(request, page.encode(), "text/html; charset=utf-8")


async def _show(request: Received) -> None:
    """The request itself: a page for a person, JSON for everyone else. An unknown path of a program is a 404."""
    if request.path != "/" and not _under("/anything", request.path):
        await _answer_json(request, {"error": "not found", "path": request.path}, 404)
    elif request.wants_html():
        await _answer_page(request, demo_pages.received(request.method, request.target, request.headers, request.peer))
    else:
        await _anything(request)


async def _anything(request: Received) -> None:
    shown, digest, size = b"", hashlib.sha256(), 0
    async for piece in request.body():
        shown += piece[: MAX_SHOWN_BODY_BYTES - len(shown)]
        digest.update(piece)
        size += len(piece)
    await _answer_json(
        request,
        {
            "method": request.method,
            "target": request.target,
            "path": request.path,
            "args": parse_qsl(urlsplit(request.target).query, keep_blank_values=True),
            "headers": request.headers,
            "peer": request.peer,
            "body": {"size": size, "sha256": digest.hexdigest(), "text": shown.decode("utf-8", "replace")},
        },
    )


async def _headers(request: Received) -> None:
    await _answer_json(request, {"headers": request.headers})


async def _status(request: Received) -> None:
    number = request.path.rpartition("/")[2]
    status = int(number) if number.isascii() and number.isdigit() and 200 <= int(number[:4]) <= 599 else 400
    await _answer_json(request, {"status": status}, status)


async def _bytes(request: Received) -> None:
    number = request.path.rpartition("/")[2]
    size = min(int(number), MAX_BYTES) if number.isascii() and number.isdigit() and len(number) < 12 else 0
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ncontent-length: {size}\r\n\r\n"
    request.writer.write(head.encode())
    while size > 0 and request.method != "HEAD":
        request.writer.write(_CHUNK[:size])
        size -= len(_CHUNK)
        await request.writer.drain()


async def _stream(request: Received) -> None:
    """Server-sent events until the client leaves; the page that draws them for a person."""
    if request.wants_html():
        await _answer_page(request, demo_pages.STREAM)
        return
    head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-store\r\n"
    request.writer.write((head + "transfer-encoding: chunked\r\n\r\n").encode())
    number = 0
    while not request.reader.at_eof():
        number += 1
        event = f"id: {number}\ndata: tick {number}\n\n".encode()
        request.writer.write(f"{len(event):x}\r\n".encode() + event + b"\r\n")
        await request.writer.drain()
        await asyncio.sleep(TICK)
    request.keep_alive = False


async def _websocket(request: Received) -> None:
    """Echo every message; the page that sends some for a person."""
    if request.header("upgrade").lower() != "websocket":
        await _answer_page(request, demo_pages.WEBSOCKET)
        return
    accept = websocket.accept_value(request.header("sec-websocket-key"))
    head = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
    request.writer.write(f"{head}sec-websocket-accept: {accept}\r\n\r\n".encode())
    request.body_read, request.keep_alive = True, False
    with contextlib.suppress(websocket.Closed):
        await websocket.echo(request.reader, request.writer)
    await request.writer.drain()


async def _upload(request: Received) -> None:
    """Count and hash a body without keeping it; the form that sends one for a person."""
    if request.method in ("GET", "HEAD"):
        await _answer_page(request, demo_pages.UPLOAD)
        return
    digest, size = hashlib.sha256(), 0
    async for piece in request.body():
        digest.update(piece)
        size += len(piece)
    await _answer_json(request, {"size": size, "sha256": digest.hexdigest()})


_ROUTES: Final[tuple[tuple[str, _Handler], ...]] = (
    ("/headers", _headers),
    ("/status", _status),
    ("/bytes", _bytes),
    ("/stream", _stream),
    ("/ws", _websocket),
    ("/upload", _upload),
)
