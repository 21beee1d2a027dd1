"""Just enough HTTP/1.1 to put the demo provider on a socket: heads and bodies with a length, keep-alive, no chunks."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any, Final, final

MAX_HEAD_BYTES: Final = 32 * 1024
MAX_BODY_BYTES: Final = 64 * 1024
IDLE_TIMEOUT: Final = 60.0
"""Seconds between requests, and for one request to arrive."""

Handler = Callable[[str, str, Mapping[str, str], bytes], Awaitable["Reply"]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One answer. Header names are lower case."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = field(default=b"", repr=False)

    @classmethod
    def json(cls, document: Mapping[str, Any], status: int = 200) -> Reply:
        """A JSON document that must not be cached."""
        headers = (("content-type", "application/json"), ("cache-control", "no-store"))
        return cls(status=status, headers=headers, body=json.dumps(document).encode())

    @classmethod
    def redirect(cls, location: str) -> Reply:
        """303, so that a form's POST becomes a GET."""
        return cls(status=303, headers=(("location", location), ("cache-control", "no-store")))

    def with_cookie(self, cookie: str) -> Reply:
        """The same with a Set-Cookie; nothing for an empty one."""
        return replace(self, headers=(*self.headers, ("set-cookie", cookie))) if cookie else self


@final
class ProviderServer:
    """One listening socket and its connections."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None) -> int:
        """Listen; returns the port. Raises OSError."""
        self._server = await asyncio.start_server(self._connected, host, port, limit=MAX_HEAD_BYTES, ssl=tls)
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def stop(self) -> None:
        """Stop listening and drop every connection."""
        if self._server is not None:
            self._server.close()
        connections = list(self._connections)
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._converse(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                while await _one(self._handler, reader, writer):
                    pass
        finally:
            writer.close()


async def _one(handler: Handler, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    async with asyncio.timeout(IDLE_TIMEOUT):
        head = await reader.readuntil(b"\r\n\r\n")
        request, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
        method, target, version = request.split(" ")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", "0"))
        if not 0 <= length <= MAX_BODY_BYTES or "transfer-encoding" in headers:
            return False
        body = await reader.readexactly(length)
    reply = await handler(method, target, headers, body)
    stays = headers.get("connection", "").lower() != "close" and version == "HTTP/1.1"
    fields = [*reply.headers, ("content-length", str(len(reply.body)))]
    fields.append(("connection", "keep-alive" if stays else "close"))
    text = "".join(f"{name}: {value}\r\n" for name, value in fields)
    status = f"HTTP/1.1 {reply.status} {HTTPStatus(reply.status).phrase}\r\n"
    writer.write(f"{status}{text}\r\n".encode("latin-1") + (b"" if method == "HEAD" else reply.body))
    await writer.drain()
    return stays
