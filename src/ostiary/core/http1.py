"""HTTP/1.1 message heads (RFC 9112): strict reading, and remembering what was read.

A head is judged as a whole, after the shell has found its end. Whatever two readers could understand differently is
refused: bare CR or LF, folded lines, white space before the colon, two lengths, a length beside a transfer coding, a
coding other than `chunked`, two Host fields. What is forwarded is written anew from the parts, never copied.

Browsers repeat themselves: on one connection nearly every header line of a request was in the one before. So a block is
compared with the last one of its connection, line by line; only a line that differs is looked up, or judged. A line
also has a role: most go on as they are (FORWARDED); the few that decide something (RELEVANT: cookies, Host, forwarding
fields) make up the key under which the shell remembers what it decided.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

from ostiary.core.generations import Generations
from ostiary.model import limits
from ostiary.model.headers import Headers

TOKEN: Final = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
"""RFC 9110 section 5.6.2."""
FIELD_VALUE: Final = b"\t" + bytes(range(0x20, 0x7F)) + bytes(range(0x80, 0x100))
_TARGET: Final = bytes(range(0x21, 0x7F)).replace(b"#", b"")
"""Visible ASCII; a fragment never belongs into a request (RFC 9112 section 3.2)."""
DIGITS: Final = b"0123456789"

PLAIN: Final = 0
HOST: Final = 1
CONTENT_LENGTH: Final = 2
TRANSFER_ENCODING: Final = 3
CONNECTION: Final = 4
EXPECT: Final = 5
UPGRADE: Final = 6
HOP_BY_HOP: Final = 7
SERVER: Final = 8
DATE: Final = 9
SERVICE_TIME: Final = 10
REQUEST_ID: Final = 11
KIND_COUNT: Final = 12

RELEVANT: Final = 0
FORWARDED: Final = 1
SET_PER_REQUEST: Final = 2
Classify = Callable[[bytes], int]
"""Lower-case name -> role of a request's header line: RELEVANT, FORWARDED (as it is), or SET_PER_REQUEST."""

_KINDS: Final = {
    b"host": HOST,
    b"content-length": CONTENT_LENGTH,
    b"transfer-encoding": TRANSFER_ENCODING,
    b"connection": CONNECTION,
    b"expect": EXPECT,
    b"upgrade": UPGRADE,
    b"keep-alive": HOP_BY_HOP,
    b"proxy-connection": HOP_BY_HOP,
    b"te": HOP_BY_HOP,
    b"http2-settings": HOP_BY_HOP,
    b"x-request-id": REQUEST_ID,
    b"server": SERVER,
    b"date": DATE,
    b"x-envoy-upstream-service-time": SERVICE_TIME,
}


_USUAL_OPTIONS: Final = frozenset((b"close", b"keep-alive", b"upgrade", b""))


class BadMessage(Exception):
    """A head that can't be understood one way only. `status` is what a client is told; `details` names the reason."""

    def __init__(self, details: str, status: int = 400) -> None:
        super().__init__(details)
        self.details = details
        self.status = status


def is_framing(name: str) -> bool:
    """True for a field that frames the message or belongs to this hop."""
    return name.encode("latin-1", "replace") in _KINDS


@final
class HeaderLine:
    """One judged header line."""

    __slots__ = ("kind", "name", "pair", "raw", "role", "value", "wire")

    def __init__(self, name: bytes, value: bytes, raw: bytes = b"") -> None:
        self.raw = raw
        """As it came, with its CRLF."""
        self.role = RELEVANT
        self.name = name
        self.value = value
        self.wire = name + b": " + value + b"\r\n"
        self.pair = (name.decode("latin-1"), value.decode("latin-1"))
        self.kind = _KINDS.get(name, PLAIN)


def parse_line(line: bytes) -> HeaderLine:
    """One header line without its CRLF. Raises BadMessage."""
    name, colon, value = line.partition(b":")
    if not colon or not name or name.translate(None, TOKEN):
        raise BadMessage("invalid_header_name")
    value = value.strip(b" \t")
    if value.translate(None, FIELD_VALUE):
        raise BadMessage("invalid_header_value")
    return HeaderLine(name.lower(), value, line + b"\r\n")


