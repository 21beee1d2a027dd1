"""What a row of a timeline says, in a terminal and in a report: who was asked or tried, and how it ended."""

from __future__ import annotations

from typing import Final

from ostiary.core.trace import Attempt, ConnectTrace, DnsQuery

FAMILY_NAMES: Final = {"v4": "IPv4", "v6": "IPv6", "unix": "unix"}
_QUERIES: Final = {"nxdomain": "the name does not exist", "empty": "no such record", "pending": "no answer by then"}


def query_label(query: DnsQuery, trace: ConnectTrace) -> str:
    """Who was asked, and the name if that does not follow from the target's."""
    host = trace.target.rpartition(":")[0]
    name = query.name.rstrip(".")
    follows = name == host or (_is_extra(query) and name.endswith(f"._https.{host}"))
    return query.server if follows else f"{query.name} at {query.server}"


def query_outcome(query: DnsQuery) -> str:
    """As in the trace; but that there is no HTTPS record is nothing bad, whichever way it is said."""
    return "empty" if _is_extra(query) and query.outcome == "nxdomain" else query.outcome


def query_note(query: DnsQuery) -> str:
    """The answer, or why there is none."""
    if query.answers:
        return ", ".join(query.answers)
    return _QUERIES.get(query_outcome(query)) or query.message or query.rcode or query.outcome


def attempt_label(attempt: Attempt, trace: ConnectTrace) -> str:
    """The address, with its port if that is not the target's."""
    if attempt.family == "unix" or str(attempt.port) == trace.target.rpartition(":")[2]:
        return attempt.address
    return f"[{attempt.address}]:{attempt.port}" if attempt.family == "v6" else f"{attempt.address}:{attempt.port}"


def attempt_note(attempt: Attempt) -> str:
    """How an attempt ended."""
    match attempt.outcome:
        case "won":
            return "connected"
        case "cancelled":
            return "TLS not done by then" if attempt.stage == "tls" else "no answer by then"
        case "not_started":
            return f"not tried: {attempt.message}" if attempt.message else "not tried"
        case _:
            return f"{attempt.errno}: {attempt.message}" if attempt.errno else attempt.message


def _is_extra(query: DnsQuery) -> bool:
    """Whether a connection can do without an answer: HTTPS records."""
    return str(query.type) == "HTTPS"
