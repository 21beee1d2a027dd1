"""A connection manager's counters and gauges under Envoy's names, put together when somebody looks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, final

from ostiary.net.handshakes import Handshakes
from ostiary.net.traffic import Traffic

if TYPE_CHECKING:
    from ostiary.core.decision import Counter as Single
    from ostiary.core.histogram import Histogram
    from ostiary.net.exchange import Exchange
    from ostiary.net.service import Service

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
    "downstream_rq_max_duration_reached", "downstream_rq_redirected_with_normalized_path",
    "downstream_rq_response_before_rq_complete", "downstream_rq_rx_reset", "downstream_rq_timeout",
    "downstream_rq_tx_reset", "downstream_rq_ws_on_non_ws_route",
)  # fmt: skip
"""What happens rarely, or once a connection: `Service.counts`."""
_ROUTED: Final = frozenset(("cluster_not_found", "direct_response", "no_healthy_upstream", "route_not_found"))
"""How the router answers by itself."""
_BY_DETAILS: Final = {
    "downstream_remote_disconnect": "downstream_rq_rx_reset",
    "http1.request_headers_timeout": "downstream_rq_header_timeout",
    "low_version": "downstream_cx_protocol_error",
    "max_duration_timeout": "downstream_rq_max_duration_reached",
    "path_normalization_failed": "downstream_rq_redirected_with_normalized_path",
    "request_overall_timeout": "downstream_rq_timeout",
    "stream_idle_timeout": "downstream_rq_idle_timeout",
    "upgrade_failed": "downstream_rq_ws_on_non_ws_route",
}


def count_by_details(counts: Counter[str], exchange: Exchange) -> None:
    """An exchange ended so (%RESPONSE_CODE_DETAILS%)."""
    details = exchange.details
    found = _BY_DETAILS.get(details)
    unreadable = details.startswith("http1.") or details == "low_version"
    if found is None and unreadable:
        found = "downstream_cx_protocol_error"
    elif found is None and details.startswith("path_normalization_failed:"):
        found = "downstream_rq_failed_path_normalization"
    if found is not None:
        counts[found] += 1
    broken = details.startswith("upstream_reset_after_response_started")
    counts["downstream_rq_rx_reset"] += unreadable or broken
    counts["downstream_rq_tx_reset"] += broken
    if exchange.pool is None and details not in _ROUTED:
        counts["unrouted"] += 1


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

    def __init__(self, counter: Callable[[str], Single], lengths: Histogram) -> None:
        """`counter` gives those below the prefix that are counted at each request or connection."""
        self.counts: Counter[str] = Counter()
        """What happens rarely. Beside Envoy's names: `silent` connections, on which a client sent nothing, and
        `unrouted` requests, which a filter answered, or nobody."""
        self.traffic = Traffic()
        self.handshakes = Handshakes()
        self.lengths = lengths
        """How long connections lasted."""
        self.services: list[Service] = []
        self._opened, self._finished = counter("downstream_cx_total"), counter("downstream_rq_total")

    def values(self) -> dict[str, int]:
        """As a source of Stats."""
        return self._values() if self.services else {}

    def _values(self) -> dict[str, int]:
        """Every name below `http.<stat_prefix>.` that is not counted at each request. What is under way is counted
        there when it ends: the source adds what has begun."""
        counts, services = self.counts, self.services
        connections = [each for service in services for each in service.connections]
        exchanges = [each.exchange for each in connections if each.exchange is not None]
        greeting, failed = self.handshakes.under_way, self.handshakes.failed
        total, active = self._opened.value + greeting + failed, len(connections) + greeting
        mute = sum(not each.has_spoken for each in connections)
        encrypted = any(service.settings.tls for service in services)
        found = {name: counts[name] for name in RARE}
        found["downstream_cx_total"] = greeting + failed
        found["downstream_cx_active"] = active
        found["downstream_cx_http1_active"] = len(connections) - mute
        found["downstream_cx_http1_total"] = self._opened.value - mute - counts["silent"]
        found["downstream_cx_destroy"] = total - active
        found["downstream_cx_destroy_remote"] += failed
        found["downstream_cx_ssl_active"] = greeting + sum(len(e.connections) for e in services if e.settings.tls)
        found["downstream_cx_ssl_total"] = total if encrypted else 0
        found["downstream_cx_rx_bytes_total"] = self.traffic.received
        found["downstream_cx_tx_bytes_total"] = self.traffic.sent
        found["downstream_cx_upgrades_active"] = sum(exchange.tunnel for exchange in exchanges)
        found["downstream_rq_active"] = found["downstream_rq_total"] = len(exchanges)
        found["downstream_rq_http1_total"] = requests = self._finished.value + len(exchanges)
        undecided = sum(exchange.pool is None for exchange in exchanges)
        found["rq_total"] = requests - counts["unrouted"] - undecided
        return found
