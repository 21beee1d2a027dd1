"""`ostiary.connect`: the connector for programs that only want a stream."""

from __future__ import annotations

import asyncio
import ssl as tls
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final
from weakref import WeakKeyDictionary

from ostiary.core.services import DEFAULT_ALPN
from ostiary.core.target import parse_target
from ostiary.core.trace import ConnectTrace
from ostiary.model import limits
from ostiary.model.clusters import DnsLookupFamily
from ostiary.net.connector import Connector

# One per loop, so that later connections profit from what earlier ones learnt. Its queries never outlive a call.
_connectors: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, Connector]] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class Connection:
    """A connected stream and how it came about."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    trace: ConnectTrace

    async def close(self) -> None:
        """Close it and wait until that is done."""
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except OSError:
            return  # the peer was faster

    async def __aenter__(self) -> Connection:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()


async def connect(
    url_or_hostport: str,
    *,
    dns_lookup_family: DnsLookupFamily = "ALL",
    timeout: float = limits.CONNECT_TIMEOUT,  # noqa: ASYNC109 # covers the race itself, and shapes it
    ssl: tls.SSLContext | bool | None = None,
    server_hostname: str | None = None,
    local_addr: str | Sequence[str] = (),
    https_records: bool | None = None,
    alpn_protocols: Sequence[str] = (DEFAULT_ALPN,),
) -> Connection:
    """Connect to a URL or to HOST:PORT within `timeout` seconds, DNS and TLS included.

    `ssl` None means what the URL's scheme says, and no TLS for HOST:PORT; True means TLS verified against the system's
    roots. `local_addr` are IP addresses of this host to connect from, at most one of each family.

    `https_records` None asks for HTTPS records (Happy Eyeballs v3) where the URL is https or wss; they name services,
    which are chosen by `alpn_protocols`: what your context offers.

    Raises ConnectError (an OSError with `.trace`), and ValueError for a target or an address that can't be read.
    """
    target = parse_target(url_or_hostport)
    local = [
        (str(ip_address(address)), 0) for address in ((local_addr,) if isinstance(local_addr, str) else local_addr)
    ]
    context = ssl if isinstance(ssl, tls.SSLContext) else None
    if ssl is True or (ssl is None and target.tls):
        context = tls.create_default_context()
    loop = asyncio.get_running_loop()
    connector = _connectors.get(loop)
    if connector is None:
        connector = _connectors[loop] = Connector(linger=0.0)
    reader = asyncio.StreamReader(loop=loop)
    transport, protocol, trace = await connector.connect(
        target.host,
        target.port,
        lambda: asyncio.StreamReaderProtocol(reader, loop=loop),
        ssl=context,
        server_hostname=server_hostname,
        dns_lookup_family=dns_lookup_family,
        timeout=timeout,
        https_records=target.tls is True and context is not None if https_records is None else https_records,
        alpn_protocols=alpn_protocols,
        local_addresses=local,
    )
    return Connection(reader, asyncio.StreamWriter(transport, protocol, reader, loop), trace)
