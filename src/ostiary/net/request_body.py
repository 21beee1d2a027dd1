"""A request's body on its way: read by its framing, written anew for the upstream."""

from __future__ import annotations

from typing import final

from ostiary.core import chunked
from ostiary.core.header_lines import FORWARDED, Classify
from ostiary.core.http1 import RequestHead


@final
class RequestBody:
    """Bytes in, the upstream's bytes out. With a length they are the same bytes; chunks are encoded afresh.

    A trailer passes only if its name would pass as a header's: some applications put both together, and what says who
    asks is ours to say.
    """

    __slots__ = ("_chunks", "_classify", "_left", "done", "received", "rest")

    def __init__(self, head: RequestHead, classify: Classify) -> None:
        self._classify = classify
        self._chunks = chunked.ChunkedReader() if head.chunked else None
        self._left = head.content_length or 0
        self.done = False
        self.rest = b""
        """What follows the body: the next request."""
        self.received = 0
        """Bytes of payload so far."""

    def feed(self, data: bytes) -> bytes:
        """What goes upstream. Raises BadMessage."""
        chunks = self._chunks
        if chunks is not None:
            payload = chunks.feed(data)
            self.received += len(payload)
            wire = chunked.encode(payload) if payload else b""
            if chunks.done:
                self.done, self.rest = True, chunks.rest
                wire += chunked.encode_end([each for each in chunks.trailers if self._classify(each.name) == FORWARDED])
            return wire
        left = self._left - len(data)
        if left > 0:
            self._left = left
            self.received += len(data)
            return data
        self.done = True
        self.received += self._left
        if left == 0:
            return data
        self.rest = data[self._left :]
        return data[: self._left]
