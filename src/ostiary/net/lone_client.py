"""A client for providers that belongs to nobody else: for commands that ask a few questions and end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from ostiary._version import __version__
from ostiary.model import limits
from ostiary.model.clusters import Cluster
from ostiary.model.tls import UpstreamTlsContext
from ostiary.net.client import ProviderClient
from ostiary.net.clusters import ClusterPool
from ostiary.net.connector import Connector
from ostiary.net.ticker import Ticker
from ostiary.net.tls import UpstreamTls


@asynccontextmanager
async def lone_client(
    tls: UpstreamTlsContext,
    *,
    connect_timeout: float = limits.CONNECT_TIMEOUT,
    dns_resolvers: tuple[tuple[str, int], ...] = (),
    clusters: Sequence[Cluster] = (),
) -> AsyncIterator[ProviderClient]:
    """A client as the doorkeeper's, with everything below it; all of it is closed at the end.

    `tls` is for URLs, `clusters` are those that a Fetch may name. Raises TlsError, when it is first needed, for
    settings that can't be used.
    """
    ticker = Ticker(asyncio.get_running_loop())
    connector = Connector(linger=0.0)

    def make(cluster: Cluster) -> ClusterPool:
        socket = cluster.transport_socket
        return ClusterPool(cluster, lambda: connector, UpstreamTls(socket) if socket is not None else _plain, ticker)

    pools = {cluster.name: make(cluster) for cluster in clusters}
    client = ProviderClient(
        pools.get,
        make,
        tls=tls,
        connect_timeout=connect_timeout,
        dns_resolvers=dns_resolvers,
        user_agent=f"ostiary/{__version__}",
    )
    try:
        yield client
    finally:
        client.close()
        for pool in pools.values():
            pool.close()
        connector.close()
        ticker.stop()


def _plain() -> None:
    """No TLS."""
