"""One DNS question to one server: UDP from a fresh socket, TCP when the answer was cut off.

A socket is connected and lives for one question, so that its source port is random and the kernel drops what other
hosts send. An answer counts only with our random id and our question (RFC 5452 section 9.1); anything else is ignored
and the wait goes on. An ICMP error comes back as ECONNREFUSED at once. (The letters of the name are not mixed, "0x20":
servers that answer in lower case would go unheard, and id and port are 32 bits to guess within one answer's time.)

A server that takes EDNS for a format error is asked again without it (RFC 6891 section 7).
"""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from typing import Final

import dns.exception
import dns.flags
import dns.message
import dns.rcode

from ostiary.net.resolv_conf import Server
from ostiary.net.routes import sockaddr, socket_family

_MAX_UDP_ANSWER: Final = 65535


async def ask(server: Server, query: dns.message.QueryMessage, *, tcp: bool = False) -> dns.message.Message:
    """The server's answer. Waits until there is one: the caller sets the time limit.

    Raises OSError if the server can't be reached, closes early or answers another question over TCP, ValueError or
    dns.exception.DNSException for an answer that is broken.
    """
    answer = await _ask(server, query, tcp)
    if answer.rcode() in (dns.rcode.FORMERR, dns.rcode.NOTIMP) and answer.edns < 0 <= query.edns:
        query.use_edns(False)
        answer = await _ask(server, query, tcp)
    return answer


async def _ask(server: Server, query: dns.message.QueryMessage, tcp: bool) -> dns.message.Message:
    if not tcp:
        answer = await _ask_udp(server, query)
        if not answer.flags & dns.flags.TC:
            return answer
    return await _ask_tcp(server, query)


async def _ask_udp(server: Server, query: dns.message.QueryMessage) -> dns.message.Message:
    loop = asyncio.get_running_loop()
    arrived: asyncio.Future[dns.message.Message] = loop.create_future()
    sock = socket.socket(socket_family(server[0]), socket.SOCK_DGRAM)

    def on_readable() -> None:
        try:
            data = sock.recv(_MAX_UDP_ANSWER)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            if not arrived.done():
                arrived.set_exception(error)
            return
        if arrived.done():
            return
        answer = _parse(data)
        if answer is not None and query.is_response(answer):
            arrived.set_result(answer)
        elif answer is None and (head := _parse_head(data)) is not None and query.is_response(head):
            arrived.set_exception(ValueError("the answer is malformed"))

    try:
        sock.setblocking(False)
        sock.connect(sockaddr(*server))
        loop.add_reader(sock, on_readable)
        try:
            sock.send(query.to_wire())
            return await arrived
        finally:
            loop.remove_reader(sock)
    finally:
        sock.close()


async def _ask_tcp(server: Server, query: dns.message.QueryMessage) -> dns.message.Message:
    reader, writer = await asyncio.open_connection(*server)
    try:
        wire = query.to_wire()
        writer.write(struct.pack("!H", len(wire)) + wire)
        try:
            (length,) = struct.unpack("!H", await reader.readexactly(2))
            data = await reader.readexactly(length)
        except asyncio.IncompleteReadError as error:
            raise ConnectionResetError("the server closed the connection before its answer was complete") from error
        answer = dns.message.from_wire(data)
        if not query.is_response(answer):
            raise ConnectionError("the answer does not belong to the question")
        return answer
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


def _parse(data: bytes) -> dns.message.Message | None:
    """The message, a truncated one included (with its TC flag); None if it is none."""
    try:
        return dns.message.from_wire(data, ignore_trailing=True, raise_on_truncation=False)
    except (dns.exception.DNSException, ValueError):
        # A cut-off answer may end within a record: the header is enough to go on over TCP.
        return _parse_head(data) if len(data) >= 12 and data[2] & 0x02 else None


def _parse_head(data: bytes) -> dns.message.Message | None:
    """The header and the question: whose answer it is, if nothing else can be read."""
    try:
        return dns.message.from_wire(data, question_only=True)
    except (dns.exception.DNSException, ValueError):
        return None
