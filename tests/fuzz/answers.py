"""Upstreams' answers: a head read before is read the same again, and how the bytes are cut changes nothing.

The input is what an upstream sends after one request.
"""

from __future__ import annotations

from typing import Any

from fuzz.heads import _Wire
from fuzz.targets import pieces
from ostiary.core.header_lines import BadMessage, HeaderLine
from ostiary.core.response import ResponseHead, ResponseReader
from ostiary.net.traffic import Traffic
from ostiary.net.upstream import UpstreamConnection

SEEDS = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nDate: today\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n",
    b"HTTP/1.1 103 Early\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.0 404 Not Found\r\nServer: x\r\n\r\nuntil the end",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nframes",
    b"HTTP/1.1 204 No Content\r\nConnection: close, X-A\r\nX-A: 1\r\n\r\n",
    b"HTTP/1.1 200 \r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\naHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nb",
)
WORDS = (
    b"\r\n", b"\r\n\r\n", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.0 200 OK\r\n",
    b"HTTP/1.1 304 Not Modified\r\n", b"Content-Length: 1\r\n", b"Content-Length: 0\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n", b"Connection: keep-alive\r\n", b"0\r\n\r\n",
    b"1\r\na\r\n",
)  # fmt: skip


def one(data: bytes) -> None:
    for head in data.split(b"\r\n\r\n")[:-1]:
        reader, block = ResponseReader(max_lines=6), head + b"\r\n"
        fresh = _shown(ResponseReader(max_lines=6), block)
        for _ in range(3):  # the second time it is worth remembering, the third it is remembered
            assert _shown(reader, block) == fresh
    for is_head in (False, True):
        whole = _Client(is_head).told([data])
        for cut in pieces(data):
            assert _Client(is_head).told(cut) == whole


def _shown(reader: ResponseReader, block: bytes) -> object:
    try:
        return _fields(reader.read(block))
    except BadMessage as error:
        return error.details, error.status


def _fields(head: ResponseHead) -> list[Any]:
    plain = [getattr(head, name) for name in head.__slots__ if name != "lines"]
    return [*plain, [line.wire for line in head.lines]]


class _Client:
    """Asks one question on a connection of its own; also the pool that the connection comes from."""

    request_complete = replayable = True
    buffer_limit = 1

    def __init__(self, is_head: bool) -> None:
        self.is_head = is_head
        self.codes = [0] * 1000
        self.watch = None
        self.traffic = Traffic()
        self.reader = ResponseReader(max_lines=6)
        self.heads: list[list[Any]] = []
        self.body = self.tunnel = b""
        self.trailers: list[bytes] = []
        self.end = ""

    def told(self, parts: list[bytes]) -> object:
        """What became of it; whatever came before a failure is void."""
        connection, wire = UpstreamConnection(self), _AnyWire()  # type: ignore[arg-type]
        connection.connection_made(wire)  # type: ignore[arg-type]
        connection.begin(self)
        for part in parts:
            if not connection.closed:
                connection.data_received(part)
        if not connection.closed:
            connection.connection_lost(None)
        if self.end == "failed":
            return self.end
        return self.end, self.heads, self.body, self.tunnel, self.trailers

    def on_response(self, head: ResponseHead, body: bytes, done: bool) -> None:
        assert not self.end
        self.heads.append(_fields(head))
        self.body += body
        self.end = "done" if done else ""

    def on_body(self, data: bytes, done: bool, trailers: list[HeaderLine]) -> None:
        assert not self.end
        self.body += data
        self.trailers += [line.wire for line in trailers]
        self.end = "done" if done else ""

    def on_tunnel(self, data: bytes) -> None:
        self.tunnel += data

    def on_failure(self, *_: object) -> None:
        assert not self.end
        self.end = "failed"

    def on_upstream(self, connection: UpstreamConnection) -> None: ...
    def release(self, connection: UpstreamConnection) -> None: ...
    def lost(self, connection: UpstreamConnection, *, local: bool, active: bool) -> None: ...
    def ended(self) -> None: ...
    def broke(self, status: int, *, charged: bool) -> None: ...
    def noted(self, what: str) -> None: ...


class _AnyWire(_Wire):
    def set_write_buffer_limits(self, *_: int) -> None: ...
