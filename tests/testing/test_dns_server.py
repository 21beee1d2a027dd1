"""The demo's DNS server, asked over a real socket."""

from __future__ import annotations

import asyncio

import dns.asyncquery
import dns.message
import dns.rcode

from ostiary.testing.dns_server import DnsServer
from waiting import PATIENCE


def ask(name: str, record: str) -> tuple[str, list[str]]:
    async def run() -> dns.message.Message:
        server = DnsServer({"Login.example": ("::1", "127.0.0.1", "127.0.0.2")})
        await server.start()
        try:
            host, port = server.address
            return await dns.asyncquery.udp(dns.message.make_query(name, record), host, port=port, timeout=PATIENCE)
        finally:
            server.stop()

    response = asyncio.run(run())
    return dns.rcode.to_text(response.rcode()), sorted(str(item) for found in response.answer for item in found)


def test_each_family_gets_its_own_addresses() -> None:
    assert ask("login.example.", "A") == ("NOERROR", ["127.0.0.1", "127.0.0.2"])
    assert ask("LOGIN.example.", "AAAA") == ("NOERROR", ["::1"])


def test_another_type_is_empty_and_another_name_does_not_exist() -> None:
    assert ask("login.example.", "TXT") == ("NOERROR", [])
    assert ask("nowhere.example.", "A") == ("NXDOMAIN", [])
