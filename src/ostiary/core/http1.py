"""HTTP/1.1 message heads (RFC 9112): strict reading, and remembering what was read.

A head is judged as a whole, after the shell has found its end. Whatever two readers could understand differently is
refused: bare CR or LF, folded lines, white space before the colon, two lengths, a length beside a transfer coding, a
coding other than `chunked`, two Host fields. What is forwarded is written anew from the parts, never copied.

Browsers repeat themselves: on one connection nearly every header line of a request was in the one before. So each line
is judged once and remembered by its bytes, and so is each whole block of lines (`HeadCache`). A line also has a role:
most go on as they are (FORWARDED); the few that decide something (RELEVANT: cookies, Host, forwarding fields) make up
the key under which the shell remembers what it decided.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

from ostiary.core.generations import Generations
from ostiary.model import limits
from ostiary.model.headers import Headers

TOKEN: Final = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
"""RFC 9110 section 5.6.2."""
_FIELD_VALUE: Final = b"\t" + bytes(range(0x20, 0x7F)) + bytes(range(0x80, 0x100))
_TARGET: Final = bytes(range(0x21, 0x7F)).replace(b"#", b"")
"""Visible ASCII; a fragment never belongs into a request (RFC 9112 section 3.2)."""
_DIGITS: Final = b"0123456789"

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

    __slots__ = ("kind", "name", "pair", "role", "value", "wire")

    def __init__(self, name: bytes, value: bytes, role: int = RELEVANT) -> None:
        self.role = role
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
    if value.translate(None, _FIELD_VALUE):
        raise BadMessage("invalid_header_value")
    return HeaderLine(name.lower(), value)


@final
class _LineCache:
    __slots__ = ("_classify", "_memory")

    def __init__(self, entries: int, classify: Classify) -> None:
        self._classify = classify
        self._memory: Generations[bytes, HeaderLine] = Generations(entries, limits.LINE_CACHE_BYTES)

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


@final
class RequestHead:
    """The header block of a request: read once, used for every request that repeats it."""

    __slots__ = (
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

    def __init__(self, lines: list[HeaderLine]) -> None:
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
    if not value or len(value) > 18 or value.translate(None, _DIGITS):
        raise BadMessage("invalid_content_length")
    return int(value)


@final
class HeadCache:
    """Header blocks seen lately -> RequestHead."""

    __slots__ = ("_lines", "_memory", "max_lines")

    def __init__(
        self,
        entries: int = limits.HEAD_CACHE_ENTRIES,
        max_lines: int = limits.MAX_HEADERS_COUNT,
        classify: Classify = lambda _name: RELEVANT,
    ) -> None:
        self.max_lines = max_lines
        self._lines = _LineCache(entries * 4, classify)
        self._memory: Generations[bytes, RequestHead] = Generations(entries, limits.HEAD_CACHE_BYTES)

    def get(self, block: bytes) -> RequestHead:
        """The head of these lines (each ended by CRLF, without the empty one). Raises BadMessage."""
        head = self._memory.young.get(block)
        if head is not None:
            return head
        head = self._memory.older(block)
        if head is None:
            lines = self._lines.lines(block)
            if len(lines) > self.max_lines:
                raise BadMessage("too_many_headers", 431)
            head = RequestHead(lines)
            if self._memory.is_new(block):
                return head
        self._memory.put(block, head, len(block))
        return head

    def __len__(self) -> int:
        return len(self._memory)


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


_KEPT_THOUGH_NAMED: Final = frozenset(
    (
        b"close",
        b"keep-alive",
        b"upgrade",
        b"connection",
        b"content-length",
        b"content-type",
        b"transfer-encoding",
        b"set-cookie",
        b"location",
    )
)
"""What a response's Connection can't make us drop; anything else it names ends here (RFC 9110 section 7.6.1)."""


@final
class ResponseHead:
    """The head of an upstream's answer."""

    __slots__ = ("chunked", "close", "content_length", "dated", "http10", "lines", "reason", "status", "upgrade")

    def __init__(self, status: int, reason: bytes, http10: bool, lines: list[HeaderLine]) -> None:
        self.status = status
        self.reason = reason
        self.http10 = http10
        self.lines = lines
        self.content_length: int | None = None
        self.chunked = False
        self.close = http10
        self.upgrade = b""
        self.dated = False
        for line in lines:
            if line.kind:
                self._special(line)
        if self.chunked and self.content_length is not None:
            raise BadMessage("content_length_and_chunked_not_allowed", 502)

    def _special(self, line: HeaderLine) -> None:
        kind, value = line.kind, line.value
        if kind == CONTENT_LENGTH:
            # Some applications repeat an equal length; it is harmless since we write our own.
            if self.content_length is None or value != b"%d" % self.content_length:
                self.content_length = parse_content_length(value, self.content_length)
        elif kind == TRANSFER_ENCODING:
            if self.chunked or value.lower() != b"chunked":
                raise BadMessage("invalid_transfer_encoding", 502)
            self.chunked = True
        elif kind == CONNECTION:
            options = [option.strip(b" \t").lower() for option in value.split(b",")]
            if b"close" in options:
                self.close = True
            elif b"keep-alive" in options:
                self.close = False
            drop = {option for option in options if option not in _KEPT_THOUGH_NAMED}
            if drop:
                self.lines = [each for each in self.lines if each.name not in drop]
        elif kind == DATE:
            self.dated = True
        elif kind == UPGRADE:
            self.upgrade = value.lower()


@final
class ResponseReader:
    """Reads response heads, remembering lines, and heads that come more than once."""

    __slots__ = ("_lines", "_memory", "_status", "max_lines")

    def __init__(self, max_lines: int = limits.MAX_RESPONSE_HEADERS_COUNT) -> None:
        self._memory: Generations[bytes, ResponseHead] = Generations(limits.HEAD_CACHE_ENTRIES, limits.LINE_CACHE_BYTES)
        self._lines = _LineCache(limits.HEAD_CACHE_ENTRIES * 2, lambda _name: FORWARDED)
        self._status: dict[bytes, tuple[int, bytes, bool]] = {}
        self.max_lines = max_lines

    def read(self, head: bytes) -> ResponseHead:
        """Status line and header lines, each ended by CRLF. Raises BadMessage."""
        found = self._memory.young.get(head) or self._memory.older(head)
        if found is None:
            found = self._read(head)
            if self._memory.is_new(head):
                return found
            self._memory.put(head, found, len(head))
        return found

    def _read(self, head: bytes) -> ResponseHead:
        end = head.find(b"\r\n")
        line = head[:end]
        status = self._status.get(line)
        if status is None:
            status = parse_status_line(line)
            if len(self._status) < 64:
                self._status[line] = status
        lines = self._lines.lines(head[end + 2 :])
        if len(lines) > self.max_lines:
            raise BadMessage("too_many_headers", 502)
        return ResponseHead(*status, lines)


def parse_status_line(line: bytes) -> tuple[int, bytes, bool]:
    """-> (status, reason phrase, is HTTP/1.0). Raises BadMessage."""
    version, _, rest = line.partition(b" ")
    code, _, reason = rest.partition(b" ")
    if version not in (b"HTTP/1.1", b"HTTP/1.0") or len(code) != 3 or code.translate(None, _DIGITS):
        raise BadMessage("invalid_status_line", 502)
    status = int(code)
    if not 100 <= status <= 599 or reason.translate(None, _FIELD_VALUE):
        raise BadMessage("invalid_status_line", 502)
    return status, reason, version == b"HTTP/1.0"
