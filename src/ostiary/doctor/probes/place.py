"""One host: its names, every address of it, who refuses, and the connection that Ostiary would make, as facts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

from ostiary.core.addresses import Destination, Family, family_of
from ostiary.core.lookup_families import verdicts
from ostiary.core.target import Target
from ostiary.core.trace import Attempt
from ostiary.doctor.facts.configuration import ClusterSeen
from ostiary.doctor.facts.connection import EgressRefused, RouteSeen
from ostiary.doctor.facts.origin import Fact, Origin
from ostiary.doctor.facts.tls import HandshakeFailed
from ostiary.doctor.probes.handshake import Closer
from ostiary.doctor.probes.names import probe_names, resolved
from ostiary.doctor.probes.traces import attempt_of, lookup_of
from ostiary.doctor.probes.trust import SEES_SLOW, Trust, trust_of
from ostiary.doctor.report import Evidence, Found
from ostiary.doctor.rules.families import family_of as family_of_host
from ostiary.model import limits
from ostiary.net.refusals import Refusal, who_refuses
from ostiary.net.routes import check
from ostiary.net.survey import Place, Survey, survey
from ostiary.net.tls import TlsError, UpstreamTls

_PUBLIC: Final[dict[Family, str]] = {"v4": "1.1.1.1", "v6": "2606:4700:4700::1111"}
"""Asked about where a name has no address of that family. Nothing is sent to it."""
_NAMES: Final[dict[Family, str]] = {"v4": "IPv4", "v6": "IPv6"}
_ICMP: Final = frozenset({"EHOSTUNREACH", "ENETUNREACH", "EACCES", "EPERM", "ECONNREFUSED"})
"""What an ICMP error may look like; a RST gives the last one too."""
_PATIENCE: Final = 1.0
"""Seconds to wait for an ICMP error: who sends one sends it at once."""
_TLS_PORTS: Final = (443, 8443)
"""Where TLS is expected though nobody says so."""


def routes(found_addresses: Iterable[str] = ()) -> list[Fact]:
    """Whether each family has a way to these addresses, or out, as the kernel says without sending anything."""
    found: list[Fact] = []
    for family, public in _PUBLIC.items():
        own = [address for address in found_addresses if family_of(address) == family]
        seen = [check(Destination(address, 443)) for address in own or [public]]
        candidate = next((each for each in seen if each.routable), seen[0])
        says = f"a route from {candidate.source}" if candidate.routable else "no route"
        origin = Origin(kind="probe", source="here", quote=f"{_NAMES[family]}: {says}")
        found.append(RouteSeen(origin=origin, family=family, ok=candidate.routable, source=candidate.source or ""))
    return found


async def probe_place(target: Target, cluster: ClusterSeen | None, tell: Callable[[str, str], None]) -> Found:
    """What the names, the addresses and a race of them say."""
    where = str(Destination(target.host, target.port))
    tell(where, "names, addresses, TLS")
    trust = trust_of(cluster)
    try:
        place = _place(target, cluster, trust)
    except TlsError as error:
        return Found([], [Evidence(kind="probe", source=where, summary=f"its TLS settings can't be used: {error}")], [])
    closer = Closer(place, where, cluster, trust)
    seen, names, looked = await asyncio.gather(
        survey(place, lambda _family: lambda _look: None),
        probe_names(target.host, place.dns_servers, min(place.timeout, limits.DNS_QUERY_TIMEOUT)),
        closer.first(),
    )
    trace = seen.traces["ALL"]
    attempts = seen.probes or tuple(trace.attempts)
    refusals = await _refusals(attempts)
    connected = [fact for attempt in attempts for fact in _attempted(attempt, where, refusals)]
    facts = [
        *resolved(seen.answers, trace.dns, target.host, names),
        *names,
        *(
            fact
            for query in trace.dns
            for fact in lookup_of(query)
            if not names and query.name.rstrip(".") != target.host
        ),
        *await closer.then([*connected, *looked]),
        *_prohibited(refusals, where),
    ]
    details: dict[str, Any] = {"connection": trace.as_dict()}
    if family_of_host(target.host) is None:
        details["lookup_families"] = _in_envoy(seen, place.timeout)
    evidence = Evidence(kind="probe", source=where, summary=trace.summary, details=details)
    return Found([fact for fact in facts if _expected(fact, target, cluster)], [evidence], [trace])


def _in_envoy(seen: Survey, timeout: float) -> dict[str, dict[str, str]]:
    """What each of Envoy's lookup families would come to from here: family -> kind of cluster -> fate."""
    found = verdicts(seen.answers, seen.probes, timeout)
    return {each.family: {"LOGICAL_DNS": each.logical.fate, "STRICT_DNS": each.strict.fate} for each in found}


def _place(target: Target, cluster: ClusterSeen | None, trust: Trust) -> Place:
    """Raises TlsError for settings that can't be used."""
    tls = cluster.tls if cluster is not None else target.tls is not False
    timeout = cluster.connect_timeout if cluster is not None else limits.CONNECT_TIMEOUT
    return Place(
        host=target.host,
        port=target.port,
        ssl=UpstreamTls(trust.tls)() if tls else None,
        server_hostname=cluster.sni if cluster is not None and cluster.sni and "(" not in cluster.sni else None,
        timeout=max(timeout, SEES_SLOW),
        dns_servers=cluster.dns_servers if cluster is not None else (),
    )


async def _refusals(attempts: Sequence[Attempt]) -> dict[str, Refusal]:
    """Who says no, by address: of those that some packet was sent to."""
    asked = [a for a in attempts if a.outcome == "failed" and a.stage == "tcp" and a.errno in _ICMP]
    found = await asyncio.gather(*(who_refuses(a.address, a.port, _PATIENCE) for a in asked))
    return {a.address: refusal for a, refusal in zip(asked, found, strict=True) if refusal is not None}


def _attempted(attempt: Attempt, where: str, refusals: dict[str, Refusal]) -> Iterator[Fact]:
    refusal = refusals.get(attempt.address)
    by = refusal.by if refusal is not None and refusal.by != attempt.address else ""
    yield from attempt_of(attempt, where, by)


def _prohibited(refusals: dict[str, Refusal], where: str) -> Iterator[Fact]:
    for address, refusal in refusals.items():
        if refusal.prohibited:
            origin = Origin(kind="probe", source=where, quote=f"{address}: {refusal}")
            yield EgressRefused(origin=origin, target=where, how="prohibited")


def _expected(fact: Fact, target: Target, cluster: ClusterSeen | None) -> bool:
    """HOST:PORT does not say that TLS is spoken there: a port that speaks something else is fine."""
    guessed = cluster is None and target.tls is None and target.port not in _TLS_PORTS
    return not (guessed and isinstance(fact, HandshakeFailed) and fact.fault in ("not-tls", "silent"))
