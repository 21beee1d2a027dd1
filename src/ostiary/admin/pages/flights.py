"""`/flights`: what happened to sign-ins lately, for browsers as a page, else as JSON; `/flights/<id>`: one of them."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from ostiary.admin.page import Page, Parameter, Part, Reply, Request, json_reply
from ostiary.app.lifecycle import Doorkeeper
from ostiary.model import limits

if TYPE_CHECKING:
    from ostiary.core.flights.story import Flight, Query

_FOLDER: Final = "/flights/"
_OUTCOMES: Final = (
    "problem", "signed-in", "away", "abandoned", "failed", "denied", "unreachable", "sign-in", "access", "refresh",
    "sign-out", "connect",
)  # fmt: skip


def _collect(worker: Doorkeeper, request: Request) -> Part:
    """The newest are enough for a list; what is looked for may be older."""
    if request.path != "/flights":
        return worker.flights.export(flight=_id(request))
    searches = any(request.parameter(name) for name in ("outcome", "code", "q"))
    return worker.flights.export(limits.MAX_FLIGHTS if searches else _limit(request) or limits.SHOWN_FLIGHTS)


def _render(parts: list[Part], request: Request) -> Reply:
    from ostiary.app.flights import load
    from ostiary.core.flights.document import list_document
    from ostiary.core.flights.story import assemble

    now = time.time()
    state = _state(parts, now)
    if request.parameter("have") == state:
        return Reply(status=204)
    found = assemble(load(parts), now)
    if request.path != "/flights":
        return _one(found, request, now, state)
    try:
        query = _query(request, now)
    except ValueError as error:
        return Reply(f"{error}\n", 400)
    every = [flight for flight in found if replace(query, outcome="").matches(flight)]
    chosen = [flight for flight in every if query.matches(flight)]
    if not _wants_html(request):
        return json_reply(list_document(chosen, query, now, total=len(found), workers=len(parts)))
    from ostiary.report.flights import list_page

    return _html(list_page(chosen, query, now, total=len(found), target=request.target, every=every, state=state))


def _state(parts: list[Part], now: float) -> str:
    """Which flights a page shows: one that updates itself need not be made again while it says this. Some texts say how
    long ago something was."""
    said = json.dumps([parts, int(now / limits.FLIGHTS_PAGE_STALE)]).encode()
    return hashlib.sha256(said).hexdigest()[:16]


def _id(request: Request) -> str:
    return request.path.removeprefix(_FOLDER).lower()


def _one(found: list[Flight], request: Request, now: float, state: str) -> Reply:
    wanted = _id(request)
    flight = next((each for each in found if each.id == wanted), None)
    html = _wants_html(request)
    if flight is None and not html:
        return json_reply({"error": "not-found", "message": _GONE}, 404)
    from ostiary.core.flights.document import flight_document
    from ostiary.report.flights import flight_page, no_flight_page

    if flight is None:
        return _html(no_flight_page(wanted, _GONE), 404)
    return _html(flight_page(flight, now, state)) if html else json_reply(flight_document(flight))


_GONE: Final = (
    f"no flight has this code: it is misspelt, of another replica, or older than the last {limits.MAX_FLIGHTS} sign-ins"
)


def _html(page: tuple[bytes, str], status: int = 200) -> Reply:
    """A page and its content security policy."""
    body, policy = page
    headers = (("content-security-policy", policy), ("referrer-policy", "no-referrer"), ("vary", "accept"))
    return Reply(body, status, "text/html; charset=UTF-8", headers)


def _wants_html(request: Request) -> bool:
    wanted = request.parameter("format")
    return wanted == "html" or (wanted is None and request.wants_html)


def _query(request: Request, now: float) -> Query:
    """Raises ValueError with what is wrong, for the client."""
    from ostiary.core.flights.story import ASKABLE, Query

    outcome = request.parameter("outcome") or ""
    if outcome and outcome not in ASKABLE:
        raise ValueError(f"outcome={outcome[:40]!r} is none: one of {', '.join(ASKABLE)}")
    since = request.parameter("since")
    limit = _limit(request)
    if not limit:
        raise ValueError(f"limit={request.parameter('limit')!r:.42} is no number of flights: write 1 or more")
    return Query(
        outcome=outcome,
        code=(request.parameter("code") or "").strip(),
        text=(request.parameter("q") or "").strip(),
        since=_moment(since, now) if since else None,
        limit=limit,
    )


def _limit(request: Request) -> int:
    """0: it is none."""
    wanted = request.parameter("limit") or str(limits.SHOWN_FLIGHTS)
    return min(int(wanted[:9]), limits.MAX_FLIGHTS) if wanted.isascii() and wanted.isdigit() else 0


def _moment(text: str, now: float) -> float:
    """`15m`, `2h`, `90s` ago; Unix seconds; or ISO 8601."""
    number, unit = text[:-1], text[-1:]
    if unit in _UNITS and number.replace(".", "", 1).isdigit() and number.isascii():
        return now - float(number) * _UNITS[unit]
    if text.replace(".", "", 1).isdigit() and text.isascii():
        return float(text)
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
    except ValueError:
        message = f"since={text[:40]!r} is no time: write 15m, 2h, Unix seconds, or 2026-11-26T01:30:00Z"
        raise ValueError(message) from None


_UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

PAGES: Final = (
    Page(
        path="/flights",
        help="the last sign-ins, refusals and failed connects: a page for browsers, else JSON",
        collect=_collect,
        render=_render,
        large=True,
        parameters=(
            Parameter("outcome", "only flights of this outcome or kind", _OUTCOMES),
            Parameter("code", "only the flight of this code, or flights that failed with it"),
            Parameter("q", "only flights that hold this text (user, path, client, request id, ...)"),
            Parameter("since", "only what happened later: 15m, 2h, Unix seconds or ISO 8601"),
            Parameter("limit", f"at most so many, the newest first; {limits.SHOWN_FLIGHTS} if absent"),
            Parameter("format", "instead of what Accept says", ("html", "json")),
        ),
    ),
    Page(path=_FOLDER, help="one flight, by the code that a person sees", collect=_collect, render=_render, large=True),
)
