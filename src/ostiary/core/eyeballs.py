"""Happy Eyeballs (RFC 8305) as a machine: events go in with the time, actions come out, and the next deadline.

The machine has no clock, no socket and no resolver. Whoever drives it does what the actions say, reports what happened,
and calls `tick` when `deadline` has come. The rules:

- Each record type is an event of its own. An answer of the preferred family starts the race at once; one of the other
  family waits the Resolution Delay for it (section 3). An empty or failed answer of the preferred family ends that
  wait. A query that is never answered delays nothing else. The preferred family is IPv6, unless a configuration or
  what happened lately says otherwise. Addresses without a route start nothing while others may still come.
- A late answer sorts the *complete* list again, the addresses already tried included, so that a late IPv4 address comes
  second and not after every IPv6 one. A second answer of one type replaces the first (a stale one, or a hint): what was
  tried goes on, what was not and is gone from DNS is not tried.
- HTTPS records (Happy Eyeballs v3) are a third answer, where they are wanted: waited for like the preferred family, and
  never longer than the Resolution Delay. They bring groups, whose endpoints come first, and further names to ask for.
  Their hints are answers until those names have some; they stay if there are none.
- One attempt starts at a time, the earlier ones keep running. The next one starts after the Connection Attempt Delay,
  or at once when one fails. What is known of an address may have set its delay.
- The deadline covers everything. When it is short, the delay shrinks so that both families get a turn: with one
  address of each family and 250 ms in all, the second starts after 125 ms. (Others start it never.)
- The race is won when the driver says so: with TLS, that is after the handshake. An attempt that reports `handshaking`
  before its delay is over gets some more time, about what a handshake over the same path takes.
- Running attempts are bounded. At the bound new ones wait; nothing that could still win is killed.

NAT64 is not here: a host with IPv6 alone has DNS64, or a translator of its own (464XLAT) that looks like a route. Only
IPv4 literals on a network with neither are out of reach.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from ostiary.core.addresses import Candidate, Destination, Family, RecordType, order
from ostiary.core.endpoints import Answered, Endpoints
from ostiary.model import limits
from ostiary.model.clusters import DnsLookupFamily

Reason = Literal["won", "exhausted", "no_addresses", "timeout"]


@dataclass(frozen=True, slots=True)
class Query:
    """Ask for this record type, of the race's own name or of another."""

    type: RecordType
    name: str = ""


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


@dataclass(slots=True, kw_only=True)
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
    service_records: bool = False
    """Ask for HTTPS records too."""


_UNTRIED: Final = 0
_RUNNING: Final = 1
_ENDED: Final = 2


