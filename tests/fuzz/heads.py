"""Request heads: neither what came before on a connection nor how its bytes are cut changes what is read.

The input is what a client sends over one connection.
"""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

from fuzz.targets import pieces
from ostiary.core.chunked import ChunkedReader
from ostiary.core.header_lines import FORWARDED, RELEVANT, SET_PER_REQUEST, BadMessage
from ostiary.core.http1 import HeadReader, RequestHead, parse_request_line
from ostiary.net.exchange import Exchange
from ostiary.net.http1 import Downstream
from ostiary.net.server_settings import ServerSettings
from ostiary.net.traffic import Traffic

SEEDS = (
    b"GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: x\r\n\r\nGET /b?c=d HTTP/1.1\r\nHost: a\r\nUser-Agent: y\r\n\r\n",
    b"POST /f HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2;e=1\r\nab\r\n0\r\nX-Sum: 1\r\n\r\nGET / HTTP/1.0\r\n\r\n",
    b"\r\nGET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nHEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    b"G / HTTP/1.1\r\nX-Request-Id:1\r\nX-Request-Id:1\r\n\r\nG / HTTP/1.1\r\nX-Request-Id:1\r\nX-Request-Id:2\r\n\r\n",
    b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nCookie: a=b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nConnection: x, close\r\nContent-Length: 1\r\n\r\na",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 200 + b"\r\n\r\n",
)
WORDS = (
    b"\r\n", b"\r\n\r\n", b"GET / HTTP/1.1\r\n", b"POST / HTTP/1.1\r\n", b" HTTP/1.0\r\n", b"Host: a\r\n",
    b"Content-Length: 1\r\n", b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n",
    b"Connection: keep-alive\r\n", b"Connection: Upgrade\r\n", b"Upgrade: websocket\r\n", b"Expect: 100-continue\r\n",
    b"X-Request-Id: 1\r\n", b"X-Request-Id: 2\r\n", b"X-Request-Id:\r\n", b"Cookie: a=b\r\n", b"Accept: */*\r\n",
    b"0\r\n\r\n", b"1\r\na\r\n",
)  # fmt: skip
MAX_LINES = 6
MAX_HEAD_BYTES = 160  # both small enough to be reached


_PLAIN = (
    *("block", "chunked", "close", "content_length", "expect_continue", "forwarded", "has_body", "host", "keep_alive"),
    *("names_fields", "request_id", "upgrade"),
)


def one(data: bytes) -> None:
    _what_came_before_changes_nothing(data)
    whole = _served([data])
    for cut in pieces(data):
        assert _served(cut) == whole


def _classify(name: bytes) -> int:
    if name == b"x-request-id":
        return SET_PER_REQUEST
    return RELEVANT if name in (b"host", b"cookie", b"connection", b"transfer-encoding") else FORWARDED


def _what_came_before_changes_nothing(data: bytes) -> None:
    remembering = HeadReader(MAX_LINES, _classify)
    last: RequestHead | None = None
    for head in data.split(b"\r\n\r\n")[:-1]:
        line, _, block = (head + b"\r\n").partition(b"\r\n")
        _read(lambda line=line: parse_request_line(line))
        fresh = _read(lambda block=block: HeadReader(MAX_LINES, _classify).read(block))
        for before in (last, None):
            found = _read(lambda block=block, before=before: remembering.read(block, before))
            assert _shown(found) == _shown(fresh)
        if isinstance(fresh, RequestHead):
            last = remembering.read(block, last)
            assert remembering.read(block, last) is last


def _read(read: Any) -> Any:
    try:
        return read()
    except BadMessage as error:
        assert 400 <= error.status < 600
        return error


def _shown(head: Any) -> Any:
    if isinstance(head, BadMessage):
        return head.details, head.status
    plain = {name: getattr(head, name) for name in _PLAIN}
    lines = [(line.pair, line.role, line.wire) for line in head.lines]
    first = [head.first_forwarded(line.name) for line in head.lines]
    return plain, lines, first, [line.pair for line in head.relevant], list(head.as_headers())


class _Wire:
    """Where bytes go, instead of a socket: a fuzzer has no time for those."""

    def __init__(self) -> None:
        self.written = b""
        self.closed = False

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.written += data

    def close(self) -> None:
        self.closed = True

    abort = close

    def is_closing(self) -> bool:
        return self.closed

    def can_write_eof(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def get_extra_info(self, _name: str) -> object:
        return ("127.0.0.1", 1)

    def set_write_buffer_limits(self, _high: int) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


class _Application:
    """A service, its upstream's pool, and that upstream's connection: everything is forwarded and kept."""

    remote_address = local_address = "127.0.0.1:1"
    protocol = "HTTP/1.1"
    paused = draining = False
    successor = None

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.traffic = Traffic()
        self.settings = ServerSettings(max_head_bytes=MAX_HEAD_BYTES)
        self.ticker = SimpleNamespace(now=0.0, date=b"today", active=set(), idle=set())
        self.heads = HeadReader(MAX_LINES, _classify)
        self.transport = _Wire()
        self.client: Exchange | None = None
        self.received: list[object] = []

    def dispatch(self, exchange: Exchange) -> None:
        lines = b"".join(line.wire for line in exchange.head.lines)
        exchange.forward(self, exchange.method + b" " + exchange.target + b"\r\n" + lines + b"\r\n", 0.0)  # type: ignore[arg-type]

    def submit(self, exchange: Exchange) -> None:
        self.transport = _Wire()
        self.client = exchange
        exchange.on_upstream(self)  # type: ignore[arg-type]

    def finished(self, exchange: Exchange) -> None:
        if exchange is not self.client:
            self.received.append("refused")
            return
        head, _, body = self.transport.written.partition(b"\r\n\r\n")
        if exchange.head.chunked and exchange.request_complete:
            reader = ChunkedReader()
            body = reader.feed(body) + b"".join(line.wire for line in reader.trailers)
            assert reader.done and not reader.rest
        self.received.append((head, body) if exchange.request_complete else "incomplete")
        self.client = None

    def abort(self) -> None: ...
    def informed(self, status: int) -> None: ...
    def write(self, data: bytes) -> None:
        self.transport.write(data)

    def opened(self, _connection: Downstream) -> bool:
        return True

    def closed(self, _connection: Downstream) -> None: ...


def _served(parts: list[bytes]) -> object:
    """What reaches the application and the client if the bytes come like this, each request answered when complete."""
    application, wire = _Application(), _Wire()
    connection = Downstream(application, 1)  # type: ignore[arg-type]
    connection.connection_made(wire)  # type: ignore[arg-type]
    for part in parts:
        if not wire.closed:
            connection.data_received(part)
        while (exchange := connection.exchange) is not None and exchange.request_complete:
            exchange.respond(200, (), b"ok", "")
    return application.received, wire.written, wire.closed
