"""A connection's trace in one or two sentences that a person understands, and the error that tells most.

The order of what is said follows what helps: what happened to each address family, then what was *not* tried and why,
then the mend. Knowing that the lookup family kept the working addresses out is worth more than any errno.
"""

from __future__ import annotations

import errno as errors
from collections.abc import Iterable
from typing import Final

from ostiary.core.addresses import fallback_lookup, first_lookups
from ostiary.core.trace import Attempt, ConnectTrace, DnsQuery
from ostiary.model import limits

_DELAY: Final = f"{limits.CONNECTION_ATTEMPT_DELAY * 1000:.0f} ms"
_FAMILY_NAMES: Final = {"v4": "IPv4", "v6": "IPv6", "unix": "the Unix socket"}
_TYPE_NAMES: Final = {"A": "IPv4 (A)", "AAAA": "IPv6 (AAAA)"}

# What an errno of connect() means to someone who does not know it; see the table of RFC 1122 and Linux's routes.
_MEANINGS: Final = {
    "ENETUNREACH": "this host has no route for it",
    "EADDRNOTAVAIL": "this host has no address of that family, or no free local port",
    "EAFNOSUPPORT": "this host's kernel does not have that address family",
    "EHOSTUNREACH": "the host can't be reached",
    "EACCES": "a firewall or a route prohibits it",
    "EPERM": "a firewall on this host prohibits it",
    "EINVAL": "a route on this host drops it",
    "ECONNREFUSED": "nothing listens on that port",
    "ECONNRESET": "the peer closed the connection",
    "ETIMEDOUT": "no answer",
    "EMFILE": "this process has no free file descriptor",
    "ENFILE": "this host has no free file descriptor",
    "ENOBUFS": "this host has no memory for another socket",
    "ENOMEM": "this host has no memory for another socket",
    "EADDRINUSE": "the local address and port are in use",
    "CERTIFICATE_VERIFY_FAILED": "its certificate is not trusted",
    "WRONG_VERSION_NUMBER": "the peer does not speak TLS on that port",
    "ENOENT": "there is no such socket",
}

_SAID_BETTER: Final = frozenset({"EADDRNOTAVAIL", "EMFILE"})
"""Errors whose attempt knows more than the errno says: whether IPv6 is off, or all ports are in use."""

# Which of several failures to report as *the* error: what this process lacks, then what a peer said, then what the
# network said, then silence.
_TELLING: Final = (
    "ECONNREFUSED", "ECONNRESET", "EHOSTUNREACH", "ENETUNREACH", "EACCES", "EPERM", "EADDRNOTAVAIL", "EAFNOSUPPORT",
    "EINVAL", "ETIMEDOUT",
)  # fmt: skip

_MENDS: Final = {
    "AUTO": "set dns_lookup_family: ALL (both families race), or V4_ONLY where IPv6 can't come",
    "V6_ONLY": "set dns_lookup_family: ALL, or V4_PREFERRED",
    "V4_ONLY": "set dns_lookup_family: ALL, or V6_ONLY",
    "V4_PREFERRED": "set dns_lookup_family: ALL",
}
_WHY_TRIED: Final = {
    "AUTO": "AUTO takes IPv6 if the name has any, and never falls back because a connection failed",
    "V4_PREFERRED": "V4_PREFERRED takes IPv4 if the name has any, and never falls back because a connection failed",
    "V6_ONLY": "V6_ONLY asks for IPv6 alone",
    "V4_ONLY": "V4_ONLY asks for IPv4 alone",
}


def telling_attempt(trace: ConnectTrace) -> Attempt | None:
    """The failed attempt that tells most: TLS, refused, unreachable, silent, in this order; None if none failed."""
    failed = [a for a in trace.attempts if a.outcome in ("failed", "timeout")]
    return min(failed, key=_rank, default=None)


def telling_errno(trace: ConnectTrace) -> int | None:
    """Its errno as a number; None if it is no errno (TLS, DNS)."""
    attempt = telling_attempt(trace)
    return None if attempt is None or attempt.errno is None else getattr(errors, attempt.errno, None)


