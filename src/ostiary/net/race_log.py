"""What the log says about one race, in Envoy's words under Envoy's loggers.

A race has a connection number, which the winner keeps, and each attempt of several has one of its own, as in Envoy.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, final

from ostiary.net import resolution_log
from ostiary.net.attempt import Runner, transport_failure
from ostiary.net.log import log, next_connection_id

_CLIENT: Final = log("client")
_CONNECTION: Final = log("connection")
_DNS: Final = log("dns")
_HAPPY_EYEBALLS: Final = log("happy_eyeballs")
_MULTI_CONNECTION: Final = log("multi_connection")
_UPSTREAM: Final = log("upstream")


@final
class RaceLog:
    """Told of each step of one race."""

    __slots__ = ("_host", "_several", "_started", "number")

    def __init__(self, host: str) -> None:
        self._host = host
        self._started = 0
        self._several = True
        self.number = next_connection_id()

    def begins(self, count: int | None) -> None:
        """With so many addresses; None: their name is looked up first."""
        if count is None:
            _DNS.trace("dns resolution for %s started", self._host)
        elif count > 1:
            _UPSTREAM.debug("Upstream using happy eyeballs config.")
            _MULTI_CONNECTION.debug("[C%d] connections=%d", self.number, count)
        else:
            self._several = False
        _CLIENT.debug("connecting", connection=self.number)

    def dials(self, runner: Runner) -> None:
        """The next attempt."""
        self._started += 1
        if self._several:
            runner.number = next_connection_id()
            _HAPPY_EYEBALLS.debug("C[%d] address=%s", self.number, runner.destination)
        else:
            runner.number = self.number
        _CONNECTION.debug("connecting to %s", runner.destination, connection=runner.number)

    def waits(self, runner: Runner) -> None:
        """The address has not answered yet."""
        _CONNECTION.debug("connection in progress", connection=runner.number)

    def connected(self, runner: Runner) -> None:
        """TCP is up."""
        _CONNECTION.debug("connected", connection=runner.number)

    def failed(self, runner: Runner) -> None:
        """The attempt is over, with an error."""
        if _CONNECTION.debugs:
            why = transport_failure(runner.record)
            if runner.record.stage == "tls":
                why = f"remote address:{runner.destination},{why}"
            _CONNECTION.debug("%s", why, connection=runner.number)
            if runner.record.stage == "route":
                _CONNECTION.debug("raising immediate error", connection=runner.number)
            _CONNECTION.debug("closing socket: 0", connection=runner.number)
        if self._several:
            _MULTI_CONNECTION.debug("connection=%d", self._started, connection=self.number)

    def ends(self, *, won: bool, late: bool, outcomes: Collection[str]) -> None:
        """There is a winner, or none; `late`: time ran out. `outcomes` are those of the DNS queries."""
        if outcomes:
            resolution_log.completed(self._host, outcomes)
        if self._several and not late and self._started:
            text = "connection=%d" if won else "connections=%d"
            _MULTI_CONNECTION.debug(text, self._started, connection=self.number)
