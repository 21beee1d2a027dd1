"""The protocol of one HTTP/2 connection to an upstream: the `h2` library, in some things stricter or more patient.

- A GOAWAY lets the requests it spares end (RFC 9113 section 6.8); the library would end the connection at once.
- A body that is not as long as promised costs its own request; the library would end everybody's. Counting is
  therefore left to who reads the body (net/h2_stream.py).
- Frames that carry nothing are counted, and too many are an error. So is a frame too large before all of it is there,
  and a connection that doesn't begin with SETTINGS.

These are methods that the library keeps to itself. tests/net/test_h2_endings.py notices if it no longer does.
"""

from __future__ import annotations

from typing import Any, Final, final

from h2.config import H2Configuration
from h2.connection import AllowedStreamIDs, H2Connection
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, Event
from h2.exceptions import FrameTooLargeError, ProtocolError
from h2.settings import SettingCodes, Settings
from h2.stream import H2Stream
from hyperframe.frame import DataFrame, Frame, GoAwayFrame, HeadersFrame, SettingsFrame

from ostiary.core.h2_head import LiteralEncoder
from ostiary.model import limits
from ostiary.model.clusters import Http2

_CONFIG: Final = H2Configuration(
    client_side=True,
    header_encoding=None,
    # Heads are made and judged by core/h2_head.py.
    validate_outbound_headers=False,
    normalize_outbound_headers=False,
    validate_inbound_headers=False,
    normalize_inbound_headers=False,
)


class FrameFlood(ProtocolError):
    """Frames that carry nothing, more than anybody needs."""

    error_code = ErrorCodes.ENHANCE_YOUR_CALM


@final
class Http2Session(H2Connection):
    """One connection's state: bytes in, events out."""

    def __init__(self, options: Http2) -> None:
        super().__init__(_CONFIG)
        self.local_settings = Settings(
            client=True,
            initial_values={
                SettingCodes.ENABLE_PUSH: 0,
                SettingCodes.HEADER_TABLE_SIZE: options.hpack_table_size,
                SettingCodes.INITIAL_WINDOW_SIZE: options.initial_stream_window_size,
                SettingCodes.MAX_HEADER_LIST_SIZE: limits.MAX_RESPONSE_HEADERS_BYTES,
            },
        )
        self.encoder = LiteralEncoder()  # type: ignore[assignment] # all that the library uses of one
        self.decoder.max_header_list_size = limits.MAX_RESPONSE_HEADERS_BYTES
        self._table_size = options.hpack_table_size
        self.decoder.max_allowed_table_size = max(self._table_size, limits.HTTP2_HEADER_TABLE)
        self._allowance = limits.HTTP2_FRAME_ALLOWANCE
        self._begun = False

    def begin(self, connection_window: int) -> None:
        """The preface: settings and how much may be on its way."""
        self.initiate_connection()
        more = connection_window - limits.HTTP2_MIN_WINDOW
        if more > 0:
            self.increment_flow_control_window(more)

    def acknowledged(self) -> None:
        """The peer knows our settings."""
        self.decoder.max_allowed_table_size = self._table_size

    def calm(self) -> None:
        """A second has passed."""
        self._allowance = max(self._allowance, limits.HTTP2_FRAME_ALLOWANCE)

    def receive_data(self, data: Any) -> list[Event]:
        """What a read brought. Raises ProtocolError."""
        received = super().receive_data(data)
        length = self.incoming_buffer._data[:3]
        if len(length) == 3 and int.from_bytes(length, "big") > self.max_inbound_frame_size:
            raise FrameTooLargeError("a frame of more than the agreed size")
        return received

    def _receive_frame(self, frame: Frame) -> list[Event]:
        if not self._begun:
            if not isinstance(frame, SettingsFrame):
                raise ProtocolError("the first frame is not SETTINGS")
            self._begun = True
        if isinstance(frame, HeadersFrame) or (isinstance(frame, DataFrame) and frame.data):
            self._earn()
        else:
            self._allowance -= 1
            if self._allowance < 0:
                raise FrameFlood("frames that carry nothing, more than anybody needs")
        return super()._receive_frame(frame)

    def _earn(self) -> None:
        earned = self._allowance + limits.HTTP2_FRAMES_PER_MESSAGE_FRAME
        self._allowance = min(earned, limits.HTTP2_MAX_FRAME_ALLOWANCE)

    def _prepare_for_sending(self, frames: list[Frame]) -> None:
        if frames and isinstance(frames[0], HeadersFrame | DataFrame):
            self._earn()
        super()._prepare_for_sending(frames)

    def _begin_new_stream(self, stream_id: int, allowed_ids: AllowedStreamIDs) -> H2Stream:
        stream = super()._begin_new_stream(stream_id, allowed_ids)
        stream._initialize_content_length = _left_to_us  # type: ignore[assignment]
        stream._track_content_length = _left_to_us  # type: ignore[assignment]
        return stream

    def _receive_goaway_frame(self, frame: GoAwayFrame) -> tuple[list[Frame], list[Event]]:
        event = ConnectionTerminated()
        event.error_code = frame.error_code
        event.last_stream_id = frame.last_stream_id
        event.additional_data = frame.additional_data or None
        return [], [event]


def _left_to_us(*_args: Any) -> None:
    """Of the length of bodies."""
