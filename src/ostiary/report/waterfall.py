"""Where everything of a waterfall goes: a trace becomes rows, bars and ticks, ready to be written as SVG.

Two layouts, because an SVG that shrinks takes its letters along: on a wide page labels stand beside the bars, on a
telephone above them. Nothing depends on colour alone: each bar ends in a sign, and each row says how it ended.
"""

from __future__ import annotations

from collections.abc import Sequence
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
    """`dns`, `tcp`, `tls`."""


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


class _Entry(NamedTuple):
    kind: str
    label: str
    note: str
    started: float | None
    turned: float | None
    ended: float | None
    outcome: str
    winner: bool
    bar: str


def waterfall(trace: ConnectTrace, layout: Layout) -> Waterfall:
    """The chart of a trace."""
    total = max(trace.elapsed_ms, 0.001)
    scale = (layout.right - layout.left) / total
    entries = [
        *(_query(query, trace) for query in trace.dns),
        *(_attempt(attempt, trace) for attempt in trace.attempts),
    ]
    rows = tuple(_row(entry, number, scale, total, layout) for number, entry in enumerate(entries))
    name, factor = unit(total)
    marks = ticks(total, layout.steps)
    labels = tuple(
        (layout.left + tick * scale, f"{tick / factor:g}" + (f" {name}" if tick == marks[-1] else "")) for tick in marks
    )
    end = relative(trace.winner.ended, trace) if trace.winner is not None else None
    return Waterfall(
        layout=layout,
        height=_HEAD + layout.row * len(rows) + 8,
        ticks=labels,
        rows=rows,
        connected_x=None if end is None else round(layout.left + end * scale, 1),
        title=f"Waterfall of the connection to {trace.target}",
        description=f"{trace.summary} " + " ".join(f"{row.full}." for row in rows),
    )


def relative(moment: float | None, trace: ConnectTrace) -> float | None:
    """Milliseconds from the start."""
    return None if moment is None else max(0.0, (moment - trace.started) * 1000)


def duration(value: float) -> str:
    """For people."""
    if value < 9.95:
        return f"{value:.1f} ms"
    return f"{value:.0f} ms" if value < 1000 else f"{value / 1000:.2f} s"


def _query(query: DnsQuery, trace: ConnectTrace) -> _Entry:
    started, ended = relative(query.started, trace), relative(query.ended, trace)
    outcome = query_outcome(query)
    return _Entry(query.type, query_label(query, trace), query_note(query), started, None, ended, outcome, False, "dns")


def _attempt(attempt: Attempt, trace: ConnectTrace) -> _Entry:
    return _Entry(
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


def _row(entry: _Entry, number: int, scale: float, total: float, layout: Layout) -> Row:
    kind_width = _LETTER * (len(entry.kind) + 1)
    label = _fit(entry.label, layout.text - kind_width - (0 if layout is WIDE else 60), _LETTER, _TAIL)
    note = _fit(entry.note, layout.text, _SMALL_LETTER)
    spent = "" if entry.started is None or entry.ended is None else duration(entry.ended - entry.started)
    end = total if entry.ended is None else entry.ended
    segments = _segments(entry, scale, end, layout)
    last = segments[-1].x + segments[-1].width if segments else float(layout.left)
    full = ", ".join(filter(None, (f"{entry.kind} {entry.label}", entry.note, spent)))
    mark = {"won": "✓", "failed": "✗", "timeout": "✗", "nxdomain": "✗"}.get(entry.outcome, "")
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


def _segments(entry: _Entry, scale: float, end: float, layout: Layout) -> tuple[Segment, ...]:
    if entry.started is None:
        return ()
    begin = layout.left + entry.started * scale
    width = max((end - entry.started) * scale, _MIN_BAR)
    if entry.turned is None:
        return (Segment(round(begin, 1), round(width, 1), entry.bar),)
    first = min(max((entry.turned - entry.started) * scale, _MIN_BAR / 2), width)
    return (
        Segment(round(begin, 1), round(first, 1), entry.bar),
        Segment(round(begin + first, 1), round(max(width - first, _MIN_BAR / 2), 1), "tls"),
    )


def _class(outcome: str) -> str:
    if outcome in ("won", "answered"):
        return "good"
    return "bad" if outcome in ("failed", "timeout", "nxdomain") else "dropped" if outcome == "cancelled" else "quiet"


def _fit(text: str, room: float, letter: float, tail: int = 0) -> str:
    """As much of a text as fits; `tail` letters of its end are kept, by which addresses differ."""
    letters = max(int(room / letter), tail + 2)
    if len(text) <= letters:
        return text
    return text[: letters - tail - 1] + "…" + text[len(text) - tail :]


def charts(trace: ConnectTrace) -> Sequence[Waterfall]:
    """Both layouts."""
    return [waterfall(trace, WIDE), waterfall(trace, NARROW)]
