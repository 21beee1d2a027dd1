"""A listening socket: TCP (IPv4, IPv6 or both) or Unix, plain or TLS, and the connections it accepted.

Nobody who has connected is turned away by an end: before a socket is closed, what waits in its queue is accepted, and a
drain waits for TLS handshakes under way. A drain leaves idle connections open for DRAIN_IDLE: a client that sends a
request now and then so hears `connection: close` with an answer, and does not send one to a connection that is closed
while it is on its way.

TLS handshakes count as connections: who begins many and ends none must not take the last descriptor, without which no
upstream can be reached. So where connections and handshakes are as many as there may be, newcomers wait in the kernel's
queue until a handshake has ended, or its time.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
import ssl
import stat
from collections.abc import Callable, Collection
from typing import Final, final

from ostiary.model import limits
from ostiary.model.config import Address, Listener
from ostiary.net.http1 import Downstream
from ostiary.net.log import next_connection_id
from ostiary.net.service import Service

_HEAD_START: Final = 0.002
"""Seconds that a worker with many clients leaves a new one to the others: idle ones take microseconds."""
_FULL_AGAIN: Final = 1.0
"""Seconds after which a process without a free descriptor tries to accept again."""
_LOOK: Final = 0.02
"""Seconds between two looks at what a drain waits for."""


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
class Acceptor:
    """Accepts the connections of one listener for a service that may be succeeded by another."""

    def __init__(
        self, service: Service, context: ssl.SSLContext | None, is_ahead: Callable[[], bool] | None = None
    ) -> None:
        """`is_ahead`, if other processes accept at the same sockets: whether they should have the next client."""
        self.service = service
        self.context = context
        self._is_ahead = is_ahead
        self._watched: list[socket.socket] = []
        self._servers: list[asyncio.Server] = []
        self._late: set[asyncio.Task[tuple[asyncio.Transport, Downstream]]] = set()
        self._sockets: list[socket.socket] = []
        self._backlog = 0
        self._rests: asyncio.TimerHandle | asyncio.Task[None] | None = None
        """What will accept again."""

    def __call__(self) -> Downstream:
        """A client is there."""
        connection = Downstream(self.service, next_connection_id())
        if self.context is not None:
            self.service.handshakes.begin(connection)
            if self._rests is None and self._is_full():
                # Not now: the connection is not the loop's yet.
                self._rests = asyncio.get_running_loop().call_later(0.0, self._rest)
        return connection

    def _is_full(self) -> bool:
        room = self.service.most_connections - len(self.service.connections)
        return self.service.handshakes.fill(max(room, limits.MIN_HANDSHAKES))

    def _rest(self) -> None:
        loop = asyncio.get_running_loop()
        gc.collect()  # those that have failed count until they are collected
        if self._is_full():
            self._stop()
            self._rests = loop.call_later(limits.HANDSHAKE_REST, self._rest)
        elif self._servers or self._watched:
            self._rests = None
        else:
            self._rests = loop.create_task(self._open_again())

    async def _open_again(self) -> None:
        try:
            await self.open(self._sockets, self._backlog)
        except OSError:  # no descriptor is left
            self._rests = asyncio.get_running_loop().call_later(limits.HANDSHAKE_REST, self._rest)
        else:
            self._rests = None

    @property
    def is_busy(self) -> bool:
        """Whether a TLS handshake may still be under way."""
        return bool(self._late or self.service.handshakes.under_way)

    @property
    def arriving(self) -> int:
        """Accepted connections that nobody knows of yet."""
        return len(self._late)

    @property
    def is_open(self) -> bool:
        """Whether it accepts."""
        return bool(self._servers or self._watched or self._rests)

    async def open(self, sockets: list[socket.socket], backlog: int) -> None:
        """Accept from now on. Raises OSError, and accepts nothing then."""
        self._sockets, self._backlog = sockets, backlog
        loop = asyncio.get_running_loop()
        timeout = limits.TLS_HANDSHAKE_TIMEOUT if self.context is not None else None
        try:
            for sock in sockets:
                if self._is_ahead is not None:
                    self._watched.append(own := sock.dup())
                    own.listen(backlog)
                    self._watch(own)
                    continue
                create = loop.create_unix_server if sock.family == socket.AF_UNIX else loop.create_server
                server = await create(
                    self, sock=sock.dup(), ssl=self.context, ssl_handshake_timeout=timeout, backlog=backlog
                )
                self._servers.append(server)
        except BaseException:
            self._stop()
            raise

    def _watch(self, sock: socket.socket) -> None:
        if sock in self._watched:
            asyncio.get_running_loop().add_reader(sock, self._knocked, sock)

    def _knocked(self, sock: socket.socket) -> None:
        """A client is there: it is ours, if others don't come first who have fewer."""
        if self._is_ahead is not None and self._is_ahead():
            loop = asyncio.get_running_loop()
            loop.remove_reader(sock)
            loop.call_later(_HEAD_START, self._follow, sock)
        else:
            self._accept(sock)

    def _follow(self, sock: socket.socket) -> None:
        self._watch(sock)
        self._accept(sock)

    def _accept(self, sock: socket.socket) -> None:
        try:
            client, _ = sock.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError:  # closed meanwhile, or no descriptor to be had: that would be tried again at once, and again
            if sock in self._watched:
                loop = asyncio.get_running_loop()
                loop.remove_reader(sock)
                loop.call_later(_FULL_AGAIN, self._watch, sock)
        else:
            self._take(client)

    def accept_waiting(self, sockets: list[socket.socket]) -> None:
        """Take what the kernel has connected already."""
        for sock in sockets:
            while True:
                try:
                    client, _ = sock.accept()
                except OSError:
                    break
                self._take(client)

    def _take(self, client: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        client.setblocking(False)
        timeout = limits.TLS_HANDSHAKE_TIMEOUT if self.context is not None else None
        task = loop.create_task(
            loop.connect_accepted_socket(self, client, ssl=self.context, ssl_handshake_timeout=timeout)
        )
        self._late.add(task)
        task.add_done_callback(self._greeted)

    def _greeted(self, task: asyncio.Task[tuple[asyncio.Transport, Downstream]]) -> None:
        self._late.discard(task)
        if not task.cancelled():
            task.exception()  # a handshake that fails is no news

    def close(self) -> None:
        """Accept no more; the listening sockets stay open."""
        if self._rests is not None:
            self._rests.cancel()
            self._rests = None
        self._stop()

    def _stop(self) -> None:
        for server in self._servers:
            server.close()
        self._servers.clear()
        for sock in self._watched:
            asyncio.get_running_loop().remove_reader(sock)
            sock.close()
        self._watched.clear()


@final
class ListenerServer:
    """The sockets of one listener and the connections that came over them."""

    def __init__(self, listener: Listener, sockets: list[socket.socket], *, owner: bool = True) -> None:
        """`owner`: this process bound them, and removes a Unix socket's path at the end."""
        self.listener = listener
        self.sockets = sockets
        self._acceptor: Acceptor | None = None
        pipe = listener.address.pipe
        names = [] if pipe is not None else [sock.getsockname() for sock in sockets]
        self.addresses = [f"[{n[0]}]:{n[1]}" if ":" in n[0] else f"{n[0]}:{n[1]}" for n in names]
        """Where it listens, as `host:port`."""
        if pipe is not None:
            self.addresses.append(str(listener.address))
        self._owner = os.getpid() if owner else 0
        self._identity = _identity(pipe) if pipe is not None and not pipe.startswith("@") else None

    @property
    def is_listening(self) -> bool:
        """Whether this process accepts."""
        return self._acceptor is not None and self._acceptor.is_open

    @property
    def connections(self) -> set[Downstream]:
        """Of those that came over it, the ones that the present configuration serves."""
        return self._acceptor.service.connections if self._acceptor is not None else set()

    @property
    def acceptor(self) -> Acceptor | None:
        """What accepts now."""
        return self._acceptor

    async def ready(
        self,
        listener: Listener,
        service: Service,
        context: ssl.SSLContext | None,
        is_ahead: Callable[[], bool] | None = None,
    ) -> Acceptor:
        """What accepts for this service, accepting already if another context is needed for it. `serve` is next."""
        if self._acceptor is not None and self._acceptor.context is context:
            return self._acceptor
        acceptor = Acceptor(service, context, is_ahead)
        await acceptor.open(self.sockets, listener.tcp_backlog_size)
        return acceptor

    def dismiss(self, acceptor: Acceptor) -> None:
        """It won't be served after all."""
        if acceptor is not self._acceptor:
            acceptor.close()

    def serve(self, listener: Listener, service: Service, acceptor: Acceptor) -> None:
        """Clients that come from now on are this service's."""
        if self._acceptor is not acceptor and self._acceptor is not None:
            self._acceptor.close()
        elif self.listener.tcp_backlog_size != listener.tcp_backlog_size:
            for sock in self.sockets:
                sock.listen(listener.tcp_backlog_size)
        acceptor.service = service
        self._acceptor, self.listener = acceptor, listener

    def stop_accepting(self, *, for_all: bool = False) -> None:
        """Accept what has come and nothing more; connections go on. `for_all`: other processes that share the sockets
        accept no more either."""
        if self._acceptor is not None:
            self._acceptor.close()
            self._acceptor.accept_waiting(self.sockets)
        if for_all:
            for sock in self.sockets:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RD)
        self.close()

    def close(self) -> None:
        """Close the sockets of this process."""
        for sock in self.sockets:
            sock.close()
        self.sockets = []
        path = self.listener.address.pipe
        if path is not None and os.getpid() == self._owner:
            with contextlib.suppress(OSError):
                if _identity(path) == self._identity:  # a successor may have put its own socket there
                    os.unlink(path)


async def drain(
    connections: Collection[set[Downstream]], acceptors: Collection[Acceptor], patience: float, idle: float
) -> int:
    """Let running requests finish for up to `patience` seconds, then cut; idle connections stay for `idle` seconds.

    Returns how many were cut.
    """
    loop = asyncio.get_running_loop()
    start = loop.time()
    while loop.time() < start + patience:
        if loop.time() >= start + min(idle, patience / 2):
            for each in connections:
                close_idle(each)
        await asyncio.sleep(_LOOK)  # before the first look, too: who was accepted last is not among them yet
        if not any(connections) and not any(each.is_busy for each in acceptors):
            break
    return sum(cut(each) for each in connections)


def close_idle(connections: set[Downstream]) -> None:
    """Close those without a request."""
    for connection in list(connections):
        connection.close_if_idle()


def cut(connections: set[Downstream]) -> int:
    """Close those that are left; how many that were."""
    left = list(connections)
    for connection in left:
        connection.transport.abort()
    return len(left)
