"""What happened lately: which address family of a host failed, and how long a handshake with an address takes.

The memory only changes the order of attempts and the delay between them, never which ones are made.

- A family that cost time while the other one won is tried second for ten minutes, so that it costs its delay once. It
  is not renewed by the successes it brings about; and so that a family that has recovered comes back soon, one race
  tries the usual order again after a minute. If that fails too, the next such probe comes after two minutes, then four.
- The time of a TCP handshake with an address is smoothed as TCP smoothes its own (RFC 6298). It orders addresses that
  are otherwise equal, and sets the delay after which the next attempt starts: about when TCP would send its SYN again,
  between 100 ms and 2 s. Ten minutes after the first measurement it is forgotten, so that the others get a turn.

What was learnt from one local address says nothing about another: `source` is part of every key. Without history all
is as if there were no memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from ostiary.core.addresses import Family
from ostiary.core.trace import Attempt
from ostiary.model import limits

_Key = TypeVar("_Key")
_Entry = TypeVar("_Entry")


@dataclass(slots=True)
class _Preference:
    family: Family
    expires: float
    probe_at: float
    interval: float


class Path(NamedTuple):
    """What is known about the way to an address. Times in seconds."""

    rtt: float
    variation: float
    expires: float

    @property
    def delay(self) -> float:
        """The Connection Attempt Delay after an attempt to it."""
        timeout = self.rtt + 4 * self.variation
        return min(max(timeout, limits.ATTEMPT_DELAY_MIN), limits.CONNECTION_ATTEMPT_DELAY_MAX)


class Outcomes:
    """The memory of one network. Bounded: the oldest entries go first."""

    __slots__ = ("_families", "_paths")

    def __init__(self) -> None:
        self._families: dict[tuple[str, int, str], _Preference] = {}
        self._paths: dict[tuple[str, str], Path] = {}

    def preferred(self, host: str, port: int, now: float, source: str = "") -> Family | None:
        """The family that won while the other one cost time; None if nothing is known, or if this race is a probe."""
        entry = self._families.get((host, port, source))
        if entry is None:
            return None
        if now >= entry.expires:
            del self._families[(host, port, source)]
            return None
        if now >= entry.probe_at:
            entry.probe_at = now + entry.interval
            return None
        return entry.family

    def path(self, address: str, now: float, source: str = "") -> Path | None:
        """What is known about an address; None: nothing."""
        found = self._paths.get((address, source))
        if found is None or now < found.expires:
            return found
        del self._paths[(address, source)]
        return None

    def learn(
        self, host: str, port: int, winner: Attempt | None, attempts: Iterable[Attempt], now: float, source: str = ""
    ) -> None:
        """Take in a race that is over."""
        beaten = False
        for attempt in attempts:
            if attempt.started is None or attempt.stage == "route":
                continue  # what failed within this host took no time and says nothing about the peer
            beaten = beaten or (winner is not None and attempt.family != winner.family)
            self._measure(attempt, now, source)
        key = (host, port, source)
        known = self._families.get(key) if self._families else None
        if winner is None or winner.family == "unix":
            self._families.pop(key, None)
        elif beaten:
            self._prefer(key, winner.family, known, now)
        elif known is not None and known.family != winner.family:
            del self._families[key]  # a probe has found it well again

    def flush(self) -> None:
        """Forget everything: the network has changed."""
        self._families.clear()
        self._paths.clear()

    def __len__(self) -> int:
        return len(self._families)

    def _prefer(self, key: tuple[str, int, str], family: Family, known: _Preference | None, now: float) -> None:
        interval = limits.OUTCOME_PROBE
        if known is not None and known.family == family:
            interval = min(2 * known.interval, limits.OUTCOME_MEMORY / 2)  # before it is forgotten
        entry = _Preference(family, now + limits.OUTCOME_MEMORY, now + interval, interval)
        _remember(self._families, key, entry)

    def _measure(self, attempt: Attempt, now: float, source: str) -> None:
        key = (attempt.address, source)
        known = self.path(attempt.address, now, source)
        started = attempt.started or 0.0
        if attempt.connected is None:
            waited = (attempt.ended or now) - started
            if known is not None and (attempt.outcome == "failed" or waited > known.delay):
                del self._paths[key]  # it did not answer: what was known no longer holds
            return
        sample = attempt.connected - started
        if known is None:
            _remember(self._paths, key, Path(sample, sample / 2, now + limits.OUTCOME_MEMORY))
            return
        variation = 0.75 * known.variation + 0.25 * abs(known.rtt - sample)
        self._paths[key] = Path(0.875 * known.rtt + 0.125 * sample, variation, known.expires)


def _remember(entries: dict[_Key, _Entry], key: _Key, entry: _Entry) -> None:
    entries.pop(key, None)
    while len(entries) >= limits.MAX_OUTCOMES:
        del entries[next(iter(entries))]
    entries[key] = entry
