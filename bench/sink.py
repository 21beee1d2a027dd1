"""The upstream for uploads and WebSockets: `python -m bench.sink PORT`.

An upload is read to its end and then answered with its length; after an upgrade every byte comes back as it is.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import sys
from typing import cast

import httptools
import uvloop

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class SinkProtocol(asyncio.Protocol):
    """One connection."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.parser = httptools.HttpRequestParser(self)
        self.key = b""
        self.length = 0
        self.piping = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        if self.piping:
            self.transport.write(data)
            return
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self.accept()
            rest = data[upgrade.args[0] :]
            if rest:
                self.transport.write(rest)

    def accept(self) -> None:
        digest = base64.b64encode(hashlib.sha1(self.key + GUID).digest())
        self.piping = True
        self.transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
            b"sec-websocket-accept: " + digest + b"\r\n\r\n"
        )

    def on_message_begin(self) -> None:
        self.length = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"sec-websocket-key":
            self.key = value

    def on_body(self, body: bytes) -> None:
        self.length += len(body)

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        body = b"%d" % self.length
        self.transport.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
        )


async def serve(port: int) -> None:
    """Serve until the process is told to end."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(SinkProtocol, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
