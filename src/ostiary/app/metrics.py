"""Counters under Envoy's names, as plain integers."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import final

from ostiary.core.decision import Counter


@final
class Stats:
    """The process's statistics: one `Counter` a name."""

    def __init__(self) -> None:
        self._counters: dict[str, Counter] = {}

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

    def values(self) -> dict[str, int]:
        """Everything, sorted by name."""
        return {name: counter.value for name, counter in sorted(self._counters.items())}

    def text(self, pattern: str = "", *, used_only: bool = False) -> str:
        """Envoy's `/stats`: a line `name: value` each. Raises re.error for a bad pattern."""
        wanted = re.compile(pattern)
        lines = [f"{n}: {v}\n" for n, v in self.values().items() if wanted.search(n) and (v or not used_only)]
        return "".join(lines)
