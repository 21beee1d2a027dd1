"""A DNS server for one machine: answers A and AAAA of the names it is given, over UDP. For the demo and for tests."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Mapping, Sequence
from typing import Final

import dns.exception
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

TTL: Final = 5


class DnsServer(asyncio.DatagramProtocol):
    """`names` maps a host name to its addresses of both families; every other name is NXDOMAIN."""

    def __init__(self, names: Mapping[str, Sequence[str]], host: str = "127.0.0.1") -> None:
        self._names = {name.lower().rstrip("."): tuple(addresses) for name, addresses in names.items()}
        self._host = host
        self._transport: asyncio.DatagramTransport | None = None
        self.address = (host, 0)
        """Where it listens, once started."""

    async def start(self) -> None:
        """Listen on a free port. Raises OSError."""
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=(self._host, 0))
        self.address = self._transport.get_extra_info("sockname")[:2]

    def stop(self) -> None:
        """Stop listening."""
        if self._transport is not None:
            self._transport.close()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer one question; what is no question is ignored."""
        try:
            query = dns.message.from_wire(data)
        except dns.exception.DNSException:
            return
        if self._transport is not None and query.question:
            self._transport.sendto(self.answer(query).to_wire(), addr)

    def answer(self, query: dns.message.Message) -> dns.message.Message:
        """The answer to the first question of `query`."""
        question = query.question[0]
        response = dns.message.make_response(query)
        addresses = self._names.get(question.name.to_text(omit_final_dot=True).lower())
        if addresses is None:
            response.set_rcode(dns.rcode.NXDOMAIN)
            return response
        version = {dns.rdatatype.A: 4, dns.rdatatype.AAAA: 6}.get(question.rdtype)
        wanted = [address for address in addresses if ipaddress.ip_address(address).version == version]
        if wanted:
            response.answer.append(dns.rrset.from_text(question.name, TTL, "IN", question.rdtype, *wanted))
        return response
