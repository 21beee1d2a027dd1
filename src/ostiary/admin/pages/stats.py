"""`/stats` and `/stats/prometheus`: counters, gauges and histograms of all workers together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ostiary.admin import process_stats
from ostiary.admin.histogram_forms import FORMS, document, line
from ostiary.admin.page import JSON, Page, Parameter, Part, Reply, Request, Slices
from ostiary.admin.prometheus import Names, exposition
from ostiary.app.lifecycle import Doorkeeper
from ostiary.app.metrics import Bins
from ostiary.app.upstreams import stat_name
from ostiary.core.histogram import added
from ostiary.core.regex import BadRegex, Regex

_OF_THE_PROCESS: Final = ("server.", "listener_manager.", "cluster_manager.")
_SUMMED: Final = ("server.total_connections", "server.memory_")
_ONCE: Final = frozenset(
    ("membership_total", "membership_healthy", "membership_excluded", "membership_degraded", "membership_change",
     "healthy", "warming_state", "ejections_active", "cx_open", "cx_pool_open", "rq_open", "rq_pending_open",
     "rq_retry_open")
)  # fmt: skip
"""Each worker has its own view of the same: what counts is the largest number, not their sum."""
_TYPES: Final = ("All", "Counters", "Histograms", "Gauges", "TextReadouts")
_FORMATS: Final = ("html", "active-html", "json", "prometheus", "text")
_SHOWN: Final = ("cumulative", "disjoint", "detailed", "summary")
_USED_ONLY: Final = Parameter(
    "usedonly", "Only include stats that have been written by system since restart", flag=True
)
_FILTER: Final = Parameter("filter", "Regular expression (Google re2) for filtering stats")


def _collect(worker: Doorkeeper, _request: Request) -> Slices:
    gauges = process_stats.gauges(worker)
    runtime = worker.runtime
    if runtime is None:
        return {"counters": {}, "gauges": gauges, "histograms": {}, "clusters": [], "prefixes": [], "listeners": []}
    stats = runtime.stats
    counters, more_gauges = yield from stats.gather()
    return {
        "counters": counters | process_stats.counters(worker, counters),
        "gauges": gauges | more_gauges,
        "histograms": stats.histograms() | process_stats.histograms(worker),
        "clusters": [stat_name(each.cluster) for each in runtime.pools()],
        "prefixes": [server.listener.http.stat_prefix for server in worker.servers],
        "listeners": [server.addresses[0].replace(":", "_") for server in worker.servers],
    }


@dataclass(frozen=True, slots=True)
class _Stats:
    counters: dict[str, int]
    gauges: dict[str, int]
    histograms: dict[str, Bins]
    """Bins and sum."""


def _merged(parts: list[Part], request: Request) -> _Stats | Reply:
    """What was asked for, sorted by name; the answer to a bad `filter`."""
    try:
        pattern = Regex(request.parameter("filter") or "")
    except ValueError as error:
        return Reply(f"Invalid re2 regex: {error.reason if isinstance(error, BadRegex) else error}", 400)
    used_only = request.parameter("usedonly") is not None
    kind = (request.parameter("type") or "All").lower()

    def wanted(what: str, names: Iterable[str]) -> list[str]:
        return [name for name in sorted(set(names)) if pattern.search(name)] if kind in ("all", what) else []

    def together(what: str) -> dict[str, int]:
        names = wanted(what, (name for part in parts for name in part[what]))
        return {name: _combine(name)(part[what].get(name, 0) for part in parts) for name in names}

    histograms = {}
    for name in wanted("histograms", (name for part in parts for name in part["histograms"])):
        bins, total = added(part["histograms"][name] for part in parts if name in part["histograms"])
        if any(bins) or not used_only:
            histograms[name] = bins, total
    counters = {name: value for name, value in together("counters").items() if value or not used_only}
    return _Stats(counters, together("gauges"), histograms)


def _combine(name: str) -> Callable[[Iterable[int]], int]:
    if name.startswith(_SUMMED):
        return sum
    return max if name.startswith(_OF_THE_PROCESS) or name.rpartition(".")[2] in _ONCE else sum


def _render(parts: list[Part], request: Request) -> Reply:
    if (request.parameter("type") or "All").lower() not in map(str.lower, _TYPES):
        return Reply("invalid &type= param", 400)
    form = request.parameter("format") or "text"
    if form == "prometheus":
        return _prometheus(parts, request)
    if form not in _FORMATS:
        return Reply(f"usage: /stats?format=({'|'.join(_FORMATS)})\n\n", 400)
    if form not in ("text", "json"):
        return Reply(f"format={form} is not implemented in Ostiary: use text, json or prometheus\n", 400)
    buckets = request.parameter("histogram_buckets") or "summary"
    if buckets not in FORMS:
        return Reply(f"usage: /stats?histogram_buckets=({'|'.join(_SHOWN)})\n", 400)
    stats = _merged(parts, request)
    if isinstance(stats, Reply):
        return stats
    if form == "json":
        return _json(stats, buckets)
    values = sorted((stats.counters | stats.gauges).items())
    lines = [f"{name}: {value}\n" for name, value in values]
    lines += [line(name, bins, buckets) for name, (bins, _) in stats.histograms.items()]
    return Reply("".join(lines))


def _json(stats: _Stats, form: str) -> Reply:
    import json

    found: list[Mapping[str, Any]] = [
        {"name": name, "value": value} for name, value in sorted((stats.counters | stats.gauges).items())
    ]
    if stats.histograms:
        found.append({"histograms": document({name: bins for name, (bins, _) in stats.histograms.items()}, form)})
    return Reply(json.dumps({"stats": found}, separators=(",", ":")), content_type=JSON)


def _prometheus(parts: list[Part], request: Request) -> Reply:
    buckets = request.parameter("histogram_buckets") or "cumulative"
    if buckets not in ("summary", "cumulative"):
        return Reply("unsupported prometheus histogram bucket mode", 400)
    stats = _merged(parts, request)
    if isinstance(stats, Reply):
        return stats
    known = ([name for part in parts for name in part[kind]] for kind in ("clusters", "prefixes", "listeners"))
    text = exposition(Names(*known), stats.counters, stats.gauges, stats.histograms, summaries=buckets == "summary")
    return Reply(text)


PAGES: Final = (
    Page(
        path="/stats",
        help="print server stats",
        collect=_collect,
        render=_render,
        large=True,
        parameters=(
            _USED_ONLY,
            _FILTER,
            Parameter("format", "Format to use", ("text", "json", "prometheus")),
            Parameter("type", "Stat types to include.", _TYPES),
            Parameter("histogram_buckets", "Histogram bucket display mode", _SHOWN),
        ),
    ),
    Page(
        path="/stats/prometheus",
        help="print server stats in prometheus format",
        collect=_collect,
        render=_prometheus,
        large=True,
        parameters=(
            _USED_ONLY,
            _FILTER,
            Parameter("histogram_buckets", "Histogram bucket display mode", ("cumulative", "summary")),
        ),
    ),
)
