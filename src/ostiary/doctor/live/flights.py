"""What an Ostiary recorded of sign-ins: its connections are facts exactly as a probe's are.

Only what failed after the last sign-in that succeeded tells of today.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final, cast

from ostiary.core.trace import Attempt, ConnectTrace, DnsQuery
from ostiary.doctor.facts.origin import Fact, Origin
from ostiary.doctor.facts.provider import Answered, Endpoint
from ostiary.doctor.live.fetch import Documents
from ostiary.doctor.live.plain import items, number, text
from ostiary.doctor.probes.traces import facts_of_trace

_ENDPOINTS: Final[dict[str, Endpoint]] = {
    "token": "token", "refresh": "token", "jwks": "jwks", "keys": "jwks", "discovery": "discovery",
    "userinfo": "userinfo",
}  # fmt: skip


def flight_facts(documents: Documents) -> Iterator[Fact]:
    """The facts of /flights; nothing of an Envoy, which has none."""
    source = f"{documents.source}/flights"
    last = max((text(each, "started") for each in items(documents.parsed("signed_in"), "flights")), default="")
    since = [each for each in items(documents.parsed("flights"), "flights") if text(each, "started") > last]
    one_person_s = bool(last) and len(since) == 1  # who reloads a callback, or declines
    for flight in since:
        if isinstance(flight.get("connection"), dict):
            yield from _connection(flight["connection"], source)
        for step in items(flight, "steps"):
            for connection in items(step, "connections"):
                yield from _connection(connection, source)
            if not one_person_s:
                yield from _answer(step, source)


def _answer(step: dict[str, Any], source: str) -> Iterator[Fact]:
    endpoint = _ENDPOINTS.get(text(step, "purpose"))
    status, error = number(step.get("status")), text(step, "error")
    if endpoint is None or (status < 400 and not error):
        return
    said = " ".join(filter(None, (str(status or ""), error, text(step, "error_description"))))
    yield Answered(
        origin=Origin(kind="log", source=source, quote=f"{text(step, 'url')}: {said}"),
        endpoint=endpoint,
        target=text(step, "url"),
        status=status,
        error=error,
        description=text(step, "error_description"),
        who="ostiary",
    )


def _connection(data: dict[str, Any], source: str) -> Iterator[Fact]:
    """A connection as `ostiary connect --json` writes it."""
    trace = ConnectTrace(target=text(data, "target"), started=0.0)
    trace.dns = [_query(each) for each in items(data, "dns")]
    trace.attempts = [_attempt(each) for each in items(data, "attempts")]
    for fact in facts_of_trace(trace):
        yield replace(fact, origin=replace(fact.origin, kind="admin", source=source))


def _query(data: dict[str, Any]) -> DnsQuery:
    return DnsQuery(
        name=text(data, "name"),
        type=cast("Any", text(data, "type")),
        server=text(data, "server"),
        started=_seconds(data.get("started_ms")) or 0.0,
        ended=_seconds(data.get("ended_ms")),
        rcode=text(data, "rcode") or None,
        answers=tuple(str(each) for each in data.get("answers") or ()),
        outcome=cast("Any", text(data, "outcome")),
    )


def _attempt(data: dict[str, Any]) -> Attempt:
    return Attempt(
        address=text(data, "address"),
        port=number(data.get("port")),
        family=cast("Any", text(data, "family")),
        started=_seconds(data.get("started_ms")),
        ended=_seconds(data.get("ended_ms")),
        stage=cast("Any", text(data, "stage")),
        outcome=cast("Any", text(data, "outcome")),
        errno=text(data, "errno") or None,
        message=text(data, "message"),
    )


def _seconds(milliseconds: object) -> float | None:
    return milliseconds / 1000 if isinstance(milliseconds, int | float) else None
