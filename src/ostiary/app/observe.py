"""What is kept of a finished exchange: its access-log lines and the listener's counters."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, final

from ostiary.app.flights import Recorder
from ostiary.app.narrate import HTTP, OAUTH2, ROUTER, ended
from ostiary.app.prepared import Prepared, SentFields
from ostiary.app.service_stats import ServiceStats, count_by_details, count_closed
from ostiary.core.access_log import access_log_line
from ostiary.core.addresses import address_text
from ostiary.core.decision import Allow, Counter, Request, Respond
from ostiary.core.flights.note import GONE
from ostiary.core.header_lines import HeaderLine
from ostiary.core.histogram import Histogram
from ostiary.core.record import Fields, Record
from ostiary.core.redaction import without_credentials
from ostiary.core.response import ResponseFields
from ostiary.core.tracing import context_fields
from ostiary.model.access_log import AccessLog
from ostiary.model.headers import Headers
from ostiary.net.access_log import LogWriter
from ostiary.net.exchange import Exchange
from ostiary.net.http1 import Downstream
from ostiary.net.pool import Pool
from ostiary.net.ticker import Ticker

if TYPE_CHECKING:
    from ostiary.app.tracing import Tracer
    from ostiary.core.routing import MatchedRoute

_HOSTNAME: Final = socket.gethostname()
_NO_HEADERS: Final = Headers()
_ORIGINAL_PATH: Final = "x-envoy-original-path"


def _asked(headers: Headers, sensitive: bool) -> Headers:
    """A request's headers, fit for a log: a rewritten path may have held credentials."""
    original = headers.get(_ORIGINAL_PATH) if sensitive else None
    if original is not None:
        headers = headers.copy()
        headers.set(_ORIGINAL_PATH, without_credentials(original))
    return headers


def _answered(headers: Headers | list[HeaderLine], local: bool) -> Fields:
    """An answer's headers, fit for a log: our own may redirect with credentials."""
    if not isinstance(headers, Headers):
        return ResponseFields(headers)
    location = headers.get("location") if local else None
    if location is not None:
        headers = headers.copy()
        headers.set("location", without_credentials(location))
    return headers


