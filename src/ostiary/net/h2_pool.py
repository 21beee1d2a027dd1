"""The connections to one host that may speak HTTP/2.

Requests share a connection as long as it takes them; then a further one is opened. Where TLS decides on the protocol
(`auto_config`), it does so for each connection, and those of HTTP/1.1 are used as in any other pool.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, final
from weakref import WeakKeyDictionary

from ostiary.core.h2_head import AnswerReader
from ostiary.model import limits
from ostiary.model.clusters import Http2
from ostiary.net import pool_log
from ostiary.net.h2_upstream import Http2Connection
from ostiary.net.pool import OVERFLOW, Dialer, Pool
from ostiary.net.pool_log import POOL
from ostiary.net.roles import Answered
from ostiary.net.upstream import UpstreamConnection

if TYPE_CHECKING:
    from ostiary.net.load import Load
    from ostiary.net.ticker import Ticker


@final
class Http2Pool(Pool):
    """A pool of connections that carry many requests each, and of some that don't."""

    __slots__ = ("_insists", "_per_connection", "_refusals", "_shared", "answers", "kind", "options", "ticker")

    def __init__(self, dial: Dialer, ticker: Ticker, load: Load, *, options: Http2, **settings: Any) -> None:
        super().__init__(dial, ticker, load, **settings)
        self.kind = "" if options.negotiate else "upstream_cx_http2_total"
        self.options = options
        self.ticker = ticker
        self.answers = AnswerReader()
        self._shared: list[Http2Connection] = []
        """Every connection of HTTP/2."""
        self._insists: WeakKeyDictionary[Answered, float] = WeakKeyDictionary()
        """Requests in line for a connection that is not older than they are."""
        self._refusals: WeakKeyDictionary[Answered, int] = WeakKeyDictionary()
        """How often requests were refused that wait to be sent again."""
        self._per_connection = options.max_concurrent_streams
        """What the next connection is expected to take."""
        if options.keepalive_interval or options.connection_idle_interval:
            ticker.active.add(self)

    @property
    def active(self) -> int:
        """Requests that have a connection, or a part of one, now."""
        return super().active + sum(len(connection.streams) for connection in self._shared)

    @property
    def open(self) -> int:
        """Connections, with those on their way."""
        return super().open + len(self._shared)

    def submit(self, client: Answered, fresh: bool = False) -> None:
        """Send a request where there is room, or when a connection is open. `fresh` insists on a new one."""
        if fresh and self.elsewhere is None:
            self._insists[client] = self.ticker.now
            self._make_way()
        elif not fresh and (room := self._room()) is not None:
            self._start(room, client)
            return
        super().submit(client, fresh)

    def _make_way(self) -> None:
        """For one new connection: an idle one ends; where none may be opened, all take nothing more until one may."""
        idle = next((connection for connection in self._shared if not connection.streams), None)
        if idle is not None:
            idle.drain()
        elif not self._may_dial():
            for connection in list(self._shared):
                connection.drain()

    def _room(self) -> Http2Connection | None:
        return next((connection for connection in self._shared if connection.room > 0), None)

    def _start(self, connection: Http2Connection, client: Answered) -> None:
        load = self.load
        refusals = self._refusals.pop(client, 0) if self._refusals else 0
        self._insists.pop(client, None)
        if load.requests >= load.max_requests:
            self.counts["upstream_rq_active_overflow"] += 1
            self.codes[503] += 1
            client.on_failure("UO", OVERFLOW, "overflow")
            return
        load.requests += 1
        self.total += 1
        if self.watch is not None:
            self.watch.connected()
        if connection.requests + 1 >= self._max_requests and not connection.draining:
            self.counts["upstream_cx_max_requests"] += 1
            connection.draining = True
        if POOL.debugs:
            POOL.debug("creating stream", connection=connection.number)
        connection.begin(client, refusals)

    def withdraw(self, client: Answered) -> None:
        """The client no longer waits."""
        self._refusals.pop(client, None)
        self._insists.pop(client, None)
        super().withdraw(client)

    # --- the connections' side

    def again(self, client: Answered, refusals: int) -> bool:
        """Send a request once more, on another connection; False if it was refused too often."""
        if refusals > limits.HTTP2_MAX_REFUSALS:
            return False
        if self.elsewhere is not None:
            self.elsewhere(client)
            return True
        if self.closing:
            return False
        self._refusals[client] = refusals
        if (room := self._room()) is not None:
            self._start(room, client)
        else:
            self._wait(client)
        return True

    def has_room(self, connection: Http2Connection) -> None:
        """The connection can take a request more than before."""
        while self._waiting and connection.room > 0:
            if self._insists and self._insists.get(self._waiting[0], 0.0) > connection.opened_at:
                return  # its own connection is on its way
            client = self._waiting.popleft()
            self.load.pending -= 1
            self._start(connection, client)
        if self._waiting:
            self._dial_for_waiting()

    def gone(self, connection: Http2Connection, *, local: bool) -> None:
        """The connection is closed, from this side if `local`."""
        if connection in self._shared:
            self._shared.remove(connection)
            self.load.connections -= 1
            self._destroyed(local=local, active=bool(connection.streams), opened_at=connection.opened_at)
            pool_log.lost(connection.number, local=local)
            self._dial_for_waiting()

    # --- opening and closing

    def _protocol(self) -> asyncio.Protocol:
        return _Negotiated(self) if self.options.negotiate else Http2Connection(self)

    def _opened(self, connection: asyncio.Protocol, number: int) -> None:
        if isinstance(connection, _Negotiated):
            connection = connection.chosen
            self.counts[f"upstream_cx_http{2 if isinstance(connection, Http2Connection) else 1}_total"] += 1
        if isinstance(connection, UpstreamConnection):
            self._per_connection = 1
            super()._opened(connection, number)
            self._dial_for_waiting()
            return
        assert isinstance(connection, Http2Connection)
        connection.number = number
        if connection.closed:
            self._closed_at_once()
            return
        self._per_connection = self.options.max_concurrent_streams
        self._shared.append(connection)
        self.has_room(connection)
        if self.closing:
            connection.drain()

    def _dial_for_waiting(self) -> None:
        """As many dials as it takes for everybody in line, as far as there is room."""
        wanted = -(-len(self._waiting) // self._per_connection)
        while self._connecting < wanted and self._has_room():
            self._dial_once()

    def check_deadlines(self, now: float) -> None:
        """PINGs, idle time, age."""
        super().check_deadlines(now)
        for connection in list(self._shared):
            connection.check_deadlines(now, self._idle_timeout, self._max_duration)

    def drain(self) -> None:
        """Use none of the connections for another request."""
        super().drain()
        for connection in list(self._shared):
            connection.drain()

    def retire(self, elsewhere: Callable[[Answered], None] | None = None) -> None:
        """The host is gone: who is in line or has a connection is still served, nobody else."""
        super().retire(elsewhere)
        self._ticker.active.discard(self)


@final
class _Negotiated(asyncio.Protocol):
    """Waits for what TLS agreed on, and hands everything to a connection of that kind."""

    def __init__(self, pool: Http2Pool) -> None:
        self._pool = pool
        self.chosen: Http2Connection | UpstreamConnection = UpstreamConnection(pool)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        tls = transport.get_extra_info("ssl_object")
        if tls is not None and tls.selected_alpn_protocol() == "h2":
            self.chosen = Http2Connection(self._pool)
        transport.set_protocol(self.chosen)
        self.chosen.connection_made(transport)

    # What came before anybody knew:

    def data_received(self, data: bytes) -> None:
        self.chosen.data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.chosen.connection_lost(exc)
