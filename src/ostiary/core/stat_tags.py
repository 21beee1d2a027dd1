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
_TLS: Final = re.compile(r"\.ssl\.(ciphers|versions)\.(.+)$")
_TLS_TAGS: Final = {"versions": "envoy.ssl_version", "ciphers": "envoy.ssl_cipher", "cluster ciphers": "cipher_suite"}


@final
class TagExtractor:
    """Takes the parts that vary out of names."""

    def __init__(self, clusters: Iterable[str], prefixes: Iterable[str], listeners: Iterable[str] = ()) -> None:
        """The names of clusters, connection managers and listeners, as statistics have them."""
        self._scopes = {
            "cluster": ("envoy.cluster_name", frozenset(clusters)),
            "http": ("envoy.http_conn_manager_prefix", frozenset(prefixes)),
            "listener": ("envoy.listener_address", frozenset(listeners)),
        }
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
        if (agreed := _TLS.search(name)) is not None:
            kind = agreed[1]
            tag = _TLS_TAGS.get(f"{name.partition('.')[0]} {kind}", _TLS_TAGS[kind])
            tags.append((tag, agreed[2]))
            name = f"{name[: agreed.start()]}.ssl.{kind}"
        return self._without_scope(name, tags), tuple(tags)

    def _without_scope(self, name: str, tags: list[tuple[str, str]]) -> str:
        kind, _, rest = name.partition(".")
        tag, values = self._scopes.get(kind, ("", frozenset[str]()))
        end = rest.rfind(".")
        while values and end >= 0:  # the longest first
            value = rest[:end]
            if value in values:
                rest = rest[end + 1 :]
                if kind == "listener":
                    rest = self._without_scope(rest, tags)
                tags.append((tag, value))
                return f"{kind}.{rest}"
            end = rest.rfind(".", 0, end)
        return name
