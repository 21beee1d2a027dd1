"""What a command's exit code means; the same for every verb. 0 is done, or healthy."""

from __future__ import annotations

from typing import Final

EXIT_PROBLEM: Final = 1
"""The command ran and found a problem."""
EXIT_USAGE: Final = 2
"""Wrong usage or configuration."""
EXIT_INTERRUPTED: Final = 130
