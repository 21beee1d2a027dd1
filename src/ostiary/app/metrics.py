"""Counters, gauges and histograms under Envoy's names, as plain integers.

What happens to each request is counted where it happens, what is rare or known anyway is asked for when somebody looks:
a source. Several sources may give the same name (two listeners with one stat_prefix): that is their sum.
"""

from __future__ import annotations

from collections import Counter as Sums
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from typing import final

from ostiary.app.slices import whole
from ostiary.core.decision import Counter
from ostiary.core.histogram import Histogram, added

Bins = tuple[Sequence[int], int]
"""What a histogram holds: how many of each of core.histogram.LOWER (empty: none), and their sum."""


@final
class Stats:
    """A worker's statistics."""

    def __init__(self, gauges: Collection[str] = ()) -> None:
        """`gauges` are the last parts of names that can go down."""
        self._counters: dict[str, Counter] = {}
        self._sources: list[tuple[str, Callable[[], Mapping[str, int]]]] = []
        self._histograms: dict[str, Histogram] = {}
        self._dynamic: set[str] = set()
        self._sums: dict[str, tuple[Histogram, ...]] = {}
        self._gauges = gauges
        self._reset: Mapping[str, int] = {}
        """What counters had when they were reset."""

    def counter(self, name: str) -> Counter:
        """The counter of that full name, made at first use."""
        found = self._counters.get(name)
        if found is None:
            found = self._counters[name] = Counter(name)
        return found

    def scope(self, prefix: str) -> Callable[[str], Counter]:
        """Counters below `prefix` (which gets a dot unless it is empty or has one)."""
        if prefix and not prefix.endswith("."):
            prefix += "."
        return lambda name: self.counter(prefix + name)

    def histogram(self, name: str, histogram: Histogram | None = None, *, dynamic: bool = False) -> Histogram:
        """The histogram of that full name, made at first use unless it is given. `dynamic`: not shown while empty."""
        found = self._histograms.get(name)
        if found is None:
            found = self._histograms[name] = histogram or Histogram()
            if dynamic:
                self._dynamic.add(name)
        return found

    def sum_of(self, name: str, *histograms: Histogram) -> None:
        """A histogram of all that those recorded."""
        self._sums[name] = histograms

    def add_source(self, prefix: str, source: Callable[[], Mapping[str, int]]) -> None:
        """What `source` gives, below `prefix`."""
        self._sources.append((prefix, source))

    def is_gauge(self, name: str) -> bool:
        """Whether it can go down."""
        return name.rpartition(".")[2] in self._gauges

    def gather(self) -> Generator[None, None, tuple[dict[str, int], dict[str, int]]]:
        """Every counter, and every gauge; a slice for each source (app/slices.py)."""
        counters, gauges = yield from self._counted()
        for name, before in self._reset.items():
            if name in counters:
                counters[name] -= before
        return counters, gauges

    def values(self) -> dict[str, int]:
        """The same at once, sorted by name."""
        counters, gauges = whole(self.gather())
        return dict(sorted((counters | gauges).items()))

    def histograms(self) -> dict[str, Bins]:
        """Every histogram, as what it holds now."""
        own = self._histograms.items()
        found: dict[str, Bins] = {}
        found.update((name, (e.bins, e.total)) for name, e in own if e.bins or name not in self._dynamic)
        for name, parts in self._sums.items():
            found[name] = added((each.bins, each.total) for each in parts)
        return found

    def reset(self) -> None:
        """Counters begin at zero again. Gauges and histograms stay, as in Envoy."""
        self._reset = {name: value for name, value in whole(self._counted())[0].items() if value}

    def _counted(self) -> Generator[None, None, tuple[dict[str, int], dict[str, int]]]:
        counters: Sums[str] = Sums({name: counter.value for name, counter in self._counters.items()})
        gauges: Sums[str] = Sums()
        for prefix, source in tuple(self._sources):
            for name, value in source().items():
                (gauges if self.is_gauge(name) else counters)[f"{prefix}.{name}"] += value
            yield
        return dict(counters), dict(gauges)
