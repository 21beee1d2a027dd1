"""How a host of a cluster is connected to: everything the cluster says about connections, for the connector."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeVar

from ostiary.model.clusters import Cluster, Endpoint, TcpKeepalive
from ostiary.model.tls import UpstreamTlsContext
from ostiary.net.watched import WATCHED

if TYPE_CHECKING:
    from ostiary.core.trace import ConnectTrace
    from ostiary.net.connector import Connector

P = TypeVar("P", bound=asyncio.BaseProtocol)


class Dial(Protocol):
    """Opens a connection to one host."""

    async def __call__(self, factory: Callable[[], P]) -> tuple[P, ConnectTrace]:
        """The protocol, connected, and how. Raises OSError."""


def dialer(
    cluster: Cluster,
    endpoint: Endpoint,
    addresses: tuple[tuple[str, int], ...] | None,
    connector: Callable[[], Connector],
    tls: Callable[[], ssl.SSLContext | None],
    *,
    for_checks: bool = False,
) -> Dial:
    """What connects to a host. Without `addresses` the connector resolves the endpoint's name."""
    port = endpoint.port
    if for_checks and cluster.health_checking is not None:
        port = endpoint.health_check.port or cluster.health_checking.alt_port or port
        addresses = tuple((address, port) for address, _ in addresses) if addresses is not None else None
    family = cluster.dns_lookup_family or "ALL"

    async def dial(factory: Callable[[], P]) -> tuple[P, ConnectTrace]:
        context = tls()
        settings = cluster.transport_socket
        server_hostname = None
        if context is not None and settings is not None:
            server_hostname = _server_name(cluster, endpoint, settings)
        watched = WATCHED.get()
        dials = connector()
        try:
            transport, protocol, trace = await dials.connect(
                endpoint.address,
                port,
                factory,
                ssl=context,
                server_hostname=server_hostname,
                watch=_nobody if watched is None else watched.connects.append,
                dns_lookup_family=family,
                timeout=cluster.connect_timeout,
                happy_eyeballs=cluster.happy_eyeballs_config,
                dns_servers=cluster.dns_resolvers,
                addresses=addresses,
                pipe=endpoint.pipe,
                search=not cluster.no_default_search_domain,
                dns_over_tcp=cluster.use_tcp_for_dns_lookups,
                dns_options=cluster.dns_options,
                local_addresses=cluster.local_addresses,
            )
        except OSError as error:
            found: ConnectTrace | None = getattr(error, "trace", None)
            if found is not None and dials.on_failure is not None:
                dials.on_failure(cluster.name, found, checks=for_checks)
            raise
        if cluster.tcp_keepalive is not None and endpoint.pipe is None:
            _keep_alive(transport, cluster.tcp_keepalive)
        return protocol, trace

    return dial


def _nobody(_: object) -> None:
    """Nobody looks at the connection while it is made."""


def _server_name(cluster: Cluster, endpoint: Endpoint, settings: UpstreamTlsContext) -> str:
    """The name to send and to verify. With auto_host_sni that of the host goes before `sni`, where it has one."""
    own = endpoint.hostname or ("" if cluster.type == "STATIC" else endpoint.address)
    chosen = own or settings.sni if settings.auto_host_sni else settings.sni
    return chosen or endpoint.hostname or endpoint.address


def _keep_alive(transport: asyncio.Transport, config: TcpKeepalive) -> None:
    """On a copy of the descriptor: not every loop's transports let their sockets be set."""
    shown = transport.get_extra_info("socket")
    if shown is None:
        return
    with socket.socket(fileno=os.dup(shown.fileno())) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in (
            ("TCP_KEEPCNT", config.probes),
            ("TCP_KEEPIDLE", config.time),
            ("TCP_KEEPINTVL", config.interval),
        ):
            if value is not None and hasattr(socket, option):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