@final
class LineCache:
    """Header lines seen lately -> HeaderLine."""

    __slots__ = ("_classify", "_memory")

    def __init__(self, entries: int, classify: Classify) -> None:
        self._classify = classify
        self._memory: Generations[bytes, HeaderLine] = Generations(entries, limits.LINE_CACHE_BYTES)

    def __len__(self) -> int:
        return len(self._memory)

    def miss(self, line: bytes) -> HeaderLine:
        """Not among the young: from the old generation, or judged now."""
        found = self._memory.older(line)
        if found is None:
            found = parse_line(line)
            found.role = self._classify(found.name)
        if len(line) <= limits.MAX_REMEMBERED_LINE_BYTES:
            self._memory.put(line, found, len(line))
        return found

    def lines(self, block: bytes) -> list[HeaderLine]:
        """Every line of a block whose lines each end in CRLF. Raises BadMessage."""
        if not block:
            return []
        raw = block.split(b"\r\n")
        raw.pop()  # after the last CRLF
        young = self._memory.young.get
        return [young(line) or self.miss(line) for line in raw]

    def following(self, last: list[HeaderLine], block: bytes) -> list[HeaderLine]:
        """The lines of a block that is probably like the one of `last`. Raises BadMessage."""
        found: list[HeaderLine] = []
        at = 0
        for line in last:
            raw = line.raw
            if block.startswith(raw, at):
                found.append(line)
                at += len(raw)
            else:
                end = block.find(b"\r\n", at)
                if end < 0:
                    break
                one = block[at:end]
                found.append(self._memory.young.get(one) or self.miss(one))
                at = end + 2
        return found + self.lines(block[at:]) if at < len(block) else found


@final
class RequestHead:
    """The header block of a request: read once, used for every request that repeats it."""

    __slots__ = (
        "block",
        "chunked",
        "close",
        "content_length",
        "expect_continue",
        "forwarded",
        "has_body",
        "headers",
        "host",
        "keep_alive",
        "lines",
        "names_fields",
        "relevant",
        "request_id",
        "upgrade",
    )

    def __init__(self, lines: list[HeaderLine], block: bytes = b"") -> None:
        self.block = block
        self.lines = lines
        self.headers: Headers | None = None
        self.host: bytes | None = None
        self.content_length: int | None = None
        self.chunked = False
        self.close = False
        self.keep_alive = False
        self.expect_continue = False
        self.upgrade: bytes = b""
        self.request_id = b""
        """The client's own."""
        self.relevant = tuple([line for line in lines if line.role == RELEVANT])
        self.forwarded = b"".join([line.wire for line in lines if line.role == FORWARDED])
        """Every line that goes on as it is."""
        connection: list[bytes] = []
        for line in lines:
            if line.kind:
                self._special(line, connection)
        if self.chunked and self.content_length is not None:
            raise BadMessage("content_length_and_chunked_not_allowed")
        self.has_body = self.chunked or bool(self.content_length)
        self.names_fields = False
        """Connection names header fields, which end here."""
        if connection:
            self._connection(connection)
        elif self.upgrade:
            self.upgrade = b""

    def with_lines(self, lines: list[HeaderLine], block: bytes) -> RequestHead | None:
        """The head of these lines, if they differ from this head's only in some that go on as they are; else None."""
        if len(lines) != len(self.lines):
            return None
        request_id = self.request_id
        for line, before in zip(lines, self.lines, strict=True):
            if line is not before:
                if line.role != before.role or line.role == RELEVANT or line.name != before.name:
                    return None
                if line.kind == REQUEST_ID and before.value is self.request_id:
                    request_id = line.value  # the first of that name counts
                elif line.kind:
                    return None
        new = RequestHead.__new__(RequestHead)
        new.block, new.lines, new.headers, new.request_id = block, lines, None, request_id
        new.forwarded = b"".join([line.wire for line in lines if line.role == FORWARDED])
        new.relevant, new.host, new.close, new.keep_alive = self.relevant, self.host, self.close, self.keep_alive
        new.content_length, new.chunked, new.has_body = self.content_length, self.chunked, self.has_body
        new.expect_continue, new.upgrade, new.names_fields = self.expect_continue, self.upgrade, self.names_fields
        return new

    def _special(self, line: HeaderLine, connection: list[bytes]) -> None:
        kind, value = line.kind, line.value
        if kind == HOST:
            if self.host is not None:
                raise BadMessage("duplicate_host")
            self.host = value
        elif kind == CONTENT_LENGTH:
            self.content_length = parse_content_length(value, self.content_length)
        elif kind == TRANSFER_ENCODING:
            if self.chunked or value.lower() != b"chunked":
                raise BadMessage("invalid_transfer_encoding", 501)
            self.chunked = True
        elif kind == CONNECTION:
            connection += [option.strip(b" \t").lower() for option in value.split(b",")]
        elif kind == EXPECT:
            if value.lower() != b"100-continue":
                raise BadMessage("unsupported_expectation", 417)
            self.expect_continue = True
        elif kind == UPGRADE:
            self.upgrade = value.lower() if not self.upgrade else self.upgrade + b"," + value.lower()
        elif kind == REQUEST_ID and not self.request_id:
            self.request_id = value

    def _connection(self, options: list[bytes]) -> None:
        self.close = b"close" in options
        self.keep_alive = b"keep-alive" in options
        if b"upgrade" not in options:
            self.upgrade = b""
        self.names_fields = not _USUAL_OPTIONS.issuperset(options)

    def as_headers(self) -> Headers:
        """The same as the core's multimap, made once. Read-only by convention."""
        headers = self.headers
        if headers is None:
            headers = self.headers = Headers.of([line.pair for line in self.lines])
        return headers


