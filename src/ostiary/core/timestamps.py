"""%START_TIME(format)%: Unix seconds as text, in UTC.

The specifiers are strftime's, plus Envoy's `%f` (fraction of the second, nine digits; `%3f`, `%6f`, ... fewer), `%s`
(Unix seconds; a digit before the `s` changes nothing, as in Envoy) and Abseil's `%E3S` (seconds with fraction),
`%Ez` (`+00:00`). The text is made anew only when its smallest unit has moved on.
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
_MICROSECONDS: Final = 1_000_000
_MICROSECOND_DIGITS: Final = 6
_MAX_FRACTION_DIGITS: Final = 9

_SECONDS: Final = "\x01"
_Piece = str | int
"""Text for strftime (`_SECONDS` stands for Unix seconds), or how many digits of the fraction."""


def time_formatter(pattern: str) -> Callable[[float], str]:
    """A function from Unix seconds to text. Raises ValueError for a specifier that is unknown."""
    pieces = _parse(pattern or DEFAULT_FORMAT)
    digits = max((piece for piece in pieces if isinstance(piece, int)), default=0)
    resolution = 10 ** max(_MICROSECOND_DIGITS - digits, 0)
    cached_tick = cached_second = -1
    text = ""
    template: list[_Piece] = []

    def render(moment: float) -> str:
        nonlocal cached_tick, cached_second, template, text
        microseconds = round(moment * _MICROSECONDS)
        tick = microseconds // resolution
        if tick != cached_tick:
            second, microsecond = divmod(microseconds, _MICROSECONDS)
            if second != cached_second:
                template = _of_second(pieces, second)
                cached_second = second
            fraction = f"{microsecond:06d}000"
            text = "".join([piece if isinstance(piece, str) else fraction[:piece] for piece in template])
            cached_tick = tick
        return text

    return render


def _of_second(pieces: list[_Piece], second: int) -> list[_Piece]:
    """The pieces with everything filled in that is the same for a whole second."""
    when = datetime.fromtimestamp(second, UTC)
    return [
        when.strftime(piece).replace(_SECONDS, str(second)) if isinstance(piece, str) else piece for piece in pieces
    ]


def _parse(pattern: str) -> list[_Piece]:
    if not pattern.isprintable():
        raise ValueError("a time format must not hold control characters")
    pieces: list[_Piece] = []
    text = ""
    position = 0
    for token in _TOKEN.finditer(pattern):
        text += pattern[position : token.start()]
        position = token.end()
        digits, kind, subsecond, zone, plain = token.groups()
        if kind == "s":
            text += _SECONDS
        elif kind or subsecond:
            text += "%S." if subsecond else ""
            pieces += [text] if text else []
            text = ""
            pieces.append(int(subsecond or digits or _MAX_FRACTION_DIGITS))
        elif zone:
            text += "+00:00"
        elif plain and plain in _STRFTIME:
            text += f"%{plain}"
        else:
            raise ValueError(f"time format {pattern!r}: unknown specifier %{plain}")
    text += pattern[position:]
    if text:
        pieces.append(text)
    return pieces
