"""What a proxy counted, and the addresses that its clusters have."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import Any, Final

from ostiary.doctor.facts.configuration import ClusterSeen, OAuth2Seen
from ostiary.doctor.facts.connection import NoHealthyHost
from ostiary.doctor.facts.origin import Fact, Origin
from ostiary.doctor.facts.provider import Answered
from ostiary.doctor.facts.sidecar import ClusterCounters, FilterCounters
from ostiary.doctor.facts.signin import ExtAuthzFailed, SignedIn
from ostiary.doctor.live.fetch import Documents
from ostiary.doctor.live.plain import items, number, text

_HOST_STATS: Final = {
    "cx_connect_fail": "upstream_cx_connect_fail",
    "cx_total": "upstream_cx_total",
    "rq_timeout": "upstream_rq_timeout",
}
"""Counters of hosts, which Istio keeps although it drops the clusters' own: they stand in for those."""
_CLUSTER: Final = re.compile(r"cluster\.(?P<name>.+?)\.(?P<counter>(?:ssl\.)?[a-z0-9_]+)$")
_FILTER: Final = re.compile(r"(?P<prefix>.*)\.(?P<counter>oauth_[a-z_]+)$")
_SUCCESS, _FAILURE = "oauth_success", "oauth_failure"
_MANY: Final = 20
"""Sign-ins that succeed for each that fails, where all is well: people also decline, and come back too late."""
_OWN_503: Final = (
    "upstream_cx_connect_fail", "upstream_cx_none_healthy", "upstream_cx_overflow", "upstream_rq_pending_overflow",
    "upstream_cx_protocol_error", "ssl.connection_error", "upstream_cx_destroy_remote_with_active_rq",
)  # fmt: skip
"""Why a proxy answers 503 in a cluster's stead."""
_DNS: Final = ("LOGICAL_DNS", "STRICT_DNS")


def traffic_facts(
    documents: Documents, clusters: Iterable[ClusterSeen], sign_ins: Iterable[OAuth2Seen]
) -> Iterator[Fact]:
    """The facts of /clusters and /stats about the clusters that lead to a provider, and of the filters."""
    wanted = {cluster.name: cluster for cluster in clusters if cluster.for_provider}
    stats = documents.counters()
    counted = _by_cluster(stats, set(wanted))
    told = documents.parsed("clusters")
    hosts: dict[str, list[str]] = {}
    for each in items(told, "cluster_statuses"):
        name = text(each, "name")
        if name not in wanted:
            continue
        hosts[name] = [_address(host) for host in items(each, "host_statuses")]
        for counter, value in _of_hosts(each).items():
            counted.setdefault(name, {}).setdefault(counter, value)
    filters = [*_filters(documents.source, stats)]
    well = _signs_in(filters)
    tokens = {fact.token_cluster for fact in sign_ins}
    for name, cluster in wanted.items():
        counters = {} if well else counted.get(name, {})
        yield from _cluster(documents.source, cluster, hosts.get(name), counters)
        if name in tokens:
            yield from _answers(documents.source, name, counters)
    yield from filters
    yield from _ext_authz(documents.source, stats)
    yield from (SignedIn(origin=fact.origin) for fact in filters[:1] if well)


def _ext_authz(source: str, stats: Mapping[str, int]) -> Iterator[Fact]:
    """Checks that could not be made, where they are more than stray ones."""
    found: dict[str, dict[str, int]] = {}
    for name, value in stats.items():
        prefix, told, counter = name.rpartition(".ext_authz.")
        if told:
            found.setdefault(prefix, {})[counter] = value
    for prefix, counters in found.items():
        failed = counters.get("error", 0)
        if failed and counters.get("ok", 0) < _MANY * failed:
            said = f"{prefix}.ext_authz.error: {failed}, ok: {counters.get('ok', 0)}"
            origin = Origin(kind="admin", source=f"{source}/stats", quote=said)
            yield ExtAuthzFailed(
                origin=origin, why="timeout" if counters.get("timeout") else "unreachable", detail=said
            )


def _signs_in(filters: Sequence[FilterCounters]) -> bool:
    """Nearly every sign-in succeeds: what failed now and then since the proxy started is no trouble of today."""
    succeeded, failed = (sum(fact.counters.get(name, 0) for fact in filters) for name in (_SUCCESS, _FAILURE))
    return succeeded > _MANY * failed


def _answers(source: str, cluster: str, counters: dict[str, int]) -> Iterator[Fact]:
    """The token endpoint's answers, by their status. A proxy's own 503 and 504 count, too: they are none."""
    own = {"503"} if any(counters.get(name) for name in _OWN_503) else set()
    own |= {"504"} if counters.get("upstream_rq_timeout") else set()
    for name, value in counters.items():
        status = name.removeprefix("upstream_rq_")
        if status.isdigit() and status not in own:
            quote = f"cluster {cluster}: {value} answers with {status}"
            origin = Origin(kind="admin", source=f"{source}/stats", quote=quote)
            yield Answered(origin=origin, endpoint="token", target=cluster, status=int(status))


def _cluster(source: str, cluster: ClusterSeen, hosts: list[str] | None, counters: dict[str, int]) -> Iterator[Fact]:
    if hosts is not None and not hosts and cluster.type in _DNS:
        quote = f"cluster {cluster.name}: its name {', '.join(cluster.hosts)} gave no address"
        yield NoHealthyHost(origin=Origin(kind="admin", source=f"{source}/clusters", quote=quote), target=cluster.name)
    if counters:
        told = ", ".join(f"{counter} {value}" for counter, value in sorted(counters.items()))
        at = f" (addresses: {', '.join(hosts)})" if hosts else ""
        origin = Origin(kind="admin", source=f"{source}/clusters", quote=f"cluster {cluster.name}: {told}{at}")
        yield ClusterCounters(origin=origin, cluster=cluster.name, counters=counters, hosts=tuple(hosts or ()))


def _by_cluster(stats: Mapping[str, int], wanted: Set[str]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for name, value in stats.items():
        match = _CLUSTER.match(name)
        if match is not None and match["name"] in wanted:
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


def _filters(source: str, stats: Mapping[str, int]) -> Iterator[FilterCounters]:
    found: dict[str, dict[str, int]] = {}
    for name, value in stats.items():
        match = _FILTER.match(name) if ".oauth_" in name else None
        if match is not None:
            found.setdefault(match["prefix"], {})[match["counter"]] = value
    for prefix, counters in found.items():
        told = ", ".join(f"{name} {value}" for name, value in sorted(counters.items()))
        origin = Origin(kind="admin", source=f"{source}/stats", quote=f"{prefix}: {told}")
        yield FilterCounters(origin=origin, prefix=prefix, counters=counters)
