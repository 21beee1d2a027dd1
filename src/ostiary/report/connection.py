"""The reports of `ostiary connect --html`: one connection, many of them, or the lookup families side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from ostiary._version import __version__
from ostiary.core.lookup_families import Forecast, Verdict, has_route, took_ms
from ostiary.core.mends import mends, split
from ostiary.core.notes import FAMILY_NAMES, attempt_label, attempt_note, query_note, query_outcome
from ostiary.core.places import Comparison, footnotes
from ostiary.core.series import PHASES, Spread, describe, phases
from ostiary.core.trace import Attempt, ConnectTrace, DnsQuery
from ostiary.pages import render
from ostiary.report.columns import columns
from ostiary.report.waterfall import charts, duration, relative

_TONES: Final = {"won": "good", "answered": "good", "failed": "bad", "timeout": "bad", "nxdomain": "bad"}
_FATES: Final = {"works": "good", "some requests fail": "warn", "fails": "bad"}
_PHASE_NAMES: Final = {"total": "Total", "dns": "DNS", "tcp": "TCP", "tls": "TLS", "lost": "Waiting for others"}
_WAITED: Final = 1.0
"""Milliseconds of waiting for others that are worth a word."""


def timeline_page(trace: ConnectTrace, taken: datetime) -> bytes:
    """One connection."""
    return _page(
        "timeline",
        trace.target,
        taken,
        tone="good" if trace.ok else "bad",
        heading=_heading(trace),
        one=shown_connection(trace),
    )


def series_page(traces: Sequence[ConnectTrace], taken: datetime) -> bytes:
    """Many connections to one target."""
    found = describe(traces)
    failed = [trace for trace in traces if not trace.ok]
    if failed:
        chosen = [(f"The first that failed, number {traces.index(failed[0]) + 1}", failed[0])]
    else:
        chosen = []
    good = sorted((trace for trace in traces if trace.ok), key=lambda trace: trace.elapsed_ms)
    if good:
        chosen.append((f"The slowest, number {traces.index(good[-1]) + 1}", good[-1]))
    if len(good) > 1:
        middle = good[(len(good) - 1) // 2]
        chosen.append((f"One in the middle, number {traces.index(middle) + 1}", middle))
    total = found.spreads.get("total")
    parts = []
    if total is not None:
        parts.append(
            f"Half of those that connected took {duration(total.p50)} or less, all {duration(total.maximum)} or less"
        )
    if found.failures:
        parts.append(f"Most failures: {found.failures[0][0].removesuffix('.')}")
    return _page(
        "series",
        traces[0].target,
        taken,
        tone="good" if not failed else "bad",
        heading=f"{found.connected} of {found.count} connected",
        sentence=f"{'. '.join(parts)}.",
        facts=_spread_facts(total) if total is not None else [],
        columns=[columns(traces, "wide"), columns(traces, "narrow")],
        percentiles=[
            (_PHASE_NAMES[phase], [duration(value) for value in _values(found.spreads[phase])])
            for phase in PHASES
            if phase in found.spreads
        ],
        winners=[
            (address, FAMILY_NAMES[family], count, round(100 * count / found.count, 1))
            for address, family, count in found.winners
        ],
        failures=[(text, count, round(100 * count / found.count, 1)) for text, count in found.failures],
        shown=[{"which": which, **shown_connection(trace)} for which, trace in chosen],
    )


def families_page(found: Comparison, taken: datetime) -> bytes:
    """The five lookup families."""
    advice = found.recommendation
    failing = [verdict.family for verdict in found.verdicts if verdict.logical.fate == "fails"]
    sentence = "Every lookup family connects from here."
    if failing:
        sentence = f"From here Envoy does not connect with {' or '.join(failing)}, even in a LOGICAL_DNS cluster."
    helpless = advice.dns_lookup_family is None
    return _page(
        "families",
        found.target,
        taken,
        tone="bad" if helpless else "good",
        heading="No lookup family helps" if helpless else f"Use {advice.dns_lookup_family} here",
        sentence=sentence,
        reason=advice.reason,
        yaml=advice.yaml,
        warnings=[*footnotes(found), *advice.warnings],
        families=[_family_row(verdict, found) for verdict in found.verdicts],
        probes=[_probe_row(probe) for probe in found.probes],
        shown=[
            {
                "family": family,
                "tone": "good" if trace.ok else "bad",
                "mark": "✓" if trace.ok else "✗",
                **shown_connection(trace),
            }
            for family, trace in found.traces.items()
        ],
    )


def _page(name: str, target: str, taken: datetime, **context: Any) -> bytes:
    when = taken.strftime("%Y-%m-%d %H:%M:%S UTC")
    return render(f"report/{name}", {"target": target, "taken": when, "version": __version__, **context})


def _heading(trace: ConnectTrace) -> str:
    if trace.winner is None:
        return "Interrupted" if trace.error == "interrupted" else "No connection"
    return f"Connected over {FAMILY_NAMES[trace.winner.family]} in {duration(trace.elapsed_ms)}"


def shown_connection(trace: ConnectTrace) -> Mapping[str, Any]:
    """What the templates show of one trace."""
    return {
        "ok": trace.ok,
        "sentence": split(trace.summary)[0],
        "mends": mends(trace),
        "facts": _facts(trace),
        "charts": charts(trace),
        "queries": [_query_row(query, trace) for query in trace.dns],
        "attempts": [_attempt_row(attempt, trace) for attempt in trace.attempts],
        "tls": _tls(trace),
    }


def _facts(trace: ConnectTrace) -> list[tuple[str, str]]:
    times = phases(trace)
    facts = [("Total", duration(trace.elapsed_ms))]
    if times is not None:
        named = (("DNS", times.dns), ("TCP", times.tcp), ("TLS", times.tls))
        facts += [(name, duration(value)) for name, value in named if value is not None]
        if times.lost >= _WAITED:
            facts.append(("Waiting for others", duration(times.lost)))
    if trace.winner is not None:
        facts.append(("Winner", trace.winner.address))
    facts.append(("Lookup family", trace.dns_lookup_family))
    return facts


def _query_row(query: DnsQuery, trace: ConnectTrace) -> Mapping[str, str]:
    return {
        "type": query.type,
        "name": query.name,
        "server": query.server,
        "start": _time(relative(query.started, trace)),
        "took": _difference(query.started, query.ended),
        "outcome": query_outcome(query),
        "tone": _TONES.get(query_outcome(query), "soft"),
        "note": query_note(query),
        "ttl": "" if query.ttl is None else f"{query.ttl} s",
    }


def _attempt_row(attempt: Attempt, trace: ConnectTrace) -> Mapping[str, Any]:
    up = attempt.connected if attempt.stage == "tls" else attempt.ended
    return {
        "family": FAMILY_NAMES[attempt.family],
        "address": attempt_label(attempt, trace),
        "source": attempt.source or "",
        "start": _time(relative(attempt.started, trace)),
        "tcp": _difference(attempt.started, up),
        "tls": _difference(attempt.connected, attempt.ended) if attempt.stage == "tls" else "",
        "stage": attempt.stage,
        "tone": _TONES.get(attempt.outcome, "soft"),
        "note": attempt_note(attempt),
        "won": attempt.outcome == "won",
    }


def _tls(trace: ConnectTrace) -> list[tuple[str, str, str]]:
    tls = trace.tls
    if tls is None:
        return []
    verified = ("yes", "good") if tls.verified else ("NO: --insecure was given", "bad")
    pairs = (
        ("Version", tls.version, ""),
        ("Server name (SNI)", tls.sni or "none", ""),
        ("Protocol (ALPN)", tls.alpn or "none", ""),
        ("Certificate", tls.peer, ""),
        ("Valid until", tls.not_after, ""),
        ("Verified", *verified),
    )
    return [pair for pair in pairs if pair[1]]


def _family_row(verdict: Verdict, found: Comparison) -> Mapping[str, Any]:
    trace = found.traces[verdict.family]
    own = {
        "column": "Ostiary",
        "tone": "good" if trace.ok else "bad",
        "text": f"{FAMILY_NAMES[trace.winner.family]} in {duration(trace.elapsed_ms)}" if trace.winner else "fails",
        "detail": "" if trace.ok else trace.error or "",
    }
    asks = " and ".join(verdict.asked)
    if len(verdict.asked) == 2 and verdict.family != "ALL":
        asks = f"{verdict.asked[0]} (nothing), so {verdict.asked[1]}"
    return {
        "name": verdict.family,
        "chosen": verdict.family == found.recommendation.dns_lookup_family,
        "asks": asks,
        "addresses": ", ".join(verdict.addresses) or "no address",
        "cells": [
            {"column": "LOGICAL_DNS", **_fate(verdict.logical, len(verdict.addresses))},
            {"column": "STRICT_DNS", **_fate(verdict.strict, len(verdict.addresses))},
            own,
        ],
    }


def _fate(forecast: Forecast, hosts: int) -> Mapping[str, str]:
    tone = _FATES[forecast.fate]
    if forecast.winner is not None:
        text = f"{FAMILY_NAMES[forecast.winner.family]} in {duration(forecast.elapsed_ms or 0.0)}"
        return {"tone": tone, "text": text, "detail": ""}
    if forecast.fate == "fails":
        return {"tone": tone, "text": f"503 {forecast.flags}", "detail": forecast.reason}
    return {
        "tone": tone,
        "text": "503 for some requests",
        "detail": f"{len(forecast.dead)} of {hosts} hosts fail: {forecast.reason}",
    }


def _probe_row(probe: Attempt) -> Mapping[str, str]:
    note = attempt_note(probe)
    return {
        "family": FAMILY_NAMES[probe.family],
        "address": probe.address,
        "took": duration(took_ms(probe)),
        "tone": _TONES.get(probe.outcome, "soft"),
        "note": note if has_route(probe) else f"{note} (no route from here)",
    }


def _spread_facts(spread: Spread) -> list[tuple[str, str]]:
    return list(
        zip(("Fastest", "Half within", "90 % within", "99 % within", "Slowest"), _durations(spread), strict=True)
    )


def _durations(spread: Spread) -> list[str]:
    return [duration(value) for value in _values(spread)]


def _values(spread: Spread) -> tuple[float, ...]:
    return (spread.minimum, spread.p50, spread.p90, spread.p99, spread.maximum)


def _time(value: float | None) -> str:
    return "" if value is None else duration(value)


def _difference(started: float | None, ended: float | None) -> str:
    return "" if started is None or ended is None else duration((ended - started) * 1000)
