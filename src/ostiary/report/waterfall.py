"""Where everything of a waterfall goes: entries become rows, bars and ticks, ready to be written as SVG.

Two layouts, because an SVG that shrinks takes its letters along: on a wide page labels stand beside the bars, on a
telephone above them. Nothing depends on colour alone: each bar ends in a sign, and each row says how it ended.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from ostiary.core.notes import FAMILY_NAMES, attempt_label, attempt_note, query_label, query_note, query_outcome
from ostiary.core.scale import ticks, unit
from ostiary.core.trace import Attempt, ConnectTrace, DnsQuery

_HEAD: Final = 26
_MIN_BAR: Final = 3.0
_LETTER: Final = 7.9
"""Width of a letter of a label (13px, monospaced) or a number, generously."""
_TAIL: Final = 12
_SMALL_LETTER: Final = 6.4
_MARKS: Final = {"won": "✓", "good": "✓", "failed": "✗", "timeout": "✗", "nxdomain": "✗", "bad": "✗"}


@dataclass(frozen=True, slots=True)
class Layout:
    """Measures in pixels."""

    name: str
    width: int
    left: int
    """Where time 0 is."""
    right: int
    """Where the last moment is."""
    row: int
    bar: int
    """The bar's middle, from the row's top."""
    label: int
    note: int
    """Baselines of the texts, from the row's top."""
    steps: int
    text: int
    """Room for texts."""


WIDE: Final = Layout("wide", 1000, 364, 910, 44, 22, 20, 36, 7, 350)
NARROW: Final = Layout("narrow", 380, 6, 318, 66, 52, 17, 35, 4, 368)


class Segment(NamedTuple):
    """A piece of a bar."""

    x: float
    width: float
    kind: str
    """`dns`, `tcp`, `tls`; of flights `step`, `away`, `call` too."""


@dataclass(frozen=True, slots=True)
class Row:
    """A query or an attempt."""

    top: int
    kind: str
    label: str
    note: str
    full: str
    """Everything, for a tooltip and for who can't see."""
    outcome: str
    """`good`, `bad`, `dropped`, `quiet`: how it is coloured."""
    winner: bool
    segments: tuple[Segment, ...]
    mark: str
    mark_x: float
    duration: str
    duration_x: float
    anchor: str


@dataclass(frozen=True, slots=True)
class Waterfall:
    """A chart."""

    layout: Layout
    height: int
    ticks: tuple[tuple[float, str], ...]
    rows: tuple[Row, ...]
    connected_x: float | None
    title: str
    description: str


class Entry(NamedTuple):
    """What becomes a row. Times are milliseconds from the chart's start; None: it never came to that."""

    kind: str
    label: str
    note: str
    started: float | None
    turned: float | None
    """Where the bar's second piece (`tls`) begins."""
    ended: float | None
    outcome: str
    """As in a trace; also `good`, `bad`, `quiet`."""
    winner: bool
    bar: str


class Axis(NamedTuple):
    """Where moments are. `total` is the last one's milliseconds."""

    place: Callable[[float], float]
    """Milliseconds to pixels."""
    total: float
    ticks: tuple[tuple[float, str], ...]


def linear(total: float, layout: Layout) -> Axis:
    """From 0 to `total` milliseconds."""
    total = max(total, 0.001)
    scale = (layout.right - layout.left) / total
    return Axis(lambda ms: layout.left + ms * scale, total, labels(total, layout.left, scale, layout.steps))


def labels(total: float, left: float, scale: float, steps: int) -> tuple[tuple[float, str], ...]:
    """Ticks at round times, `scale` pixels a millisecond."""
    name, factor = unit(total)
    marks = ticks(total, steps)
    return tuple(
        (left + tick * scale, f"{tick / factor:g}" + (f" {name}" if tick == marks[-1] else "")) for tick in marks
    )


def connection_entries(trace: ConnectTrace, offset: float = 0.0) -> list[Entry]:
    """Its queries and attempts; the trace begins `offset` milliseconds after the chart."""
    entries = [
        *(_query(query, trace) for query in trace.dns),
        *(_attempt(attempt, trace) for attempt in trace.attempts),
    ]
    return [_later(entry, offset) for entry in entries] if offset else entries


def waterfall(trace: ConnectTrace, layout: Layout) -> Waterfall:
    """The chart of a trace."""
    end = relative(trace.winner.ended, trace) if trace.winner is not None else None
    title, summary = f"Waterfall of the connection to {trace.target}", trace.summary
    return draw(connection_entries(trace), layout, linear(trace.elapsed_ms, layout), title, summary, end)


