"""Heads between HTTP/1.1 and HTTP/2 (RFC 9113 section 8): requests as they go out, answers as they come in.

A request's head is made as HTTP/1.1 bytes, whatever carries it: there is one way to make a head, and a connection of
either kind takes the same bytes. Here they become fields: pseudo-headers first, what belongs to one hop left out.

Fields go out as literals without Huffman coding and without the dynamic table. A cookie of 3 KB costs two milliseconds
of Huffman coding in Python and an upstream is near; and what is in no table can't be guessed by its compression, though
the requests of many people share one connection.

An answer is judged as strictly as one of HTTP/1.1, and remembered line by line.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, final

import msgspec

from ostiary.core.generations import Generations
from ostiary.core.header_lines import DIGITS, FIELD_VALUE, TOKEN, BadMessage, HeaderLine
from ostiary.core.response import ResponseHead
from ostiary.model import limits

Field = tuple[bytes, bytes]

LOWER_TOKEN: Final = TOKEN.translate(None, b"ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_OF_ONE_HOP: Final = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade", b"http2-settings")
)
"""RFC 9113 section 8.2.2: such a field makes a message malformed."""
_SECRET: Final = frozenset((b"cookie", b"authorization", b"proxy-authorization"))
"""Nobody behind us may index these either (RFC 7541 section 7.1.3)."""


class OutgoingHead(msgspec.Struct, frozen=True, kw_only=True):
    """A request's head for HTTP/2, and how its body is framed in the HTTP/1.1 bytes that follow."""

    fields: tuple[Field, ...]
    content_length: int = 0
    chunked: bool = False
    upgrade: bytes = b""
    """The protocol of an extended CONNECT (RFC 8441): the bytes that follow are its own."""
    websocket_key: bytes = b""


def outgoing_head(head: bytes, *, encrypted: bool, scheme_of_client: bool) -> OutgoingHead:
    """A head of our own making, without its empty line.

    `:scheme` is what X-Forwarded-Proto says if `scheme_of_client`, else that of the connection.
    """
    request_line, *lines = head.split(b"\r\n")
    method, _, rest = request_line.partition(b" ")
    scheme = b"https" if encrypted else b"http"
    authority = upgrade = key = b""
    length, chunked = 0, False
    fields: list[Field] = []
    for line in lines:
        name, _, value = line.partition(b":")
        name, value = name.lower(), value.strip(b" \t")
        if name == b"host":
            authority = value
            continue
        if name in _OF_ONE_HOP:
            if name == b"upgrade":
                upgrade = value
            chunked = chunked or name == b"transfer-encoding"
            continue
        if name == b"te" and value.lower() != b"trailers":
            continue
        if name == b"content-length":
            length = int(value)
        elif name == b"x-forwarded-proto" and scheme_of_client and value.lower() in (b"http", b"https"):
            scheme = value.lower()
        elif name == b"sec-websocket-key":
            key = value
        if not (upgrade and name == b"content-length"):  # a tunnel has no length
            fields.append((name, value))
    pseudo = [(b":method", b"CONNECT" if upgrade else method), (b":scheme", scheme)]
    if upgrade:
        pseudo.append((b":protocol", upgrade.lower()))
    if authority:
        pseudo.append((b":authority", authority))
    pseudo.append((b":path", rest.rpartition(b" ")[0]))
    return OutgoingHead(
        fields=(*pseudo, *fields), content_length=length, chunked=chunked, upgrade=upgrade, websocket_key=key
    )  # fmt: skip


def header_list_size(fields: Iterable[Field]) -> int:
    """As SETTINGS_MAX_HEADER_LIST_SIZE counts (RFC 9113 section 6.5.2), in bytes."""
    return sum(len(name) + len(value) + 32 for name, value in fields)


