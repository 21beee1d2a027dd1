"""What to do about a connection that failed: the next step, for someone who is in the middle of an incident."""

from __future__ import annotations

import re
from typing import Final

from ostiary.core.explain import telling_attempt
from ostiary.core.trace import ConnectTrace

_IN_SUMMARY: Final = re.compile(r" ?Mend: (.+?)\.(?= |$)")

_BY_ERROR: Final = {
    "CERTIFICATE_VERIFY_FAILED": "trust the issuer with --ca FILE, or have the server send its whole chain; --insecure "
    "shows which certificate it is",
    "WRONG_VERSION_NUMBER": "connect with --no-tls, or to the port that speaks TLS",
    "ECONNREFUSED": "see whether the service runs and listens on this port at this address",
    "ECONNRESET": "ask the peer's operator, or look for a firewall or proxy between: something closes the connection",
    "ENETUNREACH": "add a route for this family (ip route, ip -6 route), or use a lookup family that leaves it out",
    "EADDRNOTAVAIL": "give this host an address of this family, or use a lookup family that leaves it out",
    "EHOSTUNREACH": "look at the route and at the last router: it says that the host can't be reached",
    "EACCES": "look at this host's routes (prohibit) and at its firewall",
    "EPERM": "look at this host's firewall (iptables, nftables, a NetworkPolicy)",
    "EINVAL": "look at this host's routes: one of the kind blackhole drops it",
    "ENOENT": "see whether the service runs and where its socket is",
}
_BY_CERTIFICATE: Final = {
    "mismatch": "connect to a name that the certificate has, or name it with --sni",
    "expired": "renew the server's certificate, and check this host's clock",
    "not yet valid": "check this host's clock",
}
_SILENT_TCP: Final = "look for a firewall that drops: nothing came back, not even a refusal"
_SILENT_TLS: Final = "ask the peer's operator: TCP works, but the peer says nothing; or it speaks no TLS on that port"
_NXDOMAIN: Final = "check the spelling, and with --nameserver what another DNS server says"
_SILENT_DNS: Final = "check that the DNS server can be reached (UDP and TCP 53), or name another with --nameserver"
_FAILED_DNS: Final = "ask the DNS server's operator, or name another with --nameserver"
_EMPTY_DNS: Final = "use --dns-lookup-family ALL, or give the name an address"


def split(summary: str) -> tuple[str, tuple[str, ...]]:
    """A trace's summary as what happened, and the mends it names."""
    return _IN_SUMMARY.sub("", summary), tuple(_IN_SUMMARY.findall(summary))


def mends(trace: ConnectTrace) -> tuple[str, ...]:
    """The next steps, the best first; none if there is a connection and nothing to mend."""
    named = split(trace.summary)[1]
    if named or trace.ok:
        return named
    attempt = telling_attempt(trace)
    if attempt is None:
        return _about_names(trace)
    if attempt.outcome == "timeout":
        return (_SILENT_TLS if attempt.stage == "tls" else _SILENT_TCP,)
    step = next((said for sign, said in _BY_CERTIFICATE.items() if sign in attempt.message), None)
    step = step or _BY_ERROR.get(attempt.errno or "")
    return (step,) if step is not None else ()


def _about_names(trace: ConnectTrace) -> tuple[str, ...]:
    outcomes = {query.outcome for query in trace.dns if query.type in ("A", "AAAA")}
    for outcomes_of_cause, step in (
        ({"timeout", "pending"}, _SILENT_DNS),
        ({"failed"}, _FAILED_DNS),
        ({"nxdomain"}, _NXDOMAIN),
        ({"empty"}, _EMPTY_DNS),
    ):
        if outcomes & outcomes_of_cause:
            return (step,)
    return ()
