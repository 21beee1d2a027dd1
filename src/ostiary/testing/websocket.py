"""The server's side of a WebSocket that echoes (RFC 6455): enough for the demo and the tests, no extensions."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from typing import Final

MAX_FRAME_BYTES: Final = 16 * 1024 * 1024
_GUID: Final = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CLOSE: Final = 0x8
_PING: Final = 0x9
_PONG: Final = 0xA


class Closed(Exception):
    """The peer closed, or broke the protocol."""


def accept_value(key: str) -> str:
    """Sec-WebSocket-Accept for a client's Sec-WebSocket-Key (RFC 6455 section 4.2.2)."""
    return base64.b64encode(hashlib.sha1((key + _GUID).encode(), usedforsecurity=False).digest()).decode()


def frame(opcode: int, payload: bytes, *, final: bool = True, mask: bytes = b"") -> bytes:
    """One frame; a client gives 4 bytes of `mask` (RFC 6455 section 5.2)."""
    first = (0x80 if final else 0) | opcode
    masked = 0x80 if mask else 0
    if len(payload) < 126:
        head = bytes((first, masked | len(payload)))
    elif len(payload) < 1 << 16:
        head = bytes((first, masked | 126)) + len(payload).to_bytes(2)
    else:
        head = bytes((first, masked | 127)) + len(payload).to_bytes(8)
    return head + mask + (apply_mask(payload, mask) if mask else payload)


def apply_mask(payload: bytes, mask: bytes) -> bytes:
    """XOR with the repeated mask: its own inverse."""
    if not payload:
        return b""
    repeated = mask * (len(payload) // 4 + 1)
    whole = int.from_bytes(payload) ^ int.from_bytes(repeated[: len(payload)])
    return whole.to_bytes(len(payload))


async def read_frame(reader: asyncio.StreamReader) -> tuple[bool, int, bytes]:
    """(final, opcode, payload). Raises Closed, asyncio.IncompleteReadError."""
    first, second = await reader.readexactly(2)
    size = second & 0x7F
    if size >= 126:
        size = int.from_bytes(await reader.readexactly(2 if size == 126 else 8))
    if size > MAX_FRAME_BYTES:
        raise Closed
    mask = await reader.readexactly(4) if second & 0x80 else b""
    payload = await reader.readexactly(size)
    return bool(first & 0x80), first & 0x0F, apply_mask(payload, mask) if mask else payload


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send every message back, frame by frame, until the peer closes. Raises Closed when it does."""
    while True:
        final, opcode, payload = await read_frame(reader)
        if opcode == _CLOSE:
            writer.write(frame(_CLOSE, payload[:2]))
            raise Closed
        if opcode == _PONG:
            continue
        writer.write(frame(_PONG if opcode == _PING else opcode, payload, final=final))
        await writer.drain()
