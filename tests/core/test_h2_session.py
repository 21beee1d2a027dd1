"""The protocol of HTTP/2 connections, without a socket: whatever an upstream sends is an event or a ProtocolError."""

from __future__ import annotations

import pytest
from h2.exceptions import FrameTooLargeError, ProtocolError
from hpack import Encoder
from hyperframe.frame import DataFrame, Frame, GoAwayFrame, HeadersFrame, PingFrame, SettingsFrame, WindowUpdateFrame
from hypothesis import given
from hypothesis import strategies as st

from ostiary.core.h2_session import FrameFlood, Http2Session
from ostiary.model import limits
from ostiary.model.clusters import Http2

SETTINGS = SettingsFrame(0).serialize()


def begun() -> Http2Session:
    """A session with a request under way on stream 1."""
    session = Http2Session(Http2())
    session.begin(limits.HTTP2_CONNECTION_WINDOW)
    session.receive_data(SETTINGS)
    session.send_headers(1, [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/")], end_stream=True)
    return session


def answer(*fields: tuple[bytes, bytes], flags: tuple[str, ...] = ("END_HEADERS",)) -> bytes:
    frame = HeadersFrame(1, Encoder().encode(fields))
    for flag in flags:
        frame.flags.add(flag)
    return frame.serialize()


def test_the_preface_says_what_may_come() -> None:
    session = Http2Session(Http2(initial_stream_window_size=70_000, hpack_table_size=0))
    session.begin(1_000_000)
    sent = session.data_to_send()
    assert sent.startswith(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    frame, length = Frame.parse_frame_header(memoryview(sent[24:33]))
    frame.parse_body(memoryview(sent[33 : 33 + length]))
    assert isinstance(frame, SettingsFrame)
    assert frame.settings[SettingsFrame.INITIAL_WINDOW_SIZE] == 70_000
    assert frame.settings[SettingsFrame.ENABLE_PUSH] == frame.settings[SettingsFrame.HEADER_TABLE_SIZE] == 0
    assert frame.settings[SettingsFrame.MAX_HEADER_LIST_SIZE] == limits.MAX_RESPONSE_HEADERS_BYTES
    update, length = Frame.parse_frame_header(memoryview(sent[-13:-4]))
    update.parse_body(memoryview(sent[-4:]))
    assert isinstance(update, WindowUpdateFrame)
    assert update.window_increment == 1_000_000 - limits.HTTP2_MIN_WINDOW


def test_after_a_goaway_what_it_spares_goes_on() -> None:
    session = begun()
    [goaway] = session.receive_data(GoAwayFrame(0, last_stream_id=1, error_code=0).serialize())
    assert (goaway.last_stream_id, goaway.error_code) == (1, 0)
    events = session.receive_data(answer((b":status", b"200")) + DataFrame(1, b"abc").serialize())
    assert [type(event).__name__ for event in events] == ["ResponseReceived", "DataReceived"]


def test_the_length_of_a_body_is_not_the_sessions_business() -> None:
    session = begun()
    session.receive_data(answer((b":status", b"200"), (b"content-length", b"1")))
    assert session.receive_data(DataFrame(1, b"abc").serialize())


@pytest.mark.parametrize(
    "frame", [PingFrame(0, b"12345678"), SettingsFrame(0), DataFrame(1, b""), WindowUpdateFrame(0, 1)]
)
def test_frames_that_carry_nothing_are_bounded(frame: Frame) -> None:
    session = begun()
    session.receive_data(answer((b":status", b"200")))
    wire = frame.serialize()
    for _ in range(3):  # as many again each second
        session.receive_data(wire * (limits.HTTP2_FRAME_ALLOWANCE - 1))
        session.calm()
    with pytest.raises(FrameFlood):
        session.receive_data(wire * (limits.HTTP2_FRAME_ALLOWANCE + 100))


def test_what_carries_something_is_not() -> None:
    session = begun()
    session.receive_data(answer((b":status", b"200")))
    for _ in range(limits.HTTP2_FRAME_ALLOWANCE):
        session.receive_data(DataFrame(1, b"x").serialize() + PingFrame(0, b"12345678").serialize() * 3)


def test_a_frame_too_large_is_not_waited_for() -> None:
    with pytest.raises(FrameTooLargeError):
        begun().receive_data(b"\x01\x00\x00\x00")
    with pytest.raises(FrameTooLargeError):
        Http2Session(Http2()).receive_data(b"HTTP/1.1 400 Bad Request\r\n")


def test_a_connection_begins_with_settings() -> None:
    session = Http2Session(Http2())
    session.begin(limits.HTTP2_CONNECTION_WINDOW)
    with pytest.raises(ProtocolError, match="the first frame is not SETTINGS"):
        session.receive_data(PingFrame(0, b"12345678").serialize())


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    """A frame of any type on any stream, with any flags and any payload."""
    payload = draw(st.binary(max_size=40) | st.just(answer((b":status", b"200"))[9:]))
    kind, flags = draw(st.integers(0, 12)), draw(st.integers(0, 255) | st.sampled_from([0, 1, 4, 5]))
    stream = draw(st.sampled_from([0, 1, 2, 3]))
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


@given(st.lists(frames() | st.binary(max_size=30), max_size=12))
def test_anything_is_an_event_or_a_protocol_error(pieces: list[bytes]) -> None:
    session = begun()
    try:
        for piece in pieces:
            session.receive_data(piece)
    except ProtocolError:
        return
