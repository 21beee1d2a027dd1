"""Randomness in bulk, for what is needed at every request and is no secret, like request ids."""

from __future__ import annotations

from typing import Final, final

from ostiary.core.decision import Entropy

_AT_ONCE: Final = 4096


@final
class BufferedEntropy:
    """Asks its source for 4 KiB at once and gives every byte out once. Must not be shared across a fork."""

    __slots__ = ("_at", "_bytes", "_source")

    def __init__(self, source: Entropy) -> None:
        self._source = source
        self._bytes = b""
        self._at = 0

    def __call__(self, count: int) -> bytes:
        """`count` random bytes."""
        end = self._at + count
        if end > len(self._bytes):
            if count > _AT_ONCE:
                return self._source(count)
            self._bytes, self._at, end = self._source(_AT_ONCE), 0, count
        found = self._bytes[self._at : end]
        self._at = end
        return found
