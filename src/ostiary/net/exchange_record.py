"""What is known of one request when it is over: the access log, traces, statistics and flights read it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ostiary.core.header_lines import HeaderLine
    from ostiary.core.routing import MatchedRoute
    from ostiary.core.tracing import SpanContext
    from ostiary.model.headers import Headers


class ExchangeRecord:
    """Class-level defaults: a request sets few of them."""

    tunnel = health_check = local = False  # local: the answer is our own
    route_timeout = route_deadline = request_done_at = first_byte = 0.0
    status = bytes_received = bytes_sent = 0
    flags = details = ""
    failure: BaseException | None = None  # why the upstream gave no answer
    user = cluster = path = ""  # path: the target as it is now
    route: MatchedRoute | None = None
    upstream_address = upstream_local = upstream_protocol = ""
    attempts, request_id = 0, b""
    trace: SpanContext | None = None  # recorded; its header lines are there for every request of a traced listener
    trace_lines = b""
    request_headers: object = None
    sent: object = None  # what was made ready before (app/prepared.py): it names user, route and cluster
    response_headers: list[HeaderLine] | Headers | None = None  # the upstream's as they came, or those that were sent
