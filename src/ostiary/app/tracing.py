"""What a listener does for tracing: the context goes on to the application, and a finished request to the exporter.

The loop's thread only decides, writes the header and puts what is known into a queue; spans are made and encoded in
another one (app/telemetry.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, final

from ostiary.core.decision import Counter
from ostiary.core.record import Record
from ostiary.core.spans import Finished, SpanMaker
from ostiary.core.tracing import Propagator
from ostiary.net.exchange import Exchange
from ostiary.net.watched import TRACED

_RECORD: Final = 2048
"""Bytes of a record and a context without what a client sent."""
Add = Callable[[SpanMaker, Finished], None]


@final
class Tracer:
    """Traces the requests of one listener."""

    __slots__ = ("_add", "_health_checks", "_maker", "_propagator", "_recorded", "_wall")

    def __init__(self, propagator: Propagator, maker: SpanMaker, add: Add, counter: Callable[[str], Counter]) -> None:
        self._propagator = propagator
        self._maker = maker
        self._add = add
        self._wall = time.time() - time.monotonic()
        self._recorded = counter("tracing.random_sampling")
        self._health_checks = counter("tracing.health_check")

    def begin(self, exchange: Exchange) -> bytes:
        """Decide whether the request is recorded; the header lines that the application gets."""
        exchange.trace_lines, exchange.trace = self._propagator.follow(exchange.head.lines)
        return exchange.trace_lines

    def forward(self, exchange: Exchange) -> bytes:
        """The request goes on now, with these header lines."""
        lines = exchange.trace_lines or self.begin(exchange)
        if exchange.trace is not None:
            exchange.trace.forwarded_at = time.monotonic()
        return lines

    def enter(self, exchange: Exchange) -> None:
        """The running task works for this request: what it asks of a provider belongs to its trace."""
        if not exchange.trace_lines:
            self.begin(exchange)
        TRACED.set(exchange.trace)

    def wants(self, exchange: Exchange) -> bool:
        """Whether `finished` is to be told about it, which is over."""
        if not exchange.trace_lines:  # answered before it came to that
            self.begin(exchange)
        if exchange.trace is None:
            return False
        if exchange.health_check:
            self._health_checks.value += 1
            return False
        return True

    def finished(self, exchange: Exchange, record: Record) -> None:
        """A request is over of which `wants` said so."""
        assert exchange.trace is not None
        self._recorded.value += 1
        size = _RECORD + len(exchange.head.block) + len(exchange.target)
        self._add(self._maker, Finished(exchange.trace, record, time.monotonic() + self._wall, self._wall, size))
