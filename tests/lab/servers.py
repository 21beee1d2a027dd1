"""The servers' side of a world: peers that speak HTTP with and without TLS, or misbehave at an exact point of it."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import trustme

from lab.model import NAME, Peer

_HANDSHAKE_FAILURE: Final = bytes.fromhex("15030300020228")
_CLOSE_WITH_RST: Final = struct.pack("ii", 1, 0)


class Certificates:
    """One authority that clients trust, and certificates that are good, foreign or for another name."""

    def __init__(self) -> None:
        self.authority = trustme.CA()
        good = self.authority.issue_cert(NAME, "*.test")
        self._found = {
            "good": good,
            "foreign": trustme.CA().issue_cert(NAME, "*.test"),
            "other name": self.authority.issue_cert("other.example"),
        }

    def context(self, peer: Peer) -> ssl.SSLContext:
        """The server's side of a peer's TLS."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._found[peer.certificate].configure_cert(context)
        context.set_alpn_protocols(list(peer.alpn))
        return context


class Servers:
    """All peers of one world."""

    def __init__(self, certificates: Certificates) -> None:
        self._certificates = certificates
        self._listeners: list[socket.socket] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, peers: Sequence[Peer]) -> None:
        """Listen. Raises OSError."""
        for peer in peers:
            context = self._certificates.context(peer) if peer.kind == "tls" else None
            for address in peer.at:
                listener = socket.create_server(
                    (address, peer.port), family=socket.AF_INET6 if ":" in address else socket.AF_INET, backlog=1024
                )
                listener.setblocking(False)
                self._listeners.append(listener)
                self._run(self._accept(listener, peer, context))

    async def stop(self) -> None:
        """End everything, in the middle of what it does."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for listener in self._listeners:
            listener.close()

    def _run(self, coroutine) -> None:  # type: ignore[no-untyped-def]
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, listener: socket.socket, peer: Peer, context: ssl.SSLContext | None) -> None:
        loop = asyncio.get_running_loop()
        while True:
            client, _ = await loop.sock_accept(listener)
            self._run(self._speak(client, peer, context))

    async def _speak(self, client: socket.socket, peer: Peer, context: ssl.SSLContext | None) -> None:
        loop = asyncio.get_running_loop()
        with client, suppress(OSError, ssl.SSLError, asyncio.IncompleteReadError):
            await asyncio.sleep(peer.pause)
            if peer.kind == "silent":
                while await loop.sock_recv(client, 4096):
                    pass
            elif peer.kind == "alert":
                await loop.sock_recv(client, 4096)
                await loop.sock_sendall(client, _HANDSHAKE_FAILURE)
            elif peer.kind == "reset":
                await loop.sock_recv(client, 4096)
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _CLOSE_WITH_RST)
            else:
                await self._http(client, context)

    async def _http(self, client: socket.socket, context: ssl.SSLContext | None) -> None:
        address = client.getsockname()[0].encode()
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        protocol = _Protocol(reader)
        transport, _ = await loop.connect_accepted_socket(lambda: protocol, client, ssl=context)
        try:
            close = False
            while not close:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                close = b"connection: close" in head
                connection = b"connection: close\r\n" if close else b""
                transport.write(
                    b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n%scontent-length: %d\r\n\r\n%s"
                    % (connection, len(address), address)
                )
            transport.close()
            await protocol.lost.wait()
        finally:
            transport.abort()
            await protocol.lost.wait()  # the socket is the transport's until then


class _Protocol(asyncio.StreamReaderProtocol):
    def __init__(self, reader: asyncio.StreamReader) -> None:
        super().__init__(reader)
        self.lost = asyncio.Event()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.lost.set()
