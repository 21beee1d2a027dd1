"""A listening socket: TCP (IPv4, IPv6 or both) or Unix, plain or TLS, and the connections it accepted."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import stat
from collections.abc import Callable
from typing import TYPE_CHECKING, final

from ostiary.model import limits
from ostiary.model.config import Address, Listener

if TYPE_CHECKING:
    from ostiary.net.http1 import Downstream


def bind(address: Address, backlog: int, *, reuse_port: bool = False) -> list[socket.socket]:
    """Bound, listening sockets: one, or one for each family that the host name has. Raises OSError with the address."""
    if address.pipe is not None:
        return [_bind_unix(address, backlog)]
    host = None if address.host in ("", "*") else address.host
    try:
        found = socket.getaddrinfo(host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise OSError(f"can't listen on {address}: {error.strerror}") from error
    sockets: list[socket.socket] = []
    port = address.port
    try:
        for family, kind, proto, _, where in dict.fromkeys(found):
            sock = socket.socket(family, kind, proto)
            sockets.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if reuse_port:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(len(found) > 1 or host != "::"))
            sock.bind((where[0], port, *where[2:]))
            port = port or sock.getsockname()[1]
            sock.listen(backlog)
            sock.setblocking(False)
    except OSError as error:
        for sock in sockets:
            sock.close()
        raise OSError(error.errno, f"can't listen on {address}: {os.strerror(error.errno or 0)}") from error
    return sockets


def _bind_unix(address: Address, backlog: int) -> socket.socket:
    path = address.pipe or ""
    with contextlib.suppress(OSError):
        if not path.startswith("@") and stat.S_ISSOCK(os.stat(path).st_mode):
            os.unlink(path)  # a socket left by a process that is gone
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind("\0" + path[1:] if path.startswith("@") else path)
        if address.mode is not None:
            os.chmod(path, address.mode)
        sock.listen(backlog)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"can't listen on {address}: {os.strerror(error.errno or 0)}") from error
    return sock


def _identity(path: str) -> tuple[int, int]:
    found = os.stat(path)
    return found.st_dev, found.st_ino


@final
class ListenerServer:
    """The sockets of one listener and the connections that came over them."""

    def __init__(self, listener: Listener, sockets: list[socket.socket]) -> None:
        self.listener = listener
        self.sockets = sockets
        self.connections: set[Downstream] = set()
        self._servers: list[asyncio.Server] = []
        pipe = listener.address.pipe
        names = [] if pipe is not None else [sock.getsockname() for sock in sockets]
        self.addresses = [f"[{n[0]}]:{n[1]}" if ":" in n[0] else f"{n[0]}:{n[1]}" for n in names]
        """Where it listens, as `host:port`."""
        if pipe is not None:
            self.addresses.append(str(listener.address))
        self._owner = os.getpid()
        self._identity = _identity(pipe) if pipe is not None and not pipe.startswith("@") else None

    async def start(self, factory: Callable[[], asyncio.Protocol], context: ssl.SSLContext | None) -> None:
        """Accept from now on."""
        loop = asyncio.get_running_loop()
        timeout = limits.TLS_HANDSHAKE_TIMEOUT if context is not None else None
        backlog = self.listener.tcp_backlog_size
        for sock in self.sockets:
            if sock.family == socket.AF_UNIX:
                server = await loop.create_unix_server(
                    factory, sock=sock, ssl=context, ssl_handshake_timeout=timeout, backlog=backlog
                )
            else:
                server = await loop.create_server(
                    factory, sock=sock, ssl=context, ssl_handshake_timeout=timeout, backlog=backlog
                )
            self._servers.append(server)

    def stop_accepting(self) -> None:
        """Close the listening sockets; connections go on."""
        for server in self._servers:
            server.close()
        self._servers.clear()
        path = self.listener.address.pipe
        if path is not None and os.getpid() == self._owner:
            with contextlib.suppress(OSError):
                if _identity(path) == self._identity:  # a successor may have put its own socket there
                    os.unlink(path)

    def shut(self) -> None:
        """Let nobody in any more, by any process that has these sockets; who waits to be accepted is turned away."""
        for sock in self.sockets:
            with contextlib.suppress(OSError):  # somebody was quicker
                sock.shutdown(socket.SHUT_RDWR)
        self.stop_accepting()

    @property
    def is_listening(self) -> bool:
        """Whether this process accepts."""
        return bool(self._servers)

    def close(self) -> None:
        """Close the sockets."""
        for sock in self.sockets:
            sock.close()

    async def drain(self, patience: float) -> int:
        """Let running requests finish for up to `patience` seconds, then cut. Returns how many were cut."""
        for connection in list(self.connections):
            connection.drain()
        end = asyncio.get_running_loop().time() + patience
        while self.connections and asyncio.get_running_loop().time() < end:
            await asyncio.sleep(0.02)
            for connection in list(self.connections):
                connection.drain()
        left = list(self.connections)
        for connection in left:
            connection.transport.abort()
        return len(left)
