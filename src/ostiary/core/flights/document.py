"""Flights as JSON: the document of `/flights?format=json`, documented in docs/flights.md. Add, don't rename."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from ostiary.core.flights.parts import Call, Part
from ostiary.core.flights.story import Flight, Query

Step = dict[str, Any]


def list_document(found: Sequence[Flight], query: Query, now: float, *, total: int, workers: int) -> dict[str, Any]:
    """`found` is what matches, cut to the query's limit."""
    return {
        "now": timestamp(now),
        "workers": workers,
        "total": total,
        "matching": len(found),
        "flights": [flight_document(flight) for flight in found[: query.limit]],
    }


def flight_document(flight: Flight) -> dict[str, Any]:
    """One flight."""
    main = flight.main
    document: dict[str, Any] = {
        "id": flight.id,
        "kind": flight.kind,
        "outcome": flight.outcome,
        "code": flight.code or None,
        "summary": flight.summary,
        "reason": flight.reason or None,
        "mends": list(flight.mends),
        "started": timestamp(flight.started),
        "ended": None if flight.ended is None else timestamp(flight.ended),
        "duration_ms": None if flight.ended is None else _ms(flight.ended - flight.started),
        "away_ms": flight.away_ms,
    }
    if flight.unreachable is not None:
        cause = flight.unreachable
        document |= {
            "cluster": cause.cluster or None,
            "target": cause.target,
            "health_checks": cause.checks,
            "count": cause.count,
            "connection": cause.trace.as_dict(),
        }
        return document
    document |= {
        "profile": flight.first("profile"),
        "user": flight.user or None,
        "host": flight.first("host"),
        "path": flight.path,
        "client": flight.first("client"),
        "user_agent": flight.first("agent"),
        "session": _session(main),
        "steps": list(steps(flight)),
    }
    return document


def steps(flight: Flight) -> Iterator[Step]:
    """Everything that happened, in order; times are milliseconds from the flight's start."""
    for part in flight.parts:
        if part.kind == "arrival" and flight.away_ms is not None and part is _first_arrival(flight):
            back = offset(flight, part, part.clock)
            yield {"step": "away", "started_ms": round(back - flight.away_ms, 3), "ended_ms": back}
        yield _part_step(flight, part)
        for call in part.calls:
            yield _call_step(flight, part, call)
        if part.verified:
            failed = part.verified == "failed"
            yield {"step": "verification", "outcome": part.verified, "code": part.code if failed else None}
        if part.why:
            yield {"step": "decision", "path": part.asked or part.path, "why": part.why}


def _first_arrival(flight: Flight) -> Part | None:
    return next((part for part in flight.parts if part.kind == "arrival"), None)


def _part_step(flight: Flight, part: Part) -> Step:
    begin = offset(flight, part, part.clock)
    name = {"departure": "redirect", "arrival": "callback"}.get(part.kind, "request")
    return {
        "step": name,
        "started_ms": begin,
        "ended_ms": round(begin + part.seconds * 1000, 3),
        "outcome": part.outcome,
        "status": part.status,
        "method": part.method,
        "path": part.path,
        "client": part.client,
        "request_id": part.request_id or None,
        "worker": part.worker,
        "code": part.code or None,
        "reason": part.reason or None,
    }


def _call_step(flight: Flight, part: Part, call: Call) -> Step:
    return {
        "step": "call",
        "purpose": call.purpose,
        "method": call.method,
        "url": call.url,
        "started_ms": offset(flight, part, call.started),
        "ended_ms": offset(flight, part, call.ended),
        "status": call.status,
        "error": call.error or None,
        "error_description": call.error_description or None,
        "failure": call.failure or None,
        "message": call.message or None,
        "tries": call.tries,
        "connections": [
            {"offset_ms": offset(flight, part, trace.started), **trace.as_dict()} for trace in call.connects
        ],
    }


def offset(flight: Flight, part: Part, clock: float) -> float:
    """Milliseconds from the flight's start to a monotonic moment of one of its parts."""
    return max(0.0, _ms(part.at + (clock - part.clock) - flight.started))


def _session(main: Part | None) -> dict[str, int] | None:
    return {"cookies": main.cookies, "bytes": main.cookie_bytes} if main is not None and main.cookies else None


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)


def timestamp(moment: float) -> str:
    """ISO 8601, UTC, with milliseconds."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
