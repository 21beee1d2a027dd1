"""The connections to one endpoint, and the line of requests that wait for one.

A request takes an idle connection at once, synchronously; only when there is none does a task dial one (`Dialer`, Happy
Eyeballs behind it) while the request waits in line.

That an endpoint can't be reached is logged once, and again when it can: what each request met is in the access log.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, final

from ostiary.core.decision import Counter
from ostiary.core.response import ResponseReader
from ostiary.model import limits
from ostiary.net.ticker import Ticker
from ostiary.net.upstream import Answered, UpstreamConnection

_LOG: Final = logging.getLogger("ostiary.upstream")

Dialer = Callable[[Callable[[], UpstreamConnection]], Awaitable[UpstreamConnection]]
"""Opens a connection: given a protocol factory, returns the protocol, or raises OSError or TimeoutError."""


@final
class Pool:
    """The connections to one endpoint."""

    __slots__ = (
        "_connecting",
        "_dial",
        "_idle",
        "_idle_timeout",
        "_loop",
        "_max",
        "_max_parallel",
        "_max_pending",
        "_max_requests",
        "_tasks",
        "_ticker",
        "_unreachable",
        "_waiting",
        "active",
        "buffer_limit",
        "closing",
        "connections",
        "counters",
        "failures",
        "host",
        "reader",
    )

    def __init__(
        self,
        dial: Dialer,
        ticker: Ticker,
        *,
        host: str = "",
        max_connections: int = limits.MAX_UPSTREAM_CONNECTIONS,
        max_pending: int = limits.MAX_PENDING_REQUESTS,
        max_requests: int | None = None,
        max_parallel: int = limits.MAX_PARALLEL_REQUESTS,
        idle_timeout: float | None = limits.UPSTREAM_IDLE_TIMEOUT,
        buffer_limit: int = limits.WRITE_HIGH_WATER,
        counter: Callable[[str], Counter] = Counter,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._dial = dial
        self._ticker = ticker
        self._max = max_connections
        self._max_pending = max_pending
        self._max_parallel = max_parallel
        self._max_requests = max_requests or limits.MAX_REQUESTS_PER_CONNECTION
        self._idle_timeout = idle_timeout
        self.buffer_limit = buffer_limit
        """Bytes waiting to be written to a connection before whoever sends them has to pause."""
        self.host = host
        """How access logs name this endpoint."""
        self._idle: list[UpstreamConnection] = []
        self._waiting: deque[Answered] = deque()
        self._connecting = 0
        self._unreachable = False
        self._tasks: set[asyncio.Task[None]] = set()
        self.connections: set[UpstreamConnection] = set()
        self.closing = False
        self.reader = ResponseReader()
        self.active = counter("upstream_rq_active")
        self.failures = counter("upstream_cx_connect_fail")
        self.counters = {
            name: counter(name)
            for name in (
                "upstream_cx_total",
                "upstream_rq_total",
                "upstream_rq_pending_overflow",
                "upstream_cx_destroy",
            )
        }
        ticker.idle.add(self)

    @property
    def busy(self) -> int:
        """Connections with a request on them, and requests in line."""
        return len(self.connections) - len(self._idle) + len(self._waiting)

    def submit(self, client: Answered, fresh: bool = False) -> None:
        """Send a request on an idle connection, or when one is open. `fresh` insists on a new one."""
        self.counters["upstream_rq_total"].value += 1
        idle = self._idle
        if fresh:
            if idle:
                idle[0].abort()  # the new one takes its place
        else:
            while idle:
                connection = idle.pop()
                if not connection.closed and not connection.transport.is_closing():
                    connection.begin(client)
                    return
        if len(self._waiting) >= self._max_pending or self.busy >= self._max_parallel:
            self.counters["upstream_rq_pending_overflow"].value += 1
            client.on_failure("UO", "upstream_reset_before_response_started{overflow}", "overflow")
            return
        self._waiting.append(client)
        self._dial_for_waiting()

    def withdraw(self, client: Answered) -> None:
        """The client no longer waits."""
        try:
            self._waiting.remove(client)
        except ValueError:
            return

    async def _connect(self) -> None:
        try:
            connection = await self._dial(lambda: UpstreamConnection(self))
        except Exception as error:  # noqa: BLE001 - whatever dialling raises, nobody may wait for it in vain
            self._connecting -= 1
            self.failures.value += 1
            if not self._unreachable:
                self._unreachable = True
                _LOG.warning("upstream %s: %s", self.host, error)
            if self._waiting:
                late = isinstance(error, TimeoutError)
                number = error.errno if isinstance(error, OSError) else None
                text = os.strerror(number) if number else str(error)
                what = "connection_timeout" if late else f"remote_connection_failure|delayed_connect_error:_{text}"
                reason = "connection timeout" if late else "remote connection failure"
                details = "upstream_reset_before_response_started{" + what.replace(" ", "_") + "}"
                self._waiting.popleft().on_failure("UF", details, reason, error)
            self._dial_for_waiting()
            return
        except asyncio.CancelledError:
            self._connecting -= 1
            raise
        self._connecting -= 1
        if self._unreachable:
            self._unreachable = False
            _LOG.info("upstream %s: connected again", self.host)
        self.counters["upstream_cx_total"].value += 1
        self.connections.add(connection)
        if self.closing:
            connection.abort()
        else:
            self.release(connection)

    def release(self, connection: UpstreamConnection) -> None:
        """The connection is free: the next in line takes it, or it waits."""
        if connection.requests >= self._max_requests or self.closing:
            connection.abort()
            return
        if self._waiting:
            connection.begin(self._waiting.popleft())
            return
        connection.idle_since = self._ticker.now
        self._idle.append(connection)

    def lost(self, connection: UpstreamConnection) -> None:
        """The connection is closed."""
        if connection not in self.connections:
            return
        self.connections.discard(connection)
        self.counters["upstream_cx_destroy"].value += 1
        if connection in self._idle:
            self._idle.remove(connection)
        self._dial_for_waiting()

    def _dial_for_waiting(self) -> None:
        """One dial for each request in line, as far as there is room; busy connections are no help to anybody."""
        room = self._max - len(self.connections)
        while not self.closing and self._connecting < min(len(self._waiting), room):
            self._connecting += 1
            task = self._loop.create_task(self._connect())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def check_deadlines(self, now: float) -> None:
        """Close what idled too long."""
        if self._idle_timeout:
            for connection in [c for c in self._idle if now - c.idle_since > self._idle_timeout]:
                connection.abort()

    def close(self) -> None:
        """Close idle connections now, busy ones as they finish."""
        self.closing = True
        self._ticker.idle.discard(self)
        for connection in list(self._idle):
            connection.abort()
        for task in list(self._tasks):
            task.cancel()
