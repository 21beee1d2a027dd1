"""Samples -> one table for people and one document for machines."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.workloads import Sample, Workload

Samples = Mapping[str, Mapping[str, Sequence[Sample]]]
"""Workload -> peer -> one sample a round."""

BASE = "envoy"


def median(samples: Sequence[Sample], figure: str) -> float | None:
    """The middle of a figure over the rounds, or None if no round worked."""
    values = [s[figure] for s in samples if figure in s]
    return statistics.median(values) if values else None


def number(value: float | None) -> str:
    """Three digits that matter."""
    if value is None:
        return "–"
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    title: str
    figure: str
    unit: str
    relative: bool = True
    """Each figure with its ratio to Envoy's."""
    limit: float | None = None
    """What the figure, itself a ratio, has to stay below."""


def table(workloads: Sequence[Workload], peers: Sequence[str], samples: Samples) -> str:
    """Markdown: a row a workload and figure, a column a peer, each with its ratio to Envoy."""
    lines = [
        "| work | unit | " + " | ".join(peers) + " |",
        "|---|---|" + "---:|" * len(peers),
    ]
    for workload in workloads:
        found = samples[workload.name]
        for row in rows(workload):
            base = median(found.get(BASE, ()), row.figure)
            cells = [cell(row, median(found.get(p, ()), row.figure), None if p == BASE else base) for p in peers]
            lines.append(f"| {row.title} | {row.unit} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def cell(row: Row, value: float | None, base: float | None) -> str:
    """A figure as its row wants it."""
    if value is None:
        return number(value)
    if row.limit is not None:
        return f"{value:.1f}×" + ("" if value <= row.limit else " **(over)**")
    ratio = f" ({value / base:.2f}×)" if row.relative and base else ""
    return number(value) + ratio


def rows(workload: Workload) -> tuple[Row, ...]:
    """The figures of a workload that the table shows, with their units."""
    title = workload.title
    if workload.load:
        return (Row(title, "p50_ms", "ms p50"), Row(title, "p99_ms", "ms p99"))
    if workload.name == "start":
        return (
            Row("start to listening", "listening_ms", "ms"),
            Row("start to listening", "listening_times", "`python -c pass` = 1; limit 25×", limit=25),
            Row(title, "answered_ms", "ms"),
            Row("memory after the start", "rss_mb", "MB"),
            Row("`--version`", "version_ms", "ms", relative=False),
            Row("`--version`", "version_times", "`python -c pass` = 1; limit 4×", limit=4),
            Row("`python -c pass`", "python_ms", "ms", relative=False),
        )
    first = Row(title, workload.figure, workload.unit)
    busy = Row(title, "busy", "cores of the proxy", relative=False)
    if workload.name in {"get-same", "get-varying", "websocket"}:
        return (first, Row(title, "cpu_us", "CPU µs each"), busy)
    if workload.name.startswith(("down", "up")):
        return (first, busy)
    return (first,)