def parse_content_length(value: bytes, before: int | None) -> int:
    """One Content-Length (RFC 9110 section 8.6): digits only, once only. Raises BadMessage."""
    if before is not None:
        raise BadMessage("duplicate_content_length")
    if not value or len(value) > 18 or value.translate(None, DIGITS):
        raise BadMessage("invalid_content_length")
    return int(value)


@final
class HeadReader:
    """Reads the header blocks of requests for one listener, remembering lines."""

    __slots__ = ("_lines", "max_lines")

    def __init__(self, max_lines: int = limits.MAX_HEADERS_COUNT, classify: Classify = lambda _name: RELEVANT) -> None:
        self.max_lines = max_lines
        self._lines = LineCache(limits.HEAD_CACHE_ENTRIES * 4, classify)

    def read(self, block: bytes, last: RequestHead | None = None) -> RequestHead:
        """The head of these lines (each ended by CRLF, without the empty one). `last` is the one before it on the same
        connection, which is given back for the same block. Raises BadMessage."""
        if last is None:
            lines = self._lines.lines(block)
        elif last.block == block:
            return last
        else:
            lines = self._lines.following(last.lines, block)
            alike = last.with_lines(lines, block)
            if alike is not None:
                return alike
        if len(lines) > self.max_lines:
            raise BadMessage("too_many_headers", 431)
        return RequestHead(lines, block)


def parse_request_line(line: bytes) -> tuple[bytes, bytes, bool]:
    """-> (method, target, is HTTP/1.0). Raises BadMessage."""
    parts = line.split(b" ")
    if len(parts) != 3:
        raise BadMessage("invalid_request_line")
    method, target, version = parts
    if version != b"HTTP/1.1" and version != b"HTTP/1.0":
        raise BadMessage("unsupported_version", 505 if version.startswith(b"HTTP/") and len(version) == 8 else 400)
    if not method or method.translate(None, TOKEN):
        raise BadMessage("invalid_method")
    if not target or target.translate(None, _TARGET):
        raise BadMessage("invalid_target")
    if len(target) > limits.MAX_URL_BYTES:
        raise BadMessage("target_too_long", 414)
    return method, target, version == b"HTTP/1.0"
