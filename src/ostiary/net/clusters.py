"""A cluster at run time: its endpoints' pools, and which of them takes the next request.

How a connection is made (names, families, the race, TLS) is the connector's; how requests share connections is the
pool's. This file only joins the two and balances.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, final

from ostiary.core.decision import Counter
from ostiary.model.clusters import Cluster, Endpoint
from ostiary.model.tls import UpstreamTlsContext
from ostiary.net.pool import Dialer, Pool
from ostiary.net.ticker import Ticker
from ostiary.net.upstream import Answered, UpstreamConnection

if TYPE_CHECKING:
    from ostiary.net.connector import Connector


class TlsSource(Protocol):
    """Gives the client context of a cluster; asked at each connection, so that new files are used at once."""

    def __call__(self) -> ssl.SSLContext | None:
        """The context, or None for plain text."""


@final
class ClusterPool:
    """The connections of one cluster."""

    __slots__ = ("_next", "cluster", "entropy", "pools")

    def __init__(
        self,
        cluster: Cluster,
        connector: Callable[[], Connector],
        tls: TlsSource,
        ticker: Ticker,
        counter: Callable[[str], Counter],
        entropy: Callable[[int], bytes],
    ) -> None:
        self.cluster = cluster
        self.entropy = entropy
        self._next = 0
        breakers = cluster.circuit_breakers
        shared: dict[str, Counter] = {}

        def named(name: str) -> Counter:
            found = shared.get(name)
            if found is None:
                found = shared[name] = counter(name)
            return found

        self.pools = [
            Pool(
                _dialer(cluster, endpoint, connector, tls),
                ticker,
                host=endpoint.pipe or f"{endpoint.address}:{endpoint.port}",
                max_connections=breakers.max_connections,
                max_pending=breakers.max_pending_requests,
                max_parallel=breakers.max_requests,
                max_requests=cluster.max_requests_per_connection,
                idle_timeout=cluster.idle_timeout,
                buffer_limit=cluster.per_connection_buffer_limit_bytes,
                counter=named,
            )
            for endpoint in cluster.endpoints
            for _ in range(endpoint.weight if len(cluster.endpoints) > 1 else 1)
        ]

    def pick(self) -> Pool | None:
        """The endpoint that takes the next request; None if the cluster has none."""
        pools = self.pools
        count = len(pools)
        if count <= 1:
            return pools[0] if pools else None
        policy = self.cluster.lb_policy
        if policy == "ROUND_ROBIN":
            self._next = (self._next + 1) % count
            return pools[self._next]
        a, b = self.entropy(1)[0] % count, self.entropy(1)[0] % count
        if policy == "RANDOM":
            return pools[a]
        return pools[a] if pools[a].busy <= pools[b].busy else pools[b]

    def submit(self, client: Answered) -> None:
        """Send one request."""
        pool = self.pick()
        if pool is None:
            client.on_failure("UH", "no_healthy_upstream", "no healthy upstream")
        else:
            pool.submit(client)

    def close(self) -> None:
        """Close idle connections, busy ones as they finish."""
        for pool in self.pools:
            pool.close()


def _dialer(cluster: Cluster, endpoint: Endpoint, connector: Callable[[], Connector], tls: TlsSource) -> Dialer:
    addresses = None
    if cluster.type == "STATIC" and endpoint.pipe is None:
        addresses = ((endpoint.address, endpoint.port), *endpoint.additional_addresses)
    family = cluster.dns_lookup_family or "ALL"

    async def dial(factory: Callable[[], UpstreamConnection]) -> UpstreamConnection:
        context = tls()
        settings = cluster.transport_socket
        server_hostname = None
        if context is not None and settings is not None:
            server_hostname = _server_name(cluster, endpoint, settings)
        _, protocol, _ = await connector().connect(
            endpoint.address,
            endpoint.port,
            factory,
            ssl=context,
            server_hostname=server_hostname,
            dns_lookup_family=family,
            timeout=cluster.connect_timeout,
            happy_eyeballs=cluster.happy_eyeballs_config,
            dns_servers=cluster.dns_resolvers,
            addresses=addresses,
            pipe=endpoint.pipe,
            search=not cluster.no_default_search_domain,
            dns_over_tcp=cluster.use_tcp_for_dns_lookups,
        )
        return protocol

    return dial


def _server_name(cluster: Cluster, endpoint: Endpoint, settings: UpstreamTlsContext) -> str:
    """The name to send and to verify. With auto_host_sni that of the host goes before `sni`, where it has one."""
    own = endpoint.hostname or ("" if cluster.type == "STATIC" else endpoint.address)
    chosen = own or settings.sni if settings.auto_host_sni else settings.sni
    return chosen or endpoint.hostname or endpoint.address
