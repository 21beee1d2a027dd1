"""Bytes as a log's text: gzip, UTF-16 and byte order marks undone, block by block."""

from __future__ import annotations

import codecs
import gzip
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO, Final, cast

from ostiary.model import limits

_GZIP: Final = b"\x1f\x8b"
_SNIFF: Final = 512


class _Counting:
    """A stream that tells how much of it was read, and gives back what was sniffed."""

    def __init__(self, stream: BinaryIO, progress: Callable[[int], None] | None) -> None:
        self._stream = stream
        self._progress = progress
        self.read_bytes = 0
        self._ahead = b""

    def peek(self, size: int) -> bytes:
        """The first bytes, which `read` gives again."""
        while len(self._ahead) < size:
            more = self._stream.read(size - len(self._ahead))
            if not more:
                break
            self._ahead += more
        return self._ahead

    def read(self, size: int = -1) -> bytes:
        """As of any stream."""
        data, self._ahead = self._ahead, b""
        if not data or len(data) < size:
            data += self._stream.read(size - len(data) if size >= 0 else -1) or b""
        self.read_bytes += len(data)
        if self._progress is not None:
            self._progress(self.read_bytes)
        return data


class Text:
    """The blocks of a log as UTF-8 (or whatever 8-bit encoding it has)."""

    def __init__(self, stream: BinaryIO, progress: Callable[[int], None] | None = None) -> None:
        self._raw = _Counting(stream, progress)
        self.problem = ""
        """Why the log ended before its end; empty if it did not."""

    @property
    def read_bytes(self) -> int:
        """Bytes of the source so far."""
        return self._raw.read_bytes

    def blocks(self) -> Iterator[bytes]:
        """One block after the other, none empty."""
        first = self._raw.peek(_SNIFF)
        source: BinaryIO | _Counting = self._raw
        if first.startswith(_GZIP):
            source = cast(BinaryIO, gzip.GzipFile(fileobj=cast(BinaryIO, self._raw), mode="rb"))
        try:
            block = source.read(limits.LOG_BLOCK_BYTES)
            decoder = _decoder(block[:_SNIFF])
            block = block.removeprefix(codecs.BOM_UTF8)
            while block:
                text = block if decoder is None else decoder.decode(block).encode("utf-8", "replace")
                if text:
                    yield text
                block = source.read(limits.LOG_BLOCK_BYTES)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            self.problem = f"the compressed data is damaged or cut off: {error}"


def _decoder(head: bytes) -> codecs.IncrementalDecoder | None:
    """For UTF-16, which has a zero byte in each character of a log; None for anything else."""
    name = ""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        name = "utf-16"
    elif len(head) >= 8 and head[1::2].count(0) > len(head) // 3 and head[::2].count(0) < len(head) // 20 + 1:
        name = "utf-16-le"
    elif len(head) >= 8 and head[::2].count(0) > len(head) // 3 and head[1::2].count(0) < len(head) // 20 + 1:
        name = "utf-16-be"
    return codecs.getincrementaldecoder(name)("replace") if name else None