def _rank(attempt: Attempt) -> tuple[bool, int]:
    name = attempt.errno or ""
    if attempt.outcome == "timeout":
        return (attempt.stage != "tls", len(_TELLING))
    return (attempt.stage != "tls", _TELLING.index(name) if name in _TELLING else -1)


def error_text(trace: ConnectTrace) -> str:
    """The error in a few words, for the trace's `error` field."""
    attempt = telling_attempt(trace)
    if attempt is None:
        return "the name did not resolve" if trace.dns else "nothing to connect to"
    if attempt.outcome == "timeout":
        return f"timeout in {attempt.stage}"
    return f"{attempt.errno}: {attempt.message}" if attempt.errno else attempt.message


def summarize(trace: ConnectTrace) -> str:
    """The sentence for `trace.summary`."""
    return _success(trace, trace.winner) if trace.winner is not None else _failure(trace)


def _success(trace: ConnectTrace, winner: Attempt) -> str:
    secured = ""
    if trace.tls is not None:
        secured = f" with {trace.tls.version}" + ("" if trace.tls.verified else " (the certificate was NOT verified)")
    if winner.family == "unix":
        return f"Connected to {winner.address}{secured} in {_milliseconds(trace.elapsed_ms)}."
    at = "" if trace.target == _place(winner) else f" at {_place(winner)}"
    over, took = _FAMILY_NAMES[winner.family], _milliseconds(trace.elapsed_ms)
    text = f"Connected to {trace.target}{at} over {over}{secured} in {took}."
    failed = [a for a in trace.attempts if a.outcome == "failed"]
    slower = [a for a in trace.attempts if a.outcome == "cancelled" and _began_before(a, winner)]
    if failed:
        text += f" Before that {_by_family(failed)}."
    if slower:
        text += f" {_capital(_places(slower))} had not answered by then."
    silent = [q for q in trace.dns if q.outcome in ("pending", "timeout")]
    if silent:
        text += f" {_silent_queries(silent)}; the connection did not wait for it."
    return text


def _failure(trace: ConnectTrace) -> str:
    tried = [a for a in trace.attempts if a.outcome != "not_started"]
    if not tried and not any(q.outcome == "answered" for q in _address_queries(trace)):
        return f"Can't connect to {trace.target}: {_dns_failure(trace)}."
    text = f"Can't connect to {trace.target}: {_by_family(tried) or 'no attempt was started in time'}."
    untried = [a for a in trace.attempts if a.outcome == "not_started"]
    if trace.other_family:
        text += f" {_kept_out(trace)}"
    elif untried:
        text += f" {len(untried)} more {_noun(len(untried))} had no turn within {trace.timeout:g} s."
    if trace.hurried and any(a.outcome == "timeout" for a in tried):
        text += (
            f" The whole connection had {trace.timeout:g} s, too little for the usual {_DELAY} between attempts: "
            f"each got less. Mend: a connect_timeout of {limits.CONNECT_TIMEOUT:g} s."
        )
    silent = [q for q in trace.dns if q.outcome in ("pending", "timeout")]
    if silent:
        text += f" {_silent_queries(silent)}."
    return text


def _kept_out(trace: ConnectTrace) -> str:
    """What the lookup family kept out, although this host could have reached it."""
    count = len(trace.other_family)
    family = "IPv6" if ":" in trace.other_family[0] else "IPv4"
    setting = trace.dns_lookup_family
    return (
        f"{count} {family} {_noun(count)} with a route from here ({', '.join(trace.other_family[:3])}) "
        f"{'was' if count == 1 else 'were'} not tried because dns_lookup_family is {setting}: {_WHY_TRIED[setting]}. "
        f"Mend: {_MENDS[setting]}."
    )


def _by_family(attempts: Iterable[Attempt]) -> str:
    """`IPv6 failed at once: ... (ENETUNREACH) at 2 addresses; IPv4 ...`."""
    groups: dict[tuple[str, str, str, str], list[Attempt]] = {}
    for attempt in attempts:
        what = attempt.outcome if attempt.outcome in ("timeout", "cancelled") else attempt.errno or attempt.message
        groups.setdefault((attempt.family, attempt.stage, attempt.outcome, what), []).append(attempt)
    return "; ".join(
        f"{_FAMILY_NAMES[family]} {_verb(stage, outcome, what, members)} ({_places(members)})"
        for (family, stage, outcome, what), members in groups.items()
    )