@final
class LiteralEncoder:
    """HPACK (RFC 7541) without tables: stands where the library has its encoder."""

    def __init__(self) -> None:
        self.header_table_size = 0
        """What the peer allows; none of it is used."""
        self._begun = False

    def encode(self, fields: Iterable[Field]) -> bytes:
        """A header block."""
        out = [] if self._begun else [b"\x20"]  # section 4.2: the table has size 0 from here on
        self._begun = True
        for name, value in fields:
            first = b"\x10" if name in _SECRET else b"\x00"
            out += (first, _length(len(name)), name, _length(len(value)), value)
        return b"".join(out)


def _length(number: int) -> bytes:
    """A string's length (section 5.1), not Huffman-coded."""
    if number < 0x7F:
        return bytes((number,))
    out = bytearray(b"\x7f")
    number -= 0x7F
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


@final
class AnswerReader:
    """Reads answers' heads and trailers, remembering lines."""

    __slots__ = ("_memory", "max_lines")

    def __init__(self, max_lines: int = limits.MAX_RESPONSE_HEADERS_COUNT) -> None:
        self._memory: Generations[Field, HeaderLine] = Generations(
            limits.HEAD_CACHE_ENTRIES * 2, limits.LINE_CACHE_BYTES
        )
        self.max_lines = max_lines

    def head(self, fields: Iterable[Field]) -> ResponseHead:
        """An answer's head. Raises BadMessage."""
        status = 0
        lines: list[HeaderLine] = []
        for field in fields:
            if field[0][:1] == b":":
                if field[0] != b":status" or status or lines:
                    raise BadMessage("invalid_pseudo_header", 502)
                status = _status(field[1])
            else:
                lines.append(self._line(field))
        if not status:
            raise BadMessage("missing_status", 502)
        if len(lines) > self.max_lines:
            raise BadMessage("too_many_headers", 502)
        return ResponseHead(status, None, False, lines)

    def trailers(self, fields: Iterable[Field]) -> list[HeaderLine]:
        """The fields after a body. Raises BadMessage."""
        lines = [self._line(field) for field in fields]
        if len(lines) > limits.MAX_TRAILERS:
            raise BadMessage("too_many_trailers", 502)
        return lines

    def _line(self, field: Field) -> HeaderLine:
        memory = self._memory
        found = memory.young.get(field)
        if found is None:
            found = memory.older(field) or _judge(*field)
            size = len(field[0]) + len(field[1])
            if size <= limits.MAX_REMEMBERED_LINE_BYTES:
                memory.put(field, found, size)
        return found


def _status(value: bytes) -> int:
    """100 to 599; not 101, which HTTP/2 has not (RFC 9113 section 8.6)."""
    if len(value) != 3 or value.translate(None, DIGITS):
        raise BadMessage("invalid_status", 502)
    status = int(value)
    if not 100 <= status <= 599 or status == 101:
        raise BadMessage("invalid_status", 502)
    return status


def _judge(name: bytes, value: bytes) -> HeaderLine:
    """RFC 9113 section 8.2.1 and 8.2.2."""
    if not name or name.translate(None, LOWER_TOKEN) or name in _OF_ONE_HOP:
        raise BadMessage("invalid_header_name", 502)
    if value.translate(None, FIELD_VALUE):
        raise BadMessage("invalid_header_value", 502)
    return HeaderLine(name, value.strip(b" \t"))  # white space around it is wrong, and means nothing


def switched(head: ResponseHead, upgrade: bytes, accept: bytes) -> ResponseHead:
    """The 101 that a client of HTTP/1.1 expects where an extended CONNECT was answered with 200.

    `accept` answers the client's Sec-WebSocket-Key, unless the upstream did (RFC 8441 has no use for either).
    """
    lines = [line for line in head.lines if line.name != b"content-length"]
    lines.append(HeaderLine(b"upgrade", upgrade))
    if accept and all(line.name != b"sec-websocket-accept" for line in lines):
        lines.append(HeaderLine(b"sec-websocket-accept", accept))
    return ResponseHead(101, None, False, lines)
