"""From the model to running objects: what one worker holds of one configuration, and how its parts are joined.

It is built as a whole before anything of it runs: what can't be used is known by then. `start` makes it the present
one; the one before it, if there is, gives up what stays the same, and is closed once nobody uses it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, final

from ostiary._version import __version__
from ostiary.app.descriptors import for_clients
from ostiary.app.files import Files
from ostiary.app.filters import Filters
from ostiary.app.flows import Flows, drive_maintenance
from ostiary.app.lasting import Lasting
from ostiary.app.observe import Observer
from ostiary.app.renewal import renew
from ostiary.app.routes import RouteTable
from ostiary.app.service import HttpService
from ostiary.app.upstreams import stat_name
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
from ostiary.net.clusters import ClusterPool
from ostiary.net.server_settings import ServerSettings
from ostiary.net.tls import DownstreamTls

if TYPE_CHECKING:
    from ostiary.app.telemetry import Telemetry
    from ostiary.core.oauth2.filter import SignInFilter
    from ostiary.core.stat_tags import TagExtractor
    from ostiary.model.telemetry import Collector

_NOT_FORWARDED: Final = frozenset((CONNECTION, HOP_BY_HOP, TRANSFER_ENCODING, UPGRADE))


@final
class Runtime:
    """Everything one worker needs besides its listening sockets."""

    def __init__(self, config: Config, lasting: Lasting, before: Runtime | None = None) -> None:
        """`before` is the present one, if there is. Raises OSError, OstiaryError or ValueError for what can't be used;
        nothing is left of it then."""
        self.config = config
        self._lasting = lasting
        self.ticker = lasting.ticker
        self.stats = lasting.stats
        self.files = Files()
        self.server_tls: dict[str, DownstreamTls] = {}
        """By the listener's name."""
        self.clusters: dict[str, ClusterPool] = {}
        self.services: dict[str, HttpService] = {}
        self.sign_ins: list[SignInFilter] = []
        self._telemetry: Telemetry | None = None
        self._borrowed: list[ClusterPool] = []
        self._flows: list[Flows] = []
        self._maintenance: set[asyncio.Task[None]] = set()
        self._maintained: dict[SignInFilter, tuple[ProviderClient, float]] = {}
        self._started = False
        try:
            self._build(before)
        except BaseException:
            self._let_go()
            raise

    def _build(self, before: Runtime | None) -> None:
        for cluster in self.config.clusters:
            self.clusters[cluster.name] = self._cluster(cluster)
        for export in self.config.metrics:
            self._exporting().export_metrics(export, self._tags)
        signed_in = before.sign_ins if before is not None else []
        for listener in self.config.listeners:
            if listener.tls is not None:
                self.server_tls[listener.name] = _server_tls(listener.tls, before)
            self.services[listener.name] = self._service(listener, signed_in)
        self.files.on_change.append(self._forget)

    @property
    def is_ready(self) -> bool:
        """True once every provider is known well enough to sign somebody in."""
        return all(each.is_ready for each in self.sign_ins)

    @property
    def is_unused(self) -> bool:
        """Nobody is served by it any more, and nothing of it is under way."""
        return not any(service.is_busy for service in self.services.values()) and not any(
            flows.own for flows in self._flows
        )

    def _cluster(self, cluster: Cluster) -> ClusterPool:
        pool = self._lasting.upstreams.borrow(cluster)
        self._borrowed.append(pool)
        if self._started:
            self._lasting.upstreams.show(pool)
        return pool

    def pools(self) -> list[ClusterPool]:
        """Every cluster: those of the configuration, then those that were made for providers' URLs."""
        return list(dict.fromkeys(self._borrowed))

    def certificates(self) -> list[list[PublicCertificate]]:
        """Those in use, of each TLS context."""
        upstreams = [tls.certificates for tls in self._lasting.upstreams.contexts()]
        return upstreams + [tls.certificates for tls in self.server_tls.values()]

    async def warm(self, patience: float) -> None:
        """Clusters that must know their hosts before they can be used get that long for it, at most."""
        pools = list(self.clusters.values())
        for pool in pools:
            pool.start()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                while not all(pool.is_warm for pool in pools):  # noqa: ASYNC110 - hosts and health checks tell nobody
                    await asyncio.sleep(0.02)

    def start(self) -> None:
        """It is the present one: begin what goes on in the background."""
        self._started = True
        for pool in self._borrowed:
            self._lasting.upstreams.show(pool)
            pool.start()
        for service in self.services.values():
            self._lasting.under(service.http.stat_prefix).services.append(service)
        self.files.start(self.ticker)
        self.ticker.idle.add(self)

    def retire(self, successor: Runtime, heirs: Mapping[str, str]) -> None:
        """Another one is the present one. `heirs`: our listener -> the successor's that goes on with its clients."""
        self.ticker.idle.discard(self)
        self.files.stop(self.ticker)
        if self._telemetry is not None:
            self._telemetry.retire()
        for name, service in self.services.items():
            heir = heirs.get(name)
            if heir is None:
                service.draining = True
            else:
                service.hand_over(successor.services[heir])

    def _service(self, listener: Listener, before: Sequence[SignInFilter]) -> HttpService:
        http = listener.http
        lasting = self._lasting
        known = self.clusters.__contains__
        filters = Filters(self.stats, http.stat_prefix, self.files, known, lasting, before)
        scope = self.stats.scope(f"http.{http.stat_prefix}")
        client = self._client(http)
        lasting.diagnosis.know(http, self.config)
        flows = Flows(client, lasting.leases, lasting.running)
        self._flows.append(flows)
        routers = [link.config for link in http.http_filters if isinstance(link.config, Router)]
        suppress = any(router.suppress_envoy_headers for router in routers)
        table = RouteTable(http, filters, self.clusters.get, suppress)
        for sign_in in filters.sign_ins:
            self.sign_ins.append(sign_in)
            self._maintained[sign_in] = (client, 0.0)
        tracer = None if http.tracing is None else self._exporting().tracer(http.tracing, scope)
        under = lasting.under(http.stat_prefix)
        times = self.stats.histogram(f"http.{http.stat_prefix}.downstream_rq_time")
        service = HttpService(
            http,
            server_settings(listener, suppress),
            self.ticker,
            table,
            flows,
            Observer(http.access_log, self.ticker, scope, times, under, lasting.flights, http.profile, tracer),
            self.clusters.get,
            scope,
            os.urandom,
            for_clients(len(self.config.listeners)),
            tracer,
        )
        service.draining = lasting.shared.is_draining
        return service

    def _tags(self) -> TagExtractor:
        from ostiary.core.stat_tags import TagExtractor

        clusters = [stat_name(pool.cluster) for pool in self.pools()]
        return TagExtractor(clusters, [listener.http.stat_prefix for listener in self.config.listeners])

    def _exporting(self) -> Telemetry:
        if self._telemetry is None:
            from ostiary.app.telemetry import Telemetry  # only where it was asked for

            started, several = self._lasting.started, self._lasting.leases is not None
            client = self._collector_client
            self._telemetry = Telemetry(self.ticker, self.stats, self.files, client, started=started, several=several)
        return self._telemetry

    def _collector_client(self, collector: Collector) -> ProviderClient:
        validation = CertificateValidationContext(trusted_ca=collector.ca)
        return ProviderClient(self.clusters.get, self._cluster, tls=UpstreamTlsContext(validation_context=validation))

    def _client(self, http: HttpConnectionManager) -> ProviderClient:
        signs = [link.config for link in http.http_filters if isinstance(link.config, SignIn)]
        provider = signs[0].provider if signs else ProviderConfig(client_id="")
        validation = CertificateValidationContext(trusted_ca=provider.ca)
        return ProviderClient(
            self.clusters.get,
            self._cluster,
            tls=UpstreamTlsContext(validation_context=validation),
            dns_resolvers=provider.dns_resolvers,
            user_agent=f"ostiary/{__version__}" if signs else "",
        )

    def _forget(self) -> None:
        for service in self.services.values():
            service.forget()

    def check_deadlines(self, now: float) -> None:
        """Once a second: what should be known of a provider is fetched before anybody waits for it."""
        self._lasting.upstreams.look()
        renew(self.server_tls.values())
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
        if self._telemetry is not None and self._started:
            await self._telemetry.close()
        self._let_go()

    def _let_go(self) -> None:
        self.ticker.idle.discard(self)
        self.files.stop(self.ticker)
        for service in self.services.values():
            service.close()
            if self._started:
                self._lasting.under(service.http.stat_prefix).services.remove(service)
        if self._telemetry is not None:
            self._telemetry.stop()
        for pool in self._borrowed:
            self._lasting.upstreams.give_back(pool)
        self._borrowed.clear()


def _server_tls(settings: DownstreamTlsContext, before: Runtime | None) -> DownstreamTls:
    """The context of a listening socket; its certificates change with their files."""
    there = before.server_tls.values() if before is not None else ()
    return next((tls for tls in there if tls.settings == settings), None) or DownstreamTls(settings)


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
