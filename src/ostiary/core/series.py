"""Where the time of a connection went, and what many connections to one target have in common.

Percentiles are nearest-rank: each is a time that was measured, never one in between. With few connections p99 is the
slowest one, which is honest.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from ostiary.core.trace import Attempt, ConnectTrace, DnsQuery

PHASES: Final = ("total", "dns", "tcp", "tls", "lost")


@dataclass(frozen=True, slots=True)
class Phases:
    """Milliseconds of one connection; None: there was no such phase."""

    total: float
    dns: float | None
    """Until the winner's address was known; 0 from a cache."""
    tcp: float
    """The winner's TCP handshake."""
    tls: float | None
    """The winner's TLS handshake."""
    lost: float
    """All else: waiting for another answer, and for attempts that did not win."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Percentiles in milliseconds."""

    count: int
    minimum: float
    p50: float
    p90: float
    p99: float
    maximum: float


@dataclass(frozen=True, slots=True)
class Series:
    """Many connections to one target."""

    count: int
    connected: int
    spreads: dict[str, Spread]
    """Of PHASES, over the connections that came about; a phase that no connection had is missing."""
    winners: tuple[tuple[str, str, int], ...]
    """(address, family, how often), the most frequent first."""
    failures: tuple[tuple[str, int], ...]
    """(error, how often), the most frequent first."""


def phases(trace: ConnectTrace) -> Phases | None:
    """Where the time went; None if there is no connection."""
    winner = trace.winner
    if winner is None or winner.started is None or winner.ended is None:
        return None
    up = winner.ended if winner.connected is None else winner.connected
    tcp = (up - winner.started) * 1000
    tls = (winner.ended - up) * 1000 if winner.stage == "tls" else None
    dns = _known_after(winner, trace)
    return Phases(trace.elapsed_ms, dns, tcp, tls, max(0.0, trace.elapsed_ms - (dns or 0.0) - tcp - (tls or 0.0)))


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` of all values do not exceed. `ordered` ascends and is not empty."""
    return ordered[max(1, math.ceil(len(ordered) * percent / 100)) - 1]


def spread(values: Iterable[float]) -> Spread | None:
    """The percentiles of some values; None of none."""
    ordered = sorted(values)
    if not ordered:
        return None
    p50, p90, p99 = (percentile(ordered, percent) for percent in (50, 90, 99))
    return Spread(len(ordered), ordered[0], p50, p90, p99, ordered[-1])


def describe(traces: Sequence[ConnectTrace]) -> Series:
    """What these connections have in common."""
    times = [found for found in map(phases, traces) if found is not None]
    spreads = {}
    for phase in PHASES:
        found = spread(value for one in times if (value := getattr(one, phase)) is not None)
        if found is not None:
            spreads[phase] = found
    winners = Counter((t.winner.address, str(t.winner.family)) for t in traces if t.winner is not None)
    failures = Counter(t.error or "no connection" for t in traces if not t.ok)
    return Series(
        count=len(traces),
        connected=sum(t.ok for t in traces),
        spreads=spreads,
        winners=tuple((address, family, count) for (address, family), count in winners.most_common()),
        failures=tuple(failures.most_common()),
    )


def _known_after(winner: Attempt, trace: ConnectTrace) -> float | None:
    """Milliseconds until the winner's address was known; None if it was given."""
    answered = [query for query in trace.dns if query.outcome == "answered" and query.ended is not None]
    telling = [query for query in answered if winner.address in query.answers] or answered
    return min((_ended_ms(query, trace) for query in telling), default=None)


def _ended_ms(query: DnsQuery, trace: ConnectTrace) -> float:
    return 0.0 if query.ended is None else max(0.0, (query.ended - trace.started) * 1000)
