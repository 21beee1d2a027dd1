"""A flight as a waterfall: its requests, what was asked of the provider, and each connection that was made for it.

A person is away for seconds or minutes, what happens here takes milliseconds: so a long gap has a fixed width, and is
drawn as one. The ticks are those of the longest stretch without a gap, from its start.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from ostiary.core.flights.document import offset
from ostiary.core.flights.parts import Call, Part
from ostiary.core.flights.story import Flight
from ostiary.core.flights.telling import spell
from ostiary.report.waterfall import (
    NARROW,
    WIDE,
    Axis,
    Entry,
    Layout,
    Waterfall,
    connection_entries,
    draw,
    duration,
    labels,
)

_GAP: Final = 0.12
"""Share of the chart's width."""
_NAMES: Final = {"departure": "redirect", "arrival": "callback", "refresh": "renewal", "sign-out": "sign-out"}
_BAD: Final = ("failed", "denied", "ended", "restarted")
_TONES: Final = {"good": "good", "won": "good", "bad": "bad", "failed": "bad", "timeout": "bad", "nxdomain": "bad"}
_SMALL: Final = Layout("small", 160, 2, 158, 14, 7, 0, 0, 1, 0)


class Bar(NamedTuple):
    """A piece of the small chart."""

    x: float
    width: float
    kind: str
    tone: str


class Small(NamedTuple):
    """A flight on one line."""

    width: int
    words: str
    bars: tuple[Bar, ...]


def flight_charts(flight: Flight) -> list[Waterfall]:
    """Both layouts."""
    entries = list(_entries(flight))
    title = f"Waterfall of flight {flight.id}"
    return [draw(entries, layout, _axis(flight, layout), title, flight.summary) for layout in (WIDE, NARROW)]


def small_chart(flight: Flight) -> Small:
    """For a row of the list."""
    if flight.unreachable is not None:
        entries = connection_entries(flight.unreachable.trace)
        total = max(flight.unreachable.trace.elapsed_ms, 0.001)
        axis = Axis(lambda ms: _SMALL.left + ms / total * (_SMALL.right - _SMALL.left), total, ())
    else:
        entries = [entry for entry in _entries(flight, connections=False) if entry.kind not in ("verify", "access")]
        axis = _axis(flight, _SMALL)
    bars = []
    for entry in entries:
        if entry.started is None:
            continue
        begin = axis.place(entry.started)
        width = max(2.0, axis.place(axis.total if entry.ended is None else entry.ended) - begin)
        tone = _TONES.get(entry.outcome, "good" if entry.bar in ("dns", "tcp") else "quiet")
        bars.append(Bar(round(begin, 1), round(min(width, _SMALL.width - begin), 1), entry.bar, tone))
    words = ", ".join(f"{entry.kind} {_spent(entry)}" for entry in entries if entry.started is not None)
    return Small(_SMALL.width, words, tuple(bars))


def _spent(entry: Entry) -> str:
    if entry.started is None or entry.ended is None:
        return ""
    return spell((entry.ended - entry.started) / 1000) if entry.bar == "away" else duration(entry.ended - entry.started)


def _entries(flight: Flight, *, connections: bool = True) -> Iterator[Entry]:
    first = next((part for part in flight.parts if part.kind == "arrival"), None)
    for part in flight.parts:
        begin = offset(flight, part, part.clock)
        end = begin + part.seconds * 1000
        if part is first and flight.away_ms is not None:
            left = begin - flight.away_ms
            if left >= -0.001:
                spent = spell(flight.away_ms / 1000)
                yield Entry("away", "at the provider", spent, left, None, begin, "quiet", False, "away")
        yield _part(part, begin, end)
        for call in part.calls:
            yield _call(flight, part, call)
            for trace in call.connects if connections else ():
                yield from connection_entries(trace, offset(flight, part, trace.started))
        if part.verified in ("passed", "failed"):
            good = part.verified == "passed"
            note = "signature, issuer, audience, times, nonce" if good else f"{part.code}: {part.reason}"
            yield Entry("verify", "ID token", note, end, None, end, "good" if good else "bad", False, "step")
        if part.why:
            outcome = "bad" if part.outcome == "denied" else "good"
            yield Entry("access", part.asked or part.path, part.why, end, None, end, outcome, False, "step")
    if flight.outcome in ("away", "abandoned"):
        yield Entry("away", "at the provider", "not back yet", None, None, None, "quiet", False, "away")


def _part(part: Part, begin: float, end: float) -> Entry:
    outcome = "bad" if part.outcome in _BAD else "good" if part.outcome in ("signed-in", "renewed") else "quiet"
    note = f"{part.status or 'let in'}, {part.outcome}" + (f": {part.code}" if part.code else "")
    return Entry(_NAMES.get(part.kind, "request"), part.path, note, begin, None, end, outcome, False, "step")


def _call(flight: Flight, part: Part, call: Call) -> Entry:
    good = call.status is not None and call.status < 400 and not call.error
    note = str(call.status) if call.status is not None else f"no answer: {call.message}"
    note += "".join(f", {text}" for text in (call.error, call.error_description) if text)
    if call.tries > 1:
        note += f", {call.tries} tries"
    started, ended = offset(flight, part, call.started), offset(flight, part, call.ended)
    where = call.url.partition("//")[2] or call.url
    outcome = "good" if good else "bad"
    return Entry(call.purpose, where, note, started, None, ended, outcome, False, "call")


def _axis(flight: Flight, layout: Layout) -> Axis:
    busy = _stretches(flight)
    total = busy[-1][1]
    lengths = [end - begin for begin, end in busy]
    gaps = len(busy) - 1
    width = layout.right - layout.left
    gap = width * min(_GAP, 0.5 / max(gaps, 1))
    scale = (width - gap * gaps) / max(sum(lengths), 0.001)
    known: list[tuple[float, float]] = []
    x = float(layout.left)
    for (begin, end), length in zip(busy, lengths, strict=True):
        known += [(begin, x), (end, x + length * scale)]
        x += length * scale + gap

    def place(ms: float) -> float:
        if ms <= known[0][0]:
            return known[0][1]
        for (one, at), (other, then) in pairwise(known):
            if ms <= other:
                return at if other <= one else at + (ms - one) / (other - one) * (then - at)
        return known[-1][1]

    longest = max(range(len(busy)), key=lengths.__getitem__)
    marks = labels(max(lengths[longest], 0.001), known[2 * longest][1], scale, layout.steps)
    return Axis(place, total, marks)


def _stretches(flight: Flight) -> Sequence[tuple[float, float]]:
    """Where something happens here, in milliseconds; what is close together is one."""
    found: list[tuple[float, float]] = [(0.0, 0.0)]
    spans = sorted((offset(flight, part, part.clock), part.seconds * 1000) for part in flight.parts)
    close = 0.25 * sum(length for _, length in spans)
    for begin, length in spans:
        if begin - found[-1][1] <= close:
            found[-1] = (found[-1][0], max(found[-1][1], begin + length))
        else:
            found.append((begin, begin + length))
    return found