def draw(
    entries: Sequence[Entry], layout: Layout, axis: Axis, title: str, summary: str, connected: float | None = None
) -> Waterfall:
    """A chart of entries; `connected` is a moment to mark."""
    rows = tuple(_row(entry, number, axis, layout) for number, entry in enumerate(entries))
    return Waterfall(
        layout=layout,
        height=_HEAD + layout.row * len(rows) + 8,
        ticks=axis.ticks,
        rows=rows,
        connected_x=None if connected is None else round(axis.place(connected), 1),
        title=title,
        description=f"{summary} " + " ".join(f"{row.full}." for row in rows),
    )


def _later(entry: Entry, offset: float) -> Entry:
    times = (None if each is None else each + offset for each in (entry.started, entry.turned, entry.ended))
    started, turned, ended = times
    return entry._replace(started=started, turned=turned, ended=ended)


def relative(moment: float | None, trace: ConnectTrace) -> float | None:
    """Milliseconds from the start."""
    return None if moment is None else max(0.0, (moment - trace.started) * 1000)


def duration(value: float) -> str:
    """For people."""
    if value < 9.95:
        return f"{value:.1f} ms"
    return f"{value:.0f} ms" if value < 1000 else f"{value / 1000:.2f} s"


def _query(query: DnsQuery, trace: ConnectTrace) -> Entry:
    started, ended = relative(query.started, trace), relative(query.ended, trace)
    outcome = query_outcome(query)
    return Entry(query.type, query_label(query, trace), query_note(query), started, None, ended, outcome, False, "dns")


def _attempt(attempt: Attempt, trace: ConnectTrace) -> Entry:
    return Entry(
        FAMILY_NAMES[attempt.family],
        attempt_label(attempt, trace),
        attempt_note(attempt),
        relative(attempt.started, trace),
        relative(attempt.connected, trace) if attempt.stage == "tls" else None,
        relative(attempt.ended, trace),
        attempt.outcome,
        attempt.outcome == "won",
        "tcp",
    )


def _row(entry: Entry, number: int, axis: Axis, layout: Layout) -> Row:
    kind_width = _LETTER * (len(entry.kind) + 1)
    label = _fit(entry.label, layout.text - kind_width - (0 if layout is WIDE else 60), _LETTER, _TAIL)
    note = _fit(entry.note, layout.text, _SMALL_LETTER)
    spent = (
        "" if entry.started is None or entry.ended in (None, entry.started) else duration(entry.ended - entry.started)
    )
    end = axis.total if entry.ended is None else entry.ended
    segments = _segments(entry, axis.place, end)
    if entry.bar == "step" and entry.started == entry.ended:
        spent = ""  # a moment
    last = segments[-1].x + segments[-1].width if segments else float(layout.left)
    full = ", ".join(filter(None, (f"{entry.kind} {entry.label}", entry.note, spent)))
    mark = _MARKS.get(entry.outcome, "")
    beyond = last + 22 + len(spent) * _LETTER > layout.width
    return Row(
        top=_HEAD + layout.row * number,
        kind=entry.kind,
        label=label,
        note=note,
        full=full,
        outcome=_class(entry.outcome),
        winner=entry.winner,
        segments=segments,
        mark=mark,
        mark_x=round(last + 4, 1),
        duration=spent,
        duration_x=round(segments[0].x - 6 if beyond and segments else last + (18 if mark else 6), 1),
        anchor="end" if beyond else "start",
    )


def _segments(entry: Entry, place: Callable[[float], float], end: float) -> tuple[Segment, ...]:
    if entry.started is None:
        return ()
    begin = place(entry.started)
    width = max(place(end) - begin, _MIN_BAR)
    if entry.turned is None:
        return (Segment(round(begin, 1), round(width, 1), entry.bar),)
    first = min(max(place(entry.turned) - begin, _MIN_BAR / 2), width)
    return (
        Segment(round(begin, 1), round(first, 1), entry.bar),
        Segment(round(begin + first, 1), round(max(width - first, _MIN_BAR / 2), 1), "tls"),
    )


def _class(outcome: str) -> str:
    if outcome in ("won", "answered", "good"):
        return "good"
    return (
        "bad"
        if outcome in ("failed", "timeout", "nxdomain", "bad")
        else "dropped"
        if outcome == "cancelled"
        else "quiet"
    )


def _fit(text: str, room: float, letter: float, tail: int = 0) -> str:
    """As much of a text as fits; `tail` letters of its end are kept, by which addresses differ."""
    letters = max(int(room / letter), tail + 2)
    if len(text) <= letters:
        return text
    return text[: letters - tail - 1] + "…" + text[len(text) - tail :]


def charts(trace: ConnectTrace) -> Sequence[Waterfall]:
    """Both layouts."""
    return [waterfall(trace, WIDE), waterfall(trace, NARROW)]
