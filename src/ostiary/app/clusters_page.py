"""The admin API's `/clusters`: every cluster and host, as Envoy prints them, as text or as JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from ostiary.core.outlier import UNKNOWN_RATE
from ostiary.model.clusters import CircuitBreakers
from ostiary.net.clusters import ClusterPool
from ostiary.net.hosts import Host

_THRESHOLDS: Final = ("max_connections", "max_pending_requests", "max_requests", "max_retries")
_COUNTERS: Final = ("cx_connect_fail", "cx_total", "rq_error", "rq_success", "rq_timeout", "rq_total")
_GAUGES: Final = ("cx_active", "rq_active", "rq_pending_active")


def matching(clusters: Iterable[ClusterPool], pattern: str) -> list[ClusterPool]:
    """Those whose name has the pattern in it. Raises re.error for a bad one."""
    wanted = re.compile(pattern)
    return [each for each in clusters if wanted.search(each.cluster.name)]


def as_text(clusters: Iterable[ClusterPool]) -> str:
    """`name::...::value`, a line each."""
    return "".join(f"{line}\n" for cluster in clusters for line in _lines(cluster))


def as_json(clusters: Iterable[ClusterPool]) -> str:
    """`{"cluster_statuses": [...]}`; zeros are left out, as protobuf does."""
    return json.dumps({"cluster_statuses": [_status(cluster) for cluster in clusters]}, indent=1) + "\n"


def host_stats(host: Host) -> dict[str, int]:
    """A host's counters and gauges."""
    pool = host.pool
    return {
        "cx_active": pool.open,
        "cx_connect_fail": pool.counts["upstream_cx_connect_fail"],
        "cx_total": pool.counts["upstream_cx_total"],
        "rq_active": pool.active,
        "rq_error": sum(pool.codes[500:]),
        "rq_pending_active": pool.pending,
        "rq_success": sum(pool.codes[:500]),
        "rq_timeout": pool.counts["upstream_rq_timeout"],
        "rq_total": pool.total,
    }


def _rates(host: Host) -> tuple[float, float]:
    if host.monitor is None:
        return UNKNOWN_RATE, UNKNOWN_RATE
    return host.monitor.external.rate, host.monitor.local.rate


def _lines(cluster: ClusterPool) -> Iterator[str]:
    config = cluster.cluster
    name = config.name
    yield f"{name}::observability_name::{config.alt_stat_name or name}"
    if cluster.detector is not None:
        for kind, (average, threshold) in zip(("", "local_origin_"), cluster.detector.averages, strict=True):
            yield f"{name}::outlier::{kind}success_rate_average::{average:g}"
            yield f"{name}::outlier::{kind}success_rate_ejection_threshold::{threshold:g}"
    for priority, breakers in (("default", config.circuit_breakers), ("high", config.high_circuit_breakers)):
        for threshold_name in _THRESHOLDS:
            yield f"{name}::{priority}_priority::{threshold_name}::{getattr(breakers, threshold_name)}"
    yield f"{name}::added_via_api::false"
    for host in cluster.members:
        endpoint = host.endpoint
        external, local = _rates(host)
        shown: dict[str, object] = {
            **host_stats(host),
            "hostname": host.pool.hostname,
            "health_flags": host.health_flags,
            "weight": host.weight,
            "region": endpoint.locality.region,
            "zone": endpoint.locality.zone,
            "sub_zone": endpoint.locality.sub_zone,
            "canary": "false",
            "priority": host.priority,
            "success_rate": f"{external:g}",
            "local_origin_success_rate": f"{local:g}",
        }
        for key, value in shown.items():
            yield f"{name}::{host.address}::{key}::{value}"


def _status(cluster: ClusterPool) -> dict[str, Any]:
    config = cluster.cluster
    status: dict[str, Any] = {"name": config.name}
    if cluster.detector is not None:
        for kind, (_, threshold) in zip(("", "local_origin_"), cluster.detector.averages, strict=True):
            if threshold != UNKNOWN_RATE:
                status[f"{kind}success_rate_ejection_threshold"] = {"value": threshold}
    if hosts := [_host_status(host) for host in cluster.members]:
        status["host_statuses"] = hosts
    status["circuit_breakers"] = {
        "thresholds": [
            _thresholds(config.circuit_breakers),
            {"priority": "HIGH", **_thresholds(config.high_circuit_breakers)},
        ]
    }
    status["observability_name"] = config.alt_stat_name or config.name
    return status


def _thresholds(breakers: CircuitBreakers) -> dict[str, int]:
    return {name: getattr(breakers, name) for name in _THRESHOLDS}


def _host_status(host: Host) -> dict[str, Any]:
    endpoint, locality = host.endpoint, host.endpoint.locality
    first = host.addresses[0] if host.addresses else (endpoint.address, endpoint.port)
    address: dict[str, Any] = {"socket_address": {"address": first[0], "port_value": first[1]}}
    if endpoint.pipe is not None:
        address = {"pipe": {"path": endpoint.pipe}}
    stats = host_stats(host)
    shown = [_metric(name, stats[name]) for name in _COUNTERS]
    shown += [{"type": "GAUGE", **_metric(name, stats[name])} for name in _GAUGES]
    status: dict[str, Any] = {"address": address, "stats": shown, "health_status": _health(host)}
    for key, rate in zip(("success_rate", "local_origin_success_rate"), _rates(host), strict=True):
        if rate != UNKNOWN_RATE:
            status[key] = {"value": rate}
    status["weight"] = host.weight
    if host.pool.hostname:
        status["hostname"] = host.pool.hostname
    if host.priority:
        status["priority"] = host.priority
    named = {"region": locality.region, "zone": locality.zone, "sub_zone": locality.sub_zone}
    status["locality"] = {key: value for key, value in named.items() if value}
    return status


def _metric(name: str, value: int) -> dict[str, str]:
    return {"value": str(value), "name": name} if value else {"name": name}


def _health(host: Host) -> dict[str, Any]:
    health = host.health
    flags = {
        "failed_active_health_check": health is not None and health.failed,
        "failed_outlier_check": host.is_ejected,
        "pending_dynamic_removal": host.removed,
        "pending_active_hc": health is not None and health.pending,
        "active_hc_timeout": health is not None and health.timed_out,
    }
    status = host.endpoint.health_status
    shown: dict[str, Any] = {name: True for name, is_set in flags.items() if is_set}
    return shown | {"eds_health_status": "HEALTHY" if status == "UNKNOWN" else status}
