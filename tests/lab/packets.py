"""IP packets as a router sees them: what it takes to judge one, to log it, and to answer in the destination's name."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from typing import Final

TCP: Final = 6
UDP: Final = 17
ICMP: Final = 1
ICMPV6: Final = 58
SYN, RST, ACK = 0x02, 0x04, 0x10
_QUOTED: Final = 500
"""Bytes of the offending packet that an ICMP error repeats: less than any MTU."""


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet, its addresses and its transport's header."""

    raw: bytes
    source: str
    destination: str
    protocol: int
    sport: int = 0
    dport: int = 0
    seq: int = 0
    flags: int = 0
    payload: bytes = b""

    @property
    def is_syn(self) -> bool:
        """The first packet of a TCP connection."""
        return self.protocol == TCP and self.flags & (SYN | ACK) == SYN


def parse(raw: bytes) -> Packet | None:
    """A packet without IPv6 extension headers and IPv4 fragments, which no program here sends; None for others."""
    if raw[0] >> 4 == 4:
        start, protocol = (raw[0] & 15) * 4, raw[9]
        source, destination = socket.inet_ntop(socket.AF_INET, raw[12:16]), socket.inet_ntop(socket.AF_INET, raw[16:20])
    elif raw[0] >> 4 == 6:
        start, protocol = 40, raw[6]
        source = socket.inet_ntop(socket.AF_INET6, raw[8:24])
        destination = socket.inet_ntop(socket.AF_INET6, raw[24:40])
    else:
        return None
    if protocol == TCP:
        sport, dport, seq, _, offset, flags = struct.unpack_from("!HHIIBB", raw, start)
        payload = raw[start + (offset >> 4) * 4 :]
        return Packet(raw, source, destination, protocol, sport, dport, seq, flags, payload)
    if protocol == UDP:
        sport, dport = struct.unpack_from("!HH", raw, start)
        return Packet(raw, source, destination, protocol, sport, dport, payload=raw[start + 8 :])
    return Packet(raw, source, destination, protocol) if protocol in (ICMP, ICMPV6) else None


def reset(syn: Packet) -> bytes:
    """The RST with which the destination refuses a SYN (RFC 9293 section 3.10.7.1)."""
    ack = (syn.seq + 1) & 0xFFFFFFFF
    segment = struct.pack("!HHIIBBHHH", syn.dport, syn.sport, 0, ack, 5 << 4, RST | ACK, 0, 0, 0)
    return _wrap(syn.destination, syn.source, TCP, segment, checksum_at=16)


def unreachable(packet: Packet, kind: int, code: int, router: str) -> bytes:
    """An ICMP (or ICMPv6) error about `packet`, sent by `router`."""
    message = struct.pack("!BBHI", kind, code, 0, 0) + packet.raw[:_QUOTED]
    return _wrap(router, packet.source, ICMPV6 if ":" in packet.source else ICMP, message, checksum_at=2)


def _wrap(source: str, destination: str, protocol: int, body: bytes, *, checksum_at: int) -> bytes:
    """`body` with its checksum, in an IP header."""
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    ends = socket.inet_pton(family, source) + socket.inet_pton(family, destination)
    pseudo = b"" if protocol == ICMP else ends + struct.pack("!II", len(body), protocol)
    body = body[:checksum_at] + struct.pack("!H", _checksum(pseudo + body)) + body[checksum_at + 2 :]
    if family == socket.AF_INET6:
        return struct.pack("!IHBB", 6 << 28, len(body), protocol, 64) + ends + body
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0, 64, protocol, 0) + ends
    return header[:10] + struct.pack("!H", _checksum(header)) + header[12:] + body


def _checksum(data: bytes) -> int:
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
