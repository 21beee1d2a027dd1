"""How long a request and its answer may take: the limits of its listener and of its route."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ostiary.net.exchange import Exchange


def check(exchange: Exchange, now: float) -> None:
    """Cut off what takes too long."""
    settings = exchange.downstream.service.settings
    taken = now - exchange.started
    if settings.max_stream_duration and taken > settings.max_stream_duration:
        exchange.fail(408, b"downstream duration timeout", "max_duration_timeout", "DT")
    elif exchange.route_deadline and now > exchange.route_deadline:
        if exchange.pool is not None:
            exchange.pool.timed_out(charged=not exchange.status)
        exchange.fail(504, b"upstream request timeout", "response_timeout", "UT")
    elif settings.request_timeout and not exchange.request_complete and taken > settings.request_timeout:
        exchange.fail(408, b"request timeout", "request_overall_timeout", "")
    elif exchange.idle_timeout and now - exchange.last > exchange.idle_timeout:
        status = 504 if exchange.request_complete else 408
        exchange.fail(status, b"stream timeout", "stream_idle_timeout", "SI")
