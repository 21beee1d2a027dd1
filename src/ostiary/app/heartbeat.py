"""Whether workers live: each says so once a second in memory that it shares with its parent.

The parent looks every few seconds, kills one that hangs, and passes on to the service manager that all have come up and
that the family lives. A look that comes late itself judges nobody: then the machine stood still, not a worker.
"""

from __future__ import annotations

import mmap
import struct
import time
from collections.abc import Callable, Mapping
from typing import Final, final

from ostiary.model import limits
from ostiary.net import service_manager

_SECONDS: Final = struct.Struct("d")
_LOOK: Final = 5.0
_LOOK_FOR_START: Final = 0.1
_LATE: Final = 2.0


@final
class Heartbeats:
    """Monotonic seconds by index; made before any fork."""

    def __init__(self, count: int) -> None:
        self._memory = mmap.mmap(-1, count * _SECONDS.size)

    def beat(self, index: int) -> None:
        """This worker lives."""
        _SECONDS.pack_into(self._memory, index * _SECONDS.size, time.monotonic())

    def clear(self, index: int) -> None:
        """A new worker is about to be started there."""
        _SECONDS.pack_into(self._memory, index * _SECONDS.size, 0.0)

    def last(self, index: int) -> float:
        """When it said so last; 0.0 if it has not come up yet."""
        found: float = _SECONDS.unpack_from(self._memory, index * _SECONDS.size)[0]
        return found


@final
class Heart:
    """A worker's own, driven by its ticker: a loop that does not turn does not beat."""

    def __init__(self, heartbeats: Heartbeats, index: int) -> None:
        self._heartbeats = heartbeats
        self._index = index
        heartbeats.beat(index)

    def check_deadlines(self, now: float) -> None:  # noqa: ARG002 - Timed's shape
        """Once a second."""
        self._heartbeats.beat(self._index)


@final
class Health:
    """The parent's look at its workers."""

    def __init__(self, heartbeats: Heartbeats, kill: Callable[[int, str], None], number: int) -> None:
        """`kill` ends the worker of an index, for a reason that is logged. `number`: workers that have to come up."""
        self._heartbeats = heartbeats
        self._kill = kill
        self._number = number
        self._ready = False
        self._manager = service_manager.watchdog_interval()
        self.deadline = time.monotonic()
        """When `tick` should be called."""

    def born(self, index: int) -> None:
        """A worker is about to be started there."""
        self._heartbeats.clear(index)

    def tick(self, now: float, born: Mapping[int, float]) -> None:
        """`born`: the workers there are, and since when."""
        if now < self.deadline:
            return
        punctual = now < self.deadline + _LATE
        if not self._ready and all(self._heartbeats.last(index) for index in range(self._number)):
            self._ready = True
            service_manager.notify("READY=1")
        for index, since in born.items():
            silent = now - max(self._heartbeats.last(index), since)
            if punctual and silent > limits.WATCHDOG:
                self._kill(index, f"it hangs, its loop has not turned for {silent:.0f} s")
        if self._ready and self._manager is not None:
            service_manager.notify("WATCHDOG=1")
        self.deadline = now + (min(_LOOK, self._manager or _LOOK) if self._ready else _LOOK_FOR_START)
