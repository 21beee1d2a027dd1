"""The clusters of this process, whichever configurations they belong to.

A configuration borrows its clusters here and gives them back when nothing of it is left. One that is configured as
before is lent again: its connections, the health of its hosts and what its circuit breakers count go on. Counters go by
the name: they continue where a cluster is replaced by one of that name, and never go backwards.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, final

from msgspec.structs import replace

from ostiary.app.metrics import Stats
from ostiary.app.renewal import renew
from ostiary.model.clusters import Cluster
from ostiary.net.cluster_stats import cluster_stats
from ostiary.net.clusters import ClusterPool
from ostiary.net.ticker import Ticker
from ostiary.net.tls import UpstreamTls

if TYPE_CHECKING:
    from ostiary.net.connector import Connector


@final
class Upstreams:
    """Every cluster in use."""

    def __init__(self, connector: Callable[[], Connector], ticker: Ticker, stats: Stats) -> None:
        self._connector = connector
        self._ticker = ticker
        self._stats = stats
        self._lent: dict[ClusterPool, _Lent] = {}
        self._named: dict[str, _Named] = {}

    def borrow(self, cluster: Cluster) -> ClusterPool:
        """The cluster: one that runs already, or a new one, which the caller starts. Raises TlsError."""
        for pool, lent in self._lent.items():
            if pool.cluster == cluster:
                lent.users += 1
                return pool
        tls: list[UpstreamTls] = []
        settings = cluster.transport_socket
        if settings is not None:
            tls.append(UpstreamTls(settings))
            if cluster.http2 is not None and cluster.health_checking is not None:
                tls.append(UpstreamTls(replace(settings, alpn_protocols=("http/1.1",))))  # as checks speak it
        check_tls = tls[1] if len(tls) > 1 else None
        pool = ClusterPool(cluster, self._connector, tls[0] if tls else _plain, self._ticker, check_tls=check_tls)
        self._lent[pool] = _Lent(tls)
        return pool

    def show(self, pool: ClusterPool) -> None:
        """It stands under its name from now on; another one of that name is on its way out."""
        name = stat_name(pool.cluster)
        named = self._named.get(name)
        if named is None:
            named = self._named[name] = _Named(self._stats.is_gauge)
            self._stats.add_source(f"cluster.{name}", named.values)
        named.show(pool)
        load, stats = pool.load, self._stats
        load.connect_time = stats.histogram(f"cluster.{name}.upstream_cx_connect_ms", load.connect_time)
        load.lengths = stats.histogram(f"cluster.{name}.upstream_cx_length_ms", load.lengths, dynamic=True)
        external, internal = (f"cluster.{name}.{side}.upstream_rq_time" for side in ("external", "internal"))
        load.request_time = stats.histogram(external, load.request_time, dynamic=True)
        load.internal_time = stats.histogram(internal, load.internal_time, dynamic=True)
        stats.sum_of(f"cluster.{name}.upstream_rq_time", load.request_time, load.internal_time)

    def give_back(self, pool: ClusterPool) -> None:
        """Whoever borrowed it needs it no more."""
        lent = self._lent[pool]
        lent.users -= 1
        if not lent.users:
            del self._lent[pool]
            pool.close()
            for named in self._named.values():
                named.gone(pool)

    def contexts(self) -> list[UpstreamTls]:
        """The TLS contexts of all."""
        return [tls for lent in self._lent.values() for tls in lent.tls]

    def look(self) -> None:
        """Certificates whose files have changed are read again; ones that can't be used leave the last in use."""
        renew(self.contexts())


@final
class _Lent:
    __slots__ = ("tls", "users")

    def __init__(self, tls: list[UpstreamTls]) -> None:
        self.tls = tls
        self.users = 1


@final
class _Named:
    """The statistics under one name: of the cluster that has it, and what those before it had counted."""

    def __init__(self, is_gauge: Callable[[str], bool]) -> None:
        self._is_gauge = is_gauge
        self._pools: list[ClusterPool] = []
        """The last one has the name."""
        self._past: Counter[str] = Counter()

    def show(self, pool: ClusterPool) -> None:
        if pool in self._pools:
            self._pools.remove(pool)
        self._pools.append(pool)

    def gone(self, pool: ClusterPool) -> None:
        if pool in self._pools:
            self._pools.remove(pool)
            self._past.update(self._counted(pool))

    def values(self) -> Mapping[str, int]:
        if not self._pools:
            return {}
        found = Counter(cluster_stats(self._pools[-1]))
        found.update(self._past)
        for pool in self._pools[:-1]:
            found.update(self._counted(pool))
        return found

    def _counted(self, pool: ClusterPool) -> Mapping[str, int]:
        return {name: value for name, value in cluster_stats(pool).items() if not self._is_gauge(name)}


def stat_name(cluster: Cluster) -> str:
    """How statistics call a cluster."""
    return cluster.alt_stat_name or cluster.name.replace(":", "_")


def _plain() -> None:
    """No TLS."""
