"""A secret that never prints itself: not in a repr, a log line, a trace, a dump or an exception."""

from __future__ import annotations

import hmac
from typing import final


@final
class Secret:
    """Bytes that only `reveal()` gives out."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes | str) -> None:
        self._value = value.encode() if isinstance(value, str) else bytes(value)

    def reveal(self) -> bytes:
        """The bytes themselves; call it where they are used, never where they could be shown."""
        return self._value

    def text(self) -> str:
        """The secret as UTF-8 text. Raises UnicodeDecodeError if it is not text."""
        return self._value.decode()

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._value, other._value)

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __repr__(self) -> str:
        return "Secret('***')" if self._value else "Secret('')"

    __str__ = __repr__

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a Secret can't be pickled")
