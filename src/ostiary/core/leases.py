"""Who may run a flow that only one process may run at a time, and what the others get.

A provider that rotates refresh tokens ends a session whose token is used twice, so workers ask before they use one:
whoever asks first gets the lease of that key, the others wait and get the outcome, also for a grace time afterwards.
The desk knows keys that are hashes and outcomes that are sealed; it needs no key to do its work.

Nobody waits for the dead: what a worker held when it died goes to the next in line, and a lease that is held longer
than its holder said it could take is passed on too. A holder that lost its lease that way is no longer listened to: its
outcome may be older than its successor's. All that is kept is bounded. When the bound on askers is reached, whoever
comes next is granted a lease that nobody records, which is how things are without a desk.

This is the machine: requests and the time go in, replies come out, and `deadline` says when it wants to be called
again. `Leases` is what the shell asks; a store that several machines share would implement the same.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import Final, Protocol, final

import msgspec

from ostiary.model import limits


class Ask(msgspec.Struct, frozen=True, tag="ask", array_like=True):
    """May I run the flow of `key`? It takes at most `longest` seconds. `number` names the question from then on."""

    number: int
    key: bytes
    longest: float


class Done(msgspec.Struct, frozen=True, tag="done", array_like=True):
    """The holder's flow has ended: whoever waits, or asks within `grace` seconds, gets `outcome`."""

    number: int
    outcome: bytes
    grace: float


class Release(msgspec.Struct, frozen=True, tag="release", array_like=True):
    """The holder ended without an outcome, or the asker no longer waits."""

    number: int


class Granted(msgspec.Struct, frozen=True, tag="granted", array_like=True):
    """Run it, then say Done or Release."""

    number: int


class Queued(msgspec.Struct, frozen=True, tag="queued", array_like=True):
    """Somebody runs it: another reply follows."""

    number: int


class Settled(msgspec.Struct, frozen=True, tag="settled", array_like=True):
    """What came of it elsewhere."""

    number: int
    outcome: bytes


Message = Ask | Done | Release
Reply = Granted | Queued | Settled
Replies = list[tuple[int, Reply]]
"""Whom to tell what, in this order."""


class Lease(Protocol):
    """The answer to a question: an outcome, or the right to run the flow oneself."""

    @property
    def outcome(self) -> bytes | None:
        """What came of it elsewhere; None: run it, then call one of the others, once."""

    def done(self, outcome: bytes, grace: float) -> None:
        """Hand the outcome to whoever waits, or asks within `grace` seconds. Never waits."""

    def release(self) -> None:
        """It ended without an outcome: the next in line may try."""


class Leases(Protocol):
    """Where workers ask."""

    async def ask(self, key: bytes, longest: float) -> Lease:
        """Wait until it is clear who runs the flow. Never raises, never hangs: whoever gets no answer runs it."""


Asker = tuple[int, int]
"""A worker, and the number of its question."""


@dataclass(slots=True)
class _Entry:
    """One key: held by `holder`, or settled with `outcome`, until a time."""

    until: float
    holder: Asker | None = None
    waiting: dict[Asker, float] = field(default_factory=dict)
    """In the order in which they came, with how long each could take."""
    outcome: bytes = b""


