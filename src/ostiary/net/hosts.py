"""One host of a cluster: its addresses, its pool, and everything that says whether it may get requests."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, final

from ostiary.core.addresses import Destination
from ostiary.core.health import HealthState
from ostiary.core.outlier import Detector, Monitor
from ostiary.model.clusters import Endpoint
from ostiary.net.pool import Pool
from ostiary.net.roles import Answered

if TYPE_CHECKING:
    from ostiary.net.health import HealthSession

_UNHEALTHY: Final = frozenset(("UNHEALTHY", "TIMEOUT"))
Addresses = tuple[tuple[str, int], ...]


@final
class Host:
    """A member of the balancing (core/balancing.py)."""

    __slots__ = (
        "addresses",
        "detector",
        "endpoint",
        "health",
        "monitor",
        "pool",
        "priority",
        "removed",
        "session",
        "weight",
    )

    def __init__(self, endpoint: Endpoint, addresses: Addresses | None, pool: Pool) -> None:
        self.endpoint = endpoint
        self.addresses = addresses
        """None: a Unix socket, or a name that each connection asks for anew."""
        self.pool = pool
        self.weight = endpoint.weight
        self.priority = endpoint.priority
        self.health: HealthState | None = None
        self.session: HealthSession | None = None
        self.monitor: Monitor | None = None
        self.detector: Detector | None = None
        self.removed = False
        """Gone from the DNS, but kept as long as its health checks pass."""

    @property
    def healthy(self) -> bool:
        """Whether it may get requests."""
        if self.endpoint.health_status in _UNHEALTHY or self.endpoint.health_status == "DRAINING":
            return False
        if self.is_ejected:
            return False
        return self.health is None or not self.health.failed

    @property
    def is_ejected(self) -> bool:
        """Left out by outlier detection."""
        return self.monitor is not None and self.monitor.ejected

    @property
    def excluded(self) -> bool:
        """Not to be counted: it drains, or is new and waits for its first health check."""
        if self.endpoint.health_status == "DRAINING":
            return True
        return self.health is not None and self.health.pending

    @property
    def busy(self) -> int:
        """Requests that run on it."""
        return self.pool.active

    @property
    def address(self) -> str:
        """How Envoy prints it: the first address, or the path."""
        if self.endpoint.pipe is not None:
            return self.endpoint.pipe
        first = self.addresses[0] if self.addresses else (self.endpoint.address, self.endpoint.port)
        return str(Destination(*first))

    @property
    def health_flags(self) -> str:
        """As in Envoy's /clusters."""
        flags = ""
        health = self.health
        if health is not None and health.failed:
            flags += "/failed_active_hc"
        if self.is_ejected:
            flags += "/failed_outlier_check"
        if self.endpoint.health_status in _UNHEALTHY:
            flags += "/failed_eds_health"
        if self.endpoint.health_status == "DRAINING":
            flags += "/eds_status_draining"
        if self.removed:
            flags += "/pending_dynamic_removal"
        if health is not None and health.pending:
            flags += "/pending_active_hc"
        if health is not None and health.timed_out:
            flags += "/active_hc_timeout"
        return flags or "healthy"

    def retire(self, elsewhere: Callable[[Answered], None]) -> None:
        """It is gone; requests that it has not touched go elsewhere."""
        if self.session is not None:
            self.session.stop()
        if self.detector is not None and self.monitor is not None:
            self.detector.remove(self.monitor)
        self.pool.watch = None
        self.pool.retire(elsewhere)


@final
class HostWatch:
    """Feeds one host's requests to the outlier detection."""

    __slots__ = ("_clock", "_detector", "_host", "_monitor", "_on_ejected")

    def __init__(
        self, host: Host, detector: Detector, clock: Callable[[], float], on_ejected: Callable[[Host], None]
    ) -> None:
        self._host = host
        self._detector = detector
        self._clock = clock
        self._on_ejected = on_ejected
        self._monitor = host.monitor = detector.add()
        host.detector = detector
        host.pool.watch = self

    def answered(self, status: int) -> None:
        """The host answered."""
        if self._detector.answered(self._monitor, status, self._clock()):
            self._on_ejected(self._host)

    def connected(self) -> None:
        """A request has a connection to it."""
        self._detector.connected(self._monitor)

    def unreached(self, status: int) -> None:
        """It could not be reached, or broke off."""
        if self._detector.unreached(self._monitor, status, self._clock()):
            self._on_ejected(self._host)
