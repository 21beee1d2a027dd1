"""Connections to upstreams and providers: names, addresses, families and TLS in one race (RFC 8305), with its trace.

`Connector` keeps what outlives one connection: the DNS cache and the memory of which family failed. A failure is an
exception that carries everything that was tried, and says in its text what that means.
"""

from __future__ import annotations

import asyncio
import errno
import ssl as tls
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from ipaddress import ip_address
from typing import Final, TypeVar

from ostiary.core.addresses import Candidate, Destination, Family, RecordType
from ostiary.core.explain import error_text, telling_errno
from ostiary.core.eyeballs import RaceConfig
from ostiary.core.outcomes import Outcomes
from ostiary.core.services import DEFAULT_ALPN, query_name
from ostiary.core.trace import Attempt, ConnectTrace
from ostiary.model import limits
from ostiary.model.clusters import DnsLookupFamily, HappyEyeballsConfig
from ostiary.model.dns import DnsOptions
from ostiary.net import network, routes
from ostiary.net.attempt import HeldProtocol, Runner, describe, disown
from ostiary.net.kept_out import kept_out
from ostiary.net.log import log, refresh
from ostiary.net.peer import describe_tls
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


class ConnectError(OSError):
    """No connection. `trace` is everything that was tried, the text is its summary.

    `errno` is that of the attempt that tells most: EPROTO for TLS, EHOSTUNREACH when there was no address.
    """

    def __init__(self, number: int, trace: ConnectTrace) -> None:
        super().__init__(number, trace.summary)
        self.trace = trace
        self.told = False
        """The log has a warning about it already."""

    def __str__(self) -> str:
        return self.trace.summary


class ConnectTimeoutError(ConnectError, TimeoutError):
    """No connection in time."""


