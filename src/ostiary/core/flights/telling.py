"""A flight in one sentence, and the next step: for someone who is in the middle of an incident."""

from __future__ import annotations

from collections.abc import Sequence

from ostiary.core.flights.note import GONE
from ostiary.core.flights.parts import Part, Unreachable
from ostiary.core.mends import mends, split
from ostiary.core.oauth2.failures import FAILURES, failure


def sentence_of(outcome: str, main: Part, parts: Sequence[Part], away_ms: float | None, now: float) -> str:
    """What happened."""
    who = main.user or "The person"
    page = main.asked or main.path or "/"
    match outcome:
        case "signed-in":
            after = "" if away_ms is None else f", after {spell(away_ms / 1000)} at the provider"
            return f"{who} signed in{after}. {_access(main)}".rstrip() + _gone(main)
        case "away":
            return f"The browser was sent to the provider {spell(now - main.at)} ago and is not back yet."
        case "abandoned":
            return f"The browser was sent to the provider {spell(now - main.at)} ago and never came back."
        case "already-signed-in":
            return "The callback came when this browser had signed in already (another tab): it went on to the page."
        case "restarted":
            return "The callback came without its cookie, or too late: the sign-in began once more."
        case "denied":
            return f"{who} is signed in, but may not open {page}: {main.why or main.reason}."
        case "unauthenticated":
            return f"A program asked for {page} and was told to sign in: {main.reason or 'there is no session'}."
        case "renewed":
            return f"The tokens of {main.user or 'a session'} were renewed."
        case "ended":
            return f"The session of {main.user or 'somebody'} ended: {main.reason}."
        case "signed-out":
            return f"{who} signed out." + (f" {main.reason}." if main.reason else "")
        case "refused":
            return f"{main.method} {page} was refused: {failure(main.code).title.lower()}."
    return _failure(main, parts)


def _access(main: Part) -> str:
    if not main.why:
        return ""
    return f"The page that was asked for, {main.asked}: {main.why}."


def _failure(main: Part, parts: Sequence[Part]) -> str:
    came_back = any(part.kind == "arrival" for part in parts)
    what = {"refresh": "The renewal of a session failed", "sign-out": "The sign-out failed"}.get(main.kind)
    if what is None:
        what = "The sign-in failed when the browser came back" if came_back else "The sign-in could not begin"
        if main.kind == "access":
            what = "The request was refused"
    said = split(main.reason)[0].rstrip(".")
    return f"{what}: {said or main.code}.{_gone(main)}"


def _gone(main: Part) -> str:
    return " The browser did not wait for it." if main.status == GONE else ""


def mend_of(main: Part) -> tuple[str, ...]:
    """The next steps for the operator, the best first."""
    found: list[str] = []
    if main.outcome in ("failed", "ended", "denied"):
        for call in main.calls:
            found += (step for trace in call.connects if not trace.ok for step in mends(trace))
        found += split(main.reason)[1]
        entry = FAILURES.get(main.code)
        if entry is not None and entry.mend:
            found.append(entry.mend)
    return tuple(dict.fromkeys(found))


def sentence_of_unreachable(cause: Unreachable) -> str:
    """What happened to connections."""
    times = "once" if cause.count == 1 else f"{cause.count} times"
    what = "Health checks of" if cause.checks else "Connections to"
    where = f" for cluster {cause.cluster}" if cause.cluster else ""
    return f"{what} {cause.target}{where} failed {times}. {split(cause.trace.summary)[0]}"


def spell(seconds: float) -> str:
    """A duration for people."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"
