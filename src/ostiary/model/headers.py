"""A multimap of HTTP header fields (RFC 9110 section 5): order and repeated fields are kept.

Names are lower-case str, values are str of latin-1 characters, so that every byte survives the round trip.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import final


@final
class Headers:
    """An ordered multimap of header fields. Names are given and kept in lower case."""

    __slots__ = ("_items",)

    def __init__(self, items: Iterable[tuple[str, str]] = ()) -> None:
        self._items = [(name.lower(), value) for name, value in items]

    @classmethod
    def of(cls, items: list[tuple[str, str]]) -> Headers:
        """Around this very list, whose names are in lower case already."""
        self = cls.__new__(cls)
        self._items = items
        return self

    def get(self, name: str) -> str | None:
        """The first value of `name`, or None."""
        for key, value in self._items:
            if key == name:
                return value
        return None

    def get_all(self, name: str) -> list[str]:
        """Every value of `name`, in order."""
        return [value for key, value in self._items if key == name]

    def joined(self, name: str) -> str | None:
        """All values of `name` as one comma-separated list (RFC 9110 section 5.3), or None."""
        values = self.get_all(name)
        return ",".join(values) if values else None

    def add(self, name: str, value: str) -> None:
        """Append one more field."""
        self._items.append((name.lower(), value))

    def set(self, name: str, value: str) -> None:
        """Replace every field of that name by one."""
        self.remove(name)
        self._items.append((name.lower(), value))

    def remove(self, name: str) -> None:
        """Remove every field of that name."""
        name = name.lower()
        self._items = [item for item in self._items if item[0] != name]

    def copy(self) -> Headers:
        """An independent copy."""
        new = Headers()
        new._items = list(self._items)
        return new

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, name: object) -> bool:
        return any(key == name for key, _ in self._items)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headers) and self._items == other._items

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<Headers {' '.join(name for name, _ in self._items)}>"  # values may be secrets
