"""From parts to flights: what belongs together, in which order it happened, and one sentence that says what it came to.

A sign-in has one redirect and as many callbacks as browsers and reloads made; the last that says something new is its
outcome. One whose callback has not come is `away` while it may still come, then `abandoned`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, get_args

from msgspec.structs import replace

from ostiary.core.flights.note import Outcome, flight_of
from ostiary.core.flights.parts import Part, Unreachable
from ostiary.core.flights.telling import mend_of, sentence_of, sentence_of_unreachable
from ostiary.core.mends import mends, split
from ostiary.model import limits

KINDS: Final = {
    "departure": "sign-in", "arrival": "sign-in", "access": "access", "turned-away": "access", "other": "access",
    "refresh": "refresh", "sign-out": "sign-out",
}  # fmt: skip
_SAYS_LITTLE: Final = ("already-signed-in", "restarted")


@dataclass(slots=True, kw_only=True)
class Flight:
    """One sign-in, refusal, renewal or sign-out, or one cause why connections fail. Times are Unix seconds."""

    id: str
    kind: str
    """`sign-in`, `access`, `refresh`, `sign-out`, `connect`."""
    outcome: str
    started: float
    ended: float | None
    """None: the person is still away."""
    code: str = ""
    reason: str = ""
    summary: str = ""
    mends: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()
    """In the order in which they happened."""
    away_ms: float | None = None
    """How long the person was at the provider."""
    unreachable: Unreachable | None = None

    @property
    def last(self) -> float:
        """When something happened last."""
        return self.started if self.ended is None else self.ended

    @property
    def main(self) -> Part | None:
        """The part that says most: what its outcome comes from."""
        return _main(self.parts)

    def first(self, name: str) -> str:
        """The first part's text of that name that is not empty."""
        return next((text for part in self.parts if (text := str(getattr(part, name)))), "")

    @property
    def user(self) -> str:
        """Who it was about, if that is known."""
        return self.first("user")

    @property
    def path(self) -> str:
        """The page that was asked for."""
        return self.first("asked") or self.first("path")

    @property
    def target(self) -> str:
        """Of a failed connection."""
        return self.unreachable.target if self.unreachable is not None else ""

    def holds(self, text: str) -> bool:
        """Whether an operator who looks for this (any case) means this flight."""
        wanted = text.casefold()
        said = [self.id, self.code, self.reason, self.summary, self.user, self.target, self.outcome]
        if self.unreachable is not None:
            said.append(self.unreachable.cluster)
        for part in self.parts:
            said += (part.path, part.asked, part.client, part.agent, part.host, part.request_id, part.why)
            said += (text for call in part.calls for text in (call.url, call.error, call.error_description))
        return any(wanted in each.casefold() for each in said)


@dataclass(slots=True, kw_only=True)
class Query:
    """What to show. Everything that is given must hold."""

    outcome: str = ""
    code: str = ""
    """A flight's id, or a failure's code."""
    text: str = ""
    since: float | None = None
    """Unix time: what happened later."""
    limit: int = limits.MAX_FLIGHTS

    def matches(self, flight: Flight) -> bool:
        """Whether to show this one."""
        return (
            (not self.outcome or self.outcome in (flight.outcome, flight.kind, _CLASSES.get(flight.outcome)))
            and (not self.code or self.code.lower() in (flight.id, flight.code))
            and (not self.text or flight.holds(self.text))
            and (self.since is None or flight.last > self.since)
        )


_CLASSES: Final = {
    "failed": "problem", "denied": "problem", "unreachable": "problem", "ended": "problem", "abandoned": "problem",
}  # fmt: skip
"""What `?outcome=problem` means."""
ASKABLE: Final = ("problem", *get_args(Outcome), "abandoned", "unreachable", *dict.fromkeys(KINDS.values()), "connect")
"""What a query's outcome may be."""


@dataclass(slots=True)
class Recorded:
    """What one worker has."""

    parts: Sequence[Part] = ()
    unreachable: Sequence[Unreachable] = field(default_factory=tuple)


def assemble(recorded: Iterable[Recorded], now: float) -> list[Flight]:
    """All flights of all workers, what happened last first."""
    parts: dict[str, list[Part]] = {}
    causes: dict[str, Unreachable] = {}
    for each in recorded:
        for part in each.parts:
            parts.setdefault(part.flight, []).append(part)
            if part.restart_of:
                parts.setdefault(part.restart_of, []).append(_lost(part))
        for cause in each.unreachable:
            key = flight_of(f"connect\0{cause.cluster}\0{cause.target}\0{cause.error}\0{cause.checks}")
            causes[key] = _added(causes[key], cause) if key in causes else cause
    found = [_flight(name, sorted(each, key=lambda part: part.at), now) for name, each in parts.items()]
    found += [_connect(name, cause) for name, cause in causes.items()]
    return sorted(found, key=lambda flight: flight.last, reverse=True)


def _lost(part: Part) -> Part:
    """The callback that began another flight, told as this one's."""
    return replace(part, kind="arrival", outcome="restarted", flight=part.restart_of, restart_of="", asked="", calls=())


def _added(one: Unreachable, other: Unreachable) -> Unreachable:
    later = one if one.last >= other.last else other
    return Unreachable(
        cluster=later.cluster,
        target=later.target,
        error=later.error,
        count=one.count + other.count,
        first=min(one.first, other.first),
        last=later.last,
        trace=later.trace,
        checks=later.checks,
    )


def _main(parts: Sequence[Part]) -> Part | None:
    arrivals = [part for part in parts if part.kind != "departure"] or list(parts)
    telling = [part for part in arrivals if part.outcome not in _SAYS_LITTLE] or arrivals
    good = [part for part in telling if part.outcome == "signed-in"]
    return (good or telling)[-1] if telling else None


def _flight(name: str, parts: list[Part], now: float) -> Flight:
    main = _main(parts)
    assert main is not None
    outcome: str = main.outcome
    started = parts[0].at if parts[0].left_at is None else parts[0].left_at
    ended: float | None = max(part.at + part.seconds for part in parts)
    if outcome == "away":
        ended = None
        if now - started > limits.FLOW_LIFETIME:
            outcome = "abandoned"
    flight = Flight(
        id=name,
        kind=KINDS[main.kind],
        outcome=outcome,
        started=started,
        ended=ended,
        code=main.code,
        reason=main.reason,
        parts=tuple(parts),
        away_ms=_away(parts),
    )
    flight.summary = sentence_of(outcome, main, parts, flight.away_ms, now)
    flight.mends = mend_of(main)
    return flight


def _away(parts: Sequence[Part]) -> float | None:
    back = next((part for part in parts if part.kind == "arrival"), None)
    if back is None:
        return None
    left = next((part.at + part.seconds for part in parts if part.kind == "departure"), back.left_at)
    return None if left is None else max(0.0, round((back.at - left) * 1000, 3))


def _connect(name: str, cause: Unreachable) -> Flight:
    return Flight(
        id=name,
        kind="connect",
        outcome="unreachable",
        started=cause.first,
        ended=cause.last,
        code="unreachable",
        reason=split(cause.trace.summary)[0],
        summary=sentence_of_unreachable(cause),
        mends=mends(cause.trace),
        unreachable=cause,
    )
