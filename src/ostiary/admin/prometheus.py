"""Statistics as Prometheus reads them, with the names and labels of Envoy's own `/stats/prometheus`.

Envoy takes parts of a name out and makes labels of them (its default tag extractors): a cluster's name, a connection
manager's prefix, a listener's address, a status code. The names that may stand there are known here, so that one with
dots stays whole, where Envoy cuts it at the first one.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from ostiary.core.histogram import BUCKETS, QUANTILES, cumulative, quantile

_CODE: Final = re.compile(r"_rq_([1-5]\d\d)$")
_CLASS: Final = re.compile(r"_rq_([1-5])xx$")
_FORBIDDEN: Final = re.compile(r"[^a-zA-Z0-9_:]")


class Names:
    """Makes metrics of statistics, given the clusters, connection managers and listeners there are."""

    def __init__(self, clusters: Iterable[str], prefixes: Iterable[str], listeners: Iterable[str]) -> None:
        """Their names as statistics have them."""
        self._scopes = [
            ("cluster", "envoy_cluster_name", _longest_first(clusters)),
            ("http", "envoy_http_conn_manager_prefix", _longest_first(prefixes)),
            ("listener", "envoy_listener_address", _longest_first(listeners)),
        ]

    def metric(self, name: str) -> tuple[str, str]:
        """(name, labels)."""
        labels: list[tuple[str, str]] = []
        for pattern, label, rest in (
            (_CODE, "envoy_response_code", "_rq"),
            (_CLASS, "envoy_response_code_class", "_rq_xx"),
        ):
            if (found := pattern.search(name)) is not None:
                labels.append((label, found[1]))
                name = name[: found.start()] + rest
        name = self._without_scope(name, labels)
        written = ",".join(f'{label}="{_escaped(value)}"' for label, value in labels)
        return "envoy_" + _FORBIDDEN.sub("_", name), written

    def _without_scope(self, name: str, labels: list[tuple[str, str]]) -> str:
        for kind, label, values in self._scopes:
            for value in values:
                if name.startswith(f"{kind}.{value}."):
                    rest = name[len(kind) + len(value) + 2 :]
                    if kind == "listener":
                        rest = self._without_scope(rest, labels)
                    labels.append((label, value))
                    return f"{kind}.{rest}"
        return name


def _longest_first(names: Iterable[str]) -> list[str]:
    return sorted(set(names), key=lambda name: (-len(name), name))


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def exposition(
    names: Names,
    counters: Mapping[str, int],
    gauges: Mapping[str, int],
    histograms: Mapping[str, tuple[Sequence[int], int]],
    *,
    summaries: bool = False,
) -> str:
    """Prometheus' text format. A histogram is its bins and its sum; `summaries`: quantiles instead of buckets."""
    lines: list[str] = []
    for kind, values in (("counter", counters), ("gauge", gauges)):
        for metric, samples in _grouped(names, values):
            lines.append(f"# TYPE {metric} {kind}")
            lines += [f"{metric}{{{labels}}} {values[name]}" for labels, name in samples]
    for metric, samples in _grouped(names, histograms):
        lines.append(f"# TYPE {metric} {'summary' if summaries else 'histogram'}")
        for labels, name in samples:
            lines += _histogram(metric, labels, *histograms[name], summaries=summaries)
    return "".join(f"{line}\n" for line in lines)


def _grouped(names: Names, values: Iterable[str]) -> list[tuple[str, list[tuple[str, str]]]]:
    found: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
    for name in values:
        metric, labels = names.metric(name)
        found[metric].append((labels, name))
    return sorted(found.items())


def _histogram(metric: str, labels: str, bins: Sequence[int], total: int, *, summaries: bool) -> list[str]:
    more = f"{labels}," if labels else ""
    count = sum(bins)
    if summaries:
        lines = [f'{metric}{{{more}quantile="{each / 100:g}"}} {quantile(bins, each):g}' for each in QUANTILES]
    else:
        below = zip(BUCKETS, cumulative(bins), strict=True)
        lines = [f'{metric}_bucket{{{more}le="{bound}"}} {many}' for bound, many in below]
        lines.append(f'{metric}_bucket{{{more}le="+Inf"}} {count}')
    return [*lines, f"{metric}_sum{{{labels}}} {total}", f"{metric}_count{{{labels}}} {count}"]
