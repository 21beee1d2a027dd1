"""Bytes as a log's text: gzip, UTF-16 and byte order marks undone, block by block."""

from __future__ import annotations

import codecs
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO, Final

from ostiary.model import limits

_GZIP: Final = b"\x1f\x8b"
_GZIP_WINDOW: Final = 31
"""zlib's number for a gzip header with the largest window."""
_SNIFFED: Final = 512


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
        unpacker, within = None, False
        for number, block in enumerate(self._raw()):
            if number == 0 and block.startswith(_GZIP):
                unpacker = zlib.decompressobj(_GZIP_WINDOW)
            if unpacker is None:
                yield block
            while block and unpacker is not None:
                within = True
                try:
                    text = unpacker.decompress(block, limits.LOG_BLOCK_BYTES)
                except zlib.error as error:
                    self.problem = f"the compressed data is damaged: {error}"
                    return
                if text:
                    yield text
                block = unpacker.unconsumed_tail
                if unpacker.eof:  # another member may follow
                    block, unpacker, within = unpacker.unused_data, zlib.decompressobj(_GZIP_WINDOW), False
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
