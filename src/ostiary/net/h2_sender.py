"""The bodies that go out on an HTTP/2 connection, in turns of one frame each, as far as the peer's windows allow."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, final

from h2.exceptions import ProtocolError

from ostiary.model import limits

if TYPE_CHECKING:
    from ostiary.core.h2_session import Http2Session
    from ostiary.net.h2_stream import Http2Stream


@final
class Sender:
    """Who has something to send, and whose turn it is."""

    __slots__ = ("_flush", "_made", "_session", "_wants")

    def __init__(self, session: Http2Session, flush: Callable[[], bool]) -> None:
        """`flush` writes what the session has made; False if the socket takes no more for now."""
        self._session = session
        self._flush = flush
        self._wants: dict[Http2Stream, None] = {}
        self._made = 0
        """Bytes since the last flush."""

    def add(self, stream: Http2Stream) -> None:
        """It has something to send."""
        self._wants[stream] = None

    def forget(self, stream: Http2Stream) -> None:
        """It is over."""
        self._wants.pop(stream, None)

    def run(self) -> None:
        """A frame of each, in turn, as long as anything fits."""
        while self._wants:
            sent = False
            for stream in list(self._wants):
                sent = self._send(stream) or sent
                if self._made >= limits.WRITE_HIGH_WATER:
                    self._made = 0
                    if not self._flush():
                        return
            self._made = 0
            if not self._flush() or not sent:
                return

    def _send(self, stream: Http2Stream) -> bool:
        """One frame; False if there is none, or no room for it."""
        session = self._session
        if stream.closed or not stream.has_more:
            self._wants.pop(stream, None)
            return False
        try:
            room = min(
                session.local_flow_control_window(stream.id), session.max_outbound_frame_size, limits.WRITE_HIGH_WATER
            )
            if room <= 0 and stream.queued:
                return False
            piece, last, trailers = stream.next_piece(room)
            if piece or not trailers:
                session.send_data(stream.id, piece, end_stream=last and not trailers)
            if trailers:
                session.send_headers(stream.id, trailers, end_stream=True)
        except ProtocolError:  # ended by the upstream in what is being read: it will be told
            self._wants.pop(stream, None)
            return False
        self._made += len(piece)
        stream.sent()
        return True
