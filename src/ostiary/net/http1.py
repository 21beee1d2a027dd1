"""The client's side of the proxy: one HTTP/1.1 connection, its requests one after the other.

A request's head is taken as a whole and looked up before it is parsed (core/http1.py). Pipelined requests wait in
`buffer`, bounded; the next one starts when the one before is answered, so answers can't change places.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final, final

from ostiary.core.addresses import address_text
from ostiary.core.header_lines import BadMessage
from ostiary.core.http1 import RequestHead
from ostiary.model import limits
from ostiary.net import deadlines, tunnel
from ostiary.net.exchange import Exchange
from ostiary.net.log import log, stream_id
from ostiary.net.status import PLAIN_TEXT, reason_phrase

if TYPE_CHECKING:
    from ostiary.net.service import Service

_CONNECTION, _HANDLER = log("connection"), log("conn_handler")
_EOL2: Final = b"\r\n\r\n"


@final
class Downstream(asyncio.Protocol):
    """One client connection."""

    __slots__ = (
        "__weakref__",
        "_empty_lines",
        "_head_deadline",
        "_lingering",
        "_processing",
        "_reading_paused",
        "_scanned",
        "_since",
        "_unsent",
        "buffer",
        "closing",
        "exchange",
        "forward_key",
        "head",
        "id",
        "local_address",
        "local_port",
        "opened_at",
        "peer",
        "peer_address",
        "requests",
        "service",
        "ticker",
        "traffic",
        "transport",
        "writing_paused",
    )

    def __init__(self, service: Service, number: int) -> None:
        self.service = service
        self.ticker, self.traffic = service.ticker, service.traffic
        self.id = number
        self.transport: asyncio.Transport = None  # type: ignore[assignment] # set by connection_made
        self.exchange: Exchange | None = None
        self.head: RequestHead | None = None
        """The last one: the next is probably like it."""
        self.buffer = b""
        self.closing = False
        self.requests = 0
        self.peer = ""
        """The peer's IP address."""
        self.peer_address = ""
        self.local_address = ""
        self.local_port = ""
        self.forward_key: object = None
        """Everything about this connection that forwarded headers depend on; see app/clients.py."""
        self.opened_at = time.monotonic()
        self._since = self.ticker.now
        self.writing_paused = False
        self._empty_lines = 0
        self._head_deadline = 0.0
        self._lingering = False
        self._processing = False
        self._reading_paused = False
        self._scanned = 0
        self._unsent = 0

    @property
    def tags(self) -> dict[str, int]:
        """What logs know the request by that is under way."""
        return {"connection": self.id, "stream": stream_id(self.id, self.requests)}

    # --- the loop's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is there."""
        self.transport = transport  # type: ignore[assignment] # uvloop's are not subclasses of asyncio's
        peer = transport.get_extra_info("peername")
        self.peer = str(peer[0]).partition("%")[0] if isinstance(peer, tuple) else "127.0.0.1"
        self.peer = self.peer.removeprefix("::ffff:")
        self.peer_address = address_text(peer)
        self.local_address = address_text(transport.get_extra_info("sockname"))
        self.local_port = self.local_address.rpartition(":")[2]
        while self.service.successor is not None:  # there has been a TLS handshake meanwhile
            self.service = self.service.successor
        self.transport.set_write_buffer_limits(self.service.settings.buffer_limit)
        self.ticker.idle.add(self)
        _HANDLER.debug("new connection from %s", self.peer_address, connection=self.id)
        if not self.service.opened(self):
            self.closing = True
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Bytes of a request, of its body, or of an upgraded connection."""
        self.traffic.received += len(data)
        exchange = self.exchange
        if exchange is not None:
            exchange.client_data(data)
        elif self._lingering or self.closing:
            return
        else:
            self._process(self.buffer + data if self.buffer else data)

    def eof_received(self) -> bool | None:
        """The client ended its side: it has left, as for Envoy and nginx, unless this is a pipe by now."""
        exchange = self.exchange
        if exchange is None or not exchange.tunnel or self.service.settings.tls:
            return None
        tunnel.client_eof(exchange)
        return True

    def connection_lost(self, _exc: Exception | None) -> None:
        """The connection is gone."""
        _CONNECTION.debug("%s", "closing socket: 1" if self.closing else "remote close", connection=self.id)
        local, self.closing = self.closing, True
        self.ticker.idle.discard(self)
        self.ticker.active.discard(self)
        exchange = self.exchange
        if exchange is not None:
            exchange.client_gone()
        self.service.closed(self, local=local, active=exchange is not None)

    def pause_writing(self) -> None:
        """The client is slow: stop reading what is for it."""
        self.writing_paused = True
        if self.exchange is not None:
            self.exchange.client_slow()

    def resume_writing(self) -> None:
        """It has caught up."""
        self.writing_paused = False
        if self.exchange is not None:
            self.exchange.client_ready()
        elif not self.closing:
            self.resume_reading()
            if self.buffer and not self._processing:
                self._process(self.buffer)

    def write(self, data: bytes) -> None:
        """Send, or keep until there is room."""
        self.traffic.sent += len(data)
        self.transport.write(data)

    @property
    def has_spoken(self) -> bool:
        """Whether the client has sent anything."""
        return bool(self.requests or self.buffer or self.head is not None or self._empty_lines)

    # --- requests

    def _process(self, data: bytes) -> None:
        """Take requests off `data` while they can be answered at once."""
        self._processing = True
        self.buffer = data
        while self.buffer and self.exchange is None and not self.closing:
            if self.writing_paused:  # answers wait to be read: no further request until they are
                self.pause_reading()
                break
            data = self.buffer
            if data.startswith(b"\r\n"):
                self._skip_empty_lines(data)
                continue
            end = data.find(_EOL2, self._scanned)
            if end < 0:
                self._incomplete(data)
                break
            self._scanned = 0
            self.buffer = b""
            self._request(data, end)
        self._processing = False

    def _skip_empty_lines(self, data: bytes) -> None:
        """RFC 9112 section 2.2: at least one empty line before the request line is ignored."""
        self._scanned = 0
        start = 2
        while data.startswith(b"\r\n", start) and start <= limits.MAX_EMPTY_LINES * 2:
            start += 2
        self.buffer = data[start:]
        self._empty_lines += start // 2
        if self._empty_lines > limits.MAX_EMPTY_LINES:
            self.refuse(BadMessage("invalid_request_line"))

    def _incomplete(self, data: bytes) -> None:
        """No head's end in sight."""
        if len(data) - 3 > self.service.settings.max_head_bytes:  # all but the last 3 bytes are the head's for sure
            self.refuse(BadMessage("headers_too_large", 431))
            return
        if not self._head_deadline:
            timeout = self.service.settings.request_headers_timeout
            self._head_deadline = self.ticker.now + timeout if timeout else 0.0
            self.ticker.active.add(self)
        self._scanned = max(len(data) - 3, 0)

    def _request(self, data: bytes, end: int) -> None:
        service = self.service
        self._head_deadline = 0.0
        self._empty_lines = 0
        try:
            if end > service.settings.max_head_bytes:
                raise BadMessage("headers_too_large", 431)
            line_end = data.find(b"\r\n")
            method, target, http10 = service.heads.request_line(data[:line_end])
            head = self.head = service.heads.read(data[line_end + 2 : end + 2], self.head)
            if http10 and head.chunked:
                raise BadMessage("transfer_encoding_in_http10")
            if http10 and not service.settings.accept_http_10:
                raise BadMessage("low_version", 426)
        except BadMessage as error:
            self.refuse(error)
            return
        self.requests += 1
        exchange = self.exchange = Exchange(self, head, method, target, http10)
        self.ticker.active.add(self)
        rest = data[end + 4 :]
        service.dispatch(exchange)
        if not rest:
            return
        if self.exchange is exchange:
            exchange.client_data(rest)
        elif head.has_body:
            self.closing = True  # answered without its body: what follows can't be told from a request
        else:
            self.buffer = rest

    def refuse(self, error: BadMessage) -> None:
        """Answer a head that can't be used, and close."""
        self.head = EMPTY_HEAD
        exchange = Exchange(self, EMPTY_HEAD, b"-", b"-", False)
        exchange.close = True
        self.exchange = exchange
        self.ticker.active.add(self)
        self.buffer = b""
        exchange.respond(error.status, PLAIN_TEXT, reason_phrase(error.status), _details(error), "DPE")

    def done(self, exchange: Exchange, keep_alive: bool) -> None:
        """The exchange has been answered completely."""
        self.exchange = None
        service = self.service
        service.finished(exchange)
        self.ticker.active.discard(self)
        self._since = self.ticker.now
        if not keep_alive or self.closing:
            if self.requests >= self.service.settings.max_requests_per_connection:
                self.service.counts["downstream_cx_max_requests_reached"] += 1
            self.service.counts["downstream_cx_drain_close"] += self.service.draining
            if not exchange.request_complete or exchange.head is EMPTY_HEAD:
                self.service.counts["downstream_rq_response_before_rq_complete"] += 1
            if exchange.flags == "DC":  # it has ended its side of a tunnel: there is nothing to wait for
                self.transport.close()
            else:
                self.linger()
            return
        if service.successor is not None:
            self.move()
        if self.writing_paused:
            self.pause_reading()
            return
        if self._reading_paused:
            self.resume_reading()
        if self.buffer and not self._processing:
            self._process(self.buffer)

    def move(self) -> None:
        """Between two requests: go on with the service that has taken over from ours."""
        left = self.service
        while self.service.successor is not None:
            self.service = self.service.successor
        left.connections.discard(self)
        self.head = None  # read by the other's rules
        self.transport.set_write_buffer_limits(self.service.settings.buffer_limit)
        self.service.adopt(self)

    # --- flow control and closing

    def pause_reading(self) -> None:
        """Take no more from the client for now."""
        if not self._reading_paused and not self.transport.is_closing():
            self._reading_paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Take more."""
        if self._reading_paused and not self.transport.is_closing():
            self._reading_paused = False
            self.transport.resume_reading()

    def linger(self) -> None:
        """Close so that the answer arrives: end our side, swallow the client's rest for a moment, then close."""
        transport = self.transport
        self.closing = True
        if transport.is_closing():
            return
        if self._lingering or not transport.can_write_eof() or not self.service.settings.delayed_close_timeout:
            transport.close()
            return
        self._lingering = True
        self.buffer = b""
        self._unsent = transport.get_write_buffer_size()
        self._head_deadline = self.ticker.now + self._patience()
        self.ticker.active.add(self)
        try:
            transport.write_eof()
        except OSError:  # asyncio's own transport tells here that the client is gone
            transport.abort()
            return
        self.resume_reading()

    def _patience(self) -> float:
        """Seconds until a closing connection is cut: long while it still takes what it was promised."""
        settings = self.service.settings
        if self._unsent:
            return settings.stream_idle_timeout or limits.STREAM_IDLE_TIMEOUT
        return settings.delayed_close_timeout

    def check_deadlines(self, now: float) -> None:
        """Cut off who is too slow."""
        exchange = self.exchange
        settings = self.service.settings
        if exchange is not None:
            deadlines.check(exchange, now)
        elif self._lingering:
            left = self.transport.get_write_buffer_size()
            if left < self._unsent:  # it still takes: what it was promised is not cut off
                self._unsent = left
                self._head_deadline = now + self._patience()
            if now > self._head_deadline:
                self.service.counts["downstream_cx_delayed_close_timeout"] += 1
                self.transport.abort()
        elif self.buffer and not self.writing_paused:
            if self._head_deadline and now > self._head_deadline:
                self.refuse(BadMessage("request_headers_timeout", 408))
        else:
            if now - self._since > limits.HEAD_MEMORY:
                self.head = None
            idle = settings.idle_timeout and now - self._since > settings.idle_timeout
            old = settings.max_connection_duration and now - self.opened_at > settings.max_connection_duration
            if idle or old:
                self.closing = True
                self.service.counts["downstream_cx_idle_timeout" if idle else "downstream_cx_max_duration_reached"] += 1
                if self.transport.get_write_buffer_size():
                    self.transport.abort()  # it does not read, and would hold this for ever
                else:
                    self.transport.close()

    def close_if_idle(self) -> None:
        """Close unless there is a request; one that is just arriving is read to its end, so that no RST meets it."""
        if self.exchange is None and not self.buffer and not self.closing:
            self.linger()


def _details(error: BadMessage) -> str:
    return error.details if error.details == "low_version" else f"http1.{error.details}"


EMPTY_HEAD: Final = RequestHead([])
