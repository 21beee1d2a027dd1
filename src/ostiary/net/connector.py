"""Connections to upstreams and providers: names, addresses, families and TLS in one race (RFC 8305), with its trace.

`Connector` keeps what outlives one connection: the DNS cache (net/resolver.py) and the memory of paths
(net/path_memory.py). One connection goes through these states: its names are asked for (RFC 8305 section 3), the
addresses that arrive are sorted (section 4) and attempted (section 5), all of which is the race (net/race.py); what it
came to is learnt; the winner's transport is handed over, or the failure becomes an error (net/connect_error.py).
"""

from __future__ import annotations

import asyncio
import ssl as tls
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from ipaddress import ip_address
from typing import Final, TypeVar

from ostiary.core.addresses import Destination, Family, RecordType
from ostiary.core.eyeballs import RaceConfig
from ostiary.core.services import DEFAULT_ALPN, query_name
from ostiary.core.trace import ConnectTrace
from ostiary.model import limits
from ostiary.model.clusters import DnsLookupFamily, HappyEyeballsConfig
from ostiary.model.dns import DnsOptions
from ostiary.net import routes
from ostiary.net.attempt import Runner, hand_over
from ostiary.net.connect_error import ConnectError, Failures
from ostiary.net.kept_out import kept_out
from ostiary.net.log import log
from ostiary.net.path_memory import PathMemory
from ostiary.net.peer import describe_tls
from ostiary.net.pipe import open_pipe
from ostiary.net.race import CheckPeer, RaceDriver, Setting
from ostiary.net.resolv_conf import Server
from ostiary.net.resolver import Lookup, Resolver
from ostiary.net.tls import ClientContext
from ostiary.net.watched import OnFailure

P = TypeVar("P", bound=asyncio.BaseProtocol)
Watch = Callable[[Callable[[], ConnectTrace]], object]

_LOG: Final = log("happy_eyeballs")
_DEFAULTS: Final = HappyEyeballsConfig()
_DNS_DEFAULTS: Final = DnsOptions()
_FORCED: Final[dict[str, Family]] = {"V4": "v4", "V6": "v6"}


def _nobody(_look: Callable[[], ConnectTrace]) -> None:
    """Watches no race."""


