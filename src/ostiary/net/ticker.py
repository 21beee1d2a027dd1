"""One coarse clock per worker: no request has a timer of its own.

Every `PERIOD` the ticker reads the clock once and asks everything that is in progress whether it is late, and a share
of what is idle or streams, so that each of those is asked once a second and ten thousand of them never make a pause.
Deadlines are therefore met to within one period, or a second, which is what a proxy's timeouts need; a request costs
two set operations instead of a timer's heap.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final, Protocol, final

PERIOD: Final = 0.05
SHARES: Final = 20
"""Of what is idle, so that a second asks all of it."""


_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def http_date(second: int) -> bytes:
    """A Unix time as an IMF-fixdate (RFC 9110 section 5.6.7), whatever the locale."""
    at = time.gmtime(second)
    return (
        f"{_DAYS[at.tm_wday]}, {at.tm_mday:02d} {_MONTHS[at.tm_mon - 1]} {at.tm_year:04d} "
        f"{at.tm_hour:02d}:{at.tm_min:02d}:{at.tm_sec:02d} GMT"
    ).encode()


class Timed(Protocol):
    """Something with deadlines."""

    def check_deadlines(self, now: float) -> None:
        """Act if a deadline lies before `now` (monotonic seconds)."""


@final
class Shares:
    """A set in parts of about the same size."""

    __slots__ = ("parts",)

    def __init__(self) -> None:
        self.parts: tuple[set[Timed], ...] = tuple(set() for _ in range(SHARES))

    def add(self, timed: Timed) -> None:
        """Add it to its part."""
        self._part_of(timed).add(timed)

    def discard(self, timed: Timed) -> None:
        """Take it out, if it is there."""
        self._part_of(timed).discard(timed)

    def _part_of(self, timed: Timed) -> set[Timed]:
        """By its hash, well mixed: objects of a size lie at addresses with a step in common."""
        return self.parts[(hash(timed) * 0x9E3779B1 >> 16) % SHARES]


@final
class Ticker:
    """`now` (monotonic), `wall` (Unix time) and `date` (the Date header's value), each at most one period old."""

    __slots__ = ("_handle", "_late", "_loop", "_second", "_share", "active", "date", "idle", "now", "wall")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.active: set[Timed] = set()
        """Checked every period."""
        self.idle = Shares()
        """Checked every second."""
        self._late: dict[asyncio.TimerHandle, Callable[[], None]] = {}
        self._share = 0
        self._second = 0
        self.date = b""
        self._read()
        self._handle: asyncio.TimerHandle | None = loop.call_later(PERIOD, self._tick)

    def _read(self) -> None:
        self.now = time.monotonic()
        self.wall = time.time()
        second = int(self.wall)
        if second != self._second:
            self._second = second
            self.date = http_date(second)

    def _tick(self) -> None:
        self._read()
        self._handle = self._loop.call_later(PERIOD, self._tick)
        now = self.now
        for timed in tuple(self.active):
            timed.check_deadlines(now)
        self._share = (self._share + 1) % SHARES
        for timed in tuple(self.idle.parts[self._share]):
            timed.check_deadlines(now)

    def at_latest(self, seconds: float, callback: Callable[[], None]) -> None:
        """Call it then, or at the end if that comes first: a loop must not end on what still waits for a peer."""

        def late() -> None:
            del self._late[handle]
            callback()

        handle = self._loop.call_later(seconds, late)
        self._late[handle] = callback

    def stop(self) -> None:
        """End the ticking."""
        late, self._late = self._late, {}
        for handle, callback in late.items():
            handle.cancel()
            callback()
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
