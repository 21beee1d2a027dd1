"""What was tried, as facts: of a probe from here, and of the doorkeeper's own connections."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ostiary.core.trace import Attempt, ConnectTrace, DnsQuery
from ostiary.doctor.facts.connection import Attempted
from ostiary.doctor.facts.dns import LookedUp
from ostiary.doctor.facts.origin import Fact, Origin
from ostiary.doctor.facts.tls import HandshakeDone, HandshakeFailed, HandshakeFault

_FAULTS: Final[tuple[tuple[str, HandshakeFault], ...]] = (
    ("mismatch", "name-mismatch"),
    ("not valid for", "name-mismatch"),
    ("subject alternative name", "name-mismatch"),
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


def facts_of_trace(trace: ConnectTrace) -> list[Fact]:
    """Everything that one connection shows: questions, attempts, the handshake."""
    return [
        *(lookup for query in trace.dns for lookup in lookup_of(query)),
        *(fact for attempt in trace.attempts for fact in attempt_of(attempt, trace.target)),
        *handshake_of(trace),
    ]


def lookup_of(query: DnsQuery) -> Iterator[Fact]:
    """One question to one server."""
    if query.type == "HTTPS":
        return
    told = ", ".join(query.answers) or query.rcode or query.message or query.outcome
    took = query.ended - query.started if query.ended is not None else None
    yield LookedUp(
        origin=Origin(kind="probe", source=query.server or "DNS", quote=f"{query.type} {query.name}: {told}"),
        name=query.name.rstrip("."),
        type="A" if query.type == "A" else "AAAA",
        server=query.server,
        outcome=query.outcome,
        rcode=query.rcode or "",
        answers=query.answers,
        took=took,
    )


def handshake_of(trace: ConnectTrace) -> Iterator[Fact]:
    """The winner's handshake, if there was one."""
    if trace.tls is None:
        return
    origin = Origin(kind="probe", source=trace.target, quote=trace.summary)
    yield HandshakeDone(origin=origin, target=trace.target, version=trace.tls.version, verified=trace.tls.verified,
                        not_after=trace.tls.not_after)  # fmt: skip


def attempt_of(attempt: Attempt, where: str, refused_by: str = "") -> Iterator[Fact]:
    """One address: how far it came. `refused_by`: who said no, where it was not the address itself."""
    if attempt.family == "unix" or attempt.outcome not in ("won", "failed", "timeout"):
        return
    outcome = "connected" if attempt.outcome == "won" else attempt.outcome
    took = _seconds(attempt.started, attempt.ended)
    said = f"{attempt.address} port {attempt.port}: {outcome}"
    said += f" in {attempt.stage}" if outcome != "connected" else ""
    said += f" ({attempt.errno or attempt.message})" if attempt.errno or attempt.message else ""
    said += f", says {refused_by}" if refused_by else ""
    origin = Origin(kind="probe", source=where, quote=said)
    fault = fault_of(attempt)
    if fault is not None:
        yield HandshakeFailed(origin=origin, target=where, fault=fault, detail=attempt.message, who="probe")
        outcome = "connected"  # TCP was up
        took = _seconds(attempt.started, attempt.connected)
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
        refused_by=refused_by,
    )


def _seconds(start: float | None, end: float | None) -> float | None:
    return end - start if start is not None and end is not None else None


def fault_of(attempt: Attempt) -> HandshakeFault | None:
    """What is wrong with TLS; None where it is not TLS that failed."""
    if attempt.stage != "tls" or attempt.outcome == "won":
        return None
    if attempt.outcome == "timeout":
        return "silent"
    said = f"{attempt.errno} {attempt.message}"
    if (attempt.errno or "").startswith("E"):
        return None  # the connection ended: what the kernel says is said as that
    return next((fault for sign, fault in _FAULTS if sign in said), "other")
