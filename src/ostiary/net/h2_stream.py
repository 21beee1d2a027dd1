"""One request on an HTTP/2 connection, and its answer.

It stands where an HTTP/1.1 connection does (`net.roles.Carrier`) and takes the same bytes: a head, then a body with
its framing. Here they become fields and DATA frames, as far as the peer's windows allow; what they don't allow waits,
and from `buffer_limit` on its sender is paused. The other way the peer gets new window as its answer is taken, so that
it can't send more than a window ahead of a slow client. Nothing is collected.

What one read brings of an answer is told at once: head, body and end in one call where they came together.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, Final, final

from ostiary.core.chunked import ChunkedReader
from ostiary.core.h2_head import Field, OutgoingHead, outgoing_head, switched
from ostiary.core.header_lines import BadMessage, HeaderLine
from ostiary.core.response import ResponseHead
from ostiary.core.websocket import accept_key
from ostiary.model import limits

if TYPE_CHECKING:
    from ostiary.net.h2_upstream import Http2Connection
    from ostiary.net.roles import Answered

NOT_OFFERED: Final = "the upstream offers no WebSocket over HTTP/2"


@final
class Http2Stream:
    """One exchange."""

    protocol: ClassVar[str] = "HTTP/2"

    __slots__ = (
        "_body",
        "_chunks",
        "_early",
        "_ending",
        "_head",
        "_left",
        "_outgoing",
        "_queue",
        "_reading_paused",
        "_received",
        "_started",
        "_to_send",
        "_trailers",
        "_trailers_to_send",
        "_unacknowledged",
        "body_given",
        "client",
        "closed",
        "connection",
        "ended",
        "heard_before",
        "id",
        "paused",
        "queued",
        "refusals",
        "request_ended",
        "tunnel",
    )

    def __init__(self, connection: Http2Connection, client: Answered, refusals: int) -> None:
        self.connection = connection
        self.client: Answered | None = client
        self.refusals = refusals
        self.id = 0
        """0: not begun yet."""
        self.closed = False
        self.paused = False
        self.tunnel = False
        self.heard_before = connection.heard
        """What the connection had heard when this began."""
        # The request
        self._outgoing: OutgoingHead | None = None
        self._chunks: ChunkedReader | None = None
        self._to_send = 0
        """Of a body with a length, what the client has yet to give."""
        self._queue: deque[memoryview] = deque()
        self.queued = 0
        self._ending = False
        self._trailers_to_send: list[HeaderLine] = []
        self.request_ended = False
        self.body_given = False
        # The answer
        self._head: ResponseHead | None = None
        """Read, not told yet."""
        self._body: list[bytes] = []
        self._trailers: list[HeaderLine] = []
        self._left: int | None = None
        """Of an answer with a length, what has yet to come."""
        self._received = False
        self._started = False
        self._early = 0
        self.ended = False
        self._unacknowledged = 0
        self._reading_paused = False

    # --- the client's side: net.roles.Carrier

    @property
    def transport(self) -> Http2Stream:
        """Where to write."""
        return self

    @property
    def remote_address(self) -> str:
        """The connection's."""
        return self.connection.remote_address

    @property
    def local_address(self) -> str:
        """The connection's."""
        return self.connection.local_address

    def write(self, data: bytes) -> None:
        """HTTP/1.1: the head first, as a whole; or an upgraded connection's bytes."""
        if self.closed:
            return
        if self._outgoing is None:
            end = data.find(b"\r\n\r\n")
            pool = self.connection.pool
            head = outgoing_head(
                data[:end], encrypted=self.connection.encrypted, scheme_of_client=pool.options.scheme_of_client
            )
            self._outgoing = head
            self._chunks = ChunkedReader() if head.chunked else None
            self._to_send = head.content_length
            self.connection.start(self, head, end_stream=not (head.upgrade or head.chunked or head.content_length))
            data = data[end + 4 :]
            if not data or self.closed:
                return
        self.body_given = True
        self._give(data)
        self.connection.send(self)
        if self.queued > self.connection.pool.buffer_limit and not self.paused and self.client is not None:
            self.paused = True
            self.client.pause()

    def _give(self, data: bytes) -> None:
        head, chunks = self._outgoing, self._chunks
        assert head is not None
        if chunks is not None:
            data = chunks.feed(data)
            self._ending, self._trailers_to_send = chunks.done, chunks.trailers
        elif not head.upgrade:
            self._to_send -= len(data)
            self._ending = self._to_send <= 0
        if data:
            self._queue.append(memoryview(data))
            self.queued += len(data)

    def can_write_eof(self) -> bool:
        """One side of a stream can end before the other."""
        return True

    def write_eof(self) -> None:
        """No more from the client of a tunnel."""
        self._ending = True
        if not self.closed:
            self.connection.send(self)

    def abort(self) -> None:
        """End it at once; nothing more will be told to the client."""
        self.client = None
        if not self.closed:
            self.closed = True
            self.connection.cancel(self)

    def pause_reading(self) -> None:
        """The client is slow: the peer gets no new window."""
        self._reading_paused = True

    def resume_reading(self) -> None:
        """It has caught up."""
        self._reading_paused = False
        self.acknowledge()

    # --- the connection's side: what goes out

    def next_piece(self, room: int) -> tuple[memoryview, bool, list[Field]]:
        """Up to `room` bytes of body, whether they are its end, and the trailers that end it instead."""
        piece = memoryview(b"")
        if self._queue and room > 0:
            piece = self._queue.popleft()
            if len(piece) > room:
                self._queue.appendleft(piece[room:])
                piece = piece[:room]
            self.queued -= len(piece)
        last = self._ending and not self._queue
        if last:
            self.request_ended = True
            return piece, True, [(line.name, line.value) for line in self._trailers_to_send]
        return piece, False, []

    @property
    def has_more(self) -> bool:
        """Something waits to be sent."""
        return bool(self._queue) or (self._ending and not self.request_ended)

    def sent(self) -> None:
        """Some of what waited has gone out."""
        if self.paused and self.queued <= self.connection.pool.buffer_limit // 4:
            self.paused = False
            if self.client is not None:
                self.client.resume()

    # --- the connection's side: what comes in. Each raises BadMessage.

    def on_head(self, fields: Iterable[Field], ended: bool) -> None:
        """The final answer's head."""
        client, outgoing = self.client, self._outgoing
        assert client is not None and outgoing is not None
        head = self.connection.pool.answers.head(fields)
        if head.status < 200:
            raise BadMessage("invalid_status", 502)
        self._received = True
        if outgoing.upgrade and 200 <= head.status < 300 and not ended:
            self.tunnel = True
            accept = accept_key(outgoing.websocket_key) if outgoing.websocket_key else b""
            head = switched(head, outgoing.upgrade, accept)
        elif client.is_head or head.status in (204, 304):
            self._left = 0
        else:
            self._left = head.content_length
        self._head = head
        self._count(head.status)
        self._end(ended)

    def _count(self, status: int) -> None:
        pool = self.connection.pool
        pool.codes[status] += 1
        if pool.watch is not None:
            pool.watch.answered(status)

    def on_informational(self, fields: Iterable[Field]) -> None:
        """A 1xx answer."""
        head = self.connection.pool.answers.head(fields)
        self._early += 1
        if self._early > limits.MAX_INFORMATIONAL_RESPONSES:
            raise BadMessage("too_many_informational_responses", 502)
        self._count(head.status)
        if self.client is not None:
            self.client.on_response(head, b"", False)

    def on_data(self, data: bytes, size: int, ended: bool) -> None:
        """Part of the body; `size` is what it takes of the window."""
        self._unacknowledged += size
        if self._left is not None:
            self._left -= len(data)
            if self._left < 0:
                raise BadMessage("body_longer_than_content_length", 502)
        if data:
            self._body.append(data)
        self._end(ended)

    def on_trailers(self, fields: Iterable[Field]) -> None:
        """The end of the body."""
        self._trailers = self.connection.pool.answers.trailers(fields)
        self._end(True)

    def _end(self, ended: bool) -> None:
        if ended:
            if self._left:
                raise BadMessage("body_shorter_than_content_length", 502)
            self.ended = True

    def tell(self) -> None:
        """Tell the client what has come since the last time."""
        client, head, ended = self.client, self._head, self.ended
        if client is None:
            return
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._body = []
        self._head = None
        self._started = self._started or head is not None
        if self.tunnel:
            self._tell_tunnel(client, head, body)
            return
        trailers = self._trailers
        if ended and not (head is not None and trailers):
            self._finish()
        if head is not None:
            client.on_response(head, body, ended and not trailers)
            if ended and trailers and self.client is client:
                self._finish()
                client.on_body(b"", True, trailers)
        elif body or ended:
            client.on_body(body, ended, trailers)
        self.acknowledge(limits.HTTP2_MIN_WINDOW // 2)

    def _tell_tunnel(self, client: Answered, head: ResponseHead | None, body: bytes) -> None:
        if head is not None:
            client.on_response(head, b"", False)
        if body and self.client is client:
            client.on_tunnel(body)
        if self.ended and self.client is client:
            self._finish()
            client.on_tunnel(b"")
        self.acknowledge(limits.HTTP2_MIN_WINDOW // 2)

    def _finish(self) -> None:
        """The answer is complete: free the stream before the client learns it, so that it may use the next one."""
        self.client = None
        self.closed = True
        self.connection.cancel(self)

    def acknowledge(self, threshold: int = 0) -> None:
        """Open the window again for what the client has taken."""
        size = self._unacknowledged
        if size > threshold and not self._reading_paused and not self.closed and not self.ended:
            self._unacknowledged = 0
            self.connection.open_window(self, size)

    # --- the connection's side: failures

    def fail(self, flag: str, what: str, cause: BaseException | None = None, reason: str = "") -> None:
        """No (complete) answer; `what` is Envoy's name for the reason."""
        client, self.client = self.client, None
        self.closed = True
        if client is None:
            return
        if self.tunnel and self._started:
            client.on_tunnel(b"")
            return
        when = "after" if self._started else "before"
        self.connection.pool.broke(502 if flag == "UPE" else 503, charged=not self._started)
        client.on_failure(
            flag, f"upstream_reset_{when}_response_started{{{what}}}", reason or what.replace("_", " "), cause
        )

    @property
    def is_untouched(self) -> bool:
        """Nothing of the request is lost if it goes out again: no answer, and no body that is gone."""
        return self.client is not None and not self._received and not self._early and not self.body_given
