"""HTTP/1.1 request heads (RFC 9112): strict reading, and remembering what was read.

A head is judged as a whole, after the shell has found its end. Whatever two readers could understand differently is
refused: bare CR or LF, folded lines, white space before the colon, two lengths, a length beside a transfer coding, a
coding other than `chunked`, two Host fields. What is forwarded is written anew from the parts, never copied.

Browsers repeat themselves: on one connection nearly every header line of a request was in the one before. So a block is
compared with the last one as bytes: the lines that both have at their starts and at their ends are taken over, and only
what stands between is looked up, or judged. If all of that goes on as it is, the new head is the last one but for it.
"""

from __future__ import annotations

from itertools import accumulate
from typing import Final, final

from ostiary.core.header_lines import (
    CONNECTION,
    CONTENT_LENGTH,
    EXPECT,
    FORWARDED,
    HOST,
    RELEVANT,
    REQUEST_ID,
    TOKEN,
    TRANSFER_ENCODING,
    UPGRADE,
    BadMessage,
    Classify,
    HeaderLine,
    LineCache,
    parse_content_length,
)
from ostiary.model import limits
from ostiary.model.headers import Headers

_TARGET: Final = bytes(range(0x21, 0x7F)).replace(b"#", b"")
"""Visible ASCII; a fragment never belongs into a request (RFC 9112 section 3.2)."""
_USUAL_OPTIONS: Final = frozenset((b"close", b"keep-alive", b"upgrade", b""))


@final
class _Layout:
    """Where the lines of a head are; heads whose lines have the same names and lengths share it."""

    __slots__ = ("ends", "first", "forwarded_ends")

    def __init__(self, lines: list[HeaderLine]) -> None:
        self.ends = list(accumulate([len(line.raw) for line in lines]))
        """Of each line in the block."""
        sizes = [len(line.wire) if line.role == FORWARDED else 0 for line in lines]
        self.forwarded_ends = list(accumulate(sizes))
        """Of each line's part of `forwarded`."""
        self.first: dict[bytes, int] = {}
        """Name -> number of the first line of that name that goes on as it is."""
        for number, line in enumerate(lines):
            if line.role == FORWARDED:
                self.first.setdefault(line.name, number)


