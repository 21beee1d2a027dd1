"""Messages between a worker and the desk as bytes: four bytes of length, then msgpack."""

from __future__ import annotations

from typing import Final, Generic, TypeVar, final

import msgspec

from ostiary.core.leases import Message, Reply
from ostiary.model import limits

T = TypeVar("T")
_LENGTH_BYTES: Final = 4
_encoder: Final = msgspec.msgpack.Encoder()


class WireError(Exception):
    """Bytes that the other side would not have sent."""


def frame(message: Message | Reply) -> bytes:
    """One message, ready to be sent."""
    packed = _encoder.encode(message)
    return len(packed).to_bytes(_LENGTH_BYTES, "big") + packed


@final
class FrameReader(Generic[T]):
    """Puts messages together from whatever pieces arrive."""

    def __init__(self, decoder: msgspec.msgpack.Decoder[T]) -> None:
        self._decoder = decoder
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[T]:
        """The messages that are complete now. Raises WireError."""
        self._buffer += data
        messages: list[T] = []
        at = 0
        while len(self._buffer) >= at + _LENGTH_BYTES:
            start = at + _LENGTH_BYTES
            length = int.from_bytes(self._buffer[at:start], "big")
            if length > limits.MAX_LEASE_MESSAGE_BYTES:
                raise WireError(f"a message of {length} bytes")
            if len(self._buffer) < start + length:
                break
            at = start + length
            try:
                messages.append(self._decoder.decode(self._buffer[start:at]))
            except msgspec.MsgspecError as error:
                raise WireError("a message that is none of ours") from error
        del self._buffer[:at]
        return messages


def message_reader() -> FrameReader[Message]:
    """What the desk reads."""
    return FrameReader(msgspec.msgpack.Decoder(Message))


def reply_reader() -> FrameReader[Reply]:
    """What a worker reads."""
    return FrameReader(msgspec.msgpack.Decoder(Reply))
