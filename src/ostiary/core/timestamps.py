"""%START_TIME(format)%: Unix seconds as text, in UTC.

The specifiers are strftime's, plus Envoy's `%f` (fraction of the second, nine digits; `%3f`, `%6f`, ... fewer), `%s`
(Unix seconds; `%3s`, `%6s`, `%9s` with that much of the fraction appended) and Abseil's `%E3S` (seconds with
fraction), `%Ez` (`+00:00`). What has no fraction is rendered once a second.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

DEFAULT_FORMAT: Final = "%Y-%m-%dT%H:%M:%E3SZ"
"""Envoy's, as in 2026-11-23T13:40:29.123Z."""

_STRFTIME: Final = frozenset("aAbBcCdDeFgGhHIjklmMnprRStTuUVwWxXyYzZ%")
_TOKEN: Final = re.compile(r"%(?:([1-9]?)([fs])|E([1-9])S|(Ez)|(.?))", re.DOTALL)
_NANOSECONDS: Final = 1_000_000_000

_Piece = str | tuple[str, int]


def time_formatter(pattern: str) -> Callable[[float], str]:
    """A function from Unix seconds to text. Raises ValueError for a specifier that is unknown."""
    pieces = _parse(pattern or DEFAULT_FORMAT)
    cached_second = -1
    prefixes: list[_Piece] = []

    def render(moment: float) -> str:
        nonlocal cached_second, prefixes
        second, nanoseconds = divmod(round(moment * 1_000_000) * 1000, _NANOSECONDS)
        if second != cached_second:
            when = datetime.fromtimestamp(second, UTC)
            prefixes = [when.strftime(piece) if isinstance(piece, str) else piece for piece in pieces]
            cached_second = second
        if len(prefixes) == 1 and isinstance(prefixes[0], str):
            return prefixes[0]
        fraction = f"{nanoseconds:09d}"
        return "".join(
            piece if isinstance(piece, str) else _with_fraction(piece, second, fraction) for piece in prefixes
        )

    return render


def _with_fraction(piece: tuple[str, int], second: int, fraction: str) -> str:
    kind, digits = piece
    return f"{second}{fraction[:digits]}" if kind == "s" else fraction[:digits]


def _parse(pattern: str) -> list[_Piece]:
    if "\r" in pattern or "\n" in pattern:
        raise ValueError("a time format must not hold a line break")
    pieces: list[_Piece] = []
    text = ""
    position = 0
    for token in _TOKEN.finditer(pattern):
        text += pattern[position : token.start()].replace("%", "%%")
        position = token.end()
        digits, kind, subsecond, zone, plain = token.groups()
        if kind or subsecond:
            text += "%S." if subsecond else ""
            if text:
                pieces.append(text)
            text = ""
            pieces.append(
                (kind, int(digits) if digits else (9 if kind == "f" else 0)) if kind else ("f", int(subsecond))
            )
        elif zone:
            text += "+00:00"
        elif plain in _STRFTIME and plain:
            text += f"%{plain}"
        else:
            raise ValueError(f"time format {pattern!r}: unknown specifier %{plain}")
    text += pattern[position:]
    if text:
        pieces.append(text)
    return pieces
