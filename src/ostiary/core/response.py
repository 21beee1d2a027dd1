"""The heads of an upstream's answers: read as strictly as requests (core/http1.py), and remembered."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, final

from ostiary.core.generations import Generations
from ostiary.core.header_lines import (
    CONNECTION,
    CONTENT_LENGTH,
    DATE,
    DIGITS,
    FIELD_VALUE,
    FORWARDED,
    TRANSFER_ENCODING,
    UPGRADE,
    BadMessage,
    HeaderLine,
    LineCache,
    parse_content_length,
)
from ostiary.model import limits

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

    def __init__(self, status: int, reason: bytes | None, http10: bool, lines: list[HeaderLine]) -> None:
        self.status = status
        self.reason = reason
        """None: HTTP/2 has none, the standard phrase will do."""
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
            if self.content_length is None or value != b"%d" % self.content_length:
                self.content_length = parse_content_length(value, self.content_length)
            else:  # some applications repeat an equal length: it goes on once (RFC 9110 section 8.6)
                self.lines = [line, *(each for each in self.lines if each.kind != CONTENT_LENGTH)]
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
class ResponseFields:
    """The header fields of an answer: `core.record.Fields`."""

    __slots__ = ("_lines",)

    def __init__(self, lines: list[HeaderLine]) -> None:
        self._lines = lines

    def get(self, name: str) -> str | None:
        """The first value of `name` (lower case), or None."""
        wanted = name.encode("latin-1")
        for line in self._lines:
            if line.name == wanted:
                return line.value.decode("latin-1")
        return None

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter([line.pair for line in self._lines])


@final
class ResponseReader:
    """Reads response heads, remembering lines, and heads that come more than once."""

    __slots__ = ("_lines", "_memory", "_status", "max_lines")

    def __init__(self, max_lines: int = limits.MAX_RESPONSE_HEADERS_COUNT) -> None:
        self._memory: Generations[bytes, ResponseHead] = Generations(limits.HEAD_CACHE_ENTRIES, limits.LINE_CACHE_BYTES)
        self._lines = LineCache(limits.HEAD_CACHE_ENTRIES * 2, lambda _name: FORWARDED)
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
    if version not in (b"HTTP/1.1", b"HTTP/1.0") or len(code) != 3 or code.translate(None, DIGITS):
        raise BadMessage("invalid_status_line", 502)
    status = int(code)
    if not 100 <= status <= 599 or reason.translate(None, FIELD_VALUE):
        raise BadMessage("invalid_status_line", 502)
    return status, reason, version == b"HTTP/1.0"
