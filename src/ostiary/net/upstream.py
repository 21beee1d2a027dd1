"""Connections to an application (or a provider): one HTTP/1.1 request at a time on each, kept alive between them.

Whoever speaks over a connection is an `Answered` (net/roles.py). Connections belong to a pool (net/pool.py), which gets
them back when an answer is complete.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar, Final, final

from ostiary.core.addresses import address_text
from ostiary.core.chunked import ChunkedReader
from ostiary.core.header_lines import BadMessage
from ostiary.core.response import ResponseHead
from ostiary.model import limits

if TYPE_CHECKING:
    from ostiary.net.roles import Answered, Owner

NO_BODY: Final = 0
LENGTH: Final = 1
CHUNKED: Final = 2
UNTIL_CLOSE: Final = 3


@final
class UpstreamConnection(asyncio.Protocol):
    """One connection, in turn idle and busy with one `Answered`."""

    protocol: ClassVar[str] = "HTTP/1.1"

    __slots__ = (
        "_body",
        "_buffer",
        "_chunks",
        "_early",
        "_left",
        "_reading_paused",
        "_reused",
        "_seen",
        "client",
        "closed",
        "idle_since",
        "local_address",
        "number",
        "opened_at",
        "paused",
        "pool",
        "remote_address",
        "requests",
        "traffic",
        "transport",
        "tunnel",
    )

    def __init__(self, pool: Owner) -> None:
        self.pool, self.traffic = pool, pool.traffic
        self.transport: asyncio.Transport = None  # type: ignore[assignment] # set by connection_made
        self.client: Answered | None = None
        self.closed = False
        self.tunnel = False
        self.paused = False
        self.requests = self.number = 0
        self.idle_since = self.opened_at = 0.0
        self.remote_address = ""
        self.local_address = ""
        self._buffer = b""
        self._body = NO_BODY
        self._left = 0
        self._chunks: ChunkedReader | None = None
        self._early = 0
        self._seen = False
        self._reused = False
        self._reading_paused = False

    # --- the loop's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The winner of the race."""
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self.transport = transport  # type: ignore[assignment] # uvloop's are not subclasses of asyncio's
        self.transport.set_write_buffer_limits(self.pool.buffer_limit)
        self.remote_address = address_text(transport.get_extra_info("peername"))
        self.local_address = address_text(transport.get_extra_info("sockname"))

    def data_received(self, data: bytes) -> None:
        """Part of an answer, or of an upgraded connection."""
        client = self.client
        self.traffic.received += len(data)
        if client is None:
            self.abort()  # nobody asked: a broken or malicious upstream
            return
        if self.tunnel:
            client.on_tunnel(data)
            return
        try:
            if self._body:
                self._on_body(client, data)
            else:
                self._on_head(client, self._buffer + data if self._buffer else data)
        except BadMessage as error:
            self.pool.noted("upstream_cx_protocol_error")
            self.pool.broke(502, charged=self._body == NO_BODY)
            self._fail("UPE", "upstream_reset_before_response_started{protocol_error}", "protocol error", error)

    def eof_received(self) -> bool | None:
        """The upstream has said all it will."""
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        """Closed by either side."""
        client, pool = self.client, self.pool
        whole = self._body == UNTIL_CLOSE and exc is None
        if client is not None:
            self.client = None
            pool.ended()
        if not self.closed:
            self.closed = True
            pool.lost(self, local=False, active=client is not None and not whole)
        if client is None:
            return
        if self.tunnel:
            client.on_tunnel(b"")
        elif whole:
            client.on_body(b"", True, [])
        elif self._reused and not self._seen and client.replayable:
            pool.submit(client, fresh=True)  # the upstream closed an idle connection just as we used it
        elif self._body in (LENGTH, CHUNKED):
            pool.noted("upstream_cx_protocol_error")
            pool.broke(503, charged=False)
            client.on_failure("UPE", "upstream_reset_after_response_started{protocol_error}", "protocol error")
        else:
            pool.broke(503, charged=self._body == NO_BODY)
            client.on_failure("UC", "upstream_reset_before_response_started{connection_termination}",
                              "connection termination")  # fmt: skip

    def pause_writing(self) -> None:
        """Too much waits to be written."""
        self.paused = True
        if self.client is not None:
            self.client.pause()

    def resume_writing(self) -> None:
        """Little waits to be written."""
        self.paused = False
        if self.client is not None:
            self.client.resume()

    # --- the client's side

    def begin(self, client: Answered) -> None:
        """Hand this connection to one request."""
        self.client = client
        self._early = 0
        self._seen = False
        self._reused = self.requests > 0
        self.requests += 1
        client.on_upstream(self)

    def write(self, data: bytes) -> None:
        """Send, or keep until there is room."""
        self.traffic.sent += len(data)
        self.transport.write(data)

    def abort(self) -> None:
        """Close at once; nothing more will be told to the client."""
        client, self.client = self.client, None
        if client is not None:
            self.pool.ended()
        if not self.closed:
            self.closed = True
            self.pool.lost(self, local=True, active=client is not None)
            self.transport.abort()

    def pause_reading(self) -> None:
        """Stop reading while the client is slow."""
        self._reading_paused = True
        self.pool.noted("upstream_flow_control_paused_reading_total")
        if not self.transport.is_closing():
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on."""
        self.pool.noted("upstream_flow_control_resumed_reading_total")
        self._reading_paused = False
        if not self.transport.is_closing():
            self.transport.resume_reading()

    # --- reading answers

    def _on_head(self, client: Answered, data: bytes) -> None:
        self._seen = True
        end = data.find(b"\r\n\r\n")
        at_least = end if end >= 0 else len(data) - 3
        if at_least > limits.MAX_RESPONSE_HEADERS_BYTES:
            raise BadMessage("headers_too_large", 502)
        if end < 0:
            if b"\n\n" in data or b"\n\r\n" in data:  # lines that end in LF alone: the end would never come
                raise BadMessage("invalid_line_end", 502)
            self._buffer = data
            return
        self._buffer = b""
        pool = self.pool
        head = pool.reader.read(data[: end + 2])
        rest = data[end + 4 :]
        status = head.status
        pool.codes[status] += 1
        if pool.watch is not None:
            pool.watch.answered(status)
        if status < 200:
            self._informational(client, head, rest)
        elif client.is_head or status in (204, 304) or (head.content_length == 0 and not head.chunked):
            self._end(client, head, b"", rest)
        elif head.chunked:
            chunks = self._chunks = ChunkedReader()
            payload = chunks.feed(rest)
            if chunks.done and not chunks.trailers:
                self._end(client, head, payload, chunks.rest)
                return
            self._body = CHUNKED
            self._close_after(head)
            client.on_response(head, payload, False)
            if chunks.done and self.client is client:
                self._finish(head.close, chunks.rest)
                client.on_body(b"", True, chunks.trailers)
        elif head.content_length is not None:
            left = head.content_length - len(rest)
            if left <= 0:
                self._end(client, head, rest[: head.content_length] if left else rest, rest[head.content_length :])
                return
            self._body = LENGTH
            self._left = left
            self._close_after(head)
            client.on_response(head, rest, False)
        else:
            self._body = UNTIL_CLOSE
            client.on_response(head, rest, False)

    def _close_after(self, head: ResponseHead) -> None:
        if head.close:
            self.pool.noted("upstream_cx_close_notify")
            self.requests = limits.MAX_REQUESTS_PER_CONNECTION

    def _informational(self, client: Answered, head: ResponseHead, rest: bytes) -> None:
        if head.status == 101:
            self.tunnel = True
            client.on_response(head, b"", False)
            if rest and self.client is client:
                client.on_tunnel(rest)
            return
        self._early += 1
        if self._early > limits.MAX_INFORMATIONAL_RESPONSES:
            raise BadMessage("too_many_informational_responses", 502)
        client.on_response(head, b"", False)
        if rest and self.client is client:
            self._on_head(client, rest)

    def _end(self, client: Answered, head: ResponseHead, body: bytes, rest: bytes) -> None:
        self._finish(head.close, rest)
        client.on_response(head, body, True)

    def _on_body(self, client: Answered, data: bytes) -> None:
        body = self._body
        if body == LENGTH:
            left = self._left - len(data)
            if left > 0:
                self._left = left
                client.on_body(data, False, [])
                return
            rest = data[self._left :] if left else b""
            payload = data[: self._left] if left else data
            self._finish(False, rest)
            client.on_body(payload, True, [])
        elif body == CHUNKED:
            chunks = self._chunks
            assert chunks is not None
            payload = chunks.feed(data)
            if chunks.done:
                self._finish(False, chunks.rest)
                client.on_body(payload, True, chunks.trailers)
            elif payload:
                client.on_body(payload, False, [])
        else:
            client.on_body(data, False, [])

    def _finish(self, close: bool, rest: bytes) -> None:
        """The answer is complete: free the connection before the client learns it, so that it may use it again."""
        client = self.client
        self.client = None
        self._body = NO_BODY
        self._chunks = None
        if close or rest or self.closed or (client is not None and not client.request_complete):
            self.pool.ended()
            if close:
                self.pool.noted("upstream_cx_close_notify")
            self.abort()
        else:
            if self._reading_paused:
                self.resume_reading()
            self.pool.release(self)

    def _fail(self, flag: str, details: str, reason: str, cause: Exception) -> None:
        client = self.client
        self.abort()
        if client is not None:
            client.on_failure(flag, details, reason, cause)