@final
class RequestHead:
    """The header block of a request: read once, used for every request that repeats it."""

    __slots__ = (
        "_layout",
        "_stable",
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
        self._layout: _Layout | None = None
        self._stable = (0, 0)
        """How many lines at its start and at its end it has in common with the head before."""
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

    def first_forwarded(self, name: bytes) -> bytes | None:
        """The value of the first field of that name (lower case) that goes on as it is, or None."""
        layout = self._layout
        if layout is None:
            layout = self._layout = _Layout(self.lines)
        number = layout.first.get(name)
        return None if number is None else self.lines[number].value

    def followed_by(self, block: bytes, memory: LineCache) -> RequestHead:
        """The head of a block that is probably like this one. Raises BadMessage."""
        layout = self._layout
        if layout is None:
            layout = self._layout = _Layout(self.lines)
        ends, lines = layout.ends, self.lines
        first, last = stable = _in_common(self.block, block, ends, self._stable)
        begin = ends[first - 1] if first else 0
        stop = len(lines) - last
        kept = len(self.block) - ends[stop - 1] if stop else len(self.block)
        old = lines[first:stop]
        new = memory.instead_of(old, block[begin : len(block) - kept])
        together = lines[:first] + new + lines[stop:]
        for line in old + new:
            if not line.independent:
                return RequestHead(together, block)
        forwarded_ends = layout.forwarded_ends
        begin = forwarded_ends[first - 1] if first else 0
        end = forwarded_ends[stop - 1] if old else begin
        middle = b"".join([line.wire for line in new if line.role == FORWARDED])
        head = RequestHead.__new__(RequestHead)
        head.block, head.lines, head.headers, head._stable = block, together, None, stable
        head.forwarded = b"%b%b%b" % (self.forwarded[:begin], middle, self.forwarded[end:])
        head._layout = layout if _same_places(old, new) else None
        head.request_id = self.request_id
        for line in old + new:
            if line.kind:
                ids = [line.value for line in together if line.kind == REQUEST_ID]
                head.request_id = next(filter(None, ids), b"")
                break
        head.relevant, head.host, head.close, head.keep_alive = self.relevant, self.host, self.close, self.keep_alive
        head.content_length, head.chunked, head.has_body = self.content_length, self.chunked, self.has_body
        head.expect_continue, head.upgrade, head.names_fields = self.expect_continue, self.upgrade, self.names_fields
        return head

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


def _same_places(old: list[HeaderLine], new: list[HeaderLine]) -> bool:
    if len(old) != len(new):
        return False
    for a, b in zip(old, new, strict=True):
        if a.name != b.name or len(a.raw) != len(b.raw) or len(a.wire) != len(b.wire):
            return False
    return True


def _in_common(old: bytes, new: bytes, ends: list[int], guess: tuple[int, int]) -> tuple[int, int]:
    """How many lines two blocks have in common at their starts and, besides, at their ends; `guess` may do."""
    if guess != (0, 0) and _starts_alike(old, new, ends, guess[0]) and _ends_alike(old, new, ends, *guess):
        return guess
    count = len(ends)
    first, beyond = 0, count + 1
    while beyond - first > 1:
        middle = (first + beyond) // 2
        if _starts_alike(old, new, ends, middle):
            first = middle
        else:
            beyond = middle
    last, beyond = 0, count - first + 1
    while beyond - last > 1:
        middle = (last + beyond) // 2
        if _ends_alike(old, new, ends, first, middle):
            last = middle
        else:
            beyond = middle
    return first, last


def _starts_alike(old: bytes, new: bytes, ends: list[int], first: int) -> bool:
    return not first or new.startswith(old[: ends[first - 1]])


def _ends_alike(old: bytes, new: bytes, ends: list[int], first: int, last: int) -> bool:
    """Whether the last lines are the same, begin at a line's start, and none of them is among the first ones."""
    if not last:
        return True
    kept = old[ends[-last - 1] :] if last < len(ends) else old
    begin, at = ends[first - 1] if first else 0, len(new) - len(kept)
    return at >= begin and new.endswith(kept) and (at == begin or new[at - 2 : at] == b"\r\n")


@final
class HeadReader:
    """Reads the heads of requests for one listener, remembering lines."""

    __slots__ = ("_lines", "_request_lines", "classify", "max_lines")

    def __init__(self, max_lines: int = limits.MAX_HEADERS_COUNT, classify: Classify = lambda _name: RELEVANT) -> None:
        self.max_lines = max_lines
        self.classify = classify
        self._lines = LineCache(limits.HEAD_CACHE_ENTRIES * 4, classify)
        self._request_lines: dict[bytes, tuple[bytes, bytes, bool]] = {}

    def request_line(self, line: bytes) -> tuple[bytes, bytes, bool]:
        """`parse_request_line`, remembered. Raises BadMessage."""
        found = self._request_lines.get(line)
        if found is None:
            found = parse_request_line(line)
            if len(line) <= limits.MAX_REMEMBERED_TARGET_BYTES:
                if len(self._request_lines) >= limits.HEAD_CACHE_ENTRIES:
                    self._request_lines.clear()
                self._request_lines[line] = found
        return found

    def read(self, block: bytes, last: RequestHead | None = None) -> RequestHead:
        """The head of these lines (each ended by CRLF, without the empty one). `last` is the one before it on the same
        connection, which is given back for the same block. Raises BadMessage."""
        if last is not None and last.block == block:
            return last
        head = RequestHead(self._lines.lines(block), block) if last is None else last.followed_by(block, self._lines)
        if len(head.lines) > self.max_lines:
            raise BadMessage("too_many_headers", 431)
        return head


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