class Race:
    """One race. Every method that takes an event returns the actions that follow from it, in order."""

    __slots__ = (
        "_active", "_begin_at", "_begun", "_candidates", "_config", "_delay", "_endpoints", "_ends_at", "_hurry",
        "_not_before", "_order", "_patience", "_preferred", "_started_at", "_states", "result",
    )  # fmt: skip

    def __init__(self, config: RaceConfig, now: float) -> None:
        self._config = config
        self._delay = 0.0
        """The latest attempt's."""
        self._ends_at = now + config.timeout
        self._preferred: Family = config.first_family or "v6"
        self._endpoints = Endpoints(config.dns_lookup_family)
        self._candidates: dict[Destination, Candidate] = {}
        self._order: list[Destination] = []
        self._states: dict[Destination, int] = {}
        self._active = 0
        self._begun = False
        self._begin_at: float | None = None
        self._patience = 0.0
        """Until when HTTPS records and the names they bring are waited for when all else has ended."""
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
        asked = self._endpoints.begin(service_records=self._config.service_records)
        return [*(Query(record_type, name) for name, record_type in asked), *self._advance(now)]

    def start(self, candidates: Sequence[Candidate], now: float) -> list[Action]:
        """Start with ready addresses: nothing is asked for."""
        self._endpoints.given(candidates)
        self._rebuild()
        return self._advance(now)

    def answer(self, record_type: RecordType, candidates: Sequence[Candidate], now: float) -> list[Action]:
        """A query for the race's own name has ended. No candidates: the answer was empty, negative or an error."""
        return self.answers((Answered(record_type, candidates),), now)

    def answers(self, batch: Iterable[Answered], now: float) -> list[Action]:
        """Several queries have ended at the same moment (a cache knew them): they are sorted together."""
        if self.result is not None:
            return []
        asked = [question for answered in batch for question in self._endpoints.take(answered)]
        self._patience = now + self._config.resolution_delay
        self._rebuild()
        return [*(Query(record_type, name) for name, record_type in asked), *self._advance(now)]

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
        self._end(destination)
        if now >= self._ends_at:
            return [Cancel(destination), *self._advance(now)]
        return self._finish(destination, "won")

    def failed(self, destination: Destination, now: float) -> list[Action]:
        """The attempt has failed and is closed."""
        if self.result is not None or self._states.get(destination) != _RUNNING:
            return []
        self._end(destination)
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
        wake = self._ends_at
        if not self._begun:
            wake = wake if self._begin_at is None else min(self._begin_at, wake)
        elif self._active < self._config.max_parallel and self._next() is not None:
            return min(self._next_start(), wake)
        if not self._active and self._endpoints.pending and not self._endpoints.required:
            return min(self._patience, wake)
        return wake

    @property
    def untried(self) -> list[Destination]:
        """Addresses no attempt was made to, in the order in which they would have come."""
        return [d for d in self._order if self._states[d] == _UNTRIED]

    @property
    def pending(self) -> frozenset[RecordType]:
        """Types of queries without an answer so far."""
        return frozenset(record_type for _, record_type in self._endpoints.pending)

    # --- inside

    def _rebuild(self) -> None:
        """The list anew, from all that is known. What has started keeps its state, whatever DNS says now."""
        candidates = self._endpoints.candidates()
        if self._candidates:
            for gone in self._candidates.keys() - candidates.keys():
                if self._states[gone] == _UNTRIED:
                    del self._states[gone]
        self._candidates = candidates
        for destination in candidates:
            self._states.setdefault(destination, _UNTRIED)
        ordered = order(candidates.values(), first=self._config.first_family, count=self._config.first_count)
        self._order = [candidate.destination for candidate in ordered]

    def _advance(self, now: float) -> list[Action]:
        if self.result is not None:
            return []
        if now >= self._ends_at:
            return self._finish(None, "timeout")
        actions: list[Action] = []
        endpoints = self._endpoints
        if not self._candidates:
            actions += (Query(record_type, name) for name, record_type in endpoints.fallback())
        if not self._begun:
            self._begin(now)
        if self._begun:
            actions += self._dial(now)
        over = not self._active and self._next() is None and not endpoints.required
        if over and (not endpoints.pending or now >= self._patience):
            actions += self._finish(None, "exhausted" if self._candidates else "no_addresses")
        return actions

    def _begin(self, now: float) -> None:
        if self._candidates:
            if not self._endpoints.undecided(self._candidates.values(), self._preferred):
                self._begun = True
            elif self._begin_at is None:
                self._begin_at = now + self._config.resolution_delay
        if self._begin_at is not None and now >= self._begin_at:
            self._begun = True

    def _dial(self, now: float) -> list[Action]:
        """One at most: what follows, follows a delay or a failure."""
        destination = self._next()
        if destination is None or self._active >= self._config.max_parallel:
            return []
        if self._active and now < self._next_start():
            return []
        self._states[destination] = _RUNNING
        self._active += 1
        self._started_at = now
        delay = self._candidates[destination].delay
        delay = self._config.attempt_delay if delay is None else delay
        self._delay = min(max(delay, limits.ATTEMPT_DELAY_FLOOR), limits.CONNECTION_ATTEMPT_DELAY_MAX)
        self._not_before = 0.0
        self._hurry = False
        return [Dial(destination)]

    def _next(self) -> Destination | None:
        states = self._states
        for destination in self._order:
            if states[destination] == _UNTRIED:
                return destination
        return None

    def _next_start(self) -> float:
        """When the next attempt may start while another runs."""
        if self._hurry:
            return self._started_at
        return max(self._started_at + self._spacing(), self._not_before)

    def _spacing(self) -> float:
        """The Connection Attempt Delay, shrunk so that a family without a turn gets one before the deadline."""
        tried = {d.family for d, state in self._states.items() if state != _UNTRIED}
        turns, found = 1, 0
        for destination in self._order:
            if self._states[destination] == _UNTRIED:
                found += 1
                if destination.family not in tried:
                    turns = found
                    break
        left = self._ends_at - self._started_at
        return max(min(self._delay, left / (turns + 1)), limits.ATTEMPT_DELAY_FLOOR)

    def _end(self, destination: Destination) -> None:
        self._states[destination] = _ENDED
        self._active -= 1

    def _finish(self, winner: Destination | None, reason: Reason) -> list[Action]:
        losers = [d for d, state in self._states.items() if state == _RUNNING] if self._active else []
        for loser in losers:
            self._end(loser)
        self.result = Done(winner, reason)
        return [*(Cancel(loser) for loser in losers), self.result]
