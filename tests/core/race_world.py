"""A scripted world for the race: DNS answers and peers with delays, a clock that only the script moves."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ostiary.core.addresses import Candidate, Destination, RecordType
from ostiary.core.eyeballs import Action, Cancel, Dial, Done, Query, Race, RaceConfig

NEVER = None


@dataclass
class World:
    """Times in milliseconds from the start of what they follow (a query, a dial)."""

    dns: Mapping[RecordType, tuple[float | None, Sequence[str]]] = field(default_factory=dict)
    """type -> (answer's delay or NEVER, addresses; none: empty answer)."""
    peers: Mapping[str, tuple[float | None, str]] = field(default_factory=dict)
    """address -> (delay or NEVER, `up` or `fail`); `tls` is a TCP connection after the delay and silence then."""
    stranded: Sequence[str] = ()
    """Addresses without a route."""
    config: RaceConfig = field(default_factory=RaceConfig)
    addresses: Sequence[str] = ()
    """Not empty: no lookup."""

    def run(self) -> list[tuple[float, str]]:
        """What happened: (millisecond, `ask AAAA`, `dial 2001:db8::1`, `cancel ...`, `won ...`, `lost <reason>`)."""
        self.log: list[tuple[float, str]] = []
        self._events: list[tuple[float, int, str, object]] = []
        self._now = 0.0
        self.race = Race(self.config, 0.0)
        if self.addresses:
            self._do(self.race.start([self._candidate(a) for a in self.addresses], 0.0))
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

    def _tell(self, kind: str, what: object) -> list[Action]:
        if kind == "answer":
            candidates = [self._candidate(a) for a in self.dns[what][1]]  # type: ignore[index]
            return self.race.answer(what, candidates, self._now)  # type: ignore[arg-type]
        assert isinstance(what, Destination)
        if kind == "up":
            return self.race.connected(what, self._now)
        if kind == "tls":
            return self.race.handshaking(what, self._now)
        return self.race.failed(what, self._now)

    def _candidate(self, address: str) -> Candidate:
        return Candidate(destination=Destination(address, 443), routable=address not in self.stranded)

    def _do(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Query(record_type):
                    self._note(f"ask {record_type}")
                    self._later(self.dns[record_type][0], "answer", record_type)
                case Dial(destination):
                    self._note(f"dial {destination.address}")
                    delay, what = self.peers[destination.address]
                    self._later(delay, what, destination)
                case Cancel(destination):
                    self._note(f"cancel {destination.address}")
                case Done(winner, reason):
                    self._note(f"won {winner.address}" if winner else f"lost {reason}")

    def _note(self, text: str) -> None:
        self.log.append((round(self._now * 1000, 3), text))

    def _later(self, delay: float | None, kind: str, what: object) -> None:
        if delay is not None:
            heapq.heappush(self._events, (self._now + delay / 1000, len(self._events) + len(self.log), kind, what))
