"""How much a terminal can show, and text that can't do more than be read.

Three shapes: colours and lines of Unicode; the same without colours (a pipe, a file, NO_COLOR); ASCII (TERM=dumb, or a
locale that isn't UTF-8). Into a pipe a row is one line however long, for grep; on a terminal it is folded.
"""

from __future__ import annotations

import os
import sys
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

_PIPE_WIDTH: Final = 110
NARROW: Final = 76
"""Below this many columns a bar has a line of its own."""


@dataclass(frozen=True, slots=True)
class Glyphs:
    """The signs of one shape."""

    good: str
    bad: str
    start: str
    light: str
    turn: str
    heavy: str
    point: str
    nothing: str
    dropped: str
    open: str
    dot: str
    arrow: str
    gap: str


UNICODE: Final = Glyphs("✓", "✗", "├", "─", "╼", "━", "●", "○", "╌", "›", " · ", "→", "…")
ASCII: Final = Glyphs("+", "x", "|", "-", "=", "=", "o", "0", "~", ">", ", ", "->", "~")


@dataclass(frozen=True, slots=True)
class Screen:
    """Where to draw."""

    console: Console
    glyphs: Glyphs
    width: int
    folds: bool
    """Lines may not be longer than `width`."""

    def print(self, line: Text | str = "") -> None:
        """One line, as it is."""
        if not isinstance(line, str):
            line.rstrip()
        self.console.print(line, soft_wrap=True, markup=False, highlight=False)

    def words(self, text: str, style: str = "", indent: int = 0) -> None:
        """Sentences, folded where lines are."""
        from rich.text import Text

        for line in self.fold(text, indent):
            self.print(Text(line, style))

    def fold(self, text: str, indent: int = 0) -> list[str]:
        """The lines of a text."""
        text = self.clean(text)
        if not self.folds:
            return [" " * indent + text]
        margin = " " * indent
        return textwrap.wrap(
            text, max(self.width, indent + 20), initial_indent=margin, subsequent_indent=margin, break_on_hyphens=False
        )

    def clean(self, text: str) -> str:
        """Without anything that a terminal would obey or could not show."""
        text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
        return text if self.glyphs is UNICODE else plain(text)


def plain(text: str) -> str:
    """In ASCII."""
    for sign, other in (("→", "->"), ("–", "-"), ("…", "..."), (" · ", ", ")):
        text = text.replace(sign, other)
    return text.encode("ascii", "backslashreplace").decode()


def screen(stream: TextIO | None = None) -> Screen:
    """What standard output (or another stream) can show."""
    from rich.console import Console

    stream = sys.stdout if stream is None else stream
    terminal = is_terminal(stream)
    coloured = terminal and not os.environ.get("NO_COLOR")
    console = Console(
        file=stream, color_system="auto" if coloured else None, force_terminal=coloured, highlight=False, emoji=False
    )
    asked = os.environ.get("COLUMNS", "")
    width = console.width if stream.isatty() else int(asked) if asked.isdigit() and int(asked) > 0 else _PIPE_WIDTH
    return Screen(console, UNICODE if speaks_unicode(stream) else ASCII, width, folds=stream.isatty())


def is_terminal(stream: TextIO) -> bool:
    """Whether someone sees this at once, and colours and cursor movements do what they should."""
    return stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def speaks_unicode(stream: TextIO) -> bool:
    """Whether lines of Unicode arrive as they are."""
    dumb = stream.isatty() and os.environ.get("TERM", "dumb") == "dumb"
    return not dumb and stream.encoding.lower().replace("-", "") == "utf8"
