"""One HTTP/2 connection to an application (or a provider) and the requests on it.

The library (core/h2_session.py) keeps the protocol; here its events reach the requests they are for, and the frames it
makes reach the socket. Bodies share the connection in turns of one frame each.

A connection ends gently, when its upstream says GOAWAY or it has served its time: it takes no further request, those it
has go on. Requests that the upstream says it did not touch go to another connection.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final, final

from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError

from ostiary.core.addresses import address_text
from ostiary.core.h2_head import header_list_size
from ostiary.core.h2_session import Http2Session
from ostiary.core.header_lines import BadMessage
from ostiary.model import limits
from ostiary.net.h2_events import Events
from ostiary.net.h2_sender import Sender
from ostiary.net.h2_stream import NOT_OFFERED, Http2Stream
from ostiary.net.roles import Answered, Http2Owner

if TYPE_CHECKING:
    from ostiary.core.h2_head import OutgoingHead

_HTTP1: Final = b"HTTP/1."
_SETTINGS: Final = b"\4"
"""The type of the first frame that a peer sends (RFC 9113 section 3.4), its fourth byte."""


@final
class Http2Connection(asyncio.Protocol):
    """One connection, with up to `max_concurrent_streams` requests on it."""

    __slots__ = (
        "_calmed_at",
        "_events",
        "_pinged_at",
        "_reading",
        "_sender",
        "_unsettled",
        "by_id",
        "closed",
        "draining",
        "encrypted",
        "heard",
        "idle_since",
        "local_address",
        "number",
        "opened_at",
        "paused",
        "ping_sent",
        "pool",
        "remote_address",
        "requests",
        "session",
        "settled",
        "streams",
        "transport",
    )

    def __init__(self, pool: Http2Owner) -> None:
        self.pool = pool
        self.session = Http2Session(pool.options)
        self.transport: asyncio.Transport = None  # type: ignore[assignment] # set by connection_made
        self.streams: set[Http2Stream] = set()
        self.closed = False
        self.draining = False
        """Takes no further request."""
        self.encrypted = False
        self.paused = False
        self.settled = False
        """The upstream's settings are known."""
        self.requests = self.number = 0
        self.heard = 0
        """How often the upstream has said anything."""
        self.idle_since = self.opened_at = pool.ticker.now
        self.remote_address = ""
        self.local_address = ""
        self.by_id: dict[int, Http2Stream] = {}
        self._sender = Sender(self.session, self._flush)
        self._unsettled: list[tuple[Http2Stream, OutgoingHead]] = []
        self._pinged_at = self._calmed_at = pool.ticker.now
        self.ping_sent = 0.0
        """When the PING went out that is not answered yet."""
        self._reading = False
        self._events = Events(self)

    # --- the loop's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The winner of the race."""
        self.transport = transport  # type: ignore[assignment] # uvloop's are not subclasses of asyncio's
        self.transport.set_write_buffer_limits(self.pool.buffer_limit)
        self.encrypted = transport.get_extra_info("ssl_object") is not None
        self.remote_address = address_text(transport.get_extra_info("peername"))
        self.local_address = address_text(transport.get_extra_info("sockname"))
        self.session.begin(self.pool.options.initial_connection_window_size)
        self._flush()

    def data_received(self, data: bytes) -> None:
        """Frames."""
        if self.closed:
            return
        self.heard += 1
        self.pool.traffic.received += len(data)
        self._reading = True  # what is to be sent goes out once, at the end
        try:
            self._read(data)
        finally:
            self._reading = False
        if self.transport.get_write_buffer_size() > self.pool.buffer_limit + limits.HTTP2_MAX_UNSENT:
            self._end("UC", "connection_termination", "the upstream does not read")
        elif not self.closed:
            self._send_all()
            self._flush()
            self._end_if_drained()

    def _read(self, data: bytes) -> None:
        try:
            received = self.session.receive_data(data)
        except ProtocolError as error:  # nothing it says can be trusted any more
            text = str(error)
            if self.heard == 1 and data[3:4] != _SETTINGS:
                answers = " answers in HTTP/1.1" if data.startswith(_HTTP1) else "'s answer is not in HTTP/2"
                text = f"the upstream{answers}: it does not speak HTTP/2"
            self._reading = False
            self.pool.noted("upstream_cx_protocol_error")
            self._end("UPE", "protocol_error", text)
            return
        self._events.handle(received)

    def connection_lost(self, exc: Exception | None) -> None:
        """Closed by either side."""
        if not self.closed:
            self.closed = True
            self.pool.gone(self, local=False)
        for stream in list(self.streams):
            self.forget(stream)
            client = stream.client
            quiet = self.heard == stream.heard_before and self.requests > 1 and client is not None and client.replayable
            if not (quiet and self._again(stream)):
                stream.fail("UC", "connection_termination", exc)

    def pause_writing(self) -> None:
        """Too much waits to be written: bodies wait."""
        self.paused = True

    def resume_writing(self) -> None:
        """Little waits to be written."""
        self.paused = False
        if not self.closed:
            self._send_all()

    # --- the pool's side

    @property
    def room(self) -> int:
        """How many requests more it takes."""
        if self.draining or self.closed or self.transport.is_closing():
            return 0
        most = limits.HTTP2_STREAMS_BEFORE_SETTINGS
        if self.settled:
            most = self.session.remote_settings.max_concurrent_streams
        return min(most, self.pool.options.max_concurrent_streams) - len(self.streams)

    def begin(self, client: Answered, refusals: int) -> None:
        """Send one request, which was refused so often before."""
        options, now = self.pool.options, self.pool.ticker.now
        rested = 0.0 if self.streams else now - self.idle_since
        if options.connection_idle_interval and rested > options.connection_idle_interval:
            self._ping(now)
        stream = Http2Stream(self, client, refusals)
        self.streams.add(stream)
        self.requests += 1
        client.on_upstream(stream)

    def drain(self) -> None:
        """Take no further request; close after those it has."""
        self.draining = True
        self._end_if_drained()

    def close(self) -> None:
        """Say goodbye; requests on it fail."""
        if not self.closed:
            self.closed = True
            self.pool.gone(self, local=True)
            with suppress(ProtocolError):
                self.session.close_connection()
            self._flush()
            if self.paused:
                self.transport.abort()  # it has stopped reading
            else:
                self.transport.close()
                self.pool.ticker.at_latest(limits.HTTP2_GOODBYE, self.transport.abort)

    def check_deadlines(self, now: float, idle_timeout: float | None, max_duration: float) -> None:
        """PINGs, idle time, age."""
        options = self.pool.options
        if now - self._calmed_at >= 1.0:
            self._calmed_at = now
            self.session.calm()
        if self.ping_sent:
            if now - self.ping_sent > options.keepalive_timeout:
                self.pool.noted("http2.keepalive_timeout")
                self._end("UC", "connection_termination", "no answer to a PING")
                return
        elif options.keepalive_interval and now - self._pinged_at >= options.keepalive_interval:
            self._ping(now)
        if not self.streams and idle_timeout and now - self.idle_since > idle_timeout:
            self.pool.noted("upstream_cx_idle_timeout")
            self.close()
        elif max_duration and now - self.opened_at > max_duration and not self.draining:
            self.pool.noted("upstream_cx_max_duration_reached")
            self.drain()

    def learnt_settings(self) -> None:
        """The upstream has said what it allows."""
        room = self.room
        self.settled = True
        waiting, self._unsettled = self._unsettled, []
        for stream, head in waiting:
            if not stream.closed:
                self.start(stream, head, end_stream=False)
                self.send(stream)
        if self.room != room:
            self.pool.has_room(self)

    # --- the requests' side

    def start(self, stream: Http2Stream, head: OutgoingHead, *, end_stream: bool) -> None:
        """Send a request's head."""
        if head.upgrade and not self._may_connect(stream, head):
            return
        session = self.session
        limit = session.remote_settings.max_header_list_size
        if limit is not None and header_list_size(head.fields) > limit:
            self._too_large(stream, limit)
            return
        try:
            stream.id = session.get_next_available_stream_id()
            session.send_headers(stream.id, head.fields, end_stream=end_stream)
        except ProtocolError as error:  # the upstream takes fewer streams than a moment ago
            self.refused(stream, str(error))
            return
        stream.request_ended = end_stream
        self.by_id[stream.id] = stream
        if session.highest_outbound_stream_id >= limits.HTTP2_LAST_STREAM:
            self.draining = True
        self._flush()

    def _may_connect(self, stream: Http2Stream, head: OutgoingHead) -> bool:
        """An upgrade waits for the upstream's settings, for only they allow it (RFC 8441 section 3)."""
        if not self.settled:
            self._unsettled.append((stream, head))
            return False
        if self.session.remote_settings.enable_connect_protocol:
            return True
        cause = OSError("no SETTINGS_ENABLE_CONNECT_PROTOCOL (RFC 8441): use HTTP/1.1 for this upstream")
        self.forget(stream)
        stream.fail("UR", "connect_error", cause, NOT_OFFERED)
        return False

    def _too_large(self, stream: Http2Stream, limit: int) -> None:
        """The upstream would refuse it, some with the whole connection (RFC 9113 section 10.5.1)."""
        self.forget(stream)
        what = f"request headers larger than the upstream takes: {limit} bytes (SETTINGS_MAX_HEADER_LIST_SIZE)"
        stream.fail("UR", "header_list_too_large", OSError(what), what)

    def send(self, stream: Http2Stream) -> None:
        """Some of a body waits."""
        if stream.id:
            self._sender.add(stream)
            if not self._reading:
                self._send_all()

    def open_window(self, stream: Http2Stream, size: int) -> None:
        """The client has taken that much."""
        with suppress(ProtocolError):
            self.session.increment_flow_control_window(size, stream.id)
        self._flush()

    def cancel(self, stream: Http2Stream) -> None:
        """The client wants no more of it, or has all."""
        if stream.id and not (stream.ended and stream.request_ended):
            self._reset(stream, ErrorCodes.CANCEL)
        self.forget(stream)

    # --- inside

    def _send_all(self) -> None:
        if not self.paused and not self.closed:
            self._sender.run()

    def _flush(self) -> bool:
        """Write what is ready; False if the socket takes no more for now."""
        if not self._reading:
            data = self.session.data_to_send()
            if data and not self.transport.is_closing():
                self.pool.traffic.sent += len(data)
                self.transport.write(data)
        return not self.paused

    def forget(self, stream: Http2Stream) -> None:
        """It is over."""
        self._sender.forget(stream)
        self.by_id.pop(stream.id, None)
        if stream in self.streams:
            self.streams.discard(stream)
            self.pool.ended()
            self.idle_since = self.pool.ticker.now
            self._end_if_drained()
            if not self.closed:
                self.pool.has_room(self)

    def _end_if_drained(self) -> None:
        if self.draining and not self.streams and not self._reading:
            self.close()

    def _reset(self, stream: Http2Stream, code: ErrorCodes) -> None:
        with suppress(ProtocolError):
            self.session.reset_stream(stream.id, code)
            self.pool.noted("http2.tx_reset")
        self._flush()

    def malformed(self, stream: Http2Stream, error: BadMessage) -> None:
        """Its own request pays for it, nobody else's."""
        self._reset(stream, ErrorCodes.PROTOCOL_ERROR)
        self.forget(stream)
        stream.fail("UPE", "protocol_error", error)

    def refused(self, stream: Http2Stream, why: str = "") -> None:
        """The upstream has not touched it."""
        self.forget(stream)
        if not self._again(stream):
            stream.fail("UR", "remote_refused_stream_reset", OSError(why) if why else None)

    def _again(self, stream: Http2Stream) -> bool:
        client = stream.client
        if client is None or not stream.is_untouched:
            return False
        stream.client, stream.closed = None, True
        if self.pool.again(client, stream.refusals + 1):
            return True
        stream.client = client
        return False

    def _end(self, flag: str, what: str, text: str) -> None:
        """Close at once."""
        self.close()
        if flag == "UC":
            self.transport.abort()  # it would not hear our goodbye
        for stream in list(self.streams):
            self.forget(stream)
            stream.fail(flag, what, OSError(text))

    def _ping(self, now: float) -> None:
        if not self.ping_sent:
            self.ping_sent = self._pinged_at = now
            self.session.ping(b"ostiary.")
            self._flush()
