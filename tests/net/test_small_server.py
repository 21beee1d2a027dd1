"""The small server: what it does about an answer that nobody waits for, and one without a body."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ostiary.model.config import Address
from ostiary.net.listener import bind
from ostiary.net.small_server import Handle, SmallAnswer, SmallRequest, SmallServer
from waiting import PATIENCE
from wire import scenario

REQUEST = b"POST /quitquitquit HTTP/1.1\r\nHost: localhost\r\n\r\n"


@asynccontextmanager
async def client(handle: Handle) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """One that has sent a request."""
    server = SmallServer(bind(Address(host="127.0.0.1", port=0), 8), handle)
    (address,) = await server.start()
    reader, writer = await asyncio.open_connection(*address.split(":"))
    try:
        writer.write(REQUEST)
        yield reader, writer
    finally:
        writer.close()
        server.stop()


@scenario
async def test_what_was_asked_for_happens_though_nobody_waits_for_the_answer() -> None:
    asked, gone, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def handle(_request: SmallRequest) -> SmallAnswer:
        asked.set()
        await gone.wait()
        return SmallAnswer(200, (), b"OK\n" * 1_000_000, done.set)

    async with client(handle) as (_, writer), asyncio.timeout(PATIENCE):
        await asked.wait()
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close: a reset
        writer.transport.abort()
        gone.set()
        await done.wait()


@scenario
async def test_no_content_has_no_length() -> None:
    async def handle(_request: SmallRequest) -> SmallAnswer:
        return SmallAnswer(204, (), b"")

    async with client(handle) as (reader, _), asyncio.timeout(PATIENCE):
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 204 ")
        assert b"content-length" not in head  # RFC 9110 section 8.6
