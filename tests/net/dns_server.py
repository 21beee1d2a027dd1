"""A DNS server for tests: real messages over loopback UDP and TCP, with delays, silence and every kind of mischief."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

Wire = Callable[[dns.message.Message], bytes]


@dataclass
class Reply:
    """How a (name, type) is answered."""

    addresses: tuple[str, ...] = ()
    """Or other records' data, as in a zone file."""
    ttl: int = 30
    delay: float = 0.0
    silent: bool = False
    rcode: str = "NOERROR"
    cname: str | None = None
    truncated: bool = False
    """Over UDP: no records, and the TC flag."""
    soa: int | None = None
    """For how long an answer without records holds; None: the server doesn't say."""
    knows_edns: bool = True
    """False: EDNS is a format error to it."""
    forge: Wire | None = None
    """Over UDP: these bytes first, then the real answer."""
    impostor: str | None = None
    """The address from which the forged bytes come; None: the server's own."""


@dataclass
class DnsServer:
    """`async with DnsServer({...}) as server`; names without an entry do not exist."""

    records: dict[tuple[str, str], Reply]
    asked: list[tuple[str, str]] = field(default_factory=list)
    """(name, type) of every query, in order; over TCP the type carries a `/tcp`."""
    port: int = 0
    host: str = "127.0.0.1"

    @property
    def address(self) -> tuple[str, int]:
        return (self.host, self.port)

    async def __aenter__(self) -> DnsServer:
        loop = asyncio.get_running_loop()
        self._tcp = await asyncio.start_server(self._on_tcp, self.host, self.port)
        self.port = self._tcp.sockets[0].getsockname()[1]
        self._udp, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self), local_addr=self.address)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._udp.abort()
        self._tcp.close()
        await asyncio.sleep(0)

    def on_udp(self, data: bytes, peer: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        reply = self._reply(query, "")
        if reply.silent:
            return
        loop = asyncio.get_running_loop()
        if reply.forge is not None:
            send = self._send if reply.impostor is None else partial(_send_from, reply.impostor)
            loop.call_later(reply.delay, send, reply.forge(query), peer)
        answer = self._answer(query, reply, truncated=reply.truncated).to_wire(want_shuffle=False)
        loop.call_later(reply.delay, self._send, answer, peer)

    def _send(self, data: bytes, peer: tuple[str, int]) -> None:
        if not self._udp.is_closing():
            self._udp.sendto(data, peer)

    async def _on_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, OSError):
            (length,) = struct.unpack("!H", await reader.readexactly(2))
            query = dns.message.from_wire(await reader.readexactly(length))
            wire = self._answer(query, self._reply(query, "/tcp"), truncated=False).to_wire(
                max_size=65535, want_shuffle=False
            )
            writer.write(struct.pack("!H", len(wire)) + wire)
            await writer.drain()
            await reader.read()
        writer.close()

    def _reply(self, query: dns.message.Message, transport: str) -> Reply:
        question = query.question[0]
        name, record_type = question.name.to_text(), dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, record_type + transport))
        known = any(entry == name for entry, _ in self.records)
        return self.records.get((name, record_type), Reply() if known else Reply(rcode="NXDOMAIN"))

    def _answer(self, query: dns.message.Message, reply: Reply, *, truncated: bool) -> dns.message.Message:
        question = query.question[0]
        response = dns.message.make_response(query)
        response.set_rcode(dns.rcode.from_text(reply.rcode))
        if truncated:
            response.flags |= dns.flags.TC
            return response
        if query.edns >= 0 and not reply.knows_edns:
            response.use_edns(False)
            response.set_rcode(dns.rcode.FORMERR)
            return response
        owner = question.name.to_text()
        if reply.soa is not None:
            soa = f"ns.test. root.test. 1 3600 600 86400 {reply.soa}"
            response.authority.append(dns.rrset.from_text("test.", reply.soa, "IN", "SOA", soa))
        if reply.cname is not None:
            response.answer.append(dns.rrset.from_text(owner, reply.ttl, "IN", "CNAME", reply.cname))
            owner = reply.cname
        if reply.addresses:
            record_type = dns.rdatatype.to_text(question.rdtype)
            response.answer.append(dns.rrset.from_text(owner, reply.ttl, "IN", record_type, *reply.addresses))
        return response


def _send_from(address: str, data: bytes, peer: tuple[str, int]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as impostor:
        impostor.bind((address, 0))
        impostor.sendto(data, peer)


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: DnsServer) -> None:
        self._server = server

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._server.on_udp(data, addr)


def dual(name: str = "dual.test.", *, v6: Reply | None = None, v4: Reply | None = None) -> dict[tuple[str, str], Reply]:
    """Records of a name with both families on loopback."""
    return {(name, "AAAA"): v6 or Reply(("::1",)), (name, "A"): v4 or Reply(("127.0.0.1",))}
