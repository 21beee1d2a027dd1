"""Bytes as a log's text: gzip, bzip2, xz, UTF-16 and byte order marks undone, block by block."""

from __future__ import annotations

import bz2
import codecs
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO, Final, Protocol

from ostiary.model import limits

_GZIP_WINDOW: Final = 31
"""zlib's number for a gzip header with the largest window."""
_XZ_BYTES: Final = 256 * 1024 * 1024
"""`xz -9` asks for 65 MB; a file may ask for gigabytes."""
_SNIFFED: Final = 512


class _Unpacker(Protocol):
    """One member of a compressed file; the others' shape is that of bz2 and lzma."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes:
        """More text, at most so much; with no data, what is left of the data before."""


class _Gzip:
    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(_GZIP_WINDOW)

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def needs_input(self) -> bool:
        return not self._zlib.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._zlib.decompress(self._zlib.unconsumed_tail + data, max_length)


_PACKED: Final[tuple[tuple[bytes, Callable[[], _Unpacker]], ...]] = (
    (b"\x1f\x8b", _Gzip),
    (b"BZh", bz2.BZ2Decompressor),
    (b"\xfd7zXZ\x00", lambda: lzma.LZMADecompressor(memlimit=_XZ_BYTES)),
)
"""How compressed data begins, and what unpacks a member of it."""


class Text:
    """The blocks of a log as UTF-8 (or whatever 8-bit encoding it has)."""

    def __init__(self, stream: BinaryIO, progress: Callable[[int], None] | None = None) -> None:
        self._stream = stream
        self._progress = progress
        self.read_bytes = 0
        """Bytes of the source so far."""
        self.problem = ""
        """Why the log ended before its end; empty if it did not."""

    def blocks(self) -> Iterator[bytes]:
        """One block after the other, none empty. Raises OSError of the stream."""
        decoder: codecs.IncrementalDecoder | None = None
        for number, block in enumerate(self._unpacked()):
            if number == 0:
                decoder = _decoder(block[:_SNIFFED])
                block = block.removeprefix(codecs.BOM_UTF8)
            if decoder is not None:
                block = decoder.decode(block).encode("utf-8", "replace")
            if block:
                yield block

    def _raw(self) -> Iterator[bytes]:
        begun = False
        while block := self._stream.read(limits.LOG_BLOCK_BYTES):
            while not begun and len(block) < _SNIFFED and (more := self._stream.read(_SNIFFED - len(block))):
                block += more  # a pipe may give little at a time, and the first bytes say what it is
            begun = True
            self.read_bytes += len(block)
            if self._progress is not None:
                self._progress(self.read_bytes)
            yield block

    def _unpacked(self) -> Iterator[bytes]:
        raw = self._raw()
        first = next(raw, b"")
        kind = next((unpacks for sign, unpacks in _PACKED if first.startswith(sign)), None)
        if kind is None:
            if first:
                yield first
            yield from raw
            return
        try:
            yield from self._members(kind, first, raw)
        except (zlib.error, lzma.LZMAError, OSError, EOFError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # the stream's own; bz2 has none of its own for damaged data
            self.problem = f"the compressed data is damaged: {error}"

    def _members(self, kind: Callable[[], _Unpacker], block: bytes, raw: Iterator[bytes]) -> Iterator[bytes]:
        unpacker, within = kind(), False
        while block or (block := next(raw, b"")):
            within = True
            if text := unpacker.decompress(block, limits.LOG_BLOCK_BYTES):
                yield text
            while not (unpacker.eof or unpacker.needs_input):
                if text := unpacker.decompress(b"", limits.LOG_BLOCK_BYTES):
                    yield text
            block = b""
            if unpacker.eof:  # another member may follow, or a file system's padding
                block, unpacker, within = unpacker.unused_data.lstrip(b"\0"), kind(), False
        if within:
            self.problem = "the compressed data is cut off"


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