@final
class Observer:
    """Counts and logs the exchanges of one listener."""

    __slots__ = (
        "_classes", "_completed", "_flights", "_logs", "_profile", "_time", "_total", "_tracer", "_wall", "counts",
        "stats",
    )  # fmt: skip

    def __init__(
        self,
        logs: tuple[AccessLog, ...],
        ticker: Ticker,
        counter: Callable[[str], Counter],
        times: Histogram,
        stats: ServiceStats,
        flights: Recorder | None = None,
        profile: str = "",
        tracer: Tracer | None = None,
    ) -> None:
        self._flights = flights
        self._profile = profile
        self._tracer = tracer
        self._logs = [(access_log_line(log), LogWriter(log, ticker)) for log in logs]
        self._wall = time.time() - time.monotonic()
        self._time = times
        self.stats, self.counts = stats, stats.counts
        """What happens rarely, or once a connection (app/service_stats.py)."""
        self._total = counter("downstream_rq_total")
        self._completed = counter("downstream_rq_completed")
        self._classes = [counter(f"downstream_rq_{n}xx") for n in range(1, 6)]

    def finished(self, exchange: Exchange) -> None:
        """The exchange is over."""
        if HTTP.debugs or ROUTER.debugs:
            ended(exchange)
        self._total.value += 1
        status = exchange.status
        if status and status != 101 and not exchange.health_check:
            self._completed.value += 1
            self._classes[status // 100 - 1].value += 1
        now, sent = time.monotonic(), exchange.request_done_at
        took = int((now - exchange.started) * 1000)
        if exchange.details:
            count_by_details(self.counts, exchange)
            if exchange.local:  # else no answer was completed
                self._time.record(took)
        else:
            self._time.record(took)
            if isinstance(pool := exchange.pool, Pool):
                pool.load.request_time.record(int((now - sent) * 1000) if sent else took)
            else:
                self.counts["unrouted"] += 1
        traced = self._tracer is not None and self._tracer.wants(exchange)
        if not self._logs and not traced:
            return
        record = self.record(exchange, now)
        if traced and self._tracer is not None:
            self._tracer.finished(exchange, record)
        for line, writer in self._logs:
            text = line(record)
            if text:
                writer.write(text)

    def decided(self, exchange: Exchange, decision: Allow | Respond) -> None:
        """A filter answered, or let in after asking the provider: the flight recorder keeps what it notes."""
        note = decision.note
        if note is not None and self._flights is not None:
            status = decision.status if isinstance(decision, Respond) else 0
            if note.outcome == "failed" and not status:  # no warning: while a provider is down, it is each session's
                OAUTH2.debug("code %s: a session goes on unrenewed: %s: %s", note.flight, note.code, note.reason)
            self._flights.note(exchange, note, status, self._profile)

    def left(self, exchange: Exchange) -> Callable[[Allow | Respond], None]:
        """Keeps what is decided about a request after its client has gone."""

        def late(decision: Allow | Respond) -> None:
            if decision.note is not None and self._flights is not None:
                self._flights.note(exchange, decision.note, GONE, self._profile)

        return late

    def informed(self, status: int) -> None:
        """A 1xx answer went out."""
        if status == 101:
            self.counts["downstream_cx_upgrades_total"] += 1
            self.counts["downstream_rq_response_before_rq_complete"] += 1
        self._completed.value += 1
        self._classes[status // 100 - 1].value += 1

    def closed(self, connection: Downstream, *, local: bool, active: bool) -> None:
        """A connection is closed, by us or by the client, with a request on it or without."""
        count_closed(self.counts, local=local, active=active)
        self.stats.lengths.record(int((time.monotonic() - connection.opened_at) * 1000))
        if not connection.has_spoken:
            self.counts["silent"] += 1

    def record(self, exchange: Exchange, now: float = 0.0) -> Record:
        """Everything that a format string may ask for; `now` is monotonic. What is as in any record is not set: CPython
        keeps up to 30 attributes compactly."""
        now = now or time.monotonic()
        started = exchange.started
        downstream = exchange.downstream
        record = Record()
        record.start_time = started + self._wall
        record.method = exchange.method.decode("latin-1")
        record.path = exchange.path or exchange.target.decode("latin-1")
        if exchange.sensitive_target:
            record.path = without_credentials(record.path)
        record.protocol = "HTTP/1.0" if exchange.http10 else "HTTP/1.1"
        record.response_code = exchange.status
        record.response_code_details = exchange.details or "via_upstream"
        if exchange.sensitive_target:
            record.response_code_details = without_credentials(record.response_code_details)
        if exchange.flags:
            record.response_flags = exchange.flags
        if exchange.bytes_received:
            record.bytes_received = exchange.bytes_received
        record.bytes_sent = exchange.bytes_sent
        record.duration = int((now - started) * 1000)
        if exchange.request_done_at:
            record.request_duration = int((exchange.request_done_at - started) * 1000)
        elif exchange.request_complete:
            record.request_duration = 0
        record.upstream_request_attempt_count = exchange.attempts
        if exchange.upstream_address:
            record.upstream_protocol = exchange.upstream_protocol
            record.upstream_host = exchange.upstream_address
            record.upstream_local_address = exchange.upstream_local
        elif exchange.flags == "UF" and exchange.pool is not None:
            record.upstream_host = exchange.pool.name
        if exchange.failure is not None:
            record.upstream_transport_failure_reason = str(exchange.failure)
        record.downstream_direct_remote_address = downstream.peer_address
        record.downstream_local_address = downstream.local_address
        record.connection_id = downstream.id
        record.hostname = _HOSTNAME
        if exchange.health_check:
            record.health_check = True
        if downstream.service.settings.tls:
            _describe_tls(record, downstream)
        _describe_request(record, exchange)
        _describe_response(record, exchange)
        return record

    def reopen(self) -> None:
        """After log rotation."""
        for _, writer in self._logs:
            writer.reopen()

    def close(self) -> None:
        """Flush everything."""
        for _, writer in self._logs:
            writer.close()


def _describe_tls(record: Record, downstream: Downstream) -> None:
    tls = downstream.transport.get_extra_info("ssl_object")
    if tls is not None:
        record.downstream_tls_version = tls.version() or ""
        record.downstream_tls_cipher = (tls.cipher() or ("",))[0]


def _describe_request(record: Record, exchange: Exchange) -> None:
    request, sent = exchange.request_headers, exchange.sent
    if isinstance(sent, Prepared):
        request = sent.request
        record.request_headers = SentFields(sent, exchange.head)
        matched: MatchedRoute | None = sent.route.matched
        record.user, record.upstream_cluster = sent.user, sent.cluster_name
    else:
        matched = exchange.route
        record.user, record.upstream_cluster = exchange.user, exchange.cluster
    if matched is not None:
        record.route_name = matched.name
        if matched.route.decorator:
            record.decorator = matched.route.decorator
    peer = exchange.downstream
    if isinstance(request, Request):
        if sent is None:
            record.request_headers = _asked(request.headers, exchange.sensitive_target)
        record.authority = request.authority
        record.scheme = request.scheme
        client = request.client
        record.downstream_remote_address = peer.peer_address if client == peer.peer else address_text((client, 0))
    else:
        record.request_headers = exchange.head.as_headers() if exchange.head.lines else _NO_HEADERS
        record.authority = (exchange.head.host or b"").decode("latin-1")
        record.downstream_remote_address = peer.peer_address
    if exchange.request_id:
        record.stream_id = exchange.request_id.decode("latin-1")
        record.request_set = {"x-request-id": record.stream_id}
    if exchange.trace_lines:
        fields = context_fields(exchange.trace_lines)
        record.request_set = {**record.request_set, **fields}
        record.trace_id = fields["traceparent"][3:35]


def _describe_response(record: Record, exchange: Exchange) -> None:
    if exchange.first_byte:
        took = record.response_duration = int((exchange.first_byte - exchange.started) * 1000)
        if exchange.response_headers is not None:
            record.response_headers = _answered(exchange.response_headers, exchange.local)
            if exchange.downstream.service.settings.service_time and not exchange.local:
                record.response_set = {"x-envoy-upstream-service-time": str(took)}