class Connector:
    """Connects. One per event loop; `close` it at the end."""

    __slots__ = (
        "_generation", "_linger", "_look_after", "_outcomes", "_reports", "_routes", "_tasks", "_warned", "on_failure",
        "resolver",
    )  # fmt: skip

    def __init__(self, resolver: Resolver | None = None, *, linger: float = limits.DNS_LINGER) -> None:
        self.resolver = resolver or Resolver()
        self.on_failure: OnFailure | None = None
        """Who is told of failed connections to the hosts of clusters."""
        self._outcomes = Outcomes()
        self._routes = routes.Routes()
        self._generation: int | None = None
        """Of the network, when something was last learnt."""
        self._reports = False
        """Whether the kernel tells of changes."""
        self._look_after = 0.0
        self._warned: dict[str, float] = {}
        """Targets whose mistake was logged, until when that is enough."""
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
            return await self._connect_pipe(pipe, protocol_factory, ssl, name, check_peer, trace)
        if addresses is None and _is_ip(host):
            addresses = ((host, port),)
        if trace.started >= self._look_after:
            self._look_at_network(trace.started)
        source = ",".join(address for address, _ in local_addresses)
        ask = partial(self._ask, host, port, dns_servers, search, dns_over_tcp, dns_options)
        forced = _FORCED.get(happy_eyeballs.first_address_family_version)
        config = RaceConfig(
            timeout=timeout,
            dns_lookup_family=dns_lookup_family,
            resolution_delay=resolution_delay,
            attempt_delay=limits.CONNECTION_ATTEMPT_DELAY if attempt_delay is None else attempt_delay,
            first_family=forced or self._outcomes.preferred(host, port, trace.started, source),
            first_count=happy_eyeballs.first_address_family_count,
            max_parallel=max_parallel,
            service_records=https_records,
        )
        setting = Setting(
            host=host,
            port=port,
            ask=ask,
            judge=partial(self._judge, local_addresses, source, trace.started, attempt_delay is None),
            protocols=alpn_protocols,
            local=local_addresses,
            ssl_context=ssl,
            server_hostname=name,
            check_peer=check_peer,
            drop_unroutable=dns_options.filter_unroutable_families,
        )
        driver = RaceDriver(config, setting, self._tasks, trace.started)
        watch(partial(self._so_far, trace, driver))
        try:
            runner = await driver.run(addresses)
        except BaseException:
            driver.abandon()
            raise
        self._record(trace, driver, runner)
        driver.close(self._linger if runner is not None else 0.0)
        self._outcomes.learn(host, port, trace.winner, trace.attempts, trace.started, source)
        if runner is None:
            if not _is_ip(host):
                trace.other_family = await kept_out(ask, port, local_addresses, trace)
            raise self._failure(trace)
        try:
            transport, protocol = await self._hand_over(runner, protocol_factory)
        except BaseException:
            driver.abandon()
            raise
        self._complete(trace, transport, ssl, name)
        return transport, protocol, trace

    def network_changed(self) -> None:
        """Forget what was learnt about the network. On Linux this happens by itself, with the next connection."""
        self._outcomes.flush()
        self._routes.flush()
        self.resolver.flush()

    def close(self) -> None:
        """Stop queries that are still on their way. Connections are their owners'."""
        self.resolver.close()

    # --- inside

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

    def _judge(
        self,
        local: Sequence[routes.LocalAddress],
        source: str,
        now: float,
        adapt: bool,
        destinations: Iterable[Destination],
    ) -> list[Candidate]:
        """What the kernel says about addresses, and what is known of them; `adapt`: that sets the delay too."""
        found = []
        for destination in destinations:
            candidate = self._routes.check(destination, local, now, keep=self._reports)
            path = self._outcomes.path(destination.address, now, source)
            if path is not None:
                delay = path.delay if adapt else None
                candidate = Candidate(destination, candidate.source, candidate.routable, path.rtt, delay)
            found.append(candidate)
        return found

    def _look_at_network(self, now: float) -> None:
        """Forget what was learnt if the network has changed."""
        self._look_after = now + limits.NETWORK_LOOK
        refresh()  # a program that uses this as a library sets levels whenever it likes
        watch = network.watch()
        self._reports = watch.reports
        generation = watch.generation()
        if self._generation != generation:
            if self._generation is not None:
                _LOG.debug("the network has changed: what was learnt about it is forgotten")
                self.network_changed()
            self._generation = generation

    def _complete(
        self, trace: ConnectTrace, transport: asyncio.Transport, context: tls.SSLContext | None, name: str
    ) -> None:
        if context is not None:
            trace.tls = describe_tls(transport, context, name)
            if isinstance(context, ClientContext):
                context.remember(transport.get_extra_info("ssl_object"))
        if _LOG.debugs:
            _LOG.debug("%s", trace.summary)

    async def _hand_over(self, runner: Runner, factory: Callable[[], P]) -> tuple[asyncio.Transport, P]:
        protocol = factory()
        if runner.held is not None:
            runner.held.hand_over(protocol)
            assert runner.held.transport is not None
            return runner.held.transport, protocol
        loop = asyncio.get_running_loop()
        assert runner.sock is not None
        runner.closed = True  # from here on the transport's, in good and in bad
        try:
            transport, _ = await loop.create_connection(lambda: protocol, sock=runner.sock)
        except BaseException:
            disown(loop, runner.sock)
            raise
        if transport.is_closing():
            disown(loop, runner.sock)
        return transport, protocol

    def _record(self, trace: ConnectTrace, driver: RaceDriver, runner: Runner | None) -> None:
        trace.ended = time.monotonic()
        trace.number = driver.log.number
        if lookups := driver.lookups():
            queries = [query for lookup in lookups for query in lookup.queries]
            # Copies: a query shared with another connection may still be answered after this one is over.
            trace.dns = [replace(query) for query in sorted(queries, key=lambda query: query.started)]
        trace.attempts = driver.attempts()
        trace.winner = runner.record if runner is not None else None

    def _so_far(self, trace: ConnectTrace, driver: RaceDriver) -> ConnectTrace:
        if trace.ended is not None:
            return replace(trace)
        seen = replace(trace)
        self._record(seen, driver, None)
        seen.attempts = [replace(attempt) for attempt in seen.attempts]
        return seen

    def _failure(self, trace: ConnectTrace) -> ConnectError:
        trace.error = error_text(trace)
        mendable = trace.other_family or (trace.hurried and any(a.outcome == "timeout" for a in trace.attempts))
        (_LOG.warning if mendable and self._is_news(trace) else _LOG.debug)("%s", trace.summary)
        error = self._error(trace)
        error.told = bool(mendable)
        return error

    def _error(self, trace: ConnectTrace) -> ConnectError:
        failed = [a for a in trace.attempts if a.outcome in ("failed", "timeout")]
        late = any(a.outcome == "timeout" for a in failed) or any(q.outcome == "pending" for q in trace.dns)
        number = telling_errno(trace)
        if number is None:
            number = errno.EPROTO if any(a.stage == "tls" and a.outcome == "failed" for a in failed) else None
        if late and number is None:
            return ConnectTimeoutError(errno.ETIMEDOUT, trace)
        return ConnectError(number if number is not None else errno.EHOSTUNREACH, trace)

    def _is_news(self, trace: ConnectTrace) -> bool:
        """Whether a warning was not given lately: a busy doorkeeper must not fill the log with one mistake."""
        now = time.monotonic()
        if len(self._warned) >= limits.MAX_OUTCOMES:
            self._warned.clear()
        if now < self._warned.get(trace.target, 0.0):
            return False
        self._warned[trace.target] = now + limits.WARN_AGAIN
        return True

    async def _connect_pipe(
        self,
        path: str,
        factory: Callable[[], P],
        context: tls.SSLContext | None,
        name: str,
        check_peer: CheckPeer | None,
        trace: ConnectTrace,
    ) -> tuple[asyncio.Transport, P, ConnectTrace]:
        """A Unix socket: one attempt."""
        loop = asyncio.get_running_loop()
        record = Attempt(address=path, port=0, family="unix", started=trace.started)
        trace.attempts.append(record)
        held = HeldProtocol()
        try:
            async with asyncio.timeout(trace.timeout):
                transport, _ = await loop.create_unix_connection(
                    lambda: held, path, ssl=context, server_hostname=name if context is not None else None
                )
            if check_peer is not None:
                check_peer(transport.get_extra_info("ssl_object"))
        except (OSError, ValueError) as error:
            if held.transport is not None:
                held.transport.abort()
            record.ended = trace.ended = time.monotonic()
            if isinstance(error, TimeoutError) and error.errno is None:
                record.outcome, record.message = "timeout", "no answer"
            else:
                record.outcome = "failed"
                record.errno, record.message = describe(error)
            raise self._failure(trace) from None
        record.ended = trace.ended = time.monotonic()
        record.outcome = "won"
        trace.winner = record
        try:
            protocol = factory()
            held.hand_over(protocol)
        except BaseException:
            transport.abort()
            raise
        self._complete(trace, transport, context, name)
        return transport, protocol, trace


def _is_ip(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
