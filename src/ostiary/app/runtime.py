"""From the model to running objects: what one worker holds, and how its parts are joined."""

from __future__ import annotations

import asyncio
import os
import ssl
from typing import TYPE_CHECKING, Final, TypeVar, final

from msgspec.structs import replace

from ostiary._version import __version__
from ostiary.app.descriptors import for_clients
from ostiary.app.files import Files
from ostiary.app.filters import Filters
from ostiary.app.flights import Recorder
from ostiary.app.flows import Flows, Running, drive_maintenance
from ostiary.app.metrics import Stats
from ostiary.app.observe import Observer
from ostiary.app.routes import RouteTable
from ostiary.app.service import HttpService
from ostiary.app.service_stats import SERVICE_GAUGES, service_stats
from ostiary.app.shared import Shared
from ostiary.core.header_lines import (
    CONNECTION,
    HOP_BY_HOP,
    KIND_COUNT,
    SERVER,
    SERVICE_TIME,
    TRANSFER_ENCODING,
    UPGRADE,
)
from ostiary.model import limits
from ostiary.model.clusters import Cluster
from ostiary.model.config import Config, HttpConnectionManager, Listener, Router
from ostiary.model.signin import ProviderConfig, SignIn
from ostiary.model.tls import CertificateValidationContext, DownstreamTlsContext, UpstreamTlsContext
from ostiary.net.certificates import PublicCertificate
from ostiary.net.client import ProviderClient
from ostiary.net.cluster_stats import GAUGES, cluster_stats
from ostiary.net.clusters import ClusterPool
from ostiary.net.http1 import ServerSettings
from ostiary.net.log import log
from ostiary.net.ticker import Ticker
from ostiary.net.tls import DownstreamTls, TlsError, UpstreamTls

if TYPE_CHECKING:
    from ostiary.app.telemetry import Telemetry
    from ostiary.core.leases import Leases
    from ostiary.core.oauth2.envoy.filter import Outcomes
    from ostiary.core.oauth2.filter import SignInFilter
    from ostiary.core.stat_tags import TagExtractor
    from ostiary.model.telemetry import Collector
    from ostiary.net.connector import Connector

_LOG: Final = log("main")
_Tls = TypeVar("_Tls", UpstreamTls, DownstreamTls)
_NOT_FORWARDED: Final = frozenset((CONNECTION, HOP_BY_HOP, TRANSFER_ENCODING, UPGRADE))


