"""A short look at a peer that says more than a connection does: its certificate, an alert that comes late, plain HTTP.

TLS 1.3 lets a client believe that it is connected before the server has judged its certificate (RFC 8446 section 2):
that a certificate is required comes as an alert a round trip later, so the look waits for that long.

A path that loses large packets lets TCP come up and no handshake end. Small segments (TCP_MAXSEG, which binds both
sides) get through it: where only they do, it is the path.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from ostiary.core.trace import ConnectTrace
from ostiary.net.certificates import subject_alt_names
from ostiary.net.connect_error import ConnectError
from ostiary.net.connector import Connector, Watch
from ostiary.net.routes import sockaddr, socket_family
from ostiary.net.survey import Place

_LATE: Final = 0.1
"""Seconds for which an alert is waited for at least."""
_SMALL: Final = 536
"""Bytes: the segment that every path must carry (RFC 9293 section 3.7.1)."""
_HELLO: Final = b"HEAD / HTTP/1.1\r\nhost: %b\r\nconnection: close\r\n\r\n"
_MAX_HELLO: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a certificate says."""

    subject: str
    issuer: str
    names: tuple[str, ...]
    not_before: str
    not_after: str
    """RFC 3339."""

    @property
    def self_signed(self) -> bool:
        """Nobody but itself vouches for it."""
        return self.subject == self.issuer

    def __str__(self) -> str:
        names = ", ".join(self.names[:4]) + (f" and {len(self.names) - 4} more" if len(self.names) > 4 else "")
        signed = "signed by itself" if self.self_signed else f"issued by {self.issuer}"
        return f"for {names or self.subject}, {signed}, valid from {self.not_before[:10]} to {self.not_after[:10]}"


@dataclass(slots=True, kw_only=True)
class Glance:
    """What was seen."""

    trace: ConnectTrace
    certificate: Shown | None = None
    alert: str = ""
    """What the peer ended the connection with, after the handshake: `TLSV13_ALERT_CERTIFICATE_REQUIRED`."""


@dataclass(slots=True)
class _Listener(asyncio.Protocol):
    """Waits for the peer's first word."""

    heard: asyncio.Event = field(default_factory=asyncio.Event)
    error: Exception | None = None

    def data_received(self, data: bytes) -> None:  # noqa: ARG002 - that it speaks is enough
        """It speaks: it has accepted us."""
        self.heard.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """It has left."""
        self.error = exc
        self.heard.set()


async def glance(place: Place, *, server_hostname: str | None = None, watch: Watch = lambda _look: None) -> Glance:
    """One connection, and what the peer says in the first moment. Raises nothing that a peer can cause.

    `server_hostname` None is the place's; empty: no name is sent.
    """
    connector = Connector(linger=0.0)
    name = place.server_hostname if server_hostname is None else server_hostname
    try:
        transport, listener, trace = await connector.connect(
            place.host, place.port, _Listener, ssl=place.ssl, server_hostname=name, timeout=place.timeout, watch=watch,
            dns_servers=place.dns_servers, **place.options,
        )  # fmt: skip
    except ConnectError as error:
        return Glance(trace=error.trace)
    finally:
        connector.close()
    seen = Glance(trace=trace)
    try:
        tls = transport.get_extra_info("ssl_object")
        if tls is not None:
            with suppress(ValueError):  # an alert right behind the handshake has ended it
                seen.certificate = _shown(tls.getpeercert(binary_form=True))
            round_trip = trace.elapsed_ms / 1000
            with suppress(TimeoutError):
                async with asyncio.timeout(min(max(round_trip, _LATE), place.timeout)):
                    await listener.heard.wait()
            if isinstance(listener.error, ssl.SSLError):
                seen.alert = listener.error.reason or "TLS"
    finally:
        transport.abort()
    return seen


async def survives_small_segments(place: Place, address: str) -> bool:
    """Whether the handshake with an address ends if no packet is large, within the place's timeout."""
    loop = asyncio.get_running_loop()
    sock = socket.socket(socket_family(address), socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, _SMALL)
        async with asyncio.timeout(place.timeout):
            await loop.sock_connect(sock, sockaddr(address, place.port))
            transport, _ = await loop.create_connection(
                asyncio.Protocol, sock=sock, ssl=place.ssl, server_hostname=place.server_hostname or place.host
            )
    except ssl.SSLError:
        return True  # an answer came through, though no good one
    except (OSError, TimeoutError):
        return False
    finally:
        sock.close()
    transport.abort()
    return True


async def plain_hello(place: Place) -> bytes:
    """What a peer answers to plain HTTP: its first bytes, empty if it says nothing or ends the connection."""
    connector = Connector(linger=0.0)
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(loop=loop)
    try:
        async with asyncio.timeout(place.timeout):
            transport, _, _ = await connector.connect(
                place.host, place.port, lambda: asyncio.StreamReaderProtocol(reader, loop=loop),
                timeout=place.timeout, dns_servers=place.dns_servers, **place.options,
            )  # fmt: skip
            try:
                transport.write(_HELLO % place.host.encode("ascii", "replace"))
                return await reader.read(_MAX_HELLO)
            finally:
                transport.abort()
    except (OSError, TimeoutError):
        return b""
    finally:
        connector.close()


def _shown(der: bytes | None) -> Shown | None:
    if not der:
        return None
    from cryptography import x509

    try:
        certificate = x509.load_der_x509_certificate(der)
        return Shown(
            subject=certificate.subject.rfc4514_string(),
            issuer=certificate.issuer.rfc4514_string(),
            names=tuple(value for _, value in subject_alt_names(certificate)),
            not_before=f"{certificate.not_valid_before_utc:%Y-%m-%dT%H:%M:%SZ}",
            not_after=f"{certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}",
        )
    except ValueError:
        return None
