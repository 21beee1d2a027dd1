"""The chunked transfer coding (RFC 9112 section 7.1), read strictly and written anew.

Chunk extensions are dropped (nothing in this world uses them but smugglers), sizes are hexadecimal digits only, every
line ends in CRLF, and trailers are bounded. What goes on is encoded afresh, so a peer's odd chunks never pass through.
"""

from __future__ import annotations

from typing import Final, final

from ostiary.core.header_lines import BadMessage, HeaderLine, parse_line
from ostiary.model import limits

_HEX: Final = b"0123456789abcdefABCDEF"
_SIZE: Final = 0
_DATA: Final = 1
_DATA_END: Final = 2
_TRAILERS: Final = 3
_LONGEST: Final = {_SIZE: limits.MAX_CHUNK_LINE_BYTES, _DATA_END: 0, _TRAILERS: limits.MAX_TRAILER_BYTES}
"""State -> bytes of a line, its CRLF aside: the same bound whether the line comes at once or in parts."""
_NEVER_TRAILING: Final = (b"x-forwarded-", b"x-ostiary-", b"x-envoy-", b"x-real-ip", b"forwarded", b"x-auth-")
"""What says who asks comes in the head or not at all."""
LAST_CHUNK: Final = b"0\r\n\r\n"
_NOT_IN_TRAILERS: Final = frozenset(
    (b"host", b"content-length", b"transfer-encoding", b"connection", b"te", b"trailer", b"upgrade", b"expect",
     b"authorization", b"cookie", b"set-cookie", b"content-encoding", b"content-type", b"content-range")
)  # fmt: skip


def encode(payload: bytes) -> bytes:
    """One chunk. `payload` is not empty."""
    return b"%x\r\n%b\r\n" % (len(payload), payload)


def encode_end(trailers: list[HeaderLine]) -> bytes:
    """The last chunk with its trailers; fields that frame or identify never pass (RFC 9110 section 6.5.1)."""
    if not trailers:
        return LAST_CHUNK
    kept = [trailer.wire for trailer in trailers if _may_trail(trailer.name.replace(b"_", b"-"))]
    return b"0\r\n" + b"".join(kept) + b"\r\n"


def _may_trail(name: bytes) -> bool:
    return name not in _NOT_IN_TRAILERS and not name.startswith(_NEVER_TRAILING)


@final
class ChunkedReader:
    """Bytes in, payload out; `done` with `rest` (what follows the body) at its end."""

    __slots__ = ("_buffer", "_left", "_state", "done", "rest", "trailers")

    def __init__(self) -> None:
        self._buffer = b""
        self._left = 0
        self._state = _SIZE
        self.done = False
        self.rest = b""
        self.trailers: list[HeaderLine] = []

    def feed(self, data: bytes) -> bytes:
        """The payload in `data`, all chunks joined. Raises BadMessage."""
        if self._state == _DATA and len(data) < self._left:  # the usual case inside a large chunk
            self._left -= len(data)
            return data
        data = self._buffer + data if self._buffer else data
        self._buffer = b""
        out: list[bytes] = []
        at = 0
        while not self.done:
            if self._state == _DATA:
                piece = data[at : at + self._left]
                out.append(piece)
                at += len(piece)
                self._left -= len(piece)
                if self._left:
                    break
                self._state = _DATA_END
            end = data.find(b"\r\n", at)
            if end < 0:
                self._keep(data[at:])
                break
            self._line(data[at:end])
            at = end + 2
        if self.done:
            self.rest = data[at:]
        return out[0] if len(out) == 1 else b"".join(out)

    def _keep(self, rest: bytes) -> None:
        line = rest.removesuffix(b"\r")
        if len(line) > _LONGEST[self._state] or b"\n" in line or b"\r" in line:
            raise BadMessage("invalid_chunk")
        self._buffer = rest

    def _line(self, line: bytes) -> None:
        if len(line) > _LONGEST[self._state]:
            raise BadMessage("invalid_chunk")
        if self._state == _DATA_END:
            self._state = _SIZE
        elif self._state == _SIZE:
            self._size(line)
        elif line:
            if len(self.trailers) >= limits.MAX_TRAILERS:
                raise BadMessage("too_many_trailers", 431)
            self.trailers.append(parse_line(line))
        else:
            self.done = True

    def _size(self, line: bytes) -> None:
        size, semicolon, extension = line.partition(b";")
        if semicolon:
            size = size.rstrip(b" \t")
        if len(size) > 15 or not size or size.translate(None, _HEX) or b"\n" in extension or b"\r" in extension:
            raise BadMessage("invalid_chunk")
        self._left = int(size, 16)
        self._state = _DATA if self._left else _TRAILERS