@final
class LeaseTable:
    """The desk's memory. Times are monotonic seconds; time never runs backwards between calls."""

    def __init__(
        self, *, max_askers: int = limits.MAX_LEASE_ASKERS, max_outcome_bytes: int = limits.MAX_LEASE_OUTCOME_BYTES
    ) -> None:
        self._max_askers = max_askers
        self._max_outcome_bytes = max_outcome_bytes
        self._entries: dict[bytes, _Entry] = {}
        self._askers: dict[Asker, bytes] = {}
        """Holders and those who wait, with the key."""
        self._settled: dict[bytes, None] = {}
        """Keys with an outcome, the oldest first."""
        self._outcome_bytes = 0
        self._times: list[tuple[float, bytes]] = []
        """A heap of every `until`, outdated ones included: they are told by comparing."""

    @property
    def deadline(self) -> float | None:
        """When `tick` should be called; None: never, as things are."""
        return self._times[0][0] if self._times else None

    def handle(self, worker: int, message: Message, now: float) -> Replies:
        """What a worker said. A number that isn't in use is ignored: it may have lost its lease."""
        replies = self.tick(now)
        asker = (worker, message.number)
        if isinstance(message, Ask):
            if asker not in self._askers:
                replies.append((worker, self._ask(asker, message.key, message.longest, now)))
        elif isinstance(message, Done):
            replies += self._done(asker, message, now)
        else:
            replies += self._release(asker, now)
        return replies

    def left(self, worker: int, now: float) -> Replies:
        """A worker is gone, with all it held and waited for."""
        replies = self.tick(now)
        gone = [asker for asker in self._askers if asker[0] == worker]
        gone.sort(key=lambda asker: self._entries[self._askers[asker]].holder == asker)  # or a lease could go to one
        for asker in gone:
            replies += self._release(asker, now)
        return replies

    def tick(self, now: float) -> Replies:
        """Pass on what is held too long, forget what is kept long enough."""
        replies: Replies = []
        while self._times and self._times[0][0] <= now:
            until, key = heapq.heappop(self._times)
            entry = self._entries.get(key)
            if entry is None or entry.until != until:
                continue
            if entry.holder is None:
                self._forget(key)
            else:
                replies += self._release(entry.holder, now)
        return replies

    def _ask(self, asker: Asker, key: bytes, longest: float, now: float) -> Reply:
        _, number = asker
        entry = self._entries.get(key)
        if entry is not None and entry.holder is None:
            return Settled(number, entry.outcome)
        if len(self._askers) >= self._max_askers:
            return Granted(number)
        self._askers[asker] = key
        if entry is not None:
            entry.waiting[asker] = longest
            return Queued(number)
        entry = self._entries[key] = _Entry(0.0, asker)
        self._keep_until(key, entry, now + longest)
        return Granted(number)

    def _done(self, asker: Asker, message: Done, now: float) -> Replies:
        key = self._askers.get(asker)
        if key is None or self._entries[key].holder != asker:
            return []
        entry = self._entries[key]
        replies: Replies = [(worker, Settled(number, message.outcome)) for worker, number in entry.waiting]
        for each in (asker, *entry.waiting):
            del self._askers[each]
        if message.grace > 0 and len(message.outcome) <= self._max_outcome_bytes:
            entry.holder, entry.waiting, entry.outcome = None, {}, message.outcome
            self._settled[key] = None
            self._outcome_bytes += len(message.outcome)
            self._keep_until(key, entry, now + message.grace)
            while self._outcome_bytes > self._max_outcome_bytes or len(self._settled) > self._max_askers:
                self._forget(next(iter(self._settled)))
        else:
            del self._entries[key]
        return replies

    def _release(self, asker: Asker, now: float) -> Replies:
        key = self._askers.pop(asker, None)
        if key is None:
            return []
        entry = self._entries[key]
        if entry.holder != asker:
            del entry.waiting[asker]
            return []
        if not entry.waiting:
            del self._entries[key]
            return []
        heir = next(iter(entry.waiting))
        entry.holder = heir
        self._keep_until(key, entry, now + entry.waiting.pop(heir))
        worker, number = heir
        return [(worker, Granted(number))]

    def _keep_until(self, key: bytes, entry: _Entry, until: float) -> None:
        entry.until = until
        if len(self._times) > 2 * len(self._entries) + _SLACK:
            self._times = [(each.until, name) for name, each in self._entries.items()]
            heapq.heapify(self._times)
        else:
            heapq.heappush(self._times, (until, key))

    def _forget(self, key: bytes) -> None:
        self._outcome_bytes -= len(self._entries.pop(key).outcome)
        del self._settled[key]


_SLACK: Final = 64
"""Outdated times that are not worth tidying up."""
