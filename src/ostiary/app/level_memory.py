"""What a proxy's levels were before `ostiary log` first changed them: for `--reset`, in another run and another day.

One small file a proxy in XDG_STATE_HOME (`~/.local/state`), replaced as a whole. A proxy that was started again since
has the levels it was started with, so `started` says which life the levels are of.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

_SAME: Final = 5.0
"""Seconds by which two measurements of one start may differ: uptimes are whole seconds, answers take time."""


@final
@dataclass(frozen=True, slots=True)
class Remembered:
    """Levels, and when the proxy was started (Unix time; None: unknown)."""

    levels: dict[str, str]
    started: float | None

    def is_of(self, started: float | None) -> bool:
        """Whether they are of the life that began then; so it is taken where nobody knows."""
        return self.started is None or started is None or abs(self.started - started) <= _SAME


@final
class LevelMemory:
    """The memory of one proxy, known by `where`."""

    def __init__(self, where: str) -> None:
        state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
        name = hashlib.sha256(where.encode()).hexdigest()[:32]
        self._where = where
        self.path = Path(state) / "ostiary" / "log-levels" / f"{name}.json"

    def load(self) -> Remembered | None:
        """What is remembered. A file that can't be read is as good as none."""
        try:
            document: Any = json.loads(self.path.read_text())
            levels = {str(name): str(level) for name, level in document["levels"].items()}
            started = document["started"]
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        return Remembered(levels, float(started) if isinstance(started, int | float) else None)

    def save(self, remembered: Remembered) -> None:
        """Remember that. Raises OSError, with the mend."""
        document = {"target": self._where, "levels": remembered.levels, "started": remembered.started}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle, name = tempfile.mkstemp(dir=self.path.parent)
            with os.fdopen(handle, "w") as file:
                json.dump(document, file)
            Path(name).replace(self.path)
        except OSError as error:
            text = f"can't remember the levels for --reset in {self.path.parent}: {error.strerror}"
            raise OSError(error.errno, f"{text} (XDG_STATE_HOME names another directory)") from error

    def forget(self) -> None:
        """Nothing is changed any more."""
        with suppress(OSError):
            self.path.unlink()
