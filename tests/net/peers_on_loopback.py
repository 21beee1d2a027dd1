"""Peers on one port of ::1 and 127.0.0.1: each accepts, refuses, hangs before TCP, or stays silent in TLS."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Final, Literal

Behaviour = Literal["greets", "refuses", "black_hole", "silent", "resets", "hangs_up", "alerts"]
"""The last three end the connection after the client's first bytes: with RST, with FIN, with an alert of TLS."""
_ALERT: Final = bytes.fromhex("15030100020246")
"""Fatal, protocol_version."""
ADDRESSES: Final = {"v6": "::1", "v4": "127.0.0.1"}


@dataclass
class Peers:
    """`async with Peers(v6=..., v4=...) as peers`. A greeting peer sends its family's name at once."""

    v6: Behaviour
    v4: Behaviour
    tls: dict[str, ssl.SSLContext] = field(default_factory=dict)
    """family -> its certificate."""
    greeting: str = "{family}"
    accepted: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    """The clients' addresses."""
    port: int = 0

    async def __aenter__(self) -> Peers:
        self._stack = AsyncExitStack()
        self._writers: list[asyncio.StreamWriter] = []
        self._servers: list[asyncio.Server] = []
        sockets = self._bind()
        for family, behaviour in (("v6", self.v6), ("v4", self.v4)):
            sock = sockets[family]
            if behaviour == "refuses":
                sock.close()
            elif behaviour == "black_hole":
                self._fill(sock, family)
            else:
                context = self.tls.get(family) if behaviour == "greets" else None
                server = await asyncio.start_server(self._greeter(family, behaviour), sock=sock, ssl=context)
                self._servers.append(server)
                self._stack.callback(server.close)
        return self

    async def __aexit__(self, *_: object) -> None:
        # asyncio drops a connection, unclosed, if its server closes in the turn of the loop that accepted it.
        for sock in [sock for server in self._servers for sock in server.sockets]:
            asyncio.get_running_loop().remove_reader(sock.fileno())
        await asyncio.sleep(0)
        await self._stack.aclose()
        for _ in range(5):  # who was accepted in the last moment is greeted first
            await asyncio.sleep(0.01)
            for writer in self._writers:
                writer.transport.abort()

    def _bind(self) -> dict[str, socket.socket]:
        """One free port of both families."""
        while True:
            v4 = socket.socket(socket.AF_INET)
            v4.bind((ADDRESSES["v4"], 0))
            self.port = v4.getsockname()[1]
            v6 = socket.socket(socket.AF_INET6)
            try:
                v6.bind((ADDRESSES["v6"], self.port))
            except OSError:
                v4.close()
                v6.close()
                continue
            return {"v4": v4, "v6": v6}

    def _fill(self, sock: socket.socket, family: str) -> None:
        """A full backlog drops further SYNs: what a firewall that drops looks like."""
        sock.listen(0)
        self._stack.callback(sock.close)
        for _ in range(3):
            pending = socket.socket(sock.family)
            pending.setblocking(False)
            pending.connect_ex((ADDRESSES[family], self.port))
            self._stack.callback(pending.close)

    def _greeter(self, family: str, behaviour: Behaviour):  # type: ignore[no-untyped-def]
        async def on_client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.accepted.append(family)
            self.sources.append(writer.get_extra_info("peername")[0])
            self._writers.append(writer)
            if behaviour == "greets":
                writer.write(self.greeting.format(family=family).encode())
            try:
                await reader.read(1 << 16 if behaviour in ("resets", "hangs_up", "alerts") else -1)
                if behaviour == "alerts":
                    writer.write(_ALERT)
                if behaviour == "resets":
                    sock = writer.get_extra_info("socket")
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    writer.transport.abort()
            except OSError:
                pass
            finally:
                writer.transport.abort()  # not close(): in Python 3.11.2 a TLS transport closed twice can't be aborted

        return on_client
