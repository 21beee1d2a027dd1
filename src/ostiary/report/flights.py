"""The pages at `/flights`: the list, and one flight in full.

Each is one file with its style and its script inside, and a content security policy that names both by their hashes:
whatever hostile text a user agent or a provider put into a flight, it is escaped, and could not run if it weren't.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

from ostiary._version import __version__
from ostiary.core.flights.parts import Call, Part
from ostiary.core.flights.story import Flight, Query
from ostiary.core.flights.telling import spell
from ostiary.pages import render
from ostiary.report.connection import shown_connection
from ostiary.report.flight_chart import flight_charts, small_chart
from ostiary.report.waterfall import duration

Page = tuple[bytes, str]
"""The page, and its content security policy."""

_INLINE: Final = re.compile(rb"<(style|script)>(.*?)</\1>", re.DOTALL)
_NONE: Final = "'none'"
_WORDS: Final[Mapping[str, tuple[str, str]]] = {
    "signed-in": ("good", "Signed in"),
    "already-signed-in": ("good", "Signed in already"),
    "renewed": ("good", "Renewed"),
    "signed-out": ("quiet", "Signed out"),
    "away": ("quiet", "At the provider"),
    "restarted": ("warn", "Began again"),
    "abandoned": ("warn", "Never came back"),
    "unauthenticated": ("quiet", "Told to sign in"),
    "refused": ("quiet", "Refused"),
    "denied": ("warn", "No access"),
    "ended": ("warn", "Session ended"),
    "failed": ("bad", "Failed"),
    "unreachable": ("bad", "Unreachable"),
}
"""Outcome -> tone, and what people read."""
_HEADINGS: Final = {
    "refresh": {"failed": "A session could not be renewed"},
    "access": {"failed": "A request was refused", "denied": "No access"},
    "sign-in": {"failed": "The sign-in failed", "away": "Away at the provider", "restarted": "The sign-in began again"},
    "connect": {"unreachable": "No connection"},
}
_TABS: Final = (
    ("", "All"),
    ("problem", "Problems"),
    ("signed-in", "Signed in"),
    ("away", "Away"),
    ("failed", "Failed"),
    ("denied", "No access"),
    ("unreachable", "Unreachable"),
)
_SINCE: Final = (("", "any time"), ("5m", "last 5 minutes"), ("1h", "last hour"), ("1d", "last day"))


def list_page(
    found: Sequence[Flight], query: Query, now: float, *, total: int, target: str, every: Sequence[Flight], state: str
) -> Page:
    """What was found, the newest first.

    `every` is what the tabs count, `target` this page's own address, `state` what its script says that it has.
    """
    asked = dict(parse_qsl(target.partition("?")[2]))
    asked.pop("have", None)
    counts = Counter(flight.outcome for flight in every)
    problems = sum(Query(outcome="problem").matches(flight) for flight in every)
    tabs = [
        {
            "text": text,
            "count": len(every) if not outcome else problems if outcome == "problem" else counts[outcome],
            "href": _address(asked, outcome=outcome),
            "current": outcome == query.outcome,
        }
        for outcome, text in _TABS
    ]
    return _page(
        "list",
        now,
        state=state,
        heading="Flights",
        target="what happened to sign-ins lately",
        tone="quiet",
        tabs=tabs,
        rows=[_row(flight, now) for flight in found[: query.limit]],
        found=len(found),
        shown=min(len(found), query.limit),
        more=_address(asked, limit=str(2 * query.limit)) if len(found) > query.limit else "",
        total=total,
        query={"outcome": query.outcome, "code": query.code, "q": query.text, "since": asked.get("since", "")},
        since=_SINCE if asked.get("since", "") in dict(_SINCE) else (*_SINCE, (asked["since"], asked["since"])),
        filtered=bool(query.outcome or query.code or query.text or query.since is not None),
        json=_address(asked, format="json"),
    )


def flight_page(flight: Flight, now: float, state: str = "") -> Page:
    """One flight."""
    tone, word = _WORDS.get(flight.outcome, ("quiet", flight.outcome))
    trace = flight.unreachable.trace if flight.unreachable is not None else None
    return _page(
        "detail",
        now,
        state=state,
        tone=tone,
        target=flight.target or flight.id,
        heading=_HEADINGS.get(flight.kind, {}).get(flight.outcome, word),
        flight=flight,
        moving=flight.outcome == "away",
        facts=list(_facts(flight, now)),
        figures=flight_charts(flight) if trace is None else [],
        steps=[_step(part) for part in flight.parts],
        connection=None if trace is None else shown_connection(trace),
    )


def no_flight_page(wanted: str, why: str) -> Page:
    """There is none of that code."""
    return _page("none", None, heading="No flight of this code", target=wanted[:40], tone="warn", why=why)


def _page(name: str, now: float | None, **context: Any) -> Page:
    taken = "" if now is None else _time(now, "%Y-%m-%d %H:%M:%S UTC")
    body = render(f"flights/{name}", {"taken": taken, "version": __version__, **context})
    hashes: dict[bytes, list[str]] = {b"style": [], b"script": []}
    for kind, text in _INLINE.findall(body):
        hashes[kind].append(f"'sha256-{base64.b64encode(hashlib.sha256(text).digest()).decode()}'")
    policy = (
        f"default-src 'none'; style-src {' '.join(hashes[b'style'])}; "
        f"script-src {' '.join(hashes[b'script'] or (_NONE,))}; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    return body, policy


def _address(asked: Mapping[str, str], **changes: str) -> str:
    pairs = {name: value for name, value in {**asked, **changes}.items() if value}
    return f"/flights?{urlencode(pairs)}" if pairs else "/flights"


def _row(flight: Flight, now: float) -> Mapping[str, Any]:
    tone, word = _WORDS.get(flight.outcome, ("quiet", flight.outcome))
    cause = flight.unreachable
    return {
        "id": flight.id,
        "tone": tone,
        "word": word,
        "code": "" if cause is not None else flight.code,
        "at": _time(flight.last, "%Y-%m-%dT%H:%M:%SZ"),
        "clock": _time(flight.last, "%H:%M:%S"),
        "day": "" if _time(flight.last, "%j") == _time(now, "%j") else _time(flight.last, "%b %d"),
        "ago": f"{spell(max(0.0, now - flight.last))} ago",
        "who": flight.user or (cause.cluster or cause.target if cause is not None else flight.first("client")),
        "where": f"{cause.count}×" if cause is not None else flight.path,
        "summary": flight.summary,
        "took": _took(flight),
        "chart": small_chart(flight),
    }


def _took(flight: Flight) -> str:
    """Our own time: without the person's at the provider."""
    if flight.unreachable is not None:
        return duration(flight.unreachable.trace.elapsed_ms)
    return duration(sum(part.seconds for part in flight.parts) * 1000)


