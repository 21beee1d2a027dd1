"""What a proxy counted, and the addresses that its clusters have."""

from __future__ import annotations

import re
from collections.abc import Iterator, Set
from typing import Any, Final

from ostiary.doctor.facts.configuration import ClusterSeen
from ostiary.doctor.facts.connection import NoHealthyHost
from ostiary.doctor.facts.origin import Fact, Origin
from ostiary.doctor.facts.sidecar import ClusterCounters, FilterCounters
from ostiary.doctor.facts.signin import SignedIn
from ostiary.doctor.live.fetch import Documents
from ostiary.doctor.live.plain import items, load, number, text

_HOST_STATS: Final = {
    "cx_connect_fail": "upstream_cx_connect_fail",
    "cx_total": "upstream_cx_total",
    "rq_timeout": "upstream_rq_timeout",
}
"""Counters of hosts, which Istio keeps although it drops the clusters' own: they stand in for those."""
_CLUSTER: Final = re.compile(r"cluster\.(?P<name>.+?)\.(?P<counter>(?:ssl\.)?[a-z0-9_]+)$")
_FILTER: Final = re.compile(r"(?P<prefix>.*)\.(?P<counter>oauth_[a-z_]+)$")
_DNS: Final = ("LOGICAL_DNS", "STRICT_DNS")


def traffic_facts(documents: Documents, clusters: list[ClusterSeen]) -> Iterator[Fact]:
    """The facts of /clusters and /stats about the clusters that lead to a provider, and of the filters."""
    wanted = {cluster.name: cluster for cluster in clusters if cluster.for_provider}
    stats = load(documents.bodies.get("stats"))
    counted = _by_cluster(stats, set(wanted))
    told = load(documents.bodies.get("clusters"))
    hosts: dict[str, list[str]] = {}
    for each in items(told, "cluster_statuses"):
        name = text(each, "name")
        if name not in wanted:
            continue
        hosts[name] = [_address(host) for host in items(each, "host_statuses")]
        for counter, value in _of_hosts(each).items():
            counted.setdefault(name, {}).setdefault(counter, value)
    for name, cluster in wanted.items():
        yield from _cluster(documents.source, cluster, hosts.get(name), counted.get(name, {}))
    yield from _filters(documents.source, stats)


def _cluster(source: str, cluster: ClusterSeen, hosts: list[str] | None, counters: dict[str, int]) -> Iterator[Fact]:
    if hosts is not None and not hosts and cluster.type in _DNS:
        quote = f"cluster {cluster.name}: its name {', '.join(cluster.hosts)} gave no address"
        yield NoHealthyHost(origin=Origin(kind="admin", source=f"{source}/clusters", quote=quote), target=cluster.name)
    if counters:
        told = ", ".join(f"{counter} {value}" for counter, value in sorted(counters.items()))
        at = f" (addresses: {', '.join(hosts)})" if hosts else ""
        origin = Origin(kind="admin", source=f"{source}/clusters", quote=f"cluster {cluster.name}: {told}{at}")
        yield ClusterCounters(origin=origin, cluster=cluster.name, counters=counters, hosts=tuple(hosts or ()))


def _by_cluster(stats: Any, wanted: Set[str]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for each in items(stats, "stats"):
        match = _CLUSTER.match(text(each, "name"))
        value = number(each.get("value"))
        if match is not None and value and match["name"] in wanted:
            found.setdefault(match["name"], {})[match["counter"]] = value
    return found


def _of_hosts(cluster: dict[str, Any]) -> dict[str, int]:
    found: dict[str, int] = {}
    for host in items(cluster, "host_statuses"):
        for stat in items(host, "stats"):
            name = _HOST_STATS.get(text(stat, "name"))
            value = number(stat.get("value"))
            if name is not None and value:
                found[name] = found.get(name, 0) + value
    return found


def _address(host: dict[str, Any]) -> str:
    address, port = (
        text(host, "address", "socket_address", "address"),
        text(host, "address", "socket_address", "port_value"),
    )
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _filters(source: str, stats: Any) -> Iterator[Fact]:
    found: dict[str, dict[str, int]] = {}
    for each in items(stats, "stats"):
        match = _FILTER.match(text(each, "name"))
        value = number(each.get("value"))
        if match is not None and value:
            found.setdefault(match["prefix"], {})[match["counter"]] = value
    for prefix, counters in found.items():
        told = ", ".join(f"{name} {value}" for name, value in sorted(counters.items()))
        origin = Origin(kind="admin", source=f"{source}/stats", quote=f"{prefix}: {told}")
        yield FilterCounters(origin=origin, prefix=prefix, counters=counters)
        if counters.get("oauth_success", 0) > counters.get("oauth_failure", 0):
            yield SignedIn(origin=origin)
