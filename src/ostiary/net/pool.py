"""The connections to one host, and the line of requests that wait for one.

A request takes an idle connection at once, synchronously; only when there is none does a task dial one (`Dialer`, Happy
Eyeballs behind it) while the request waits in line. What the pools of a cluster share, the circuit breakers, is `Load`.

That a host can't be reached is logged once, and again when it can: what each request met is in the access log.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from ostiary.core.response import ResponseReader
from ostiary.model import limits
from ostiary.net import pool_log
from ostiary.net.load import Load
from ostiary.net.log import log
from ostiary.net.roles import Answered
from ostiary.net.tally import Failure, Tally
from ostiary.net.upstream import UpstreamConnection

if TYPE_CHECKING:
    from ostiary.core.trace import ConnectTrace
    from ostiary.net.ticker import Ticker

Dialer = Callable[[Callable[[], asyncio.Protocol]], Awaitable[tuple[asyncio.Protocol, "ConnectTrace"]]]
"""Opens a connection: given a protocol factory, returns the protocol and how it came about, or raises OSError."""
_LOG: Final = log("pool")
OVERFLOW: Final = "upstream_reset_before_response_started{overflow}"


class Pool(Tally):
    """The connections to one host: of HTTP/1.1 here, of both versions in net/h2_pool.py."""

    __slots__ = (
        "_connecting", "_dial", "_idle", "_idle_timeout", "_loop", "_max_duration", "_max_requests", "_tasks",
        "_ticker", "_unreachable", "_waiting", "buffer_limit", "by_name", "closing", "connections", "elsewhere",
        "hostname", "name", "reader",
    )  # fmt: skip

    def __init__(
        self,
        dial: Dialer,
        ticker: Ticker,
        load: Load,
        *,
        name: str = "",
        hostname: str = "",
        by_name: bool = False,
        max_requests: int | None = None,
        idle_timeout: float | None = limits.UPSTREAM_IDLE_TIMEOUT,
        max_duration: float = 0.0,
        buffer_limit: int = limits.WRITE_HIGH_WATER,
    ) -> None:
        super().__init__(load)
        self._loop = asyncio.get_running_loop()
        self._dial = dial
        self._ticker = ticker
        self._max_requests = max_requests or limits.MAX_REQUESTS_PER_CONNECTION
        self._idle_timeout = idle_timeout
        self._max_duration = max_duration
        self.buffer_limit = buffer_limit
        """Bytes waiting to be written to a connection before whoever sends them has to pause."""
        self.name = name
        """How logs name this host."""
        self.hostname = hostname
        """For auto_host_rewrite."""
        self.by_name = by_name
        """Dialling looks a name up first, so that only afterwards is it known whether anybody was connected to."""
        self._idle: list[UpstreamConnection] = []
        self._waiting: deque[Answered] = deque()
        self._connecting = 0
        self._unreachable = False
        self._tasks: set[asyncio.Task[None]] = set()
        self.connections: set[UpstreamConnection] = set()
        self.closing = False
        self.elsewhere: Callable[[Answered], None] | None = None
        """Who takes what has to be sent once more, once the host is gone."""
        self.reader = ResponseReader()
        ticker.idle.add(self)

    def redirect(self, dial: Dialer) -> None:
        """From now on connect this way: the addresses are known."""
        self._dial = dial
        self.by_name = False

    @property
    def pending(self) -> int:
        """Requests in line."""
        return len(self._waiting)

    @property
    def active(self) -> int:
        """Requests that have a connection now: one on each that isn't idle."""
        return len(self.connections) - len(self._idle)

    @property
    def open(self) -> int:
        """Connections, with those on their way."""
        return len(self.connections) + self._connecting

    def submit(self, client: Answered, fresh: bool = False) -> None:
        """Send a request on an idle connection, or when one is open. `fresh` insists on a new one."""
        idle = self._idle
        if fresh:
            if self.elsewhere is not None:
                self.elsewhere(client)
                return
            if idle:
                idle[0].abort()  # the new one takes its place
        else:
            while idle:
                connection = idle.pop()
                if not connection.closed and not connection.transport.is_closing():
                    load = self.load
                    if self.watch is not None or load.requests >= load.max_requests:
                        self._begin(connection, client)
                        return
                    load.requests += 1
                    self.total += 1
                    if _LOG.debugs:
                        _LOG.debug("using existing fully connected connection", connection=connection.number)
                    connection.begin(client)
                    return
        self._wait(client)

    def _wait(self, client: Answered) -> None:
        load = self.load
        if load.pending >= load.breakers.max_pending_requests:
            self.counts["upstream_rq_pending_overflow"] += 1
            client.on_failure("UO", OVERFLOW, "overflow")
            return
        load.pending += 1
        self.counts["upstream_rq_pending_total"] += 1
        if _LOG.debugs:
            pool_log.queued(ready=len(self._idle), busy=self.active, connecting=self._connecting)
        self._waiting.append(client)
        self._dial_for_waiting()

    def _begin(self, connection: UpstreamConnection, client: Answered) -> bool:
        load = self.load
        if load.requests >= load.max_requests:
            self._idle.append(connection)
            self.counts["upstream_rq_active_overflow"] += 1
            self.codes[503] += 1
            client.on_failure("UO", OVERFLOW, "overflow")
            return False
        load.requests += 1
        self.total += 1
        if self.watch is not None:
            self.watch.connected()
        if _LOG.debugs:
            _LOG.debug("creating stream", connection=connection.number)
        connection.begin(client)
        return True

    def withdraw(self, client: Answered) -> None:
        """The client no longer waits."""
        try:
            self._waiting.remove(client)
        except ValueError:
            return
        self.load.pending -= 1
        self.counts["upstream_rq_cancelled"] += 1

    # --- connections

    async def _connect(self, by_name: bool) -> None:
        try:
            connection, trace = await self._dial(self._protocol)
        except Exception as error:  # noqa: BLE001 - whatever dialling raises, nobody may wait for it in vain
            self._connecting -= 1
            self.load.connections -= 1
            if not self._unreachable:
                self._unreachable = True
                pool_log.unreachable(self.name, error)
            self._dial_failed(error, by_name)
            self._dial_for_waiting()
            return
        except asyncio.CancelledError:
            self._connecting -= 1
            self.load.connections -= 1
            raise
        self._connecting -= 1
        if self._unreachable:
            self._unreachable = False
            pool_log.UPSTREAM.info("upstream %s: connected again", self.name)
        self._tried(trace, by_name)
        self.latest = trace
        self.load.connect_time.record(int((self._loop.time() - trace.started) * 1000))
        if self._waiting:
            self._waiting[0].on_dialled(trace)
        pool_log.CLIENT.debug("connected", connection=trace.number)
        self._opened(connection, trace.number)

    def _protocol(self) -> asyncio.Protocol:
        return UpstreamConnection(self)

    def _opened(self, connection: asyncio.Protocol, number: int) -> None:
        assert isinstance(connection, UpstreamConnection)
        connection.number = number
        if connection.closed:
            self._closed_at_once()
            return
        connection.opened_at = time.monotonic()
        self.connections.add(connection)
        self._offer(connection)

    def _closed_at_once(self) -> None:
        self.load.connections -= 1
        self._destroyed(local=False, active=False)
        self._dial_for_waiting()

    def _dial_failed(self, error: Exception, by_name: bool) -> None:
        """Whoever has no dial of its own any more learns it; without an address there was nobody to connect to."""
        trace: ConnectTrace | None = getattr(error, "trace", None)
        nobody = by_name and trace is not None and not trace.attempts
        self.failure = Failure(self._ticker.wall, str(error), trace)
        late = isinstance(error, TimeoutError)
        pool_log.failed(error, trace)
        if not nobody:
            self._tried(trace, by_name)
            self.counts["upstream_cx_connect_fail"] += 1
            self.counts["upstream_cx_connect_timeout"] += late
            self._destroyed(local=late, active=False, opened_at=trace.started if trace is not None else 0.0)
        what = "connection_timeout" if late else f"remote_connection_failure|{pool_log.cause(error)}"
        details = "upstream_reset_before_response_started{" + what.replace(" ", "_") + "}"
        while len(self._waiting) > self._connecting:
            client = self._waiting.popleft()
            self.load.pending -= 1
            self.counts["upstream_cx_none_healthy" if nobody else "upstream_rq_pending_failure_eject"] += 1
            self.broke(503, charged=True)
            if trace is not None:
                client.on_dialled(trace)
            if nobody:
                client.on_failure("UH", "no_healthy_upstream", "no healthy upstream", error)
            else:
                client.on_failure("UF", details, "connection timeout" if late else "remote connection failure", error)

    def release(self, connection: UpstreamConnection) -> None:
        """A request is complete: the next in line takes the connection, or it waits."""
        self.load.requests -= 1
        if _LOG.debugs:
            pool_log.released(connection.number, self.active - 1)
        if self._waiting or self.closing or connection.requests >= self._max_requests:
            self._offer(connection)
        else:
            connection.idle_since = self._ticker.now
            self._idle.append(connection)

    def _offer(self, connection: UpstreamConnection) -> None:
        if connection.requests >= self._max_requests:
            if connection.requests == self._max_requests != limits.MAX_REQUESTS_PER_CONNECTION:
                self.counts["upstream_cx_max_requests"] += 1
            connection.abort()
            return
        while self._waiting:
            client = self._waiting.popleft()
            self.load.pending -= 1
            if self._begin(connection, client):
                return
            self._idle.remove(connection)
        if self.closing:
            connection.abort()
            return
        connection.idle_since = self._ticker.now
        self._idle.append(connection)

    def lost(self, connection: UpstreamConnection, *, local: bool, active: bool) -> None:
        """The connection is closed."""
        if connection not in self.connections:
            return
        self.connections.discard(connection)
        self.load.connections -= 1
        self._destroyed(local=local, active=active, opened_at=connection.opened_at)
        pool_log.lost(connection.number, local=local)
        if connection in self._idle:
            self._idle.remove(connection)
        self._dial_for_waiting()

    def _dial_for_waiting(self) -> None:
        """One dial for each request in line, as far as there is room; busy connections are no help to anybody."""
        while self._connecting < len(self._waiting) and self._has_room():
            self._dial_once()

    def _dial_once(self) -> None:
        pool_log.dials(self._connecting)
        self._connecting += 1
        self.load.connections += 1
        if not self.by_name:
            self._count_one()
        task = self._loop.create_task(self._connect(self.by_name))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _has_room(self) -> bool:
        """A host without any connection may always have one, or nobody ever would."""
        if self._may_dial():
            return True
        self.counts["upstream_cx_overflow"] += 1
        return self.open == 0

    def _may_dial(self) -> bool:
        """Whether the circuit breakers let one more connection be opened."""
        load = self.load
        most = load.breakers.max_connections_per_host
        return load.connections < load.breakers.max_connections and (most is None or self.open < most)

    def check_deadlines(self, now: float) -> None:
        """Close what idled too long, or is too old."""
        if self._max_duration:
            for old in [c for c in self.connections if now - c.opened_at > self._max_duration]:
                old.requests = limits.MAX_REQUESTS_PER_CONNECTION  # closed as soon as it is free
                if old in self._idle:
                    old.abort()
        if self._idle_timeout:
            for connection in [c for c in self._idle if now - c.idle_since > self._idle_timeout]:
                self.counts["upstream_cx_idle_timeout"] += 1
                connection.abort()

    def drain(self) -> None:
        """Use none of the connections for another request: the host has become unhealthy, or is gone."""
        for connection in list(self._idle):
            connection.abort()
        for connection in self.connections:
            connection.requests = limits.MAX_REQUESTS_PER_CONNECTION

    def retire(self, elsewhere: Callable[[Answered], None] | None = None) -> None:
        """The host is gone: who is in line or has a connection is still served, nobody else."""
        self.closing = True
        self.elsewhere = elsewhere
        self._ticker.idle.discard(self)
        self.drain()

    def close(self) -> None:
        """Close idle connections now, busy ones as they finish; dial no more."""
        self.retire()
        for task in list(self._tasks):
            task.cancel()
        self._waiting.clear()
