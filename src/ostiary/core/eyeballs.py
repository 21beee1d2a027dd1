"""Happy Eyeballs (RFC 8305) as a machine: events go in with the time, actions come out, and the next deadline.

The machine has no clock, no socket and no resolver. Whoever drives it does what the actions say, reports what happened,
and calls `tick` when `deadline` has come. The rules:

- Each record type is an event of its own. An answer of the preferred family starts the race at once; one of the other
  family waits the Resolution Delay for it (section 3). An empty or failed answer of the preferred family ends that
  wait. A query that is never answered delays nothing else. The preferred family is IPv6, unless a configuration or
  what happened lately says otherwise.
- A late answer sorts the *complete* list again, the addresses already tried included, so that a late IPv4 address comes
  second and not after every IPv6 one.
- One attempt starts at a time, the earlier ones keep running. The next one starts after the Connection Attempt Delay,
  or at once when one fails.
- The deadline covers everything. When it is short, the delay shrinks so that both families get a turn: with one
  address of each family and 250 ms in all, the second starts after 125 ms. (Others start it never.)
- The race is won when the driver says so: with TLS, that is after the handshake. An attempt that reports `handshaking`
  before its delay is over gets some more time, about what a handshake over the same path takes.
- Running attempts are bounded. At the bound new ones wait; nothing that could still win is killed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from ostiary.core.addresses import (
    TYPE_OF_FAMILY,
    Candidate,
    Destination,
    Family,
    RecordType,
    fallback_lookup,
    first_lookups,
    order,
)
from ostiary.model import limits
from ostiary.model.clusters import DnsLookupFamily

Reason = Literal["won", "exhausted", "no_addresses", "timeout"]


@dataclass(frozen=True, slots=True)
class Query:
    """Ask for this record type."""

    type: RecordType


@dataclass(frozen=True, slots=True)
class Dial:
    """Start an attempt."""

    destination: Destination


@dataclass(frozen=True, slots=True)
class Cancel:
    """Close this attempt now; no further event of it is expected."""

    destination: Destination


@dataclass(frozen=True, slots=True)
class Done:
    """The race is over. Every other attempt has been cancelled by actions before this one."""

    winner: Destination | None
    reason: Reason


Action = Query | Dial | Cancel | Done


@dataclass(frozen=True, slots=True, kw_only=True)
class RaceConfig:
    """Times in seconds. `attempt_delay` is held between 10 ms and 2 s (RFC 8305 section 8)."""

    timeout: float = limits.CONNECT_TIMEOUT
    dns_lookup_family: DnsLookupFamily = "ALL"
    resolution_delay: float = limits.RESOLUTION_DELAY
    attempt_delay: float = limits.CONNECTION_ATTEMPT_DELAY
    first_family: Family | None = None
    """Forces whom to try first; None: IPv6 is waited for, RFC 6724 sorts."""
    first_count: int = 1
    max_parallel: int = limits.MAX_PARALLEL_ATTEMPTS


_UNTRIED: Final = 0
_RUNNING: Final = 1
_ENDED: Final = 2


class Race:
    """One race. Every method that takes an event returns the actions that follow from it, in order."""

    __slots__ = (
        "_begin_at", "_begun", "_candidates", "_config", "_delay", "_ends_at", "_hurry", "_not_before", "_order",
        "_pending", "_preferred", "_started_at", "_states", "_unasked", "result",
    )  # fmt: skip

    def __init__(self, config: RaceConfig, now: float) -> None:
        self._config = config
        self._delay = min(max(config.attempt_delay, limits.ATTEMPT_DELAY_FLOOR), limits.CONNECTION_ATTEMPT_DELAY_MAX)
        self._ends_at = now + config.timeout
        self._preferred: Family = config.first_family or "v6"
        self._pending: set[RecordType] = set()
        self._unasked: RecordType | None = None
        self._candidates: dict[Destination, Candidate] = {}
        self._order: list[Destination] = []
        self._states: dict[Destination, int] = {}
        self._begun = False
        self._begin_at: float | None = None
        self._started_at = now
        """When the latest attempt started."""
        self._not_before = 0.0
        """The latest attempt is shaking hands: no other starts before this."""
        self._hurry = False
        """An attempt failed: the next one does not wait."""
        self.result: Done | None = None
        """Set when the race is over."""

    # --- events

    def resolve(self, now: float) -> list[Action]:
        """Start with a name: asks for what the lookup family says."""
        first = first_lookups(self._config.dns_lookup_family)
        self._unasked = fallback_lookup(self._config.dns_lookup_family)
        self._pending.update(first)
        return [*(Query(record_type) for record_type in first), *self._advance(now)]

    def start(self, candidates: Iterable[Candidate], now: float) -> list[Action]:
        """Start with ready addresses: nothing is asked for."""
        self._add(candidates)
        return self._advance(now)

    def answer(self, record_type: RecordType, candidates: Sequence[Candidate], now: float) -> list[Action]:
        """A query has ended. No candidates: the answer was empty, negative or an error."""
        return self.answers(((record_type, candidates),), now)

    def answers(self, batch: Iterable[tuple[RecordType, Sequence[Candidate]]], now: float) -> list[Action]:
        """Several queries have ended at the same moment (a cache knew them): they are sorted together."""
        if self.result is not None:
            return []
        for record_type, candidates in batch:
            self._pending.discard(record_type)
            self._add(candidates)
        return self._advance(now)

    def handshaking(self, destination: Destination, now: float) -> list[Action]:
        """The attempt's TCP connection is up, TLS begins."""
        if self.result is None and self._states.get(destination) == _RUNNING:
            spent = now - self._started_at
            longest = self._ends_at - self._spacing()
            self._not_before = min(now + min(2 * spent, self._delay), longest)
        return self._advance(now)

    def connected(self, destination: Destination, now: float) -> list[Action]:
        """The attempt is complete. The first one wins; one that comes later is told to close."""
        if self.result is not None or self._states.get(destination) != _RUNNING:
            return [Cancel(destination)]
        self._states[destination] = _ENDED
        if now >= self._ends_at:
            return [Cancel(destination), *self._advance(now)]
        return self._finish(destination, "won")

    def failed(self, destination: Destination, now: float) -> list[Action]:
        """The attempt has failed and is closed."""
        if self.result is not None or self._states.get(destination) != _RUNNING:
            return []
        self._states[destination] = _ENDED
        self._hurry = True
        return self._advance(now)

    def tick(self, now: float) -> list[Action]:
        """Time has passed."""
        return self._advance(now)

    # --- what the driver asks

    @property
    def deadline(self) -> float | None:
        """When `tick` is wanted next; None when the race is over."""
        if self.result is not None:
            return None
        if not self._begun:
            return self._ends_at if self._begin_at is None else min(self._begin_at, self._ends_at)
        if self._next() is None or self._running() >= self._config.max_parallel:
            return self._ends_at
        return min(self._next_start(), self._ends_at)

    @property
    def untried(self) -> list[Destination]:
        """Addresses no attempt was made to, in the order in which they would have come."""
        return [d for d in self._order if self._states[d] == _UNTRIED]

    @property
    def pending(self) -> frozenset[RecordType]:
        """Queries without an answer so far."""
        return frozenset(self._pending)

    # --- inside

    def _add(self, candidates: Iterable[Candidate]) -> None:
        for candidate in candidates:
            self._candidates.setdefault(candidate.destination, candidate)
            self._states.setdefault(candidate.destination, _UNTRIED)
        if len(self._candidates) < 2:
            self._order = list(self._candidates)
            return
        first, count = self._config.first_family, self._config.first_count
        self._order = [c.destination for c in order(self._candidates.values(), first=first, count=count)]

    def _advance(self, now: float) -> list[Action]:
        if self.result is not None:
            return []
        if now >= self._ends_at:
            return self._finish(None, "timeout")
        actions: list[Action] = []
        if not self._pending and not self._candidates and self._unasked is not None:
            actions.append(Query(self._unasked))
            self._pending.add(self._unasked)
            self._unasked = None
        if not self._begun:
            self._begin(now)
        if self._begun:
            actions += self._dial(now)
        if not self._pending and not self._running() and self._next() is None:
            actions += self._finish(None, "exhausted" if self._candidates else "no_addresses")
        return actions

    def _begin(self, now: float) -> None:
        if not self._candidates:
            return
        usable = {c.destination.family for c in self._candidates.values() if c.routable}
        waits = TYPE_OF_FAMILY[self._preferred] in self._pending if usable else bool(self._pending)
        if not waits or self._preferred in usable:
            self._begun = True
        elif self._begin_at is None:
            self._begin_at = now + self._config.resolution_delay
        if self._begin_at is not None and now >= self._begin_at:
            self._begun = True

    def _dial(self, now: float) -> list[Action]:
        actions: list[Action] = []
        while (
            (destination := self._next()) is not None
            and self._running() < self._config.max_parallel
            and (not self._running() or now >= self._next_start())
        ):
            self._states[destination] = _RUNNING
            self._started_at = now
            self._not_before = 0.0
            self._hurry = False
            actions.append(Dial(destination))
        return actions

    def _next(self) -> Destination | None:
        states = self._states
        return next((d for d in self._order if states[d] == _UNTRIED), None)

    def _running(self) -> int:
        return sum(state == _RUNNING for state in self._states.values())

    def _next_start(self) -> float:
        """When the next attempt may start while another runs."""
        if self._hurry:
            return self._started_at
        return max(self._started_at + self._spacing(), self._not_before)

    def _spacing(self) -> float:
        """The Connection Attempt Delay, shrunk so that a family without a turn gets one before the deadline."""
        tried = {d.family for d, state in self._states.items() if state != _UNTRIED}
        waiting = [d for d in self._order if self._states[d] == _UNTRIED]
        turns = next((n for n, d in enumerate(waiting, 1) if d.family not in tried), 1)
        left = self._ends_at - self._started_at
        return max(min(self._delay, left / (turns + 1)), limits.ATTEMPT_DELAY_FLOOR)

    def _finish(self, winner: Destination | None, reason: Reason) -> list[Action]:
        losers = [d for d, state in self._states.items() if state == _RUNNING]
        for loser in losers:
            self._states[loser] = _ENDED
        self.result = Done(winner, reason)
        return [*(Cancel(loser) for loser in losers), self.result]
