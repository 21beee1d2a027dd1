"""Who says no: the address of the router or firewall behind an ICMP error, asked without privileges.

TCP tells an ICMP error as a bare errno. A UDP socket with IP_RECVERR keeps the error itself, with its type, its code
and its sender (ip(7), ipv6(7)): one byte to the same address and port draws the same answer from whoever refuses the
way there. A rule about TCP alone says nothing to it; then nobody is named. Linux only.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from ostiary.net.routes import sockaddr, socket_family

_IP_RECVERR: Final = 11
_IPV6_RECVERR: Final = 25
_EXTENDED: Final = struct.Struct("=IBBBBII")
"""struct sock_extended_err: errno, origin, type, code, padding, info, data; the sender's address follows."""
_ORIGIN_ICMP, _ORIGIN_ICMP6 = 2, 3
_PROHIBITED: Final = frozenset(
    [(_ORIGIN_ICMP, 3, code) for code in (9, 10, 13)] + [(_ORIGIN_ICMP6, 1, code) for code in (1, 5, 6)]
)
"""RFC 1812 section 5.2.7.1; RFC 4443 section 3.1: "administratively prohibited", a policy, a reject route."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An ICMP error about an address."""

    by: str
    """Who sent it."""
    type: int
    code: int
    prohibited: bool
    """It says that a rule forbids it."""

    def __str__(self) -> str:
        return f"{self.by} answers ICMP {self.type}/{self.code}" + (", prohibited" if self.prohibited else "")


async def who_refuses(address: str, port: int, patience: float) -> Refusal | None:
    """Who answers one UDP byte to that address with an ICMP error, within `patience` seconds; None if nobody does."""
    if not hasattr(socket, "MSG_ERRQUEUE"):
        return None
    loop = asyncio.get_running_loop()
    v6 = ":" in address
    with socket.socket(socket_family(address), socket.SOCK_DGRAM) as sock, suppress(OSError, TimeoutError):
        sock.setblocking(False)
        level, option = (socket.IPPROTO_IPV6, _IPV6_RECVERR) if v6 else (socket.IPPROTO_IP, _IP_RECVERR)
        sock.setsockopt(level, option, 1)
        sock.connect(sockaddr(address, port))
        ready = asyncio.Event()
        loop.add_reader(sock, ready.set)  # an error makes a socket readable
        try:
            sock.send(b"\0")
            async with asyncio.timeout(patience):
                await ready.wait()
            return _read(sock, level, option)
        finally:
            loop.remove_reader(sock)
    return None


def _read(sock: socket.socket, level: int, option: int) -> Refusal | None:
    _, ancillary, _, _ = sock.recvmsg(1, 512, socket.MSG_ERRQUEUE)
    for found_level, kind, data in ancillary:
        if (found_level, kind) != (level, option) or len(data) < _EXTENDED.size:
            continue
        _, origin, icmp_type, code, _, _, _ = _EXTENDED.unpack_from(data)
        if origin not in (_ORIGIN_ICMP, _ORIGIN_ICMP6):
            return None  # this host's own error: no packet was sent
        sender = data[_EXTENDED.size :]
        by = sender[4:8] if origin == _ORIGIN_ICMP else sender[8:24]
        prohibited = (origin, icmp_type, code) in _PROHIBITED
        return Refusal(by=str(ipaddress.ip_address(by)), type=icmp_type, code=code, prohibited=prohibited)
    return None
