"""Counters and gauges under Envoy's names, as plain integers."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import final

from ostiary.core.decision import Counter


@final
class Stats:
    """The process's statistics: a `Counter` a name, and what is counted elsewhere and asked for when somebody looks."""

    def __init__(self, gauges: Collection[str] = ()) -> None:
        """`gauges` are the last parts of names that can go down."""
        self._counters: dict[str, Counter] = {}
        self._sources: dict[str, Callable[[], Mapping[str, int]]] = {}
        self._gauges = gauges

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

    def add_source(self, prefix: str, source: Callable[[], Mapping[str, int]]) -> None:
        """What `source` gives, below `prefix`."""
        self._sources[prefix] = source

    def is_gauge(self, name: str) -> bool:
        """Whether it can go down."""
        return name.rpartition(".")[2] in self._gauges

    def values(self) -> dict[str, int]:
        """Everything, sorted by name."""
        found = {name: counter.value for name, counter in self._counters.items()}
        for prefix, source in self._sources.items():
            found.update((f"{prefix}.{name}", value) for name, value in source().items())
        return dict(sorted(found.items()))

    def text(self, pattern: str = "", *, used_only: bool = False) -> str:
        """Envoy's `/stats`: a line `name: value` each. Raises re.error for a bad pattern."""
        wanted = re.compile(pattern)
        lines = [f"{n}: {v}\n" for n, v in self.values().items() if wanted.search(n) and (v or not used_only)]
        return "".join(lines)
