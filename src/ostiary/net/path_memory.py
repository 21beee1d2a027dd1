"""What connections learn about paths, for those that come after them: routes, round trips, families that fail.

All of it belongs to one state of the network, and is forgotten when that changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, final

from ostiary.core.addresses import Candidate, Destination, Family
from ostiary.core.outcomes import Outcomes
from ostiary.core.trace import ConnectTrace
from ostiary.model import limits
from ostiary.net import network, routes
from ostiary.net.log import log, refresh

_LOG: Final = log("happy_eyeballs")


@final
class PathMemory:
    """The memory of one connector."""

    __slots__ = ("_generation", "_look_after", "_outcomes", "_reports", "_routes")

    def __init__(self) -> None:
        self._outcomes = Outcomes()
        self._routes = routes.Routes()
        self._generation: int | None = None
        """Of the network, when something was last learnt."""
        self._reports = False
        """Whether the kernel tells of changes."""
        self._look_after = 0.0

    def network_has_changed(self, now: float) -> bool:
        """Look, if that was not done a moment ago. If so, this has forgotten what it knew."""
        if now < self._look_after:
            return False
        self._look_after = now + limits.NETWORK_LOOK
        refresh()  # a program that uses this as a library sets levels whenever it likes
        watch = network.watch()
        self._reports = watch.reports
        before, self._generation = self._generation, watch.generation()
        if before is None or before == self._generation:
            return False
        _LOG.debug("the network has changed: what was learnt about it is forgotten")
        self.flush()
        return True

    def flush(self) -> None:
        """Forget everything."""
        self._outcomes.flush()
        self._routes.flush()

    def preferred(self, host: str, port: int, now: float, source: str) -> Family | None:
        """The family that goes first, if it is not the usual one. `source`: the addresses connected from, as text."""
        return self._outcomes.preferred(host, port, now, source)

    def judge(
        self,
        local: Sequence[routes.LocalAddress],
        source: str,
        now: float,
        adapt: bool,
        destinations: Iterable[Destination],
    ) -> list[Candidate]:
        """What the kernel says about addresses, and what is known of them; `adapt`: that sets the delay too."""
        found = []
        for destination in destinations:
            candidate = self._routes.check(destination, local, now, keep=self._reports)
            path = self._outcomes.path(destination.address, now, source)
            if path is not None:
                delay = path.delay if adapt else None
                candidate = Candidate(destination, candidate.source, candidate.routable, path.rtt, delay)
            found.append(candidate)
        return found

    def learn(self, host: str, port: int, trace: ConnectTrace, source: str) -> None:
        """A race is over."""
        self._outcomes.learn(host, port, trace.winner, trace.attempts, trace.started, source)
