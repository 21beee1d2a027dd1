"""An upgraded connection: after `101` both sides are a pipe, and either may end first."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ostiary.net.response_head import upgrade_head

if TYPE_CHECKING:
    from ostiary.core.response import ResponseHead
    from ostiary.net.exchange import Exchange


def begin(exchange: Exchange, head: ResponseHead) -> None:
    """The upstream has answered 101."""
    if not exchange.may_upgrade or exchange.upstream is None:
        exchange.abort_upstream()
        exchange.on_failure("UPE", "upstream_reset_before_response_started{protocol_error}", "unexpected upgrade")
        return
    downstream = exchange.downstream
    exchange.tunnel = True
    exchange.status = 101
    downstream.service.informed(101)
    exchange.response_headers = head.lines
    exchange.first_byte = exchange.last = time.monotonic()
    exchange.route_deadline = 0.0
    downstream.ticker.active.discard(downstream)  # asked once a second is enough from now on
    via = downstream.service.settings.via_line
    downstream.write(upgrade_head(head, via + exchange.response_extra))
    if downstream.buffer:
        early, downstream.buffer = downstream.buffer, b""
        exchange.client_data(early)


def client_eof(exchange: Exchange) -> None:
    """The client ended its side of a tunnel."""
    exchange.flags, exchange.details = "DC", "downstream_remote_disconnect"
    if exchange.upstream is None:
        return
    if exchange.upstream.transport.can_write_eof():
        exchange.upstream.transport.write_eof()
    else:  # TLS has no half-closed connection
        exchange.close = True
        exchange.end()
