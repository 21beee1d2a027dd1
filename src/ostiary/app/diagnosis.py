"""Why a provider can't be reached, in the log: what `ostiary doctor` would say, once, with the mend.

The doctor lies above this package, so it is handed in; it is imported and asked in a thread of its own, so that no
request and no start waits for it. A provider is looked at again after a while only: what is found is mostly the same.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, final
from urllib.parse import urlsplit

from ostiary.model.clusters import Cluster
from ostiary.model.config import Config, HttpConnectionManager
from ostiary.model.oauth2 import OAuth2Config
from ostiary.net.log import log

if TYPE_CHECKING:
    from ostiary.core.trace import ConnectTrace

_LOG: Final = log("oauth2")
_PORTS: Final = {"http": 80, "https": 443}
_AGAIN: Final = 30.0
"""Seconds between two looks at a provider."""
_MAX_KNOWN: Final = 256
"""Findings and providers that are remembered."""

Explain = Callable[["Cluster | None", "ConnectTrace"], str]
"""A cluster and a failed connection to it -> what is wrong and how it is mended; empty: no rule knows. Thread-safe."""


@final
class Diagnosis:
    """Of one worker."""

    def __init__(self, explain: Explain | None) -> None:
        self._explain = explain
        self._clusters: dict[str, Cluster] = {}
        """Those that lead to providers, by name; providers given by URL have clusters named so."""
        self._others: set[str] = set()
        """URLs that lead elsewhere: telemetry says itself what becomes of it."""
        self._looked: dict[str, float] = {}
        self._said: set[str] = set()

    def know(self, http: HttpConnectionManager, config: Config) -> None:
        """A configuration's clusters that token requests go to, and its collectors, which are no providers."""
        filters = (link.config for link in http.http_filters)
        endpoints = (each.token_endpoint for each in filters if isinstance(each, OAuth2Config))
        names = {endpoint.cluster for endpoint in endpoints if endpoint is not None}
        self._clusters.update((cluster.name, cluster) for cluster in config.clusters if cluster.name in names)
        collectors = [export.collector for export in config.metrics]
        if http.tracing is not None:
            collectors.append(http.tracing.collector)
        self._others.update(_origin(each.url) for each in collectors if each.url)

    def failed(self, cluster: str, trace: ConnectTrace) -> None:
        """A connection failed. Returns at once."""
        now = time.monotonic()
        if self._explain is None or ("://" not in cluster and cluster not in self._clusters):
            return
        if cluster in self._others:
            return
        if now < self._looked.get(cluster, 0.0):
            return
        if len(self._looked) >= _MAX_KNOWN:
            self._looked.clear()
        self._looked[cluster] = now + _AGAIN
        look = threading.Thread(target=self._look, args=(self._explain, cluster, trace), name="diagnosis", daemon=True)
        look.start()

    def _look(self, explain: Explain, cluster: str, trace: ConnectTrace) -> None:
        try:
            said = explain(self._clusters.get(cluster), trace)
        except Exception:  # noqa: BLE001 - a wrong rule must not look like a broken doorkeeper
            _LOG.exception("why %s can't be reached could not be found out", cluster)
            return
        if said and said not in self._said and len(self._said) < _MAX_KNOWN:
            self._said.add(said)
            _LOG.warning("%s", said)


def _origin(url: str) -> str:
    """How the cluster of a URL is named (`net/client.py`)."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}:{parts.port or _PORTS.get(parts.scheme)}"
