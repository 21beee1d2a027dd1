"""Address families that a place can't use: who is tried over one of them, and what to write instead.

A log often has the error without the address ("immediate connect error: Network is unreachable"). A host that has any
network has a route for one family at least, nearly always IPv4; so an unreachable network without an address means
IPv6, unless an IPv4 address is known to have failed the same way.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Final, Literal

from ostiary.core.addresses import Family
from ostiary.doctor.case import Case
from ostiary.doctor.facts.configuration import ClusterSeen
from ostiary.doctor.facts.connection import Attempted, ConnectFailed, RouteSeen
from ostiary.doctor.facts.dns import LookedUp
from ostiary.doctor.facts.origin import Fact
from ostiary.doctor.facts.sidecar import ClusterCounters
from ostiary.doctor.rules.evidence import same_target, subject_of

NO_ROUTE: Final = frozenset({"ENETUNREACH", "EADDRNOTAVAIL", "EAFNOSUPPORT", "EHOSTUNREACH", "ENETDOWN"})
"""What `connect` says where the family has no way out. EHOSTUNREACH comes from a router that has none."""
_ONLY: Final[dict[Family, Literal["V4_ONLY", "V6_ONLY"]]] = {"v4": "V6_ONLY", "v6": "V4_ONLY"}


def family_of(host: str) -> Family | None:
    """The family of an IP address; None for a name."""
    try:
        return "v6" if ipaddress.ip_address(host.strip("[]")).version == 6 else "v4"
    except ValueError:
        return None


def unreachable(case: Case) -> Iterator[tuple[str, Family, list[Fact]]]:
    """(subject, family, evidence) for each destination tried over a family that has no route from there."""
    found: dict[tuple[str, Family], list[Fact]] = {}
    for attempt in case.all(Attempted):
        if attempt.outcome == "failed" and attempt.errno in NO_ROUTE:
            found.setdefault((subject_of(case, attempt.target), attempt.family), []).append(attempt)
    for failure in case.all(ConnectFailed):
        if failure.errno in NO_ROUTE and failure.for_provider:
            family = _guess(case, failure)
            if family is not None:
                started = [a for a in case.all(Attempted) if same_target(case, a.target, failure.target)]
                found.setdefault((subject_of(case, failure.target), family), []).extend([*started, failure])
    for subject, family, facts in (*_foreseen(case), *_counted(case)):
        found.setdefault((subject, family), []).extend(facts)
    known = {(family) for subject, family in found if subject}
    for (subject, family), facts in found.items():
        if subject or family not in known:  # what names no destination adds nothing to what does
            yield subject, family, facts


def _guess(case: Case, failure: ConnectFailed) -> Family | None:
    """The family of a failure without an address; None where another fact says which address it was."""
    tried = [a for a in case.all(Attempted) if same_target(case, a.target, failure.target)]
    families: set[Family] = {a.family for a in tried}
    if len(families) == 1:
        return families.pop()
    routes = {route.family: route.ok for route in case.all(RouteSeen)}
    if families or not routes.get("v4", True):
        return None
    return "v6" if failure.errno != "EHOSTUNREACH" else None


def _foreseen(case: Case) -> Iterator[tuple[str, Family, list[Fact]]]:
    """Nothing has failed yet, but it will: the cluster asks for one family, the name has it, and there is no route."""
    routes = {route.family: route for route in case.all(RouteSeen)}
    types: tuple[tuple[Family, str], ...] = (("v6", "AAAA"), ("v4", "A"))
    for cluster in case.all(ClusterSeen):
        for host in cluster.hosts:
            has: dict[Family, LookedUp] = {}
            for query in case.all(LookedUp):
                for family, kind in types:
                    if query.name == host and query.type == kind and query.outcome == "answered":
                        has[family] = query
            uses = _used(cluster.lookup_family, has)
            route = routes.get(uses) if uses is not None else None
            if uses is not None and route is not None and not route.ok and uses in has:
                yield f"{host}:{cluster.port}", uses, [has[uses], route]


def _counted(case: Case) -> Iterator[tuple[str, Family, list[Fact]]]:
    """Counters alone: connections fail before TLS and not by silence, and every address is an IPv6 one."""
    for seen in case.all(ClusterCounters):
        counters = seen.counters
        failed = counters.get("upstream_cx_connect_fail", 0) - counters.get("upstream_cx_connect_timeout", 0)
        tls = any(name.startswith("ssl.") and value for name, value in counters.items())
        known = [family_of(host.rpartition(":")[0]) for host in seen.hosts]
        told = any(same_target(case, a.target, seen.cluster) for a in case.all(Attempted))
        if failed > 0 and not tls and not told and known and set(known) == {"v6"}:
            yield subject_of(case, seen.cluster), "v6", [seen]


def _used(lookup_family: str, has: dict[Family, LookedUp]) -> Family | None:
    """The one family that Envoy would use; None where it races both."""
    if lookup_family == "V6_ONLY" or (lookup_family == "AUTO" and "v6" in has):
        return "v6"
    if lookup_family in ("V4_ONLY", "V4_PREFERRED") or (lookup_family == "AUTO" and "v4" in has):
        return "v4"
    return None


def mend_of_family(case: Case, unusable: Family) -> tuple[str, str]:
    """(dns_lookup_family, why) where `unusable` has no route: ALL where it may come one day, else the other one alone.

    ALL races both families, so a family without a route costs nothing, but only in a cluster whose addresses race: in
    STRICT_DNS each address is a host of its own.
    """
    other = "IPv4" if unusable == "v6" else "IPv6"
    here = "IPv6" if unusable == "v6" else "IPv4"
    types = {cluster.type for cluster in case.all(ClusterSeen) if cluster.for_provider}
    route = case.first(RouteSeen, lambda seen: seen.family == unusable)
    if "STRICT_DNS" in types or (route is not None and not route.ok):
        return _ONLY[unusable], f"no {here} here; only {other} is asked for"
    return "ALL", f"both families race, so {other} is used where {here} fails"
