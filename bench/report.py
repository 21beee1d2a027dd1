"""Samples -> one table for people and one document for machines."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

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


def table(workloads: Sequence[Workload], peers: Sequence[str], samples: Samples) -> str:
    """Markdown: a row a workload and figure, a column a peer, each with its ratio to Envoy."""
    lines = [
        "| work | unit | " + " | ".join(peers) + " |",
        "|---|---|" + "---:|" * len(peers),
    ]
    for workload in workloads:
        for figure, unit in rows(workload):
            cells = []
            base = median(samples[workload.name].get(BASE, ()), figure)
            for peer in peers:
                value = median(samples[workload.name].get(peer, ()), figure)
                ratio = f" ({value / base:.2f}×)" if value is not None and base and peer != BASE else ""
                cells.append(number(value) + ratio)
            lines.append(f"| {workload.title} | {unit} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def rows(workload: Workload) -> tuple[tuple[str, str], ...]:
    """The figures of a workload that the table shows, with their units."""
    if workload.name == "latency":
        return (("p50_ms", "ms p50"), ("p99_ms", "ms p99"))
    if workload.name == "start":
        return (
            ("listening_ms", "ms to listening"),
            ("times_python", "× `python -c pass`"),
            ("answered_ms", "ms to answer"),
            ("rss_mb", "MB"),
        )
    first = (workload.figure, workload.unit)
    if workload.name in {"get-same", "get-varying", "websocket"}:
        return (first, ("cpu_us", "CPU µs each"), ("busy", "cores of the proxy"))
    if workload.name.startswith(("down", "up")):
        return (first, ("busy", "cores of the proxy"))
    return (first,)