class Connector:
    """Connects. One per event loop; `close` it at the end."""

    __slots__ = ("_failures", "_linger", "_memory", "_tasks", "on_failure", "resolver")

    def __init__(self, resolver: Resolver | None = None, *, linger: float = limits.DNS_LINGER) -> None:
        self.resolver = resolver or Resolver()
        self.on_failure: OnFailure | None = None
        """Who is told of failed connections to the hosts of clusters."""
        self._memory = PathMemory()
        self._failures = Failures()
        self._linger = linger
        """Seconds a DNS query may outlive a connection that did not need it, to fill the cache."""
        self._tasks: set[asyncio.Task[None]] = set()

    async def connect(
        self,
        host: str,
        port: int,
        protocol_factory: Callable[[], P],
        *,
        ssl: tls.SSLContext | None = None,
        server_hostname: str | None = None,
        watch: Watch = _nobody,
        dns_lookup_family: DnsLookupFamily = "ALL",
        timeout: float = limits.CONNECT_TIMEOUT,  # noqa: ASYNC109 # a deadline of the race itself, not a wrapper's
        happy_eyeballs: HappyEyeballsConfig = _DEFAULTS,
        dns_servers: Sequence[Server] = (),
        addresses: Sequence[tuple[str, int]] | None = None,
        pipe: str | None = None,
        resolution_delay: float = limits.RESOLUTION_DELAY,
        attempt_delay: float | None = None,
        max_parallel: int = limits.MAX_PARALLEL_ATTEMPTS,
        search: bool = True,
        dns_over_tcp: bool = False,
        dns_options: DnsOptions = _DNS_DEFAULTS,
        https_records: bool = False,
        alpn_protocols: Sequence[str] = (DEFAULT_ALPN,),
        local_addresses: Sequence[routes.LocalAddress] = (),
    ) -> tuple[asyncio.Transport, P, ConnectTrace]:
        """One connection within `timeout` seconds, DNS and TLS included.

        `addresses` (IP address, port) replaces the lookup, `pipe` (a Unix socket's path) everything.
        `server_hostname` is verified, and sent as SNI if it is a name; None means `host`. A context with a `check_peer`
        (see `net.tls`) judges the certificate once more. `protocol_factory` is called once, for the winner.
        `watch` is called once with a function that gives a copy of the trace so far, whenever it is called.

        `attempt_delay` None means 200 ms, or what is known of an address. `https_records` asks for HTTPS records too;
        their services are chosen by `alpn_protocols`, what the context offers. `local_addresses` (IP address, port or
        0) are connected from: one of each family that may be used.

        Raises ConnectError (ConnectTimeoutError when time ran out), and whatever `protocol_factory` raises.
        """
        trace = ConnectTrace(
            target=pipe if pipe is not None else str(Destination(host, port)),
            started=time.monotonic(),
            timeout=timeout,
            dns_lookup_family=dns_lookup_family,
        )
        name = (server_hostname if server_hostname is not None else host.rstrip(".")) if ssl is not None else ""
        check_peer: CheckPeer | None = getattr(ssl, "check_peer", None)
        if pipe is not None:
            transport, protocol = await self._through_pipe(pipe, protocol_factory, ssl, name, check_peer, trace)
            return transport, protocol, trace
        if addresses is None and _is_ip(host):
            addresses = ((host, port),)
        if self._memory.network_has_changed(trace.started):
            self.resolver.flush()
        source = ",".join(address for address, _ in local_addresses)
        forced = _FORCED.get(happy_eyeballs.first_address_family_version)
        config = RaceConfig(
            timeout=timeout,
            dns_lookup_family=dns_lookup_family,
            resolution_delay=resolution_delay,
            attempt_delay=limits.CONNECTION_ATTEMPT_DELAY if attempt_delay is None else attempt_delay,
            first_family=forced or self._memory.preferred(host, port, trace.started, source),
            first_count=happy_eyeballs.first_address_family_count,
            max_parallel=max_parallel,
            service_records=https_records,
        )
        setting = Setting(
            host=host,
            port=port,
            ask=partial(self._ask, host, port, dns_servers, search, dns_over_tcp, dns_options),
            judge=partial(self._memory.judge, local_addresses, source, trace.started, attempt_delay is None),
            protocols=alpn_protocols,
            local=local_addresses,
            ssl_context=ssl,
            server_hostname=name,
            check_peer=check_peer,
            drop_unroutable=dns_options.filter_unroutable_families,
        )
        driver = RaceDriver(config, setting, self._tasks, trace.started)
        watch(partial(_so_far, trace, driver))
        winner = await self._race(driver, addresses, trace)
        self._memory.learn(host, port, trace, source)
        if winner is None:
            raise await self._defeat(setting, trace)
        transport, protocol = await self._establish(driver, winner, protocol_factory)
        self._complete(trace, transport, ssl, name)
        return transport, protocol, trace

    def network_changed(self) -> None:
        """Forget what was learnt about the network. On Linux this happens by itself, with the next connection."""
        self._memory.flush()
        self.resolver.flush()

    def close(self) -> None:
        """Stop queries that are still on their way. Connections are their owners'."""
        self.resolver.close()

    # --- the states of one connection

    def _ask(
        self,
        host: str,
        port: int,
        servers: Sequence[Server],
        search: bool,
        tcp: bool,
        options: DnsOptions,
        record_type: RecordType,
        name: str = "",
    ) -> Lookup:
        asked = name or host
        if record_type == "HTTPS" and not name and not self.resolver.is_local(host):
            asked = query_name(host, port)
        return self.resolver.lookup(asked, record_type, servers=servers, search=search, tcp=tcp, options=options)

    async def _race(
        self, driver: RaceDriver, addresses: Sequence[tuple[str, int]] | None, trace: ConnectTrace
    ) -> Runner | None:
        """Run it; afterwards the trace is complete, and nothing is left of it but the winner."""
        try:
            winner = await driver.run(addresses)
        except BaseException:
            driver.abandon()
            raise
        _record(trace, driver, winner)
        driver.close(self._linger if winner is not None else 0.0)
        return winner

    async def _defeat(self, setting: Setting, trace: ConnectTrace) -> ConnectError:
        if not _is_ip(setting.host):
            trace.other_family = await kept_out(setting.ask, setting.port, setting.local, trace)
        return self._failures.of(trace)

    async def _establish(
        self, driver: RaceDriver, winner: Runner, factory: Callable[[], P]
    ) -> tuple[asyncio.Transport, P]:
        try:
            return await hand_over(winner, factory)
        except BaseException:
            driver.abandon()
            raise

    async def _through_pipe(
        self,
        path: str,
        factory: Callable[[], P],
        context: tls.SSLContext | None,
        name: str,
        check_peer: CheckPeer | None,
        trace: ConnectTrace,
    ) -> tuple[asyncio.Transport, P]:
        held = await open_pipe(path, context, name, check_peer, trace)
        if held is None:
            raise self._failures.of(trace)
        transport = held.transport
        assert transport is not None
        try:
            protocol = factory()
            held.hand_over(protocol)
        except BaseException:
            transport.abort()
            raise
        self._complete(trace, transport, context, name)
        return transport, protocol

    def _complete(
        self, trace: ConnectTrace, transport: asyncio.Transport, context: tls.SSLContext | None, name: str
    ) -> None:
        if context is not None:
            trace.tls = describe_tls(transport, context, name)
            if isinstance(context, ClientContext):
                context.remember(transport.get_extra_info("ssl_object"))
        if _LOG.debugs:
            _LOG.debug("%s", trace.summary)


def _record(trace: ConnectTrace, driver: RaceDriver, winner: Runner | None) -> None:
    trace.ended = time.monotonic()
    trace.number = driver.log.number
    if lookups := driver.lookups():
        queries = [query for lookup in lookups for query in lookup.queries]
        # Copies: a query shared with another connection may still be answered after this one is over.
        trace.dns = [replace(query) for query in sorted(queries, key=lambda query: query.started)]
    trace.attempts = driver.attempts()
    trace.winner = winner.record if winner is not None else None


def _so_far(trace: ConnectTrace, driver: RaceDriver) -> ConnectTrace:
    seen = replace(trace)
    if trace.ended is None:
        _record(seen, driver, None)
        seen.attempts = [replace(attempt) for attempt in seen.attempts]
    return seen


def _is_ip(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
