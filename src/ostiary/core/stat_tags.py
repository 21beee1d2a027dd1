"""Envoy's default tag extraction: `cluster.app.upstream_rq_200` is `cluster.upstream_rq` with a cluster and a status.

The names that may stand in a statistic's name are known here, so that one with dots stays whole, where Envoy cuts it at
the first one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, final

Tags = tuple[tuple[str, str], ...]
_STATUS: Final = (
    (re.compile(r"_rq_([1-5]\d\d)$"), "envoy.response_code", "_rq"),
    (re.compile(r"_rq_([1-5])xx$"), "envoy.response_code_class", "_rq_xx"),
)


@final
class TagExtractor:
    """Takes the parts that vary out of names."""

    def __init__(self, clusters: Iterable[str], prefixes: Iterable[str], listeners: Iterable[str] = ()) -> None:
        """The names of clusters, connection managers and listeners, as statistics have them."""
        self._scopes = [
            ("cluster", "envoy.cluster_name", _longest_first(clusters)),
            ("http", "envoy.http_conn_manager_prefix", _longest_first(prefixes)),
            ("listener", "envoy.listener_address", _longest_first(listeners)),
        ]
        self._known: dict[str, tuple[str, Tags]] = {}

    def extract(self, name: str) -> tuple[str, Tags]:
        """The name without its tags, and those."""
        found = self._known.get(name)
        if found is None:
            found = self._known[name] = self._extract(name)
        return found

    def _extract(self, name: str) -> tuple[str, Tags]:
        tags: list[tuple[str, str]] = []
        for pattern, tag, rest in _STATUS:
            if (status := pattern.search(name)) is not None:
                tags.append((tag, status[1]))
                name = name[: status.start()] + rest
        return self._without_scope(name, tags), tuple(tags)

    def _without_scope(self, name: str, tags: list[tuple[str, str]]) -> str:
        for kind, tag, values in self._scopes:
            for value in values:
                if name.startswith(f"{kind}.{value}."):
                    rest = name[len(kind) + len(value) + 2 :]
                    if kind == "listener":
                        rest = self._without_scope(rest, tags)
                    tags.append((tag, value))
                    return f"{kind}.{rest}"
        return name


def _longest_first(names: Iterable[str]) -> list[str]:
    return sorted(set(names), key=lambda name: (-len(name), name))
