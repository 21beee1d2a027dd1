"""Statistics as Prometheus reads them, with the names and labels of Envoy's own `/stats/prometheus`.

What varies in a name is a label (`core.stat_tags`).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from ostiary.core.histogram import BUCKETS, QUANTILES, cumulative, quantile
from ostiary.core.stat_tags import TagExtractor

_FORBIDDEN: Final = re.compile(r"[^a-zA-Z0-9_:]")


class Names:
    """Makes metrics of statistics, given the clusters, connection managers and listeners there are."""

    def __init__(self, clusters: Iterable[str], prefixes: Iterable[str], listeners: Iterable[str]) -> None:
        """Their names as statistics have them."""
        self._tags = TagExtractor(clusters, prefixes, listeners)

    def metric(self, name: str) -> tuple[str, str]:
        """(name, labels)."""
        name, tags = self._tags.extract(name)
        written = ",".join(f'{tag.replace(".", "_")}="{_escaped(value)}"' for tag, value in tags)
        return "envoy_" + _FORBIDDEN.sub("_", name), written


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
