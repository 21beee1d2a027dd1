"""A scripted world for the race: DNS answers and peers with delays, a clock that only the script moves."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ostiary.core.addresses import Candidate, Destination, RecordType
from ostiary.core.endpoints import Answered
from ostiary.core.eyeballs import Action, Cancel, Dial, Done, Query, Race, RaceConfig
from ostiary.core.services import Client, ServiceRecord

NEVER = None
Answer = tuple[float | None, Sequence[str]]
"""Delay of the answer or NEVER, addresses; none: empty, negative, an error."""
ORIGIN = "origin.test"


def rfc8305(**changes: Any) -> RaceConfig:
    """A race with the attempt delay that RFC 8305 section 8 recommends; ours is shorter."""
    return RaceConfig(**{"attempt_delay": 0.250, **changes})


@dataclass
class World:
    """Times in milliseconds from the start of what they follow (a query, a dial)."""

    dns: Mapping[RecordType, Answer] = field(default_factory=dict)
    """The race's own name."""
    https: Mapping[str, tuple[float | None, Sequence[ServiceRecord]]] = field(default_factory=dict)
    """Name (empty: the race's own) -> its HTTPS records. A name that isn't here is never answered."""
    names: Mapping[tuple[str, RecordType], Answer] = field(default_factory=dict)
    """Addresses of the names that HTTPS records lead to."""
    stale: Mapping[RecordType, Answer] = field(default_factory=dict)
    """An expired answer of the cache, used while the servers are asked."""
    peers: Mapping[str, tuple[float | None, str]] = field(default_factory=dict)
    """Address (`address#port` if not 443) -> (delay or NEVER, `up` or `fail`); `tls` is a TCP connection after the
    delay and silence then."""
    stranded: Sequence[str] = ()
    """Addresses without a route."""
    history: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Address -> (known round-trip time, attempt delay that follows)."""
    protocols: Sequence[str] = ("http/1.1",)
    entropy: bytes = bytes(range(64))
    config: RaceConfig = field(default_factory=lambda: rfc8305())
    addresses: Sequence[str] = ()
    """Not empty: no lookup."""
    port: int = 443

    def run(self) -> list[tuple[float, str]]:
        """What happened: (millisecond, `ask AAAA`, `dial 2001:db8::1`, `cancel ...`, `won ...`, `lost <reason>`)."""
        self.log: list[tuple[float, str]] = []
        self._events: list[tuple[float, int, str, object]] = []
        self._now = 0.0
        self.race = Race(self.config, 0.0)
        self._client = Client(
            host=ORIGIN, port=self.port, protocols=self.protocols, judge=self._judge, entropy=lambda n: self.entropy[:n]
        )
        if self.addresses:
            self._do(self.race.start(self._judge(Destination(a, self.port) for a in self.addresses), 0.0))
        else:
            self._do(self.race.resolve(0.0))
        while self.race.result is None:
            deadline = self.race.deadline
            assert deadline is not None
            if self._events and self._events[0][0] <= deadline:
                self._now, _, kind, what = heapq.heappop(self._events)
                self._do(self._tell(kind, what))
            else:
                assert deadline >= self._now, "a deadline in the past would spin"
                self._now = deadline
                self._do(self.race.tick(deadline))
        return self.log

    def dials(self) -> list[tuple[float, str]]:
        """(millisecond, address) of each attempt of the last run."""
        return [(at, text[5:]) for at, text in self.log if text.startswith("dial")]

    def _tell(self, kind: str, what: object) -> list[Action]:
        if isinstance(what, Answered):
            return self.race.answers((what,), self._now)
        assert isinstance(what, Destination)
        if kind == "up":
            return self.race.connected(what, self._now)
        if kind == "tls":
            return self.race.handshaking(what, self._now)
        return self.race.failed(what, self._now)

    def _judge(self, destinations: Iterable[Destination]) -> list[Candidate]:
        return [
            Candidate(there, None, there.address not in self.stranded, *self.history.get(there.address, (None, None)))
            for there in destinations
        ]

    def _do(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Query(record_type, name):
                    self._note(f"ask {record_type} {name}".rstrip())
                    self._answer(record_type, name)
                case Dial(destination):
                    self._note(f"dial {_place(destination)}")
                    delay, what = self.peers[_place(destination)]
                    self._later(delay, what, destination)
                case Cancel(destination):
                    self._note(f"cancel {_place(destination)}")
                case Done(winner, reason):
                    self._note(f"won {_place(winner)}" if winner else f"lost {reason}")

    def _answer(self, record_type: RecordType, name: str) -> None:
        if record_type == "HTTPS":
            delay, records = self.https.get(name, (NEVER, ()))
            self._later(delay, "answer", self._client.read(records, name))
            return
        if not name and record_type in self.stale:
            delay, addresses = self.stale[record_type]
            self._later(delay, "answer", self._found(record_type, name, addresses, final=False))
        delay, addresses = self.names.get((name, record_type), (NEVER, ())) if name else self.dns[record_type]
        self._later(delay, "answer", self._found(record_type, name, addresses, final=True))

    def _found(self, record_type: RecordType, name: str, addresses: Sequence[str], *, final: bool) -> Answered:
        return Answered(record_type, self._judge(Destination(a, self.port) for a in addresses), name, final)

    def _note(self, text: str) -> None:
        self.log.append((round(self._now * 1000, 3), text))

    def _later(self, delay: float | None, kind: str, what: object) -> None:
        if delay is not None:
            heapq.heappush(self._events, (self._now + delay / 1000, len(self._events) + len(self.log), kind, what))


def _place(destination: Destination) -> str:
    return destination.address if destination.port == 443 else f"{destination.address}#{destination.port}"
