"""A connection's trace drawn for a terminal: one row a query and an attempt, on a common scale of time.

A bar begins where something began and ends with how it ended: an answer, a connection, a failure, or dropped because
another was faster. TCP is the thin part of an attempt's bar, TLS the thick one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from rich.text import Text

from ostiary.cli.terminal import NARROW, Glyphs, Screen
from ostiary.core.mends import mends, split
from ostiary.core.notes import FAMILY_NAMES, attempt_label, attempt_note, query_label, query_note, query_outcome
from ostiary.core.scale import ticks, unit
from ostiary.core.series import phases
from ostiary.core.trace import Attempt, ConnectTrace, DnsQuery

_GOOD: Final = frozenset(("won", "answered"))
_BAD: Final = frozenset(("failed", "timeout", "nxdomain"))
_TIME_WIDTH: Final = 10
_NOTE_WIDTH: Final = 34
_MAX_LABEL: Final = 39
_TAIL: Final = 14
_MIN_BAR: Final = 24
_MAX_BAR: Final = 64


@dataclass(frozen=True, slots=True)
class _Row:
    kind: str
    what: str
    label: str
    started: float | None
    turned: float | None
    """When TLS began."""
    ended: float | None
    outcome: str
    note: str


def draw(trace: ConnectTrace, screen: Screen) -> None:
    """Print the timeline, the TLS session, the sentence and the next step."""
    rows = [*(_query(query, trace) for query in trace.dns), *(_attempt(attempt, trace) for attempt in trace.attempts)]
    label = min(_MAX_LABEL, max((len(screen.clean(row.label)) for row in rows), default=0))
    narrow = screen.folds and screen.width < NARROW
    prefix = 11 + label
    spare = screen.width - (0 if narrow else prefix + _TIME_WIDTH + 2)
    bar = max(min(spare - (2 if narrow else _NOTE_WIDTH), _MAX_BAR), _MIN_BAR if not narrow else 10)
    total = max(trace.elapsed_ms, 0.001)
    if rows:
        screen.print(_head(trace, screen, total, bar, 2 if narrow else prefix, narrow))
    for row in rows:
        _draw_row(row, screen, total, bar, label, narrow)
    _draw_tls(trace, screen)
    _draw_end(trace, screen)


def _head(trace: ConnectTrace, screen: Screen, total: float, bar: int, prefix: int, narrow: bool) -> Text:
    """The target and the scale."""
    target = screen.clean(trace.target)
    if narrow:
        screen.print(Text(target, "bold"))
        line = Text(" " * prefix)
    else:
        if len(target) > prefix - 1:
            screen.print(Text(target, "bold"))
            target = ""
        line = Text().append(f"{target:<{prefix}}", "bold")
    name, factor = unit(total)
    room = max(min(bar + 12, screen.width - prefix), bar)
    marks = [" "] * room
    positions = [(int(tick / total * bar), f"{tick / factor:g}") for tick in ticks(total, max(2, bar // 9))]
    for number, (at, text) in enumerate(positions):
        text = f"{text} {name}" if number == len(positions) - 1 else text
        at = min(at, room - len(text))
        marks[at : at + len(text)] = text
    return line.append("".join(marks).rstrip(), "dim")


def _draw_row(row: _Row, screen: Screen, total: float, bar: int, label: int, narrow: bool) -> None:
    style = _style(row.outcome)
    line = Text().append(f"{row.kind} ", "dim")
    line.append(f"{row.what:<5} ")
    subject = screen.clean(row.label)
    if not narrow and len(subject) > label:
        subject = f"{subject[: label - _TAIL - 1]}{screen.glyphs.gap}{subject[-_TAIL:]}"
    line.append(f"{subject:<{label + 1}}" if not narrow else subject)
    drawn = _bar(row, total, bar, screen.glyphs)
    note = screen.clean(row.note)
    if narrow:
        line.append(f"  {_took(row).strip()}")
        screen.print(line)
        if row.started is not None:
            screen.print(Text("  ").append(drawn, style))
    else:
        line.append(drawn, style).append(f" {_took(row):>{_TIME_WIDTH}}")
    room = screen.width - len(line.plain) - 2
    if note and not narrow and (not screen.folds or len(note) <= room):
        screen.print(line.append("  ").append(note, style))
        return
    if not narrow:
        screen.print(line)
    if note:
        screen.words(note, style, indent=2 if narrow else 10)


def _draw_tls(trace: ConnectTrace, screen: Screen) -> None:
    tls = trace.tls
    if tls is None:
        return
    until = f"until {tls.not_after[:10]}" if tls.not_after else ""
    parts = [tls.version, f"SNI {tls.sni or 'none'}", f"ALPN {tls.alpn or 'none'}", tls.peer, until]
    verified = "verified" if tls.verified else "NOT VERIFIED"
    screen.words(screen.glyphs.dot.join([*filter(None, parts), verified]), "dim" if tls.verified else "red", indent=10)


def _draw_end(trace: ConnectTrace, screen: Screen) -> None:
    times = phases(trace)
    if times is not None:
        parts = [
            f"{name} {value:.1f}"
            for name, value in (("DNS", times.dns), ("TCP", times.tcp), ("TLS", times.tls))
            if value is not None
        ]
        if times.lost >= 1.0:
            parts.append(f"waiting for others {times.lost:.1f}")
        line = f"{times.total:.1f} ms: " + screen.glyphs.dot.join(parts)
        screen.words(line, "dim", indent=10)
    sentence, _ = split(trace.summary)
    mark = screen.glyphs.good if trace.ok else screen.glyphs.bad
    screen.words(f"{mark} {sentence}", "bold green" if trace.ok else "bold red")
    for mend in mends(trace):
        screen.words(f"{screen.glyphs.arrow} Mend: {mend}.", "bold")


def _query(query: DnsQuery, trace: ConnectTrace) -> _Row:
    started, ended = _relative(query.started, trace), _relative(query.ended, trace)
    label, note = query_label(query, trace), query_note(query)
    return _Row("DNS", query.type, label, started, None, ended, query_outcome(query), note)


def _attempt(attempt: Attempt, trace: ConnectTrace) -> _Row:
    return _Row(
        "TLS" if attempt.stage == "tls" else "TCP",
        FAMILY_NAMES[attempt.family],
        attempt_label(attempt, trace),
        _relative(attempt.started, trace),
        _relative(attempt.connected, trace) if attempt.stage == "tls" else None,
        _relative(attempt.ended, trace),
        attempt.outcome,
        attempt_note(attempt),
    )


def _bar(row: _Row, total: float, width: int, glyphs: Glyphs) -> str:
    if row.started is None:
        return " " * width
    start = min(int(row.started / total * width), width - 1)
    end = width - 1 if row.ended is None else min(max(int(row.ended / total * width), start), width - 1)
    cells = [" "] * width
    cells[start] = glyphs.start
    turn = None if row.turned is None else int(row.turned / total * width)
    for cell in range(start + 1, end):
        cells[cell] = glyphs.light if turn is None or cell < turn else glyphs.turn if cell == turn else glyphs.heavy
    cells[end] = _end_glyph(row.outcome, glyphs)
    return "".join(cells)


def _end_glyph(outcome: str, glyphs: Glyphs) -> str:
    return {
        "won": glyphs.good,
        "answered": glyphs.point,
        "empty": glyphs.nothing,
        "cancelled": glyphs.dropped,
        "pending": glyphs.open,
        "not_started": glyphs.open,
    }.get(outcome, glyphs.bad)


def _took(row: _Row) -> str:
    if row.started is None or row.ended is None:
        return ""
    return milliseconds(row.ended - row.started)


def milliseconds(value: float) -> str:
    """A duration with its unit, four digits or so."""
    return f"{value:.1f} ms" if value < 1000 else f"{value / 1000:.2f} s"


def _style(outcome: str) -> str:
    if outcome in _GOOD:
        return "green"
    return "red" if outcome in _BAD else "yellow" if outcome in ("cancelled", "pending") else "dim"


def _relative(moment: float | None, trace: ConnectTrace) -> float | None:
    return None if moment is None else max(0.0, (moment - trace.started) * 1000)
