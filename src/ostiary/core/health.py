"""Active health checks: what results of checks make of a host, and when to check again (Envoy's `health_checks`).

A host starts as failed and is believed healthy after one good check; later it takes `healthy_threshold` of them in a
row. An HTTP answer that isn't expected fails the host at once; what may be the network's fault (no connection, no
answer in time, a broken one) or a retriable status takes `unhealthy_threshold` of them in a row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final, Literal, final

from ostiary.model import limits
from ostiary.model.clusters import HealthChecking, HttpHealthCheck

Failure = Literal["active", "network", "timeout"]
Change = Literal["unchanged", "pending", "changed"]
COUNTS: Final = ("attempt", "success", "failure", "network_failure", "passive_failure", "verify_cluster")


@final
class HealthState:
    """One host under health checks."""

    __slots__ = ("_config", "_counts", "_first", "_good", "_random", "bad", "failed", "pending", "timed_out")

    def __init__(
        self, config: HealthChecking, counts: Counter[str], random: Callable[[], float], *, pending: bool = False
    ) -> None:
        """`counts` are the cluster's; `random` gives floats in [0, 1)."""
        self._config = config
        self._counts = counts
        self._random = random
        self.failed = True
        self.timed_out = False
        self.pending = pending
        """New, and left out of every count until it has been checked."""
        self._first = True
        self._good = 0
        self.bad = 0

    @property
    def checked(self) -> bool:
        """True once there was a result."""
        return not self._first

    def succeeded(self) -> Change:
        """A good check."""
        self.bad = 0
        change: Change = "unchanged"
        if self.failed:
            self._good += 1
            if self._first or self._good == self._config.healthy_threshold:
                self.failed = self.timed_out = False
                change = "changed"
            else:
                change = "pending"
        self._counts["success"] += 1
        return self._settle(change)

    def broke(self, failure: Failure, *, retriable: bool = False) -> Change:
        """A bad check."""
        self._good = 0
        network = failure != "active"
        change: Change = "unchanged"
        if not self.failed:
            self.bad += network or retriable
            if not (network or retriable) or self.bad == self._config.unhealthy_threshold:
                self.failed = True
                change = "changed"
            else:
                change = "pending"
        self.timed_out = failure == "timeout" and self.failed
        self._counts["failure"] += 1
        if network:
            self._counts["network_failure"] += 1
        return self._settle(change)

    def _settle(self, change: Change) -> Change:
        self._first = False
        if self.pending:
            self.pending = False
            return "changed"
        return change

    # --- times

    def initial_delay(self) -> float:
        """Seconds before the first check."""
        return self._random() * self._config.initial_jitter

    def delay(self, good: bool, change: Change, *, traffic: bool) -> float:
        """Seconds until the next check. A cluster that nobody has used yet is checked rarely."""
        config = self._config
        edge = change == "pending"
        if not traffic:
            base = config.no_traffic_healthy_interval if good and not edge else config.no_traffic_interval
        elif good:
            base = config.healthy_edge_interval if edge else config.interval
        else:
            base = config.unhealthy_edge_interval if edge else config.unhealthy_interval
        base += self._random() * base * config.interval_jitter_percent / 100
        return max(limits.MIN_HEALTH_CHECK_INTERVAL, base + self._random() * config.interval_jitter)


def verdict(check: HttpHealthCheck, status: int, body: bytes) -> tuple[bool, bool]:
    """(good, retriable) of an answer."""
    if check.receive and not contains(check.receive, body):
        return False, False
    if _in_ranges(status, check.expected_statuses):
        return True, False
    return False, _in_ranges(status, check.retriable_statuses)


def contains(expected: Iterable[bytes], data: bytes) -> bool:
    """True if all of `expected` are there, in order; anything may be between them."""
    at = 0
    for part in expected:
        found = data.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return True


def _in_ranges(status: int, ranges: Iterable[tuple[int, int]]) -> bool:
    return any(start <= status < end for start, end in ranges)
