"""Which lines belong together: a connection's attempts, the call that wanted them, and who made the call.

Envoy makes a token call on the thread of the request that needs it, and says so: `Dispatching OAuth request`, then the
router's `cluster 'oauth' match` with ConnectionId 0 (no client's connection stands behind the call), then
`connecting to` with the id of the new connection, all within a moment. Later lines have one of these ids only. So a
thread remembers its latest call, a stream and a connection theirs. What can't be traced back to a call is told only if
the log has no router lines at all: else it is the application's, a health check's, or some other cluster's.

Every memory here is bounded (`MAX_JOINED`): the oldest is forgotten.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, Literal, final

from ostiary.doctor.facts.configuration import ConfigurationProblem
from ostiary.doctor.facts.connection import Attempted, ConnectFailed
from ostiary.doctor.facts.dns import ResolutionFailed
from ostiary.doctor.facts.origin import Fact, Origin
from ostiary.doctor.facts.provider import Answered
from ostiary.doctor.facts.sidecar import NotReady
from ostiary.doctor.facts.tls import HandshakeFailed
from ostiary.doctor.logs.loops import Loops
from ostiary.doctor.logs.recent import Recent
from ostiary.doctor.logs.record import Record
from ostiary.doctor.logs.tokens import Tokens
from ostiary.doctor.logs.wording import errno_of, family_of, handshake_fault, speaks_of_tls, stage_of, tls_detail
from ostiary.model import limits

What = Literal["cluster", "listener", "secret", "route"]
Purpose = Literal["token", "other", "application", "control"]
Key = tuple[str, str]
_FRESH: Final = 0.05
"""Seconds within which a thread's new connection belongs to its latest call: they are made in one go."""
_GRPC: Final = re.compile(r"^/[\w.]+\.[A-Z]\w+/\w+$")
_CLOCK: Final = re.compile(r"(\d\d):(\d\d):(\d\d(?:[.,]\d+)?)")
_ATTEMPTS: Final = 64
"""Of one race: names have fewer addresses. Ids of other connections come in between."""
_DIGITS: Final = 20
_EPHEMERAL: Final = 32768
"""A peer's port from here on is a client's."""


@dataclass(slots=True)
class Call:
    """One upstream request of Envoy."""

    cluster: str
    purpose: Purpose
    at: float

    @property
    def for_provider(self) -> bool:
        """False: the application's, or the control plane's."""
        return self.purpose in ("token", "other")


@dataclass(slots=True)
class Tried:
    """One address that was tried."""

    address: str
    port: int
    call: Call | None
    origin: Origin
    connected: bool = False
    done: bool = False


@dataclass(slots=True)
class Race:
    """A connection that tries several addresses."""

    call: Call | None
    number: int
    """Its ConnectionId; its attempts have the next ones."""
    attempts: list[Tried] = field(default_factory=list)
    over: bool = False

    def takes(self, connection: str) -> bool:
        """Whether a connection of that id may be one of its attempts."""
        near = self.number <= (_number(connection) or self.number) <= self.number + _ATTEMPTS
        return near and not self.over and len(self.attempts) < _ATTEMPTS


@dataclass(slots=True)
class Thread:
    """What a thread did last."""

    dispatched: float | None = None
    call: Call | None = None
    token: Call | None = None
    race: Race | None = None
    attempt: Tried | None = None
    status: tuple[int, Origin] | None = None


def _number(text: str) -> int:
    """An id as a number; 0 if it is none."""
    return int(text) if text.isdecimal() and len(text) <= _DIGITS else 0


def clock(when: str) -> float:
    """Seconds of the day of a time as written; 0.0 if it has none."""
    found = _CLOCK.search(when)
    return int(found[1]) * 3600 + int(found[2]) * 60 + float(found[3].replace(",", ".")) if found is not None else 0.0


