"""A bounded memory: two generations, the older dropped when the younger is full, by number or by bytes.

Less exact than least-recently-used and much cheaper: remembering is one assignment, and what is used stays.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar, final

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@final
class Generations(Generic[K, V]):
    """Remembers up to `entries` things of together `size` bytes in each of two generations."""

    __slots__ = ("_entries", "_limit", "_old", "_once", "_size", "young")

    def __init__(self, entries: int, size: int) -> None:
        self._entries = entries
        self._limit = size
        self._size = 0
        self.young: dict[K, V] = {}
        """Look here first; what isn't here is `older`."""
        self._old: dict[K, V] = {}
        self._once: set[int] = set()

    def is_new(self, key: K) -> bool:
        """True at the first sight of a key: what comes only once is not worth remembering."""
        mark = hash(key)
        if mark in self._once:
            return False
        if len(self._once) >= self._entries:
            self._once.clear()
        self._once.add(mark)
        return True

    def older(self, key: K) -> V | None:
        """From the old generation; the caller decides whether to `put` it into the young one."""
        return self._old.get(key)

    def put(self, key: K, value: V, size: int) -> None:
        """Remember; `size` in bytes."""
        self._size += size
        if len(self.young) >= self._entries or self._size > self._limit:
            self._old, self.young, self._size = self.young, {}, size
        self.young[key] = value

    def clear(self) -> None:
        """Forget everything."""
        self.young, self._old, self._size = {}, {}, 0

    def __len__(self) -> int:
        return len(self.young) + len(self._old)
