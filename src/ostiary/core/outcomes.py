"""What happened to the address families of a destination lately, so that a dead family costs its delay once.

The memory only changes the order of attempts, never which ones are made. An entry is not renewed by the successes it
brings about: after ten minutes the usual order is tried again, so that a family that has recovered comes back.
"""

from __future__ import annotations

from collections.abc import Iterable

from ostiary.core.addresses import Family
from ostiary.core.trace import Attempt
from ostiary.model import limits


class Outcomes:
    """(host, port) -> the family to try first, each for `OUTCOME_MEMORY` seconds; bounded, the oldest go first."""

    __slots__ = ("_entries",)

    def __init__(self) -> None:
        self._entries: dict[tuple[str, int], tuple[Family, float]] = {}

    def preferred(self, host: str, port: int, now: float) -> Family | None:
        """The family that won while the other one cost time; None if nothing is known."""
        entry = self._entries.get((host, port))
        if entry is None:
            return None
        if now >= entry[1]:
            del self._entries[(host, port)]
            return None
        return entry[0]

    def learn(self, host: str, port: int, winner: Attempt | None, attempts: Iterable[Attempt], now: float) -> None:
        """Take in a race that is over. What failed within this host took no time and says nothing about the peer."""
        key = (host, port)
        if winner is None or winner.family == "unix":
            self._entries.pop(key, None)
            return
        beaten = any(a.family != winner.family and a.started is not None and a.stage != "route" for a in attempts)
        known = self._entries.get(key)
        if not beaten or (known is not None and known[0] == winner.family):
            return
        self._entries.pop(key, None)
        while len(self._entries) >= limits.MAX_OUTCOMES:
            del self._entries[next(iter(self._entries))]
        self._entries[key] = (winner.family, now + limits.OUTCOME_MEMORY)

    def flush(self) -> None:
        """Forget everything: the network has changed."""
        self._entries.clear()

    def __len__(self) -> int:
        return len(self._entries)
