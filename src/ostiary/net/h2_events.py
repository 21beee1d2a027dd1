"""What an upstream says on an HTTP/2 connection, brought to the requests it is for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, final

from h2 import events
from h2.errors import ErrorCodes

from ostiary.core.header_lines import BadMessage

if TYPE_CHECKING:
    from ostiary.net.h2_stream import Http2Stream
    from ostiary.net.h2_upstream import Http2Connection


@final
class Events:
    """The events of one connection. Handlers return the request that has something to tell."""

    __slots__ = ("_connection", "_handlers", "_unacknowledged")

    def __init__(self, connection: Http2Connection) -> None:
        self._connection = connection
        self._unacknowledged = 0
        self._handlers: dict[type[events.Event], Callable[[Any], Http2Stream | None]] = {
            events.ResponseReceived: self._on_response,
            events.InformationalResponseReceived: self._on_informational,
            events.DataReceived: self._on_data,
            events.TrailersReceived: self._on_trailers,
            events.StreamReset: self._on_reset,
            events.RemoteSettingsChanged: self._on_settings,
            events.SettingsAcknowledged: self._on_acknowledged,
            events.PingAckReceived: self._on_ping,
            events.ConnectionTerminated: self._on_goaway,
        }

    def handle(self, received: Iterable[events.Event]) -> None:
        """All that one read brought; what belongs to an answer is told at the end, in one piece."""
        told: dict[Http2Stream, None] = {}
        for event in received:
            handler = self._handlers.get(type(event))
            stream = handler(event) if handler is not None else None
            if stream is not None:
                told[stream] = None
        for stream in told:
            stream.tell()

    def _judged(
        self, stream_id: int | None, take: Callable[[Http2Stream], None], *, head: bool = True
    ) -> Http2Stream | None:
        """Give it to its request, if that still wants it; a malformed answer ends the request."""
        stream = self._connection.by_id.get(stream_id or 0)
        if stream is None or stream.client is None:
            return None
        try:
            take(stream)
        except BadMessage as error:
            if head:
                self._connection.pool.noted("http2.rx_messaging_error")
            self._connection.malformed(stream, error)
            return None
        return stream

    def _on_response(self, event: events.ResponseReceived) -> Http2Stream | None:
        ended = event.stream_ended is not None
        return self._judged(event.stream_id, lambda stream: stream.on_head(event.headers, ended))

    def _on_informational(self, event: events.InformationalResponseReceived) -> None:
        self._judged(event.stream_id, lambda stream: stream.on_informational(event.headers))

    def _on_data(self, event: events.DataReceived) -> Http2Stream | None:
        size = event.flow_controlled_length
        connection = self._connection
        self._unacknowledged += size
        if self._unacknowledged >= connection.pool.options.initial_connection_window_size // 2:
            connection.session.increment_flow_control_window(self._unacknowledged)
            self._unacknowledged = 0
        ended = event.stream_ended is not None
        return self._judged(event.stream_id, lambda stream: stream.on_data(event.data, size, ended), head=False)

    def _on_trailers(self, event: events.TrailersReceived) -> Http2Stream | None:
        return self._judged(event.stream_id, lambda stream: stream.on_trailers(event.headers))

    def _on_reset(self, event: events.StreamReset) -> None:
        connection = self._connection
        stream = connection.by_id.get(event.stream_id)
        if stream is None or not event.remote_reset:
            return
        connection.pool.noted("http2.rx_reset")
        stream.tell()
        if stream.closed:  # the answer was complete, and the rest of the request is not wanted (RFC 9113 section 8.1)
            return
        if event.error_code == ErrorCodes.REFUSED_STREAM:
            connection.refused(stream)
            return
        connection.forget(stream)
        code = event.error_code
        name = code.name if isinstance(code, ErrorCodes) else f"{code}"
        stream.fail("UR", "remote_reset", OSError(f"the upstream ended the request: {name}"))

    def _on_settings(self, _event: events.RemoteSettingsChanged) -> None:
        self._connection.learnt_settings()

    def _on_acknowledged(self, _event: events.SettingsAcknowledged) -> None:
        self._connection.session.acknowledged()

    def _on_ping(self, _event: events.PingAckReceived) -> None:
        self._connection.ping_sent = 0.0

    def _on_goaway(self, event: events.ConnectionTerminated) -> None:
        connection = self._connection
        connection.draining = True
        connection.pool.noted("upstream_cx_close_notify")
        last = event.last_stream_id or 0
        for stream in list(connection.streams):
            if not stream.id or stream.id > last:
                connection.refused(stream)