@final
class Joiner:
    """What was read so far, as far as later lines need it."""

    def __init__(self) -> None:
        self._threads: Recent[Key, Thread] = Recent()
        self._streams: Recent[Key, Call] = Recent()
        self._connections: Recent[Key, Tried] = Recent()
        self._races: Recent[Key, Race] = Recent()
        self._unclaimed: deque[Fact] = deque(maxlen=limits.MAX_JOINED)
        self._names: Recent[str, Fact] = Recent()
        self.tokens = Tokens()
        self.loops = Loops()
        self._clients: Recent[Key, None] = Recent()
        self._not_ready: NotReady | None = None
        self._dump: tuple[ConfigurationProblem, tuple[What, str] | None] | None = None
        self.routed = False
        """The log has the router's lines: what belongs to no call of theirs is nobody's here."""
        self.token_clusters: Recent[str, None] = Recent()
        self._reached = False
        """A token call had an address to go to: its name resolves, whatever other names do."""
        self.hostless = False
        """A token call had none."""

    # --- calls

    def thread(self, record: Record) -> Thread:
        """The thread that wrote this record."""
        key = (record.place, record.thread)
        found = self._threads.get(key)
        if found is None:
            found = self._threads[key] = Thread()
        return found

    def dispatched(self, record: Record) -> None:
        """The OAuth2 filter calls the token endpoint: the next call of this thread is it."""
        self.thread(record).dispatched = clock(record.when)

    def routes(self, record: Record, cluster: str, path: str) -> None:
        """The router found the cluster of a request."""
        self.routed = True
        thread, now = self.thread(record), clock(record.when)
        purpose: Purpose = "application"
        if record.connection == "0":
            purpose = "other"
            if _GRPC.match(path):
                purpose = "control"
            elif thread.dispatched is not None and abs(now - thread.dispatched) <= _FRESH:
                purpose = "token"
        call = Call(cluster, purpose, now)
        thread.call = call
        if purpose == "token":
            thread.token, thread.dispatched = call, None
            self.token_clusters[cluster] = None
        if record.stream:
            self._streams[(record.place, record.stream)] = call

    def call_of(self, record: Record) -> Call | None:
        """The call that a router's line is about."""
        return self._streams.get((record.place, record.stream)) if record.stream else None

    def token_target(self, record: Record) -> str:
        """The cluster of the token call that a line of the OAuth2 filter is about; empty if not known."""
        if record.thread and (call := self.thread(record).token) is not None:
            return call.cluster
        return next(iter(self.token_clusters)) if len(self.token_clusters) == 1 else ""

    # --- connections

    def race(self, record: Record, connection: str) -> Race:
        """A connection that has several addresses to try."""
        key = (record.place, connection)
        found = self._races.get(key)
        if found is None:
            found = self._races[key] = Race(self._fresh(record), _number(connection))
        self.thread(record).race = found
        return found

    def race_tries(self, record: Record, connection: str, address: str, port: int, origin: Origin) -> None:
        """The race's next address."""
        race = self.race(record, connection)
        attempt = Tried(address, port, race.call, origin)
        if len(race.attempts) < _ATTEMPTS:
            race.attempts.append(attempt)
        self.thread(record).attempt = attempt

    def connects(self, record: Record, address: str, port: int, origin: Origin) -> None:
        """A socket connects to an address."""
        thread = self.thread(record)
        attempt = thread.attempt
        if attempt is None or (attempt.address, attempt.port, attempt.done) != (address, port, False):
            call, race = self._fresh(record), thread.race
            if race is not None and race.takes(record.connection) and (call is None or call is race.call):
                call = race.call
            else:
                race = None
            attempt = Tried(address, port, call, origin)
            if race is not None:
                race.attempts.append(attempt)
        thread.attempt = attempt
        self._reached |= attempt.call is not None and attempt.call.purpose == "token"
        if record.connection:
            self._connections[(record.place, record.connection)] = attempt

    def connected(self, record: Record) -> Iterator[Fact]:
        """TCP is up."""
        attempt = self._connections.get((record.place, record.connection))
        if attempt is None or attempt.connected:
            return
        attempt.connected = True
        race = self.thread(record).race
        if race is not None and any(each is attempt for each in race.attempts):
            race.over = True
        if attempt.call is not None and attempt.call.for_provider:
            yield self._attempted(attempt, "connected", "", attempt.origin)

    def fails(self, record: Record, text: str, origin: Origin, address: str = "", port: int = 0) -> Iterator[Fact]:
        """A socket, or TLS on it, ended with this error."""
        thread = self.thread(record)
        attempt = self._connections.get((record.place, record.connection)) if record.connection else None
        last = thread.attempt
        if attempt is None and last is not None and not last.done and not speaks_of_tls(text):
            attempt = last if address in ("", last.address) else None
        if attempt is None:
            client = port >= _EPHEMERAL or (record.place, f"{address}:{port}") in self._clients
            if not address or (speaks_of_tls(text) and client):
                return
            attempt = Tried(address, port, None, origin)
        elif attempt.done:
            return
        attempt.done = True
        yield from self._claimed(attempt.call, self._failure(attempt, text, origin))

    def _failure(self, attempt: Tried, text: str, origin: Origin) -> Fact:
        errno = errno_of(text)
        if speaks_of_tls(text) and not errno:
            target = attempt.call.cluster if attempt.call is not None else f"{attempt.address}:{attempt.port}"
            return HandshakeFailed(origin=origin, target=target, fault=handshake_fault(text), detail=tls_detail(text))
        return self._attempted(attempt, "timeout" if errno == "ETIMEDOUT" else "failed", errno, origin)

    def pool_failed(self, record: Record, text: str, origin: Origin) -> Iterator[Fact]:
        """A connection pool lost a connection that was not up."""
        key = (record.place, record.connection)
        if key in self._connections:
            yield from self.fails(record, text, origin)
            return
        race = self._races.get(key)
        if race is not None and race.attempts:
            race.over = True
            return  # its attempts have said so
        call = race.call if race is not None else self._fresh(record)
        fact: Fact = ConnectFailed(origin=origin, target=call.cluster if call else "", errno=errno_of(text))
        if speaks_of_tls(text) and not errno_of(text):
            fact = HandshakeFailed(
                origin=origin, target=call.cluster if call else "", fault=handshake_fault(text), detail=tls_detail(text)
            )
        yield from self._claimed(call, fact)

    def pool_timeout(self, record: Record, origin: Origin) -> Iterator[Fact]:
        """A connection was not up in time."""
        key = (record.place, record.connection)
        race = self._races.get(key)
        one = self._connections.get(key)
        attempts = race.attempts if race is not None else [one] if one is not None else []
        if race is not None:
            race.over = True
        for attempt in attempts:
            if attempt.done:
                continue
            attempt.done = True
            fact: Fact = self._attempted(attempt, "timeout", "", origin)
            if attempt.connected:
                target = attempt.call.cluster if attempt.call is not None else f"{attempt.address}:{attempt.port}"
                fact = HandshakeFailed(origin=origin, target=target, fault="silent", detail="connect timeout")
            yield from self._claimed(attempt.call, fact)

    def _fresh(self, record: Record) -> Call | None:
        """The call for which this thread makes a connection now."""
        call = self.thread(record).call
        return call if call is not None and 0 <= clock(record.when) - call.at <= _FRESH else None

    def _attempted(
        self, attempt: Tried, outcome: Literal["connected", "failed", "timeout", "started"], errno: str, origin: Origin
    ) -> Attempted:
        return Attempted(
            origin=origin, address=attempt.address, port=attempt.port, family=family_of(attempt.address),
            outcome=outcome, stage="tls" if attempt.connected and outcome != "connected" else stage_of(errno),
            errno=errno, target=attempt.call.cluster if attempt.call is not None else "",
        )  # fmt: skip

    def _claimed(self, call: Call | None, fact: Fact) -> Iterator[Fact]:
        """A provider's failure at once, one of nobody known at the end, others not at all."""
        if call is None:
            self._unclaimed.append(fact)
        elif call.for_provider:
            yield fact

    def client_came(self, record: Record, address: str) -> None:
        """A client connects: what its connection meets is nobody's failure here."""
        self._clients[(record.place, address)] = None

    # --- names, readiness, rejections

    def dumps(self, so_far: ConfigurationProblem, update: tuple[What, str] | None) -> None:
        """A rejection begins with a dump: its reason comes in a later line."""
        self._dump = so_far, update

    def dump_ends(self) -> tuple[What, str] | None:
        """The reason came; the update that was refused, if it was one."""
        dump, self._dump = self._dump, None
        return dump[1] if dump is not None else None

    def name_failed(self, fact: ResolutionFailed) -> None:
        """A name has no address, as of now."""
        self._names[fact.name] = fact

    def name_resolved(self, name: str) -> None:
        """A name has addresses: that it had none of one family, or for a moment, is not why nothing works."""
        self._names.pop(name, None)

    def ready(self, not_ready: NotReady | None) -> None:
        """What the readiness probe said last; None: ready."""
        self._not_ready = not_ready

    # --- the end

    def finish(self) -> Iterator[Fact]:
        """What only the end of the log decides."""
        if self.hostless or not self._reached:
            yield from self._names.values()
        if self._not_ready is not None:
            yield self._not_ready
        if self._dump is not None:
            yield self._dump[0]
        if not self.routed:
            yield from self._unclaimed
        yield from self.tokens.finish()
        yield from self.loops.finish()
        yield from self._started()
        yield from self._answers_without_body()

    def _started(self) -> Iterable[Fact]:
        for race in self._races.values():
            unknown = race.call is None and not self.routed
            if any(attempt.connected for attempt in race.attempts):
                continue
            for attempt in race.attempts:
                if not (attempt.done or attempt.connected) and (unknown or (race.call and race.call.for_provider)):
                    yield self._attempted(attempt, "started", "", attempt.origin)

    def _answers_without_body(self) -> Iterable[Fact]:
        for thread in self._threads.values():
            if thread.status is not None and thread.status[0] not in (200, 503, 504):
                status, origin = thread.status
                target = thread.token.cluster if thread.token is not None else ""
                yield Answered(origin=origin, endpoint="token", target=target, status=status)
