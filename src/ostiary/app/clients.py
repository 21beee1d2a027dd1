"""The clients that are connected to one listener: how many there may be, and what forwarded headers say of each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

from ostiary.core.decision import Counter
from ostiary.core.forwarding import Peer
from ostiary.net.http1 import Downstream
from ostiary.net.log import log

_LOG: Final = log("http")
_MAX_PEERS: Final = 65_536


@final
class Clients:
    """Of one service."""

    def __init__(self, encrypted: bool, most: int, counter: Callable[[str], Counter]) -> None:
        self.connections: set[Downstream] = set()
        self._encrypted = encrypted
        self._most = most
        self._full = False
        self._peers: dict[str, Peer] = {}
        self._opened, self._refused = counter("downstream_cx_total"), counter("downstream_cx_overflow")

    def opened(self, connection: Downstream) -> bool:
        """A client connected; False if there are too many."""
        self._opened.value += 1
        if self._encrypted:
            connection.service.handshakes.finish(connection, connection.service.counts)
        if len(self.connections) >= self._most:
            self._refused.value += 1
            if not self._full:
                self._full = True
                _LOG.warning("%d clients are connected, more are turned away (see ulimit -n)", len(self.connections))
            return False
        self.add(connection)
        return True

    def add(self, connection: Downstream) -> None:
        """A connection is ours."""
        self.connections.add(connection)
        peer = self._peers.get(connection.peer)
        if peer is None:
            if len(self._peers) >= _MAX_PEERS:
                self._peers.clear()
            peer = self._peers[connection.peer] = Peer(address=connection.peer, encrypted=self._encrypted)
        connection.forward_key = peer

    def remove(self, connection: Downstream) -> None:
        """It is ours no more."""
        self.connections.discard(connection)
        self._full = self._full and len(self.connections) > self._most // 2
