"""The roles around one request to an upstream: who waits for its answer, what carries it, whom that belongs to.

The waiting ones are the proxy's exchange, and the client that calls providers; what carries is a connection of HTTP/1.1
or a stream of HTTP/2; the owners are pools. Each knows the others by these roles only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from ostiary.core.h2_head import AnswerReader
    from ostiary.core.header_lines import HeaderLine
    from ostiary.core.response import ResponseHead, ResponseReader
    from ostiary.core.trace import ConnectTrace
    from ostiary.model.clusters import Http2
    from ostiary.net.h2_upstream import Http2Connection
    from ostiary.net.ticker import Ticker
    from ostiary.net.traffic import Traffic
    from ostiary.net.upstream import UpstreamConnection


class Answered(Protocol):
    """Who waits for an answer. `on_failure` may come at any time, once, and is the last call."""

    is_head: bool
    """A HEAD request: its answer has no body whatever the headers say."""
    request_complete: bool
    """All of the request was written."""
    replayable: bool
    """Nothing of it is lost if it is sent again: no body, safe method."""
    pool: Owner | None
    """Who has it in hand until it has a connection."""

    def on_upstream(self, connection: Carrier) -> None:
        """The request goes out on this connection: write it now."""

    def on_dialled(self, trace: ConnectTrace) -> None:
        """A connection was made for it, or could not be. Not called where one was there."""

    def on_response(self, head: ResponseHead, body: bytes, done: bool) -> None:
        """The answer's head, with as much of the body as came along. Also called for each 1xx (done False)."""

    def on_body(self, data: bytes, done: bool, trailers: list[HeaderLine]) -> None:
        """More of the body."""

    def on_tunnel(self, data: bytes) -> None:
        """Bytes of an upgraded connection; empty at its end."""

    def on_failure(self, flag: str, details: str, reason: str, cause: BaseException | None = None) -> None:
        """No (complete) answer. `flag` is Envoy's response flag: UF, UC, UPE, UO, UH, UT."""

    def pause(self) -> None:
        """The upstream can't take more for now."""

    def resume(self) -> None:
        """It can again."""


class Watch(Protocol):
    """Outlier detection, for one host."""

    def answered(self, status: int) -> None:
        """The host answered."""

    def connected(self) -> None:
        """A request has a connection to it."""

    def unreached(self, status: int) -> None:
        """It could not be reached, or broke off."""


class Owner(Protocol):
    """Whom a connection belongs to: net/pool.py."""

    name: str
    """How logs name its endpoint."""
    reader: ResponseReader
    buffer_limit: int
    codes: list[int]
    """How many answers had each status; by status, so 1000 of them."""
    watch: Watch | None
    """Who is told of each answer: outlier detection."""
    traffic: Traffic

    def submit(self, client: Answered, fresh: bool = False) -> None:
        """Send a request, on a new connection if `fresh`."""

    def withdraw(self, client: Answered) -> None:
        """The client no longer waits for a connection."""

    def release(self, connection: UpstreamConnection) -> None:
        """A request is complete, and its connection free."""

    def lost(self, connection: UpstreamConnection, *, local: bool, active: bool) -> None:
        """The connection is closed, from this side if `local`, with a request on it if `active`."""

    # What requests came to, for counters and outlier detection:

    def ended(self) -> None:
        """A request has lost its connection."""

    def broke(self, status: int, *, charged: bool) -> None:
        """A request got no complete answer; if `charged`, the client gets `status` instead."""

    def timed_out(self, *, charged: bool) -> None:
        """The route's time is up; if `charged`, the client gets 504."""

    def noted(self, what: str) -> None:
        """One more of what Envoy counts under that name."""


class Http2Owner(Protocol):
    """Whom a connection of HTTP/2 belongs to: net/h2_pool.py."""

    options: Http2
    answers: AnswerReader
    buffer_limit: int
    ticker: Ticker
    codes: list[int]
    watch: Watch | None
    traffic: Traffic

    def ended(self) -> None:
        """A request is over."""

    def broke(self, status: int, *, charged: bool) -> None:
        """A request got no complete answer; if `charged`, the client gets `status` instead."""

    def noted(self, what: str) -> None:
        """One more of what Envoy counts under that name."""

    def has_room(self, connection: Http2Connection) -> None:
        """The connection can take a request more than before."""

    def gone(self, connection: Http2Connection, *, local: bool) -> None:
        """The connection is closed, from this side if `local`."""

    def again(self, client: Answered, refusals: int) -> bool:
        """Send a request once more, on another connection; False if it was refused too often."""


class Writer(Protocol):
    """The part of a transport that whoever sends a request uses."""

    def can_write_eof(self) -> bool:
        """Whether one side can end before the other."""

    def write_eof(self) -> None:
        """End this side."""


class Carrier(Protocol):
    """What carries one request and its answer: a connection of HTTP/1.1, or a stream of HTTP/2 (net/h2_stream.py)."""

    protocol: ClassVar[str]
    client: Answered | None
    paused: bool

    @property
    def transport(self) -> Writer:
        """Ends our side."""

    @property
    def remote_address(self) -> str:
        """The upstream's address."""

    @property
    def local_address(self) -> str:
        """Ours."""

    def write(self, data: bytes) -> None:
        """Send a part of the request, as HTTP/1.1 bytes, or keep it until there is room."""

    def abort(self) -> None:
        """End it at once; nothing more will be told to the client."""

    def pause_reading(self) -> None:
        """The client is slow."""

    def resume_reading(self) -> None:
        """It has caught up."""
