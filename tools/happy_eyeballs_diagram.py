"""Draws docs/happy-eyeballs.svg: a race of the real machine, in a world where every time is written down.

    python tools/happy_eyeballs_diagram.py            # writes the file; a test says when that is due

The world: A is answered before AAAA, the first IPv6 address drops everything, IPv4 works. It shows the Resolution Delay
(AAAA is waited for), the Connection Attempt Delay (200 ms, then the other family), and that the race ends with TLS.
"""

from __future__ import annotations

import heapq
import itertools
from pathlib import Path
from typing import Final

from ostiary.core.addresses import Candidate, Destination, RecordType
from ostiary.core.explain import summarize
from ostiary.core.eyeballs import Cancel, Dial, Query, Race, RaceConfig
from ostiary.core.trace import Attempt, ConnectTrace, DnsQuery, Tls
from ostiary.pages import render
from ostiary.report.waterfall import WIDE, waterfall

FILE: Final = Path(__file__).parent.parent / "docs" / "happy-eyeballs.svg"
NAME, PORT = "login.example", 443
ANSWERS: Final[dict[RecordType, tuple[float, tuple[str, ...]]]] = {
    "A": (0.012, ("192.0.2.7",)),
    "AAAA": (0.040, ("2001:db8::7", "2001:db8::8")),
}
"""When each query is answered, and with what."""
TCP, TLS = 0.022, 0.041
"""What the handshakes take at an address that works."""
WORKS: Final = {"192.0.2.7"}


class World:
    """Answers queries and dials at the times above, and keeps the record."""

    def __init__(self) -> None:
        self.now = 0.0
        self.race = Race(RaceConfig(), 0.0)
        self.trace = ConnectTrace(target=f"{NAME}:{PORT}", started=0.0, timeout=5.0)
        self._count = itertools.count()
        self._events: list[tuple[float, int, str, object]] = []

    def run(self) -> ConnectTrace:
        """The whole race."""
        self._do(self.race.resolve(0.0))
        while self.race.result is None:
            deadline = self.race.deadline
            assert deadline is not None
            if not self._events or self._events[0][0] > deadline:
                self.now = deadline
                self._do(self.race.tick(self.now))
                continue
            self.now, _, kind, what = heapq.heappop(self._events)
            self._do(self._event(kind, what))
        self._end()
        return self.trace

    def _event(self, kind: str, what: object) -> list[object]:
        if isinstance(what, DnsQuery):
            what.ended, what.outcome, what.rcode = self.now, "answered", "NOERROR"
            what.answers = ANSWERS[what.type][1]
            candidates = [Candidate(destination=Destination(address, PORT)) for address in what.answers]
            return list(self.race.answer(what.type, candidates, self.now))
        assert isinstance(what, Attempt)
        destination = Destination(what.address, what.port)
        if kind == "tcp":
            what.stage, what.connected = "tls", self.now
            self._after(TLS, "tls", what)
            return list(self.race.handshaking(destination, self.now))
        what.outcome, what.ended = "won", self.now
        self.trace.winner = what
        return list(self.race.connected(destination, self.now))

    def _do(self, actions: object) -> None:
        assert isinstance(actions, list)
        for action in actions:
            match action:
                case Query():
                    query = DnsQuery(name=f"{NAME}.", type=action.type, server="192.0.2.53:53", started=self.now)
                    self.trace.dns.append(query)
                    self._after(ANSWERS[query.type][0], "dns", query)
                case Dial(destination):
                    attempt = Attempt(
                        address=destination.address, port=PORT, family=destination.family, started=self.now
                    )
                    self.trace.attempts.append(attempt)
                    if attempt.address in WORKS:
                        self._after(TCP, "tcp", attempt)
                case Cancel(destination):
                    loser = next(a for a in self.trace.attempts if a.address == destination.address)
                    loser.outcome, loser.ended = "cancelled", self.now

    def _after(self, delay: float, kind: str, what: object) -> None:
        heapq.heappush(self._events, (self.now + delay, next(self._count), kind, what))

    def _end(self) -> None:
        self.trace.ended = self.now
        self.trace.attempts += [
            Attempt(address=destination.address, port=PORT, family=destination.family)
            for destination in self.race.untried
        ]
        self.trace.tls = Tls(
            version="TLSv1.3", sni=NAME, alpn="http/1.1", peer=f"CN={NAME}", not_after="", verified=True
        )
        self.trace.summary = summarize(self.trace)


def build() -> bytes:
    """The file's content."""
    return render("report/diagram", {"chart": waterfall(World().run(), WIDE)})


if __name__ == "__main__":
    FILE.write_bytes(build())
    print(f"wrote {FILE.name}")
