"""Many connections as columns, one beside the other in their order: what each one's time went into."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from ostiary.core.scale import ticks, unit
from ostiary.core.series import phases
from ostiary.core.trace import ConnectTrace
from ostiary.report.waterfall import duration

_WIDTHS: Final = {"wide": 1000, "narrow": 380}
_HEIGHT: Final = 190
_LEFT: Final = 56
_TOP: Final = 10
_BOTTOM: Final = 182
_WIDEST: Final = 28.0
_GAP: Final = 0.2


class Piece(NamedTuple):
    """A part of a column."""

    kind: str
    y: float
    height: float


class Column(NamedTuple):
    """One connection."""

    x: float
    width: float
    title: str
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Columns:
    """A chart."""

    name: str
    """`wide` or `narrow`."""
    width: int
    height: int
    left: int
    ticks: tuple[tuple[float, str], ...]
    columns: tuple[Column, ...]


def columns(traces: Sequence[ConnectTrace], layout: str) -> Columns:
    """The chart of a series, `wide` or `narrow`."""
    whole = _WIDTHS[layout]
    longest = max(*(trace.elapsed_ms for trace in traces), 0.001)
    scale = (_BOTTOM - _TOP) / longest
    step = min((whole - _LEFT) / len(traces), _WIDEST)
    name, factor = unit(longest)
    marks = tuple((round(_BOTTOM - tick * scale, 1), f"{tick / factor:g} {name}") for tick in ticks(longest, 4))
    found = tuple(
        Column(
            x=round(_LEFT + number * step, 2),
            width=round(step * (1 - _GAP), 2),
            title=f"{number + 1}: {_words(trace)}",
            pieces=_pieces(trace, scale),
        )
        for number, trace in enumerate(traces)
    )
    return Columns(layout, whole, _HEIGHT, _LEFT, marks, found)


def _words(trace: ConnectTrace) -> str:
    if trace.winner is None:
        return f"{trace.error} after {duration(trace.elapsed_ms)}"
    return f"{trace.winner.address} in {duration(trace.elapsed_ms)}"


def _pieces(trace: ConnectTrace, scale: float) -> tuple[Piece, ...]:
    """From the bottom: DNS, waiting, TCP, TLS."""
    times = phases(trace)
    parts = [("failed", trace.elapsed_ms)]
    if times is not None:
        parts = [("dns", times.dns or 0.0), ("lost", times.lost), ("tcp", times.tcp), ("tls", times.tls or 0.0)]
    pieces = []
    base = float(_BOTTOM)
    for kind, value in parts:
        height = value * scale
        base -= height
        if height > 0:
            pieces.append(Piece(kind, round(base, 2), round(max(height, 0.5), 2)))
    return tuple(pieces)
