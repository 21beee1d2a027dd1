"""One host: its names, every address of it, and the connection that Ostiary would make, as facts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Final

from ostiary.core.addresses import Destination, Family, family_of
from ostiary.core.lookup_families import Resolved
from ostiary.core.target import Target
from ostiary.core.trace import Attempt, ConnectTrace, DnsQuery
from ostiary.doctor.facts.configuration import ClusterSeen
from ostiary.doctor.facts.connection import Attempted, RouteSeen
from ostiary.doctor.facts.dns import LookedUp
from ostiary.doctor.facts.origin import Fact, Origin
from ostiary.doctor.facts.tls import HandshakeDone, HandshakeFailed, HandshakeFault
from ostiary.doctor.report import Evidence, Found
from ostiary.model import limits
from ostiary.model.tls import CertificateValidationContext, UpstreamTlsContext
from ostiary.net.routes import check
from ostiary.net.survey import Place, survey
from ostiary.net.tls import UpstreamTls

if TYPE_CHECKING:
    import ssl

_PUBLIC: Final[dict[Family, str]] = {"v4": "1.1.1.1", "v6": "2606:4700:4700::1111"}
"""Asked about where a name has no address of that family. Nothing is sent to it."""
_NAMES: Final[dict[Family, str]] = {"v4": "IPv4", "v6": "IPv6"}
_FAULTS: Final[tuple[tuple[str, HandshakeFault], ...]] = (
    ("mismatch", "name-mismatch"),
    ("not valid for", "name-mismatch"),
    ("not yet valid", "not-yet-valid"),
    ("expired", "expired"),
    ("CERTIFICATE_VERIFY_FAILED", "untrusted-ca"),
    ("UNRECOGNIZED_NAME", "unrecognized-name"),
    ("CERTIFICATE_REQUIRED", "client-certificate"),
    ("PROTOCOL_VERSION", "version"),
    ("UNSUPPORTED_PROTOCOL", "version"),
    ("HANDSHAKE_FAILURE", "version"),
    ("WRONG_VERSION_NUMBER", "not-tls"),
)


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
    timeout = cluster.connect_timeout if cluster is not None else limits.CONNECT_TIMEOUT
    place = Place(
        host=target.host,
        port=target.port,
        ssl=_context(target, cluster),
        server_hostname=cluster.sni if cluster is not None and cluster.sni and "(" not in cluster.sni else None,
        timeout=max(timeout, 0.001),
    )
    seen = await survey(place, lambda _family: lambda _look: None)
    trace = seen.traces["ALL"]
    facts: list[Fact] = [*_names(seen.answers, trace, target.host)]
    for attempt in seen.probes:
        facts += _attempt(attempt, where)
    if not seen.probes:
        for attempt in trace.attempts:
            facts += _attempt(attempt, where)
    if trace.tls is not None:
        origin = Origin(kind="probe", source=where, quote=trace.summary)
        facts.append(
            HandshakeDone(origin=origin, target=where, version=trace.tls.version, verified=trace.tls.verified,
                          not_after=trace.tls.not_after)
        )  # fmt: skip
    evidence = Evidence(kind="probe", source=where, summary=trace.summary, details={"connection": trace.as_dict()})
    return Found(facts, [evidence], [trace])


def _context(target: Target, cluster: ClusterSeen | None) -> ssl.SSLContext | None:
    """TLS as the cluster has it; certificates are verified here by the system's roots, whatever the cluster checks."""
    tls = cluster.tls if cluster is not None else target.tls is not False
    if not tls:
        return None
    return UpstreamTls(UpstreamTlsContext(validation_context=CertificateValidationContext()))()


def _names(answers: tuple[Resolved, ...], trace: ConnectTrace, host: str) -> Iterator[Fact]:
    for answer in answers:
        if answer.type not in ("A", "AAAA"):
            continue
        query = next((q for q in trace.dns if q.type == answer.type and q.outcome == answer.outcome), None)
        server = query.server if query is not None else ""
        told = ", ".join(answer.addresses) or answer.outcome
        yield LookedUp(
            origin=Origin(kind="probe", source=server or "DNS", quote=f"{answer.type} {host}: {told}"),
            name=host,
            type="A" if answer.type == "A" else "AAAA",
            server=server,
            outcome=answer.outcome,
            rcode=(query.rcode or "") if query is not None else "",
            answers=answer.addresses,
            took=answer.elapsed_ms / 1000,
        )
    yield from (_query(query) for query in trace.dns if query.name.rstrip(".") != host and query.type in ("A", "AAAA"))


def _query(query: DnsQuery) -> Fact:
    told = ", ".join(query.answers) or query.outcome
    return LookedUp(
        origin=Origin(kind="probe", source=query.server, quote=f"{query.type} {query.name}: {told}"),
        name=query.name.rstrip("."),
        type="A" if query.type == "A" else "AAAA",
        server=query.server,
        outcome=query.outcome,
        rcode=query.rcode or "",
        answers=query.answers,
    )


def _attempt(attempt: Attempt, where: str) -> Iterator[Fact]:
    if attempt.family == "unix" or attempt.outcome not in ("won", "failed", "timeout"):
        return
    outcome = "connected" if attempt.outcome == "won" else attempt.outcome
    took = attempt.ended - attempt.started if attempt.ended is not None and attempt.started is not None else None
    said = f"{attempt.address} port {attempt.port}: {outcome}"
    said += f" in {attempt.stage}" if outcome != "connected" else ""
    said += f" ({attempt.errno or attempt.message})" if attempt.errno or attempt.message else ""
    origin = Origin(kind="probe", source=where, quote=said)
    fault = _fault(attempt)
    if fault is not None:
        yield HandshakeFailed(origin=origin, target=where, fault=fault, detail=attempt.message, who="probe")
        outcome = "connected"  # TCP was up
    yield Attempted(
        origin=origin,
        address=attempt.address,
        port=attempt.port,
        family=attempt.family,
        outcome=outcome,
        stage=attempt.stage,
        errno=(attempt.errno or "") if fault is None else "",
        target=where,
        took=took,
    )


def _fault(attempt: Attempt) -> HandshakeFault | None:
    """What is wrong with TLS; None where it is not TLS that failed."""
    if attempt.stage != "tls" or attempt.outcome == "won":
        return None
    if attempt.outcome == "timeout":
        return "silent"
    said = f"{attempt.errno} {attempt.message}"
    if (attempt.errno or "").startswith("E"):
        return None  # the connection ended: what the kernel says is said as that
    return next((fault for sign, fault in _FAULTS if sign in said), "other")
