"""A memory with a bound."""

from __future__ import annotations

from typing import Generic, TypeVar

from ostiary.model import limits

K = TypeVar("K")
V = TypeVar("V")


class Recent(dict[K, V], Generic[K, V]):
    """A dict that forgets its oldest entries."""

    def __setitem__(self, key: K, value: V) -> None:
        if len(self) >= limits.MAX_JOINED and key not in self:
            del self[next(iter(self))]
        super().__setitem__(key, value)
