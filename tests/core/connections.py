"""Traces as a connector would leave them, with the times that a test wants."""

from __future__ import annotations

from ostiary.core.explain import error_text, summarize
from ostiary.core.trace import Attempt, ConnectTrace, DnsQuery, Tls

SERVER = "10.0.0.53:53"
V6, V4 = "2001:db8::7", "192.0.2.7"


def attempt(address: str, started: float | None, ended: float | None, outcome: str = "won", **more: object) -> Attempt:
    """Times in milliseconds."""
    times = {"started": started, "ended": ended, "connected": more.pop("connected", None)}
    seconds = {name: None if value is None else float(value) / 1000 for name, value in times.items()}  # type: ignore[arg-type]
    family = "v6" if ":" in address else "v4"
    return Attempt(address=address, port=443, family=family, outcome=outcome, **seconds, **more)  # type: ignore[arg-type]


def query(kind: str, ended: float | None, *answers: str, **more: object) -> DnsQuery:
    """Asked at 0; milliseconds."""
    more.setdefault("outcome", "answered" if answers else "empty")
    return DnsQuery(
        name="login.example.", type=kind, server=SERVER, started=0.0,  # type: ignore[arg-type]
        ended=None if ended is None else ended / 1000, answers=answers, rcode="NOERROR", ttl=30, **more,  # type: ignore[arg-type]
    )  # fmt: skip


def trace(elapsed: float, dns: list[DnsQuery], attempts: list[Attempt], **more: object) -> ConnectTrace:
    """Complete, with its sentence."""
    found = ConnectTrace(target="login.example:443", started=0.0, ended=elapsed / 1000, timeout=5.0, **more)  # type: ignore[arg-type]
    found.dns, found.attempts = dns, attempts
    found.winner = next((one for one in attempts if one.outcome == "won"), None)
    if not found.ok:
        found.error = error_text(found)
    found.summary = summarize(found)
    return found


def dead_v6() -> ConnectTrace:
    """DNS 10 ms, a silent IPv6 address, IPv4 after 250 ms: TCP 20 ms, TLS 30 ms."""
    found = trace(
        310,
        [query("AAAA", 8, V6), query("A", 10, V4)],
        [
            attempt(V6, 10, 310, "cancelled", source="2001:db8::1"),
            attempt(V4, 260, 310, stage="tls", connected=280, source="192.0.2.1"),
        ],
    )
    found.tls = Tls(
        version="TLSv1.3", sni="login.example", alpn="http/1.1", peer="CN=login.example",
        not_after="2030-01-02T00:00:00Z", verified=True,
    )  # fmt: skip
    found.summary = summarize(found)
    return found


def refused() -> ConnectTrace:
    """Both families refuse."""
    told = {"errno": "ECONNREFUSED", "message": "Connection refused"}
    return trace(
        12,
        [query("AAAA", 8, V6), query("A", 10, V4)],
        [attempt(V6, 10, 11, "failed", **told), attempt(V4, 11, 12, "failed", **told)],
    )