@final
class Runtime:
    """Everything one worker needs besides its listening sockets."""

    def __init__(
        self,
        config: Config,
        connector: Connector | None = None,
        leases: Leases | None = None,
        flights: Recorder | None = None,
        shared: Shared | None = None,
    ) -> None:
        """`leases` says which of several processes runs a flow that must run once; None: there is just this one."""
        self._flights = flights or Recorder()
        self.config = config
        self._shared = shared or Shared()
        self._leases = leases
        self.ticker = Ticker(asyncio.get_running_loop())
        self.stats = Stats(GAUGES | SERVICE_GAUGES)
        self.files = Files()
        self._connector = connector
        self._tls: list[UpstreamTls | DownstreamTls] = []
        self.clusters: dict[str, ClusterPool] = {c.name: self._cluster(c) for c in config.clusters}
        self.services: dict[str, HttpService] = {}
        self.sign_ins: list[SignInFilter] = []
        self._clients: list[ProviderClient] = []
        self._telemetry: Telemetry | None = None
        self._flows: list[Flows] = []
        self._running: Running = {}
        self._outcomes: Outcomes | None = None
        self._maintenance: set[asyncio.Task[None]] = set()
        self._maintained: dict[SignInFilter, tuple[ProviderClient, float]] = {}
        for export in config.metrics:
            self._exporting().export_metrics(export, self._tags())
        for listener in config.listeners:
            self.services[listener.name] = self._service(listener)
        self.files.on_change.append(self._forget)
        self.files.start(self.ticker)
        self.ticker.idle.add(self)

    @property
    def is_ready(self) -> bool:
        """True once every provider is known well enough to sign somebody in."""
        return all(each.is_ready for each in self.sign_ins)

    def connector(self) -> Connector:
        """What dials; made with the first connection, for the DNS library is slow to import."""
        if self._connector is None:
            from ostiary.net.connector import Connector

            self._connector = Connector()
        self._connector.on_failure = self._flights.connect_failed
        return self._connector

    def _cluster(self, cluster: Cluster) -> ClusterPool:
        name = stat_name(cluster)
        settings = cluster.transport_socket
        tls = self._keep(UpstreamTls(settings)) if settings is not None else _plain
        check_tls = None
        if settings is not None and cluster.http2 is not None and cluster.health_checking is not None:
            check_tls = self._keep(UpstreamTls(replace(settings, alpn_protocols=("http/1.1",))))  # as checks speak it
        pool = ClusterPool(cluster, self.connector, tls, self.ticker, check_tls=check_tls)
        self.stats.add_source(f"cluster.{name}", lambda: cluster_stats(pool))
        self.stats.histogram(f"cluster.{name}.upstream_cx_connect_ms", pool.load.connect_time)
        self.stats.histogram(f"cluster.{name}.upstream_rq_time", pool.load.request_time)
        return pool

    def pools(self) -> list[ClusterPool]:
        """Every cluster: those of the configuration, then those that were made for providers' URLs."""
        return [*self.clusters.values(), *(pool for client in self._clients for pool in client.pools)]

    def certificates(self) -> list[list[PublicCertificate]]:
        """Those in use, of each TLS context."""
        return [tls.certificates for tls in self._tls]

    def start(self) -> None:
        """Begin what goes on in the background, once the listeners are open."""
        for pool in self.clusters.values():
            pool.start()

    def _keep(self, tls: _Tls) -> _Tls:
        """Files of this context are looked at every second."""
        self._tls.append(tls)
        return tls

    def server_tls(self, settings: DownstreamTlsContext) -> ssl.SSLContext:
        """The context of a listening socket; its certificates change with their files."""
        return self._keep(DownstreamTls(settings)).context

    def _service(self, listener: Listener) -> HttpService:
        http = listener.http
        filters = Filters(
            self.stats, http.stat_prefix, self.files, self.clusters.__contains__, self._envoy_outcomes, self._shared
        )
        scope = self.stats.scope(f"http.{http.stat_prefix}")
        client = self._client(http)
        flows = Flows(client, self._leases, self._running)
        self._flows.append(flows)
        routers = [link.config for link in http.http_filters if isinstance(link.config, Router)]
        suppress = any(router.suppress_envoy_headers for router in routers)
        table = RouteTable(http, filters, self.clusters.get, suppress)
        for sign_in in filters.sign_ins:
            self.sign_ins.append(sign_in)
            self._maintained[sign_in] = (client, 0.0)
        tracer = None if http.tracing is None else self._exporting().tracer(http.tracing, scope)
        times = self.stats.histogram(f"http.{http.stat_prefix}.downstream_rq_time")
        service = HttpService(
            http,
            server_settings(listener, suppress),
            self.ticker,
            table,
            flows,
            Observer(http.access_log, self.ticker, scope, times, self._flights, http.profile, tracer),
            self.clusters.get,
            scope,
            os.urandom,
            for_clients(len(self.config.listeners)),
            tracer,
        )
        opened = scope("downstream_cx_total")
        service.draining = self._shared.is_draining
        self.stats.add_source(f"http.{http.stat_prefix}", lambda: service_stats(service, opened.value))
        return service

    def _tags(self) -> TagExtractor:
        from ostiary.core.stat_tags import TagExtractor

        clusters = [stat_name(cluster) for cluster in self.config.clusters]
        return TagExtractor(clusters, [listener.http.stat_prefix for listener in self.config.listeners])

    def _exporting(self) -> Telemetry:
        if self._telemetry is None:
            from ostiary.app.telemetry import Telemetry  # only where it was asked for

            self._telemetry = Telemetry(self.ticker, self.stats, self.files, self._collector_client)
        return self._telemetry

    def _collector_client(self, collector: Collector) -> ProviderClient:
        validation = CertificateValidationContext(trusted_ca=collector.ca)
        tls = UpstreamTlsContext(validation_context=validation)
        client = ProviderClient(self.clusters.get, self._cluster, tls=tls)
        self._clients.append(client)
        return client

    def _envoy_outcomes(self) -> Outcomes:
        if self._outcomes is None:
            from ostiary.core.oauth2.envoy.filter import Outcomes  # the profile's code, only where it is used

            self._outcomes = Outcomes(os.urandom)
        return self._outcomes

    def _client(self, http: HttpConnectionManager) -> ProviderClient:
        signs = [link.config for link in http.http_filters if isinstance(link.config, SignIn)]
        provider = signs[0].provider if signs else ProviderConfig(client_id="")
        validation = CertificateValidationContext(trusted_ca=provider.ca)
        client = ProviderClient(
            self.clusters.get,
            self._cluster,
            tls=UpstreamTlsContext(validation_context=validation),
            dns_resolvers=provider.dns_resolvers,
            user_agent=f"ostiary/{__version__}" if signs else "",
        )
        self._clients.append(client)
        return client

    def _forget(self) -> None:
        for service in self.services.values():
            service.forget()

    def check_deadlines(self, now: float) -> None:
        """Once a second: what should be known of a provider is fetched before anybody waits for it."""
        for tls in self._tls:
            if tls.changed():
                try:
                    tls.reload()
                except TlsError as error:
                    _LOG.warning("changed certificates can't be used, the last ones stay in use: %s", error)
        for sign_in, (client, not_before) in self._maintained.items():
            if now < not_before:
                continue
            wanted = sign_in.maintenance(self.ticker.wall)
            if wanted is not None:
                self._maintained[sign_in] = (client, now + limits.PROVIDER_RETRY_DELAY)
                task = asyncio.get_running_loop().create_task(drive_maintenance(wanted, client))
                self._maintenance.add(task)
                task.add_done_callback(self._maintenance.discard)

    def reopen_logs(self) -> None:
        """Open access-log files anew, after rotation."""
        for service in self.services.values():
            service.reopen_logs()

    async def finish(self, patience: float) -> None:
        """What nobody here waits for any more, but somebody elsewhere may, has this long to end."""
        await asyncio.gather(*(flows.finish(patience) for flows in self._flows))

    async def close(self) -> None:
        """Cancel, flush and close everything."""
        for task in list(self._maintenance):
            task.cancel()
        for flows in self._flows:
            await flows.close()
        for service in self.services.values():
            service.close()
        if self._telemetry is not None:
            await self._telemetry.close()
        for client in self._clients:
            client.close()
        for cluster in self.clusters.values():
            cluster.close()
        if self._connector is not None:
            self._connector.close()
        self.ticker.stop()


