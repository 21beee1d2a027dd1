"""What a provider says of itself, for commands that write configurations: fetched as the doorkeeper fetches it."""

from __future__ import annotations

import asyncio
import time

from ostiary._version import __version__
from ostiary.core.decision import FetchFailed
from ostiary.core.oidc import Provider, ProviderMetadata
from ostiary.model.clusters import Cluster
from ostiary.model.signin import ProviderConfig
from ostiary.model.tls import CertificateValidationContext, UpstreamTlsContext
from ostiary.net.client import ProviderClient
from ostiary.net.clusters import ClusterPool
from ostiary.net.connector import Connector
from ostiary.net.ticker import Ticker
from ostiary.net.tls import UpstreamTls


async def discover(config: ProviderConfig) -> ProviderMetadata:
    """The provider's endpoints; nothing is asked if all of them are written.

    Raises SignInError: what went wrong, down to the DNS answer.
    """
    provider = Provider(config)
    ticker = Ticker(asyncio.get_running_loop())
    connector = Connector()

    def make(cluster: Cluster) -> ClusterPool:
        tls = cluster.transport_socket
        return ClusterPool(cluster, lambda: connector, UpstreamTls(tls) if tls is not None else _plain, ticker)

    client = ProviderClient(
        lambda _name: None,
        make,
        tls=UpstreamTlsContext(validation_context=CertificateValidationContext(trusted_ca=config.ca)),
        dns_resolvers=config.dns_resolvers,
        user_agent=f"ostiary/{__version__}",
    )
    wanted = provider.fetch_metadata(time.time())
    try:
        fetch = next(wanted)
        while True:
            try:
                answer = await client.fetch(fetch)
            except FetchFailed as error:
                fetch = wanted.throw(error)
            else:
                fetch = wanted.send(answer)
    except StopIteration as stop:
        metadata: ProviderMetadata = stop.value[0]
        return metadata
    finally:
        wanted.close()
        client.close()
        connector.close()
        ticker.stop()


def _plain() -> None:
    """No TLS."""
