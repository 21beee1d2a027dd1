"""Outlier detection: hosts that fail real requests are left out for a while (Envoy's `outlier_detection`).

Two kinds of evidence. In a row: five 5xx, five gateway errors, five failed connections. In an interval: a success rate
far below that of the others, or below a threshold. Each ejection of a host lasts longer than the last one; each
interval without one makes the next one shorter again. Hosts come back at the end of an interval, never in between.

What a request came to is told by `answered` (an HTTP status) and, where no answer came, by `connected` and `unreached`;
without `split_external_local_origin_errors` the latter count as the statuses that clients get.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from math import sqrt
from typing import Final, Literal, final

from ostiary.model.clusters import OutlierDetection

Kind = Literal[
    "consecutive_5xx",
    "consecutive_gateway_failure",
    "consecutive_local_origin_failure",
    "success_rate",
    "local_origin_success_rate",
    "failure_percentage",
    "local_origin_failure_percentage",
]
KINDS: Final[tuple[Kind, ...]] = (
    "consecutive_5xx", "consecutive_gateway_failure", "consecutive_local_origin_failure", "success_rate",
    "local_origin_success_rate", "failure_percentage", "local_origin_failure_percentage",
)  # fmt: skip
_GATEWAY_ERRORS: Final = frozenset((502, 503, 504))
UNKNOWN_RATE: Final = -1.0
_NO_AVERAGE: Final = (UNKNOWN_RATE, UNKNOWN_RATE)


@final
class Rate:
    """Successes of the interval that runs, and of the last one."""

    __slots__ = ("_good", "_total", "good", "rate", "total")

    def __init__(self) -> None:
        self._good = self._total = 0
        self.good = self.total = 0
        self.rate = UNKNOWN_RATE
        """Percent, of the last interval that had enough requests."""

    def count(self, good: bool) -> None:
        """One more request."""
        self._total += 1
        self._good += good

    def turn(self) -> None:
        """The interval ends."""
        self.good, self.total = self._good, self._total
        self._good = self._total = 0
        self.rate = UNKNOWN_RATE


@final
class Monitor:
    """What is known about one host."""

    __slots__ = (
        "backoff",
        "consecutive_5xx",
        "consecutive_gateway",
        "consecutive_local",
        "ejected",
        "ejected_at",
        "external",
        "jitter",
        "local",
        "unejected_at",
    )

    def __init__(self) -> None:
        self.consecutive_5xx = self.consecutive_gateway = self.consecutive_local = 0
        self.ejected = False
        self.backoff = 0
        self.jitter = 0.0
        self.ejected_at = 0.0
        self.unejected_at: float | None = None
        self.external = Rate()
        self.local = Rate()

    def forget(self) -> None:
        """Failures in a row start anew."""
        self.consecutive_5xx = self.consecutive_gateway = self.consecutive_local = 0


@final
class Detector:
    """Watches the hosts of one cluster. Methods that may eject a host say whether they did."""

    def __init__(self, config: OutlierDetection, random: Callable[[], float]) -> None:
        """`random` gives floats in [0, 1)."""
        self.config = config
        self._random = random
        self._monitors: list[Monitor] = []
        self.counts: Counter[str] = Counter()
        """Envoy's counters, below `outlier_detection.`."""
        self.averages = [_NO_AVERAGE, _NO_AVERAGE]
        """(mean success rate, threshold below it) of the last interval: for answers, and for connections."""

    @property
    def ejected(self) -> int:
        """How many are left out now."""
        return sum(monitor.ejected for monitor in self._monitors)

    def add(self) -> Monitor:
        """A host has come."""
        monitor = Monitor()
        self._monitors.append(monitor)
        return monitor

    def remove(self, monitor: Monitor) -> None:
        """A host is gone."""
        self._monitors.remove(monitor)

    # --- requests

    def answered(self, monitor: Monitor, status: int, now: float) -> bool:
        """The host answered a request."""
        config = self.config
        good = status < 500
        monitor.external.count(good)
        if good:
            monitor.consecutive_5xx = monitor.consecutive_gateway = 0
            return False
        ejected = False
        if status in _GATEWAY_ERRORS:
            monitor.consecutive_gateway += 1
            if monitor.consecutive_gateway == config.consecutive_gateway_failure:
                ejected = self._in_a_row(monitor, "consecutive_gateway_failure", now)
        else:
            monitor.consecutive_gateway = 0
        monitor.consecutive_5xx += 1
        if monitor.consecutive_5xx == config.consecutive_5xx:
            ejected = self._in_a_row(monitor, "consecutive_5xx", now) or ejected
        return ejected

    def connected(self, monitor: Monitor) -> None:
        """A request found a connection."""
        if self.config.split_external_local_origin_errors:
            monitor.local.count(True)
            monitor.consecutive_local = 0

    def unreached(self, monitor: Monitor, status: int, now: float) -> bool:
        """No connection, no answer in time, or one that broke; `status` is what the client got."""
        if not self.config.split_external_local_origin_errors:
            return self.answered(monitor, status, now)
        monitor.local.count(False)
        monitor.consecutive_local += 1
        if monitor.consecutive_local == self.config.consecutive_local_origin_failure:
            return self._in_a_row(monitor, "consecutive_local_origin_failure", now)
        return False

    def _in_a_row(self, monitor: Monitor, kind: Kind, now: float) -> bool:
        if monitor.ejected:
            return False
        self.counts[f"ejections_detected_{kind}"] += 1
        ejected = self._eject(monitor, kind, now)
        if kind == "consecutive_5xx":
            self.counts["ejections_consecutive_5xx"] += 1
            monitor.consecutive_5xx = 0
        elif kind == "consecutive_gateway_failure":
            monitor.consecutive_gateway = 0
        else:
            monitor.consecutive_local = 0
        return ejected

    # --- ejections

    def _eject(self, monitor: Monitor, kind: Kind, now: float) -> bool:
        config, counts = self.config, self.counts
        active = self.ejected
        allowed = 100.0 * (active + 1) / len(self._monitors) <= min(100, config.max_ejection_percent)
        if not allowed and not (config.always_eject_one_host and active == 0):
            counts["ejections_overflow"] += 1
            return False
        if kind in ("consecutive_5xx", "success_rate"):
            counts["ejections_total"] += 1
        if int(self._random() * 100) >= self._enforcing(kind):
            return False
        counts["ejections_enforced_total"] += 1
        counts[f"ejections_enforced_{kind}"] += 1
        monitor.ejected = True
        monitor.ejected_at = now
        monitor.jitter = self._random() * config.max_ejection_time_jitter
        if monitor.backoff * config.base_ejection_time < config.max_ejection_time + config.base_ejection_time:
            monitor.backoff += 1
        return True

    def _enforcing(self, kind: Kind) -> int:
        config = self.config
        return {
            "consecutive_5xx": config.enforcing_consecutive_5xx,
            "consecutive_gateway_failure": config.enforcing_consecutive_gateway_failure,
            "consecutive_local_origin_failure": config.enforcing_consecutive_local_origin_failure,
            "success_rate": config.enforcing_success_rate,
            "local_origin_success_rate": config.enforcing_local_origin_success_rate,
            "failure_percentage": config.enforcing_failure_percentage,
            "local_origin_failure_percentage": config.enforcing_failure_percentage_local_origin,
        }[kind]

    def _uneject(self, monitor: Monitor, now: float) -> None:
        monitor.ejected = False
        monitor.unejected_at = now
        monitor.forget()

    def passed_health_check(self, monitor: Monitor, now: float) -> bool:
        """An active health check found the host healthy; True if that brings it back."""
        if not (monitor.ejected and self.config.successful_active_health_check_uneject_host):
            return False
        self._uneject(monitor, now)
        return True

    # --- intervals

    def tick(self, now: float) -> bool:
        """An interval has ended; True if a host came back or was ejected."""
        config = self.config
        before = [monitor.ejected for monitor in self._monitors]
        for monitor in self._monitors:
            lasts = min(config.base_ejection_time * monitor.backoff, config.max_ejection_time) + monitor.jitter
            if monitor.ejected and now - monitor.ejected_at >= lasts:
                self._uneject(monitor, now)
            monitor.external.turn()
            monitor.local.turn()
        for local in (False, True):
            self._judge_rates(local, now)
        for monitor in self._monitors:
            since = monitor.unejected_at
            if not monitor.ejected and since is not None and now - since >= config.interval and monitor.backoff:
                monitor.backoff -= 1
        return before != [monitor.ejected for monitor in self._monitors]

    def _judge_rates(self, local: bool, now: float) -> None:
        config = self.config
        self.averages[local] = _NO_AVERAGE
        if len(self._monitors) < min(config.success_rate_minimum_hosts, config.failure_percentage_minimum_hosts):
            return
        rated: list[tuple[Monitor, int, float]] = []
        for monitor in self._monitors:
            rate = monitor.local if local else monitor.external
            if monitor.ejected or not rate.total:
                continue
            percent = 100.0 * rate.good / rate.total
            if rate.total >= min(config.success_rate_request_volume, config.failure_percentage_request_volume):
                rate.rate = percent
            rated.append((monitor, rate.total, percent))
        compared = [(m, p) for m, total, p in rated if total >= config.success_rate_request_volume]
        if compared and len(compared) >= config.success_rate_minimum_hosts:
            average = _average([p for _, p in compared], config.success_rate_stdev_factor / 1000)
            self.averages[local] = average
            for monitor, percent in compared:
                if percent < average[1]:
                    self.counts["ejections_success_rate"] += 1
                    self._by_rate(monitor, "local_origin_success_rate" if local else "success_rate", now)
        judged = [(m, p) for m, total, p in rated if total >= config.failure_percentage_request_volume]
        if judged and len(judged) >= config.failure_percentage_minimum_hosts:
            for monitor, percent in judged:
                if 100.0 - percent >= config.failure_percentage_threshold:
                    kind: Kind = "local_origin_failure_percentage" if local else "failure_percentage"
                    self._by_rate(monitor, kind, now)

    def _by_rate(self, monitor: Monitor, kind: Kind, now: float) -> None:
        self.counts[f"ejections_detected_{kind}"] += 1
        if not monitor.ejected:
            self._eject(monitor, kind, now)


def _average(rates: list[float], factor: float) -> tuple[float, float]:
    mean = sum(rates) / len(rates)
    return mean, mean - factor * sqrt(sum((rate - mean) ** 2 for rate in rates) / len(rates))