def _verb(stage: str, outcome: str, what: str, members: list[Attempt]) -> str:
    if outcome in ("timeout", "cancelled"):
        waited = max(((a.ended or 0.0) - (a.started or 0.0)) * 1000 for a in members)
        if stage == "tls":
            return f"accepted the connection but did not finish the TLS handshake within {waited:.0f} ms"
        return f"did not answer within {waited:.0f} ms"
    meaning = (members[0].message if what in _SAID_BETTER else "") or _MEANINGS.get(what)
    if stage == "tls":
        detail = members[0].message or what
        return f"failed in the TLS handshake: {f'{meaning}: ' if meaning else ''}{detail}"
    label = f"{meaning}, {what}" if meaning else (members[0].message or what)
    return f"failed: {label}"


def _dns_failure(trace: ConnectTrace) -> str:
    queries = _address_queries(trace)
    name = queries[-1].name if queries else trace.target
    if not queries:
        return "it has no address"
    outcomes = {q.outcome for q in queries}
    if outcomes <= {"pending", "timeout"}:
        return _lower(_silent_queries(queries))
    types = {q.type for q in queries}
    parts: list[str] = []
    if "nxdomain" in outcomes:
        servers = _list(q.server for q in queries if q.outcome == "nxdomain")
        names = _list(q.name for q in queries if q.outcome == "nxdomain")
        said = "as was answered a moment ago" if servers == "cache" else f"says {servers}"
        parts.append(f"{names} does not exist, {said}")
    if "empty" in outcomes:
        empty = _list(_TYPE_NAMES[q.type] for q in queries if q.outcome == "empty")
        parts.append(f"{name} has no {empty} address")
    failed = [q for q in queries if q.outcome == "failed"]
    if failed:
        parts.append(
            "the lookup failed: "
            + _list(f"{q.rcode or q.message or 'error'} from {q.server} ({q.type})" for q in failed)
        )
    silent = [q for q in queries if q.outcome in ("pending", "timeout")]
    if silent:
        parts.append(_lower(_silent_queries(silent)))
    text = "; ".join(parts)
    if len(types) == 1 and fallback_lookup(trace.dns_lookup_family) is None and trace.dns_lookup_family != "ALL":
        asked = first_lookups(trace.dns_lookup_family)[0]
        text += f", and dns_lookup_family {trace.dns_lookup_family} asks for {_TYPE_NAMES[asked]} alone"
    if trace.other_family:
        text += f". {_kept_out(trace).removesuffix('.')}"
    return text


def _address_queries(trace: ConnectTrace) -> list[DnsQuery]:
    """All but those for HTTPS records, without which there is no failure."""
    return [query for query in trace.dns if query.type != "HTTPS"]


def _silent_queries(queries: Iterable[DnsQuery]) -> str:
    queries = list(queries)
    types = _list(q.type for q in queries)
    servers = _list(q.server for q in queries)
    return f"The {types} query for {_list(q.name for q in queries)} was not answered by {servers}"


def _places(attempts: list[Attempt]) -> str:
    if len(attempts) > 3:
        return f"{_place(attempts[0])} and {len(attempts) - 1} more"
    return ", ".join(_place(a) for a in attempts)


def _place(attempt: Attempt) -> str:
    if attempt.family == "unix":
        return attempt.address
    return f"[{attempt.address}]:{attempt.port}" if attempt.family == "v6" else f"{attempt.address}:{attempt.port}"


def _began_before(attempt: Attempt, winner: Attempt) -> bool:
    return attempt.started is not None and winner.started is not None and attempt.started <= winner.started


def _noun(count: int) -> str:
    return "address" if count == 1 else "addresses"


def _list(items: Iterable[str]) -> str:
    return " and ".join(dict.fromkeys(items))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _milliseconds(value: float) -> str:
    return f"{value:.1f} ms" if value < 9.95 else f"{value:.0f} ms"
