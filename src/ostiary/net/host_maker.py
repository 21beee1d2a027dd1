"""Makes the hosts of a cluster: each with its pool, with what dials for it, and with its health checks."""

from __future__ import annotations

import ssl
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Protocol, final

from ostiary.core.addresses import Destination
from ostiary.core.health import Change, HealthState
from ostiary.model.clusters import Cluster, Endpoint
from ostiary.net.dialing import Dial, dialer
from ostiary.net.hosts import Addresses, Host
from ostiary.net.load import Load
from ostiary.net.pool import Pool
from ostiary.net.ticker import Ticker

if TYPE_CHECKING:
    from ostiary.net.connector import Connector


class TlsSource(Protocol):
    """Gives the client context of a cluster; asked at each connection, so that new files are used at once."""

    def __call__(self) -> ssl.SSLContext | None:
        """The context, or None for plain text."""


@final
class HostMaker:
    """The maker of one cluster."""

    def __init__(
        self,
        cluster: Cluster,
        load: Load,
        connector: Callable[[], Connector],
        tls: TlsSource,
        check_tls: TlsSource,
        ticker: Ticker,
        random_float: Callable[[], float],
    ) -> None:
        self._cluster, self._load = cluster, load
        self._connector, self._tls, self._check_tls = connector, tls, check_tls
        self._ticker, self._random = ticker, random_float

    def make(self, endpoint: Endpoint, addresses: Addresses | None) -> Host:
        """A host and its pool; without `addresses` each connection asks for the endpoint's name."""
        cluster = self._cluster
        by_name = cluster.type != "STATIC" and endpoint.pipe is None
        pool = self._pool_of_its_kind()(
            self._dial(endpoint, addresses),
            self._ticker,
            self._load,
            name=endpoint.pipe or str(Destination(*(addresses[0] if addresses else (endpoint.address, endpoint.port)))),
            hostname=endpoint.hostname or (endpoint.address if by_name else ""),
            by_name=by_name and addresses is None,
            max_requests=cluster.max_requests_per_connection,
            idle_timeout=cluster.idle_timeout,
            max_duration=cluster.max_connection_duration,
            buffer_limit=cluster.per_connection_buffer_limit_bytes,
        )
        return Host(endpoint, addresses, pool)

    def settle(self, host: Host, addresses: Addresses) -> None:
        """The host stood for a name's addresses before they were known."""
        host.addresses = addresses
        host.pool.redirect(self._dial(host.endpoint, addresses))

    def add_checks(
        self,
        host: Host,
        counts: Counter[str],
        used: Callable[[], bool],
        on_checked: Callable[[Change, bool], None],
    ) -> None:
        """Health checks, where the cluster has any: `used` says whether the cluster has ever been."""
        cluster, endpoint = self._cluster, host.endpoint
        checking = cluster.health_checking
        if checking is None or endpoint.health_check.disabled:
            return
        from ostiary.net.health import HealthSession  # which most clusters never need

        pending = cluster.load_balancing.ignore_new_hosts_until_first_hc
        host.health = HealthState(checking, counts, self._random, pending=pending)
        check = dialer(cluster, endpoint, host.addresses, self._connector, self._check_tls, for_checks=True)
        authority = endpoint.health_check.hostname or getattr(checking.check, "host", "") or cluster.name
        host.session = HealthSession(checking, host.health, counts, check, authority, used, on_checked)

    def _dial(self, endpoint: Endpoint, addresses: Addresses | None) -> Dial:
        return dialer(self._cluster, endpoint, addresses, self._connector, self._tls)

    def _pool_of_its_kind(self) -> Callable[..., Pool]:
        if self._cluster.http2 is None:
            return Pool
        from ostiary.net.h2_pool import Http2Pool  # with the library, which nobody else needs

        return partial(Http2Pool, options=self._cluster.http2)
