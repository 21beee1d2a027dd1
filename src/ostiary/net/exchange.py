"""One request and its answer, between a client's connection and an upstream's.

Bodies are relayed as they come, never collected: a slow side pauses the other. What a request must wait for (a sign-in
step, a connection) holds its body back, bounded, by not reading the client. After `101` both sides are a pipe.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, final

from ostiary.core import chunked
from ostiary.core.header_lines import BadMessage, HeaderLine
from ostiary.core.http1 import RequestHead
from ostiary.core.response import ResponseHead
from ostiary.model import limits
from ostiary.model.headers import Headers
from ostiary.net import tunnel
from ostiary.net.exchange_record import ExchangeRecord
from ostiary.net.request_body import RequestBody
from ostiary.net.response_head import informational_head, local_lines, response_lines, upstream_failure
from ostiary.net.status import PLAIN_TEXT, reason_phrase

if TYPE_CHECKING:
    from ostiary.core.trace import ConnectTrace
    from ostiary.net.http1 import Downstream
    from ostiary.net.roles import Carrier, Owner

_NONE: Final = 0
_LENGTH: Final = 1
_CHUNKED: Final = 2
_SAFE_METHODS: Final = frozenset((b"GET", b"HEAD", b"OPTIONS"))


@final
class Exchange(ExchangeRecord):
    """One request. Most fields are class-level defaults: a request sets few of them."""

    upstream: Carrier | None = None
    upstream_head = b""
    pool: Owner | None = None
    response_extra = b""
    """Header lines appended to the upstream's."""
    response_drop: frozenset[bytes] = frozenset()
    """Names of the upstream's headers that are left out."""
    rewrite_response: Callable[[Exchange, Headers], None] | None = None
    """Route-level mutations of the response, from when a route has the request."""
    on_abandon: Callable[[], object] | None = None
    """Called if the client leaves while something is being fetched for it."""
    sensitive_target = False
    """Its query may hold an authorization code, which no log may show."""
    may_upgrade = False
    """The client asked for another protocol, and the route allows it."""
    _pending: list[bytes] | None = None
    _pending_size = 0
    _response = -1

    def __init__(self, downstream: Downstream, head: RequestHead, method: bytes, target: bytes, http10: bool) -> None:
        self.downstream = downstream
        self.head = head
        self.method = method
        self.target = target
        self.http10 = http10
        self.is_head = method == b"HEAD"
        self.close = (http10 and not head.keep_alive) or head.close
        self.started = self.last = time.monotonic()
        self.idle_timeout = downstream.service.settings.stream_idle_timeout
        self._body = RequestBody(head, downstream.service.heads.classify) if head.has_body else None
        self.request_complete = self._body is None
        self.replayable = self.request_complete and method in _SAFE_METHODS

    # --- towards the upstream

    def forward(self, pool: Owner, head: bytes, timeout: float) -> None:
        """Send the request on: `head` is complete with its empty line; `timeout` in seconds, 0 = none."""
        self.pool = pool
        self.upstream_head = head
        self.route_timeout = timeout
        if self.request_complete and timeout:
            self.route_deadline = time.monotonic() + timeout
        if self.head.expect_continue and not self.http10 and self._body is not None and not self._body.received:
            self.downstream.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.downstream.service.informed(100)
        pool.submit(self)

    def on_upstream(self, connection: Carrier) -> None:
        """A connection is ours: write what there is."""
        self.upstream = connection
        self.attempts += 1
        self.upstream_address, self.upstream_local = connection.remote_address, connection.local_address
        self.upstream_protocol = connection.protocol
        pending = self._pending
        if pending is None:
            connection.write(self.upstream_head)
            return
        self._pending, self._pending_size = None, 0
        connection.write(b"".join((self.upstream_head, *pending)))
        if not connection.paused:
            self.downstream.resume_reading()

    def on_dialled(self, trace: ConnectTrace) -> None:
        """A connection was made for it, or could not be."""
        if self.trace is not None:
            self.trace.connects.append(trace)

    def client_data(self, data: bytes) -> None:
        """More from the client: body, tunnel, or the next request."""
        self.last = self.downstream.ticker.now
        if self.tunnel:
            if self.upstream is not None:
                self.bytes_received += len(data)
                self.upstream.write(data)
            return
        body = self._body
        if body is None:
            self._pipelined(data)
            return
        try:
            wire = body.feed(data)
            self.bytes_received = body.received
        except BadMessage as error:
            self.fail(error.status, reason_phrase(error.status), f"http1.{error.details}", "DPE")
            return
        if wire:
            self._send(wire)
        if body.done:
            self._request_done(body.rest)

    def _pipelined(self, data: bytes) -> None:
        self.downstream.buffer += data
        if len(self.downstream.buffer) > limits.MAX_PIPELINED_BYTES:
            self.downstream.pause_reading()

    def _send(self, data: bytes) -> None:
        if self.upstream is not None and self.upstream.client is self:  # else it waits for another connection
            self.upstream.write(data)
            return
        if self.status:
            return  # answered already
        if self._pending is None:
            self._pending = []
        self._pending.append(data)
        self._pending_size += len(data)
        if self._pending_size > limits.WRITE_HIGH_WATER:
            self.downstream.pause_reading()

    def _request_done(self, rest: bytes) -> None:
        self.request_complete = True
        self._body = None
        self.request_done_at = time.monotonic()
        if self.route_timeout:
            self.route_deadline = self.request_done_at + self.route_timeout
        if rest:
            self._pipelined(rest)

    # --- towards the client

    def on_response(self, head: ResponseHead, body: bytes, done: bool) -> None:
        """The upstream answers."""
        downstream = self.downstream
        status = head.status
        if status < 200:
            self._informational(head)
            return
        self.status = status
        self.response_headers = head.lines
        self.first_byte = self.last = time.monotonic()
        wire = response_lines(self, head)
        if done:
            self.upstream = None  # the pool's again: a slow client must not pause it
            framed = head.content_length is not None or self.is_head or status in (204, 304)
            if not framed:
                wire.append(b"content-length: %d\r\n" % len(body))
            self._connection_line(wire)
            wire.append(b"\r\n")
            if body:
                wire.append(body)
                self.bytes_sent = len(body)
            out = b"".join(wire)
            downstream.traffic.sent += len(out)  # as `write` does, without its call
            downstream.transport.write(out)
            self.end()
            return
        self._start_streaming(head, wire, body)

    def _start_streaming(self, head: ResponseHead, wire: list[bytes], body: bytes) -> None:
        downstream = self.downstream
        if head.content_length is not None:
            self._response = _LENGTH
        elif self.http10:
            self._response = _NONE  # until close
            self.close = True
        else:
            self._response = _CHUNKED
            wire.append(b"transfer-encoding: chunked\r\n")
        self._connection_line(wire)
        wire.append(b"\r\n")
        if body:
            self.bytes_sent = len(body)
            wire.append(chunked.encode(body) if self._response == _CHUNKED else body)
        downstream.write(b"".join(wire))
        if not self.route_deadline:
            downstream.ticker.active.discard(downstream)
        if downstream.writing_paused:
            self.client_slow()

    def _connection_line(self, wire: list[bytes]) -> None:
        downstream = self.downstream
        service = downstream.service
        enough = downstream.requests >= service.settings.max_requests_per_connection
        self.close = self.close or enough or service.draining or not self.request_complete
        if self.close:
            wire.append(b"connection: close\r\n")
        elif self.http10:
            wire.append(b"connection: keep-alive\r\n")

    def _informational(self, head: ResponseHead) -> None:
        if head.status == 101:
            tunnel.begin(self, head)
        elif head.status != 100 and not self.http10:  # a 100 was ours to send
            self.downstream.write(informational_head(head))

    def on_body(self, data: bytes, done: bool, trailers: list[HeaderLine]) -> None:
        """More of the answer's body."""
        downstream = self.downstream
        self.last = downstream.ticker.now
        self.bytes_sent += len(data)
        if done:
            self.upstream = None  # it is the pool's again: a slow client must not pause it
        if self._response == _CHUNKED:
            out = chunked.encode(data) if data else b""
            if done:
                out += chunked.encode_end(trailers)
            downstream.write(out)
        elif data:
            downstream.write(data)
        if done:
            self.end()

    def on_tunnel(self, data: bytes) -> None:
        """Bytes of the upgraded connection."""
        if data:
            self.last = self.downstream.ticker.now
            self.bytes_sent += len(data)
            self.downstream.write(data)
            return
        self.upstream = None
        self.close = True
        self.end()

    def on_failure(self, flag: str, details: str, reason: str, cause: BaseException | None = None) -> None:
        """The upstream gave no (complete) answer."""
        self.upstream = None
        self.failure = cause
        if self._response >= 0 or self.status:
            self.flags, self.details = flag, details
            self._break_off()
            return
        status, headers, body = upstream_failure(flag, reason, self.downstream.service.settings.service_time)
        self.respond(status, headers, body, details, flag)

    def respond(
        self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes, details: str, flag: str = ""
    ) -> None:
        """Answer without the upstream. `headers` without framing."""
        if self.status:
            return
        self.status = status
        self.details = details
        self.flags = flag
        self.first_byte = time.monotonic()
        wire = local_lines(self, headers, body)
        if status >= 200 and status != 204:
            wire.append(b"content-length: %d\r\n" % len(body))
        self._connection_line(wire)
        wire.append(b"\r\n")
        if body and not self.is_head and status not in (204, 304):
            wire.append(body)
            self.bytes_sent = len(body)
        self.downstream.write(b"".join(wire))
        self.end()

    def fail(self, status: int, body: bytes, details: str, flag: str) -> None:
        """End it from our side: an answer if none has begun, else the connection is cut."""
        self.abort_upstream()
        if self.status:
            self.flags, self.details = flag, details
            self._break_off()
            return
        self.respond(status, PLAIN_TEXT if body else (), body, details, flag)

    def end(self) -> None:
        """The answer is complete."""
        upstream, self.upstream = self.upstream, None
        if upstream is not None and upstream.client is self:
            upstream.abort()
        if self._pending is not None:  # CPython keeps 30 attributes compactly; this would be the 31st of most
            self._pending = None
        self.downstream.done(self, self.request_complete and not self.close)

    def _break_off(self) -> None:
        """The answer can't be completed: the client must not take it for whole."""
        downstream = self.downstream
        downstream.exchange = None
        downstream.closing = True
        downstream.service.finished(self)
        downstream.transport.abort()

    def abort_upstream(self) -> None:
        """The upstream's answer is not wanted any more."""
        upstream, self.upstream = self.upstream, None
        if upstream is not None and upstream.client is self:
            upstream.abort()
        elif self.pool is not None:
            self.pool.withdraw(self)
        if self.on_abandon is not None:
            self.on_abandon()

    # --- flow control, leaving

    def pause(self) -> None:
        """The upstream is slow."""
        self.downstream.pause_reading()

    def resume(self) -> None:
        """The upstream has caught up."""
        self.downstream.resume_reading()

    def client_slow(self) -> None:
        """The client is slow."""
        if self.upstream is not None:
            self.upstream.pause_reading()

    def client_ready(self) -> None:
        """The client has caught up."""
        if self.upstream is not None:
            self.upstream.resume_reading()

    def client_gone(self) -> None:
        """The client left."""
        self.downstream.exchange = None
        self.abort_upstream()
        self.flags = self.flags or "DC"
        self.details = self.details or "downstream_remote_disconnect"
        self.downstream.service.finished(self)
