"""The errors of Ostiary, as a tree.

OstiaryError                 anything this program says no to
├── ConfigError              a configuration that can't be run; carries its diagnostics
└── LimitExceeded            a named bound of `limits` was passed

`ConnectError` (an OSError, in `net/connect_error.py`) is the connection's own: it carries a trace.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "info"]


class OstiaryError(Exception):
    """Anything this program says no to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostic:
    """One finding about a configuration: `file:line:column: severity: path: message (mend)`."""

    file: str
    line: int
    """1-based; 0 where the place is not a line of a file (a flag, an environment variable)."""
    column: int
    """1-based."""
    severity: Severity = "error"
    path: str
    """The key's path from the document's root, as in `static_resources.clusters[0].type`."""
    message: str
    mend: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        path = f"{self.path}: " if self.path else ""
        mend = f" ({self.mend})" if self.mend else ""
        line = f"{place}: {self.severity}: {path}{self.message}{mend}"
        return line if line.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)


class ConfigError(OstiaryError):
    """A configuration that can't be run."""

    def __init__(self, diagnostics: Sequence[Diagnostic]) -> None:
        self.diagnostics = tuple(diagnostics)
        super().__init__("\n".join(str(d) for d in self.diagnostics))


class LimitExceeded(OstiaryError):
    """A named bound of `limits` was passed."""
