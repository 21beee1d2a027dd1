"""Pasted logs that a terminal, a mail or a ticket wrapped: lines put together again, as far as one can tell.

A hard wrap cuts every line at one width, anywhere; a soft wrap at a blank before it. So a line that begins no record
and follows one of full width goes on with it.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from ostiary.doctor.logs.formats import begins_record

_NARROWEST: Final = 50
_WIDEST: Final = 250
_SOFT: Final = 30
"""A soft wrap leaves out at most about a word."""


def unwrapped(text: bytes) -> bytes | None:
    """The text with its records in one line each; None if it is not wrapped."""
    lines = text.decode("utf-8", "replace").replace("\r", "").split("\n")
    starts = [begins_record(line) for line in lines]
    if not any(starts) or all(starts):
        return None
    width = _width(lines, starts)
    if width == 0:
        return None
    out: list[str] = []
    for index, line in enumerate(lines):
        before = len(lines[index - 1]) if index else 0
        alone = starts[index] or not line.strip() or line.startswith("```")
        if index == 0 or alone or not _full(before, line, width):
            out.append(line)
        elif before == width:
            out[-1] += line
        else:
            out[-1] += " " + line.lstrip()
    return "\n".join(out).encode()


def _full(before: int, line: str, width: int) -> bool:
    """Whether a line of this length was cut because the next one's first word did not fit."""
    return width - _SOFT <= before <= width or (
        before > 0 and before + len(line.split(maxsplit=1)[0]) >= width >= before
    )


def _width(lines: list[str], starts: list[bool]) -> int:
    """The width at which it was wrapped: that of the longest lines that others go on; 0 if it was not."""
    followed = [len(lines[index - 1]) for index in range(1, len(lines)) if not starts[index] and lines[index].strip()]
    likely = [length for length in followed if _NARROWEST <= length <= _WIDEST]
    if not likely:
        return 0
    width = max(likely)
    if max(map(len, lines)) > width:  # a longer line was left as it is: nothing wraps here
        most, times = Counter(likely).most_common(1)[0]
        return most if times > 2 and most == width else 0
    return width
