"""`/stats` and `/stats/prometheus`: counters and gauges, summed over all workers."""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

from ostiary.admin.page import Page, Parameter, Part, Reply, Request, json_reply
from ostiary.app.lifecycle import Doorkeeper

_USED_ONLY: Final = Parameter("usedonly", "Only include stats that have been written by system since restart")
_FILTER: Final = Parameter("filter", "Regular expression (Google re2) for filtering stats")


def _collect(worker: Doorkeeper, _request: Request) -> Part:
    if worker.runtime is None:
        return {"values": {}, "gauges": []}
    stats = worker.runtime.stats
    values = stats.values()
    return {"values": values, "gauges": [name for name in values if stats.is_gauge(name)]}


def _merged(parts: list[Part], request: Request) -> dict[str, int]:
    """Raises re.error for a bad pattern."""
    wanted = re.compile(request.parameter("filter") or "")
    used_only = request.parameter("usedonly") is not None
    total: Counter[str] = Counter()
    for part in parts:
        for name, value in part["values"].items():
            total[name] += value
    return {name: value for name, value in sorted(total.items()) if wanted.search(name) and (value or not used_only)}


def _render(parts: list[Part], request: Request) -> Reply:
    if request.parameter("format") == "prometheus":
        return _prometheus(parts, request)
    try:
        values = _merged(parts, request)
    except re.error:
        return Reply("Invalid re2 regex", 400)
    if request.parameter("format") == "json":
        return json_reply({"stats": [{"name": name, "value": value} for name, value in values.items()]})
    return Reply("".join(f"{name}: {value}\n" for name, value in values.items()))


def _prometheus(parts: list[Part], request: Request) -> Reply:
    """Prometheus' text format: `envoy_` before the name, what it can't hold as `_`."""
    gauges = {name for part in parts for name in part["gauges"]}
    try:
        values = _merged(parts, request)
    except re.error:
        return Reply("Invalid re2 regex", 400)
    lines = []
    for name, value in values.items():
        metric = "envoy_" + re.sub(r"[^a-zA-Z0-9_]", "_", name)
        lines.append(f"# TYPE {metric} {'gauge' if name in gauges else 'counter'}\n{metric} {value}\n")
    return Reply("".join(lines))


PAGES: Final = (
    Page(
        path="/stats",
        help="print server stats",
        collect=_collect,
        render=_render,
        parameters=(_USED_ONLY, _FILTER, Parameter("format", "Format to use", ("text", "json", "prometheus"))),
    ),
    Page(
        path="/stats/prometheus",
        help="print server stats in prometheus format",
        collect=_collect,
        render=_prometheus,
        parameters=(_USED_ONLY, _FILTER),
    ),
)
