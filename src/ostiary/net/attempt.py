"""One attempt of a race: its socket, who owns that at each stage, and how its failure is told.

uvloop's transports and our socket object hold the same descriptor. When a transport closes before `create_connection`
has returned, uvloop forgets to tell the socket object, which would later close a descriptor that is someone else's:
hence `disown`.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, TypeVar

from ostiary.core.addresses import Destination
from ostiary.core.trace import Attempt
from ostiary.net import routes

P = TypeVar("P", bound=asyncio.BaseProtocol)


class HeldProtocol(asyncio.Protocol):
    """Keeps what a connection says until its owner is known."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._chunks: list[bytes] = []
        self._lost = False
        self._error: Exception | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """TLS is up."""
        self.transport = transport  # type: ignore[assignment] # uvloop's are not subclasses of asyncio.Transport

    def data_received(self, data: bytes) -> None:
        """The peer speaks first."""
        self._chunks.append(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """The peer left before the owner came."""
        self._lost = True
        self._error = exc

    def hand_over(self, protocol: asyncio.BaseProtocol) -> None:
        """Make `protocol` the owner: it sees everything as if it had been there from the start."""
        transport = self.transport
        assert transport is not None
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        for chunk in self._chunks:
            feed(protocol, chunk)
        if self._lost:
            protocol.connection_lost(self._error)


def feed(protocol: asyncio.BaseProtocol, data: bytes) -> None:
    """Give bytes to a protocol of either kind."""
    if isinstance(protocol, asyncio.BufferedProtocol):
        left = memoryview(data)
        while left:
            buffer = memoryview(protocol.get_buffer(len(left))).cast("B")
            count = min(len(buffer), len(left))
            buffer[:count] = left[:count]
            protocol.buffer_updated(count)
            left = left[count:]
    else:
        protocol.data_received(data)  # type: ignore[attr-defined] # streaming protocols of uvloop's users are duck-typed


class Runner:
    """One attempt's socket, and who owns it now."""

    __slots__ = ("closed", "destination", "held", "number", "record", "sock")

    def __init__(self, destination: Destination, record: Attempt) -> None:
        self.destination = destination
        self.record = record
        self.number = 0
        """In logs."""
        self.sock: socket.socket | None = None
        self.held: HeldProtocol | None = None
        """Set once TLS begins: the loop owns the socket from then on."""
        self.closed = False

    def close(self, loop: asyncio.AbstractEventLoop) -> None:
        """End it now. Safe at every stage and more than once."""
        if self.closed:
            return
        self.closed = True
        sock = self.sock
        if sock is None:
            return
        if self.held is None:
            loop.remove_writer(sock)
            sock.close()
            return
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        if self.held.transport is not None:
            self.held.transport.abort()


async def hand_over(runner: Runner, factory: Callable[[], P]) -> tuple[asyncio.Transport, P]:
    """The winner's transport and its owner, who sees everything as if it had been there from the start."""
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


class LocalError(OSError):
    """Fails within this host, and the text says more than the errno does."""

    def __init__(self, number: int, text: str) -> None:
        super().__init__(number, text)


def open_socket(destination: Destination, local: Sequence[routes.LocalAddress]) -> socket.socket:
    """A socket for an attempt. Raises OSError."""
    bound = routes.local_for(destination.address, local) if local else None
    if local and bound is None:
        family = "IPv6" if destination.family == "v6" else "IPv4"
        raise LocalError(
            errno.EADDRNOTAVAIL, f"no source address of {family} is configured, only {', '.join(a for a, _ in local)}"
        )
    try:
        # The protocol is written out because asyncio sets TCP_NODELAY for no other; uvloop does in any case.
        sock = socket.socket(routes.socket_family(destination.address), socket.SOCK_STREAM, socket.IPPROTO_TCP)
    except OSError as error:
        if error.errno == errno.EMFILE:
            raise LocalError(errno.EMFILE, "this process has no free file descriptor (ulimit -n)") from error
        raise
    try:
        sock.setblocking(False)
        if bound is not None:
            _bind(sock, bound)
    except OSError:
        sock.close()
        raise
    return sock


def _bind(sock: socket.socket, local: routes.LocalAddress) -> None:
    try:
        routes.bind(sock, local)
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL:
            raise LocalError(errno.EADDRNOTAVAIL, f"the source address {local[0]} is not one of this host") from error
        raise


def explained(error: OSError, destination: Destination, local: Sequence[routes.LocalAddress]) -> OSError:
    """EADDRNOTAVAIL has two causes that differ in their mend: the family is off, or every local port is in use."""
    if error.errno != errno.EADDRNOTAVAIL or isinstance(error, LocalError):
        return error
    if routes.check(destination, local).routable:
        return LocalError(
            errno.EADDRNOTAVAIL,
            "every local port for that destination is in use (net.ipv4.ip_local_port_range, which is for IPv6 too)",
        )
    family = "IPv6" if destination.family == "v6" else "IPv4"
    return LocalError(errno.EADDRNOTAVAIL, f"this host has no {family} address, or {family} is switched off")


def disown(loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
    """The transport that was made for `sock` is closed, or about to be: let the socket object forget it.

    asyncio's transports close the object itself.
    """
    if not isinstance(loop, asyncio.BaseEventLoop):
        sock.detach()


def describe(error: Exception) -> tuple[str | None, str]:
    """(errno's name or the TLS library's reason, text) of a failed attempt."""
    if isinstance(error, ssl.CertificateError):
        found = getattr(error, "verify_message", "")  # set by the library's own checks
        return "CERTIFICATE_VERIFY_FAILED", f"certificate verify failed: {found}" if found else str(error)
    if isinstance(error, ssl.SSLError):
        return error.reason or "TLS", (error.reason or str(error)).replace("_", " ").lower()
    if isinstance(error, LocalError):
        return errno.errorcode[error.errno or 0], str(error.strerror)
    if isinstance(error, ConnectionResetError) and error.errno is None:
        return "ECONNRESET", "the peer closed the connection during the handshake"
    if isinstance(error, OSError) and error.errno is not None:
        return errno.errorcode.get(error.errno, str(error.errno)), os.strerror(error.errno)
    return None, str(error) or type(error).__name__


_TLS_NUMBERS: Final = {"CERTIFICATE_VERIFY_FAILED": 268435581, "WRONG_VERSION_NUMBER": 268435703}
"""BoringSSL's, which people search for."""


def transport_failure(attempt: Attempt) -> str:
    """Why an attempt failed, in Envoy's words (%UPSTREAM_TRANSPORT_FAILURE_REASON%); empty if time ran out."""
    if attempt.outcome == "timeout":
        return ""
    if attempt.stage == "route":
        return f"immediate connect error: {attempt.message}|remote address:{_place(attempt)}"
    if attempt.stage != "tls":
        return f"delayed connect error: {attempt.message}"
    reason = attempt.errno or "TLS"
    if reason == "ECONNRESET":
        what = "0:system library:OPENSSL_internal:Connection reset by peer"
    else:
        what = f"{_TLS_NUMBERS.get(reason, 0)}:SSL routines:OPENSSL_internal:{reason}"
        if reason == "CERTIFICATE_VERIFY_FAILED":
            found = attempt.message.removeprefix("certificate verify failed: ")
            what += f":verify cert failed: certificate verification error: {found}"
    return f"TLS_error:|{what}:TLS_error_end"


def _place(attempt: Attempt) -> str:
    return str(Destination(attempt.address, attempt.port)) if attempt.family != "unix" else attempt.address


def source_of(sock: socket.socket) -> str | None:
    """The local address of a socket that is connected or connecting."""
    try:
        return str(sock.getsockname()[0])
    except OSError:
        return None