def _facts(flight: Flight, now: float) -> Iterable[tuple[str, str]]:
    cause = flight.unreachable
    yield (
        "When" if cause is None else "First",
        f"{_time(flight.started, '%Y-%m-%d %H:%M:%S UTC')} ({spell(max(0.0, now - flight.started))} ago)",
    )
    if cause is not None:
        yield "Last", f"{_time(cause.last, '%H:%M:%S UTC')} ({spell(max(0.0, now - cause.last))} ago)"
        yield "Count", str(cause.count)
        yield "Cluster", cause.cluster or "none"
        return
    yield "Time here", _took(flight)
    if flight.away_ms is not None:
        yield "At the provider", spell(flight.away_ms / 1000)
    main = flight.main
    for name, text in (
        ("Who", flight.user),
        ("Page", flight.path),
        ("Host", flight.first("host")),
        ("Client", flight.first("client")),
        ("Browser", flight.first("agent")),
        ("Reason", flight.code),
    ):
        if text:
            yield name, text
    if main is not None and main.cookies:
        yield "Session", f"{main.cookies} cookie{'s' * (main.cookies > 1)}, {main.cookie_bytes} bytes"
    workers = {part.worker for part in flight.parts}
    if len(workers) > 1:
        yield "Workers", " then ".join(str(part.worker) for part in flight.parts)


_PARTS: Final = {"departure": "Redirect to the provider", "arrival": "Callback", "refresh": "Renewal"}


def _step(part: Part) -> Mapping[str, Any]:
    tone, word = _WORDS.get(part.outcome, ("quiet", part.outcome))
    failed = part.verified == "failed"
    checks = {
        "passed": ("good", "verified: signature, issuer, audience, times, nonce"),
        "failed": ("bad", f"refused, {part.code}: {part.reason}"),
        "skipped": ("quiet", "not verified: this profile does not"),
    }
    return {
        "name": _PARTS.get(part.kind, "Request"),
        "clock": _time(part.at, "%H:%M:%S.%f")[:-3],
        "took": duration(part.seconds * 1000),
        "request": f"{part.method} {part.path}",
        "status": part.status or "",
        "tone": tone,
        "word": word,
        "reason": "" if failed else part.reason,
        "verified": checks.get(part.verified),
        "why": part.why,
        "asked": part.asked,
        "request_id": part.request_id,
        "calls": [_call(call) for call in part.calls],
    }


def _call(call: Call) -> Mapping[str, Any]:
    answered = call.status is not None
    good = answered and (call.status or 0) < 400 and not call.error
    note = f"{call.status}" if answered else f"no answer ({call.failure}): {call.message}"
    said = ": ".join(filter(None, (call.error, call.error_description)))
    return {
        "purpose": call.purpose,
        "request": f"{call.method} {call.url}",
        "took": duration((call.ended - call.started) * 1000),
        "tone": "good" if good else "bad",
        "note": note,
        "said": said,
        "tries": call.tries,
        "connections": [shown_connection(trace) for trace in call.connects],
    }


def _time(moment: float, pattern: str) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime(pattern)
