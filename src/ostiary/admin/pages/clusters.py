"""`/clusters`: every cluster and host, as Envoy prints them, as text or as JSON.

Numbers are sums over all workers. A worker judges hosts for itself, so a host has every flag that some worker gave it.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any, Final

from ostiary.admin.hosts import address_of
from ostiary.admin.page import Page, Parameter, Part, Reply, Request, json_reply
from ostiary.app.lifecycle import Doorkeeper
from ostiary.core.outlier import UNKNOWN_RATE
from ostiary.core.regex import Regex
from ostiary.model.clusters import CircuitBreakers
from ostiary.net.clusters import ClusterPool
from ostiary.net.hosts import Host
from ostiary.net.pool import Pool

_THRESHOLDS: Final = ("max_connections", "max_pending_requests", "max_requests", "max_retries")
_COUNTERS: Final = ("cx_connect_fail", "cx_total", "rq_error", "rq_success", "rq_timeout", "rq_total")
_GAUGES: Final = ("cx_active", "rq_active", "rq_pending_active")
_KINDS: Final = ("", "local_origin_")


def _collect(worker: Doorkeeper, _request: Request) -> Part:
    return [_cluster(pool) for pool in worker.runtime.pools()] if worker.runtime is not None else []


def _cluster(pool: ClusterPool) -> dict[str, Any]:
    config = pool.cluster
    return {
        "name": config.name,
        "observability_name": config.alt_stat_name or config.name,
        "averages": None if pool.detector is None else pool.detector.averages,
        "default": _thresholds(config.circuit_breakers),
        "high": _thresholds(config.high_circuit_breakers),
        "hosts": [_host(host) for host in pool.members],
    }


def _thresholds(breakers: CircuitBreakers) -> dict[str, int]:
    return {name: getattr(breakers, name) for name in _THRESHOLDS}


def _host(host: Host) -> dict[str, Any]:
    endpoint = host.endpoint
    monitor = host.monitor
    return {
        "address": host.address,
        "shown_address": address_of(host),
        "stats": _stats(host),
        "hostname": host.pool.hostname,
        "health": _health(host),
        "health_flags": host.health_flags.strip("/").split("/"),
        "weight": host.weight,
        "locality": {
            "region": endpoint.locality.region,
            "zone": endpoint.locality.zone,
            "sub_zone": endpoint.locality.sub_zone,
        },
        "priority": host.priority,
        "connecting": _connecting(host.pool),
        "rates": [UNKNOWN_RATE] * 2 if monitor is None else [monitor.external.rate, monitor.local.rate],
    }


def _connecting(pool: Pool) -> dict[str, Any]:
    """How the last connection came about, and why the last one that failed did. Envoy says neither."""
    found: dict[str, Any] = {}
    if pool.latest is not None:
        found["last_connect"] = pool.latest.as_dict()
    if pool.failure is not None:
        at, message, trace = pool.failure
        found["last_error"] = {
            "at": f"{datetime.datetime.fromtimestamp(at, datetime.UTC):%Y-%m-%dT%H:%M:%SZ}",
            "message": message,
            "attempts": trace.as_dict()["attempts"] if trace is not None else [],
        }
    return found


def _stats(host: Host) -> dict[str, int]:
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


def _render(parts: list[Part], request: Request) -> Reply:
    try:
        wanted = Regex(request.parameter("filter") or "")
    except ValueError:
        return Reply("Invalid re2 regex", 400)
    clusters = [each for each in _merged(parts) if wanted.search(each["name"])]
    if request.parameter("format") == "json":
        return json_reply({"cluster_statuses": [_status(cluster) for cluster in clusters]})
    return Reply("".join(f"{line}\n" for cluster in clusters for line in _lines(cluster)))


def _merged(parts: list[Part]) -> list[dict[str, Any]]:
    """Every cluster once, with every host that some worker has."""
    clusters: dict[str, dict[str, Any]] = {}
    for part in parts:
        for cluster in part:
            merged = clusters.setdefault(cluster["name"], {**cluster, "hosts": {}})
            hosts = merged["hosts"]
            for host in cluster["hosts"]:
                known = hosts.get(host["address"])
                hosts[host["address"]] = host if known is None else _together(known, host)
    return [{**cluster, "hosts": list(cluster["hosts"].values())} for cluster in clusters.values()]


def _together(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    flags = dict.fromkeys((*one["health_flags"], *other["health_flags"]))
    if len(flags) > 1:
        flags.pop("healthy", None)
    return {
        **one,
        "stats": {name: value + other["stats"][name] for name, value in one["stats"].items()},
        "health": {**other["health"], **one["health"]},
        "health_flags": list(flags),
        "connecting": _latest(one["connecting"], other["connecting"]),
    }


def _latest(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """The last error of any worker; of its connections, one."""
    errors = [each["last_error"] for each in (one, other) if "last_error" in each]
    latest = {"last_error": max(errors, key=lambda error: str(error["at"]))} if errors else {}
    return {**other, **one, **latest}


def _lines(cluster: dict[str, Any]) -> Iterator[str]:
    name = cluster["name"]
    yield f"{name}::observability_name::{cluster['observability_name']}"
    if cluster["averages"] is not None:
        for kind, (average, threshold) in zip(_KINDS, cluster["averages"], strict=True):
            yield f"{name}::outlier::{kind}success_rate_average::{average:g}"
            yield f"{name}::outlier::{kind}success_rate_ejection_threshold::{threshold:g}"
    for priority in ("default", "high"):
        for threshold_name, value in cluster[priority].items():
            yield f"{name}::{priority}_priority::{threshold_name}::{value}"
    yield f"{name}::added_via_api::false"
    for host in cluster["hosts"]:
        flags = host["health_flags"]
        external, local = host["rates"]
        shown: dict[str, object] = {
            **host["stats"],
            "hostname": host["hostname"],
            "health_flags": "healthy" if flags == ["healthy"] else "".join(f"/{flag}" for flag in flags),
            "weight": host["weight"],
            **host["locality"],
            "canary": "false",
            "priority": host["priority"],
            "success_rate": f"{external:g}",
            "local_origin_success_rate": f"{local:g}",
        }
        for key, value in shown.items():
            yield f"{name}::{host['address']}::{key}::{value}"


def _status(cluster: dict[str, Any]) -> dict[str, Any]:
    status: dict[str, Any] = {"name": cluster["name"]}
    if cluster["averages"] is not None:
        for kind, (_, threshold) in zip(_KINDS, cluster["averages"], strict=True):
            if threshold != UNKNOWN_RATE:
                status[f"{kind}success_rate_ejection_threshold"] = {"value": threshold}
    if cluster["hosts"]:
        status["host_statuses"] = [_host_status(host) for host in cluster["hosts"]]
    status["circuit_breakers"] = {"thresholds": [cluster["default"], {"priority": "HIGH", **cluster["high"]}]}
    status["observability_name"] = cluster["observability_name"]
    return status


def _host_status(host: dict[str, Any]) -> dict[str, Any]:
    stats = host["stats"]
    shown = [_metric(name, stats[name]) for name in _COUNTERS]
    shown += [{"type": "GAUGE", **_metric(name, stats[name])} for name in _GAUGES]
    status: dict[str, Any] = {"address": host["shown_address"], "stats": shown, "health_status": host["health"]}
    for key, rate in zip(("success_rate", "local_origin_success_rate"), host["rates"], strict=True):
        if rate != UNKNOWN_RATE:
            status[key] = {"value": rate}
    status["weight"] = host["weight"]
    if host["hostname"]:
        status["hostname"] = host["hostname"]
    if host["priority"]:
        status["priority"] = host["priority"]
    if host["connecting"]:
        status["ostiary"] = host["connecting"]
    status["locality"] = {key: value for key, value in host["locality"].items() if value}
    return status


def _metric(name: str, value: int) -> dict[str, str]:
    """Counters are strings and zero is left out, as protobuf's JSON does."""
    return {"value": str(value), "name": name} if value else {"name": name}


PAGES: Final = (
    Page(
        path="/clusters",
        help="upstream cluster status",
        collect=_collect,
        render=_render,
        large=True,
        parameters=(Parameter("filter", "Regular expression (Google re2) for filtering clusters by name"),),
    ),
)
