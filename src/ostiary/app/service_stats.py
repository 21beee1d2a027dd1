"""A connection manager's counters and gauges under Envoy's names, put together when somebody looks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import TYPE_CHECKING, Final, final

if TYPE_CHECKING:
    from ostiary.app.service import HttpService
    from ostiary.core.decision import Counter as Opened

SERVICE_GAUGES: Final = frozenset(
    ("downstream_cx_active", "downstream_cx_http1_active", "downstream_cx_ssl_active", "downstream_rq_active",
     "downstream_cx_upgrades_active")
)  # fmt: skip
"""What can go down."""
RARE: Final = (
    "downstream_cx_delayed_close_timeout", "downstream_cx_destroy_active_rq", "downstream_cx_destroy_local",
    "downstream_cx_destroy_local_active_rq", "downstream_cx_destroy_remote", "downstream_cx_destroy_remote_active_rq",
    "downstream_cx_drain_close", "downstream_cx_idle_timeout", "downstream_cx_max_duration_reached",
    "downstream_cx_max_requests_reached", "downstream_cx_protocol_error", "downstream_cx_upgrades_total",
    "downstream_rq_failed_path_normalization", "downstream_rq_header_timeout", "downstream_rq_idle_timeout",
    "downstream_rq_max_duration_reached", "downstream_rq_redirected_with_normalized_path", "downstream_rq_rx_reset",
    "downstream_rq_timeout", "downstream_rq_ws_on_non_ws_route",
)  # fmt: skip
"""What happens rarely, or once a connection: `HttpService.counts`."""
_BY_DETAILS: Final = {
    "downstream_remote_disconnect": "downstream_rq_rx_reset",
    "http1.request_headers_timeout": "downstream_rq_header_timeout",
    "max_duration_timeout": "downstream_rq_max_duration_reached",
    "path_normalization_failed": "downstream_rq_redirected_with_normalized_path",
    "request_overall_timeout": "downstream_rq_timeout",
    "stream_idle_timeout": "downstream_rq_idle_timeout",
    "upgrade_failed": "downstream_rq_ws_on_non_ws_route",
}


def count_by_details(counts: Counter[str], details: str) -> None:
    """An exchange ended so (%RESPONSE_CODE_DETAILS%)."""
    found = _BY_DETAILS.get(details)
    if found is None and details.startswith("http1."):
        found = "downstream_cx_protocol_error"
    elif found is None and details.startswith("path_normalization_failed:"):
        found = "downstream_rq_failed_path_normalization"
    if found is not None:
        counts[found] += 1


def count_closed(counts: Counter[str], *, local: bool, active: bool) -> None:
    """A connection is closed, by us or by the client, with a request on it or without."""
    side = "local" if local else "remote"
    counts[f"downstream_cx_destroy_{side}"] += 1
    if active:
        counts["downstream_cx_destroy_active_rq"] += 1
        counts[f"downstream_cx_destroy_{side}_active_rq"] += 1


@final
class ServiceStats:
    """The statistics under one `stat_prefix`: of every service that has it, and of those it had before a reload."""

    def __init__(self, opened: Opened) -> None:
        """`opened` counts connections."""
        self.counts: Counter[str] = Counter()
        self.services: list[HttpService] = []
        self._opened = opened

    def values(self) -> dict[str, int]:
        """As a source of Stats."""
        return service_stats(self.services, self.counts, self._opened.value) if self.services else {}


def service_stats(services: Collection[HttpService], counts: Counter[str], total: int) -> dict[str, int]:
    """Of `total` connections so far: every name below `http.<stat_prefix>.` that is not counted at each request."""
    connections = [each for service in services for each in service.connections]
    active, encrypted = len(connections), any(service.settings.tls for service in services)
    exchanges = [each.exchange for each in connections if each.exchange is not None]
    found = {name: counts[name] for name in RARE}
    found["downstream_cx_active"] = found["downstream_cx_http1_active"] = active
    found["downstream_cx_http1_total"] = total
    found["downstream_cx_destroy"] = total - active
    found["downstream_cx_ssl_active"] = sum(len(each.connections) for each in services if each.settings.tls)
    found["downstream_cx_ssl_total"] = total if encrypted else 0
    found["downstream_rq_active"] = len(exchanges)
    found["downstream_cx_upgrades_active"] = sum(exchange.tunnel for exchange in exchanges)
    return found
