"""A cluster's counters and gauges under Envoy's names, put together when somebody looks."""

from __future__ import annotations

from collections import Counter
from typing import Final

from ostiary.core.health import COUNTS as HEALTH_COUNTS
from ostiary.core.outlier import KINDS
from ostiary.model.clusters import CircuitBreakers
from ostiary.net.clusters import ClusterPool

_BREAKERS: Final = ("cx_open", "cx_pool_open", "rq_open", "rq_pending_open", "rq_retry_open")
_REMAINING: Final = ("remaining_cx", "remaining_pending", "remaining_retries", "remaining_rq")
GAUGES: Final = frozenset(
    {
        "upstream_cx_active", "upstream_rq_active", "upstream_rq_pending_active", "membership_healthy",
        "membership_degraded", "membership_excluded", "membership_total", "ejections_active", "healthy",
        "warming_state",
        *_BREAKERS, *_REMAINING,
    }
)  # fmt: skip
"""What can go down."""
_COUNTERS: Final = (
    "membership_change", "update_attempt", "update_success", "update_failure", "update_empty", "update_no_rebuild",
    "upstream_cx_total", "upstream_cx_http1_total", "upstream_cx_http2_total", "upstream_cx_connect_fail",
    "upstream_cx_connect_timeout", "upstream_cx_max_duration_reached",
    "upstream_cx_overflow", "upstream_cx_none_healthy", "upstream_cx_destroy", "upstream_cx_destroy_local",
    "upstream_cx_destroy_remote", "upstream_cx_destroy_with_active_rq", "upstream_cx_destroy_local_with_active_rq",
    "upstream_cx_destroy_remote_with_active_rq", "upstream_cx_close_notify", "upstream_cx_idle_timeout",
    "upstream_cx_max_requests", "upstream_cx_protocol_error", "upstream_rq_pending_total",
    "upstream_flow_control_paused_reading_total", "upstream_flow_control_resumed_reading_total",
    "upstream_rq_pending_overflow", "upstream_rq_active_overflow",
    "upstream_rq_pending_failure_eject", "upstream_rq_cancelled", "upstream_rq_timeout",
)  # fmt: skip
_SSL: Final = ("ssl.connection_error", "ssl.fail_verify_error", "ssl.fail_verify_san", "ssl.handshake")
_HTTP2: Final = ("http2.keepalive_timeout", "http2.rx_messaging_error", "http2.rx_reset", "http2.tx_reset")
_EJECTIONS: Final = (
    "ejections_total", "ejections_overflow", "ejections_enforced_total", "ejections_consecutive_5xx",
    "ejections_success_rate", *(f"ejections_{how}_{kind}" for how in ("detected", "enforced") for kind in KINDS),
)  # fmt: skip


def cluster_stats(cluster: ClusterPool) -> dict[str, int]:
    """Every name below `cluster.<name>.`."""
    cluster.forget_retired()
    pools = [*(host.pool for host in cluster.hosts), *cluster.retired]
    counts = Counter(cluster.counts)
    codes = Counter(cluster.codes)
    codes[504] += cluster.lobby.late
    for pool in pools:
        counts.update(pool.counts)
        codes.update({status: count for status, count in enumerate(pool.codes) if count})
    codes[503] += counts["upstream_rq_pending_overflow"]  # of these no host knows
    found = {name: counts[name] for name in _COUNTERS}
    if cluster.cluster.http2 is not None:
        found.update((name, counts[name]) for name in _HTTP2)
    if cluster.cluster.transport_socket is not None:
        found.update((name, counts[name]) for name in (*_SSL, *(each for each in counts if each.startswith("ssl."))))
    found["upstream_cx_rx_bytes_total"] = cluster.load.traffic.received
    found["upstream_cx_tx_bytes_total"] = cluster.load.traffic.sent
    found["lb_healthy_panic"] = cluster.balancer.panicked
    found["upstream_rq_total"] = counts["upstream_rq_total"] + sum(pool.total for pool in pools)
    found["upstream_cx_active"] = sum(pool.open for pool in pools)
    found["upstream_rq_active"] = cluster.load.requests
    found["upstream_rq_pending_active"] = cluster.load.pending
    _add_codes(found, codes, cluster.load.internal)
    members = cluster.members
    counted = [host for host in members if not host.excluded]
    found["membership_total"] = len(members)
    found["membership_healthy"] = sum(host.healthy for host in counted)
    found["membership_excluded"] = len(members) - len(counted)
    found["membership_degraded"] = 0
    found["warming_state"] = int(not cluster.is_warm)
    _add_breakers(found, cluster)
    if cluster.detector is not None:
        for name in _EJECTIONS:
            found[f"outlier_detection.{name}"] = cluster.detector.counts[name]
        found["outlier_detection.ejections_active"] = cluster.detector.ejected
    if cluster.cluster.health_checking is not None:
        for name in HEALTH_COUNTS:
            found[f"health_check.{name}"] = cluster.health_counts[name]
        found["health_check.healthy"] = sum(h.health is not None and not h.health.failed for h in members)
    return found


def _add_codes(found: dict[str, int], codes: Counter[int], internal: Counter[int]) -> None:
    """Envoy counts each twice: for all requests, and for those of clients or of its own; these where there is one."""
    found["upstream_rq_completed"] = 0
    for prefix, counted in (("", codes), ("external.", codes - internal), ("internal.", internal)):
        for code, count in counted.items():
            if count:
                for what in (code, f"{code // 100}xx", "completed"):
                    name = f"{prefix}upstream_rq_{what}"
                    found[name] = found.get(name, 0) + count


def _add_breakers(found: dict[str, int], cluster: ClusterPool) -> None:
    load, config = cluster.load, cluster.cluster
    left = _left(config.circuit_breakers, load.connections, load.pending, load.requests)
    open_ = {
        "cx_open": left["remaining_cx"] <= 0 < load.connections,
        "rq_open": left["remaining_rq"] <= 0 < load.requests,
        "rq_pending_open": left["remaining_pending"] <= 0 < load.pending,
    }
    for priority, breakers in (("default", config.circuit_breakers), ("high", config.high_circuit_breakers)):
        prefix = f"circuit_breakers.{priority}."
        for name in _BREAKERS:
            found[prefix + name] = int(priority == "default" and open_.get(name, False))
        if breakers.track_remaining:
            remaining = left if priority == "default" else _left(breakers, 0, 0, 0)
            found.update((prefix + name, max(0, remaining[name])) for name in _REMAINING)


def _left(breakers: CircuitBreakers, connections: int, pending: int, requests: int) -> dict[str, int]:
    return {
        "remaining_cx": breakers.max_connections - connections,
        "remaining_pending": breakers.max_pending_requests - pending,
        "remaining_rq": breakers.max_requests - requests,
        "remaining_retries": breakers.max_retries,
    }
