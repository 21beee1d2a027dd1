"""Header lines of HTTP/1.1 heads (RFC 9112 section 5): strict reading, and remembering what was read.

A line has a kind (does it frame the message?) and, in a request, a role: most go on as they are (FORWARDED); the few
that decide something (RELEVANT: cookies, Host, forwarding fields) make up the key under which the shell remembers what
it decided.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

from ostiary.core.generations import Generations
from ostiary.model import limits

TOKEN: Final = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
"""RFC 9110 section 5.6.2."""
FIELD_VALUE: Final = b"\t" + bytes(range(0x20, 0x7F)) + bytes(range(0x80, 0x100))
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

CONTEXT_HEADERS: Final = frozenset(("traceparent", "tracestate"))
"""W3C Trace Context, which a listener that traces writes anew."""


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

    __slots__ = ("independent", "kind", "name", "raw", "role", "start", "value", "wire")

    def __init__(self, name: bytes, value: bytes, raw: bytes = b"", start: bytes = b"", role: int = RELEVANT) -> None:
        self.name = name
        self.value = value
        self.raw = raw
        """As it came, with its CRLF."""
        self.start = start
        """As it came, up to its value."""
        self.wire = b"%b: %b\r\n" % (name, value)
        self.kind = _KINDS.get(name, PLAIN)
        self.role = role
        self.independent = role != RELEVANT and self.kind in (PLAIN, REQUEST_ID)
        """Nothing else that is known of its head depends on this line."""

    @property
    def pair(self) -> tuple[str, str]:
        """Name and value as the core's text."""
        return self.name.decode("latin-1"), self.value.decode("latin-1")

    def like(self, line: bytes) -> HeaderLine | None:
        """`line` (without its CRLF) if it differs from this one in its value only, else None. Raises BadMessage."""
        start = self.start
        if not line.startswith(start):
            return None
        value = line[len(start) :].strip(b" \t")
        if value.translate(None, FIELD_VALUE):
            raise BadMessage("invalid_header_value")
        return HeaderLine(self.name, value, line + b"\r\n", start, self.role)


def parse_line(line: bytes, classify: Classify = lambda _name: RELEVANT) -> HeaderLine:
    """One header line without its CRLF. Raises BadMessage."""
    name, colon, rest = line.partition(b":")
    if not colon or not name or name.translate(None, TOKEN):
        raise BadMessage("invalid_header_name")
    value = rest.strip(b" \t")
    if value.translate(None, FIELD_VALUE):
        raise BadMessage("invalid_header_value")
    start = line[: len(line) - len(rest.lstrip(b" \t"))]
    name = name.lower()
    return HeaderLine(name, value, line + b"\r\n", start, classify(name))


def parse_content_length(value: bytes, before: int | None) -> int:
    """One Content-Length (RFC 9110 section 8.6): digits only, once only. Raises BadMessage."""
    if before is not None:
        raise BadMessage("duplicate_content_length")
    if not value or len(value) > 18 or value.translate(None, DIGITS):
        raise BadMessage("invalid_content_length")
    return int(value)


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
            found = parse_line(line, self._classify)
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

    def instead_of(self, before: list[HeaderLine], block: bytes) -> list[HeaderLine]:
        """The lines of a block that stands where `before` stood in a head like it. Raises BadMessage."""
        raw = block.split(b"\r\n")
        raw.pop()
        if len(raw) != len(before):
            return self.lines(block)
        young = self._memory.young.get
        return [young(line) or old.like(line) or self.miss(line) for line, old in zip(raw, before, strict=True)]
