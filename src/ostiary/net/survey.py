"""What there is to know from here about a target: both DNS answers, each address alone, and each lookup family.

All of it is measured at the same time, so that a dead address costs its timeout once.
"""

from __future__ import annotations

import asyncio
import ssl as tls
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ostiary.core.addresses import RecordType
from ostiary.core.lookup_families import LOOKUP_FAMILIES, Resolved
from ostiary.core.trace import Attempt, ConnectTrace
from ostiary.model import limits
from ostiary.model.clusters import DnsLookupFamily
from ostiary.net.connect_error import ConnectError
from ostiary.net.connector import Connector, Watch
from ostiary.net.resolv_conf import Server
from ostiary.net.resolver import Resolver


@dataclass(frozen=True, slots=True)
class Place:
    """A target and how to connect to it."""

    host: str
    port: int
    ssl: tls.SSLContext | None = None
    server_hostname: str | None = None
    timeout: float = limits.CONNECT_TIMEOUT
    dns_servers: Sequence[Server] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    """What else `Connector.connect` takes."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What was found."""

    answers: tuple[Resolved, ...]
    probes: tuple[Attempt, ...]
    """One attempt at each address, alone."""
    traces: dict[DnsLookupFamily, ConnectTrace]
    """What Ostiary gets with each lookup family."""


async def connect_once(connector: Connector, place: Place, **options: Any) -> ConnectTrace:
    """Connect, close, and tell how it went."""
    try:
        transport, _, trace = await connector.connect(
            place.host,
            place.port,
            asyncio.Protocol,
            ssl=place.ssl,
            server_hostname=place.server_hostname,
            timeout=place.timeout,
            dns_servers=place.dns_servers,
            **place.options,
            **options,
        )
    except ConnectError as error:
        return error.trace
    transport.abort()
    return trace


async def survey(place: Place, watch: Callable[[DnsLookupFamily], Watch]) -> Survey:
    """Measure everything. `watch` gives what watches the connection of a lookup family."""
    races = (
        connect_once(Connector(linger=0.0), place, dns_lookup_family=family, watch=watch(family))
        for family in LOOKUP_FAMILIES
    )
    (answers, probes), traces = await asyncio.gather(_addresses(place), asyncio.gather(*races))
    return Survey(answers, probes, dict(zip(LOOKUP_FAMILIES, traces, strict=True)))


async def _addresses(place: Place) -> tuple[tuple[Resolved, ...], tuple[Attempt, ...]]:
    resolver = Resolver()
    try:
        a, aaaa = await asyncio.gather(_resolve(resolver, place, "A"), _resolve(resolver, place, "AAAA"))
    finally:
        resolver.close()
    chosen = [*aaaa.addresses[: limits.MAX_PROBED_ADDRESSES], *a.addresses[: limits.MAX_PROBED_ADDRESSES]]
    probes = await asyncio.gather(*(_probe(place, address) for address in chosen))
    return (aaaa, a), tuple(probes)


async def _resolve(resolver: Resolver, place: Place, record_type: RecordType) -> Resolved:
    started = time.monotonic()
    lookup = resolver.lookup(place.host, record_type, servers=place.dns_servers)
    if lookup.answer is None:
        arrived = asyncio.Event()
        lookup.wait(lambda _answer: arrived.set())
        try:
            async with asyncio.timeout(place.timeout):
                await arrived.wait()
        except TimeoutError:
            lookup.stop()
    elapsed = (time.monotonic() - started) * 1000
    if lookup.answer is None:
        return Resolved(type=record_type, addresses=(), outcome="timeout", elapsed_ms=elapsed)
    addresses = lookup.answer.addresses
    return Resolved(type=record_type, addresses=addresses, outcome=lookup.answer.outcome, elapsed_ms=elapsed)


async def _probe(place: Place, address: str) -> Attempt:
    trace = await connect_once(Connector(linger=0.0), place, addresses=[(address, place.port)])
    return replace(trace.attempts[0])
