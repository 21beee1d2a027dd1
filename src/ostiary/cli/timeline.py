"""A connection's trace drawn for a terminal: one line a query and an attempt, on a common scale of time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rich.console import Console
from rich.text import Text

from ostiary.core.trace import Attempt, ConnectTrace, DnsQuery

_BAR: Final = 32
_GOOD: Final = {"won", "answered"}
_BAD: Final = {"failed", "timeout", "nxdomain"}
_FAMILIES: Final = {"v4": "IPv4", "v6": "IPv6", "unix": "unix"}


@dataclass(frozen=True, slots=True)
class _Row:
    kind: str
    subject: str
    started: float | None
    ended: float | None
    outcome: str
    note: str


def draw(trace: ConnectTrace, console: Console) -> None:
    """Print the timeline and the summary."""
    rows = [*(_query(query, trace) for query in trace.dns), *(_attempt(attempt, trace) for attempt in trace.attempts)]
    total = max(trace.elapsed_ms, 0.001)
    subject_width = max((len(row.subject) for row in rows), default=0)
    for row in rows:
        line = Text()
        line.append(f"{row.kind:<5}", "bold")
        line.append(f"{row.subject:<{subject_width}}  ")
        line.append(_bar(row, total), _style(row.outcome))
        line.append(f"  {_span(row):>17}  ")
        line.append(row.outcome, _style(row.outcome))
        if row.note:
            line.append(f"  {row.note}")
        console.print(line, soft_wrap=True)
    if trace.tls is not None:
        tls = trace.tls
        parts = [tls.version, f"SNI {tls.sni or 'none'}", f"ALPN {tls.alpn or 'none'}", tls.peer]
        line = Text(f"{'tls':<5}", "bold")
        line.append(", ".join(part for part in parts if part), "")
        line.append(f", until {tls.not_after}" if tls.not_after else "")
        line.append("  verified" if tls.verified else "  NOT VERIFIED", "green" if tls.verified else "bold red")
        console.print(line, soft_wrap=True)
    console.print(Text(trace.summary, "green" if trace.ok else "red"), soft_wrap=True)


def draw_families(traces: Sequence[ConnectTrace], console: Console) -> None:
    """Print one line a lookup family: what a cluster with it would get from here."""
    for trace in traces:
        line = Text()
        line.append(f"{trace.dns_lookup_family:<13}", "bold")
        asked = "+".join(dict.fromkeys(query.type for query in trace.dns)) or "-"
        line.append(f"asks {asked:<7}  ")
        if trace.winner is not None:
            line.append("connects", "green")
            line.append(f"  {_place(trace.winner)} in {trace.elapsed_ms:.1f} ms")
        else:
            line.append("FAILS", "bold red")
            line.append(f"     {trace.error}")
        console.print(line, soft_wrap=True)
    failed = next((trace for trace in traces if not trace.ok), None)
    if failed is not None:
        console.print(Text(f"{failed.dns_lookup_family}: {failed.summary}", "red"), soft_wrap=True)


def _query(query: DnsQuery, trace: ConnectTrace) -> _Row:
    note = ", ".join(query.answers) or (query.rcode if query.rcode not in (None, "NOERROR") else "") or query.message
    return _Row(
        "dns",
        f"{query.type:<4} {query.name} @{query.server}",
        _relative(query.started, trace),
        _relative(query.ended, trace),
        query.outcome,
        note,
    )


def _attempt(attempt: Attempt, trace: ConnectTrace) -> _Row:
    note = ""
    if attempt.outcome in ("failed", "timeout", "not_started"):
        note = f"{attempt.errno} {attempt.message}" if attempt.errno else attempt.message
    return _Row(
        attempt.stage if attempt.stage != "route" else "tcp",
        f"{_FAMILIES[attempt.family]} {_place(attempt)}",
        _relative(attempt.started, trace),
        _relative(attempt.ended, trace),
        attempt.outcome.replace("_", " "),
        note,
    )


def _bar(row: _Row, total: float) -> str:
    if row.started is None:
        return " " * _BAR
    ended = total if row.ended is None else row.ended
    start = min(int(row.started / total * _BAR), _BAR - 1)
    end = max(min(round(ended / total * _BAR), _BAR), start + 1)
    return " " * start + "━" * (end - start) + " " * (_BAR - end)


def _span(row: _Row) -> str:
    if row.started is None:
        return ""
    return f"{row.started:.1f} → {'…' if row.ended is None else f'{row.ended:.1f}'} ms"


def _style(outcome: str) -> str:
    if outcome in _GOOD:
        return "green"
    return "red" if outcome in _BAD else "dim"


def _place(attempt: Attempt) -> str:
    if attempt.family == "unix":
        return attempt.address
    return f"[{attempt.address}]:{attempt.port}" if attempt.family == "v6" else f"{attempt.address}:{attempt.port}"


def _relative(moment: float | None, trace: ConnectTrace) -> float | None:
    return None if moment is None else max(0.0, (moment - trace.started) * 1000)