def stat_name(cluster: Cluster) -> str:
    """How statistics call a cluster."""
    return cluster.alt_stat_name or cluster.name.replace(":", "_")


def _plain() -> None:
    """No TLS."""


def server_settings(listener: Listener, suppress_envoy_headers: bool) -> ServerSettings:
    """What the connection manager says about connections, in the shell's terms."""
    http = listener.http
    transformation = http.server_header_transformation
    dropped = set(_NOT_FORWARDED)
    if transformation == "OVERWRITE":
        dropped.add(SERVER)
    service_time = http.profile == "envoy" and not suppress_envoy_headers
    if service_time:
        dropped.add(SERVICE_TIME)
    line = b"" if transformation == "PASS_THROUGH" else b"server: %b\r\n" % http.server_name.encode("latin-1")
    return ServerSettings(
        tls=listener.tls is not None,
        buffer_limit=listener.per_connection_buffer_limit_bytes,
        max_head_bytes=http.max_request_headers_kb * 1024,
        idle_timeout=http.idle_timeout,
        stream_idle_timeout=http.stream_idle_timeout,
        request_timeout=http.request_timeout,
        request_headers_timeout=http.request_headers_timeout,
        max_connection_duration=http.max_connection_duration,
        max_stream_duration=http.max_stream_duration,
        max_requests_per_connection=http.max_requests_per_connection or limits.MAX_REQUESTS_PER_CONNECTION,
        delayed_close_timeout=http.delayed_close_timeout,
        server_line=line,
        via_line=b"via: %b\r\n" % http.via.encode("latin-1") if http.via else b"",
        accept_http_10=http.accept_http_10 or http.profile == "ostiary",
        server_if_absent=transformation == "APPEND_IF_ABSENT",
        service_time=service_time,
        keep=tuple(kind not in dropped for kind in range(KIND_COUNT)),
        underscores=http.underscores_in_headers,
    )
