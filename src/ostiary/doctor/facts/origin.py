"""Where a fact comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["probe", "config", "log", "admin"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The source of a fact, and what it said there."""

    kind: Kind
    source: str
    """A file, a URL, `namespace/pod`, or what was probed."""
    quote: str
    """The line or value that says it, without secrets: what a finding's proof shows."""
    line: int = 0
    """1-based; 0 where there are no lines."""
    when: str = ""
    """The time as the source wrote it."""
    count: int = 1
    """How many lines of a log say the same."""
    until: str = ""
    """The time of the last of them; empty for one."""
    outlived: bool = False
    """Somebody signed in after it, and nobody before."""

    def __str__(self) -> str:
        place = f"{self.source}:{self.line}" if self.line else self.source
        return f"{place}: {self.quote}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One thing that a source says. Kinds of facts are subclasses; a case files them by class."""

    origin: Origin
