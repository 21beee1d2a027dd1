"""One name and record type, several servers: the first good answer counts.

The next server is asked as soon as one fails or stays silent for a second; all keep the chance to answer. Every server
asked leaves a record with its timing, whatever becomes of it.
"""

from __future__ import annotations

import asyncio
import errno
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import dns.exception
import dns.message
import dns.name
import dns.rcode

from ostiary.core.addresses import RecordType
from ostiary.core.trace import DnsQuery, QueryOutcome
from ostiary.model import limits
from ostiary.net import dns_transport
from ostiary.net.resolv_conf import Server

_PENALTY: Final = 30.0
"""Seconds for which a silent server is asked last."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What is known about one record type of a name."""

    outcome: QueryOutcome
    addresses: tuple[str, ...] = ()


class Exchange:
    """One question; `run` it once."""

    def __init__(
        self,
        records: list[DnsQuery],
        question: dns.name.Name,
        record_type: RecordType,
        servers: Sequence[Server],
        tcp: bool,
        penalties: dict[Server, float],
    ) -> None:
        self._log = records
        self._question = question
        self._type: RecordType = record_type
        self._servers = servers
        self._tcp = tcp
        self._penalties = penalties
        self._asked: dict[asyncio.Task[dns.message.Message], Server] = {}
        self._records: dict[Server, DnsQuery] = {}
        self._failed: set[Server] = set()

    async def run(self) -> tuple[Answer, str, float] | None:
        """(answer, rcode, seconds it may be kept); None if no server answered in time."""
        failure: tuple[Answer, str, float] | None = None
        ends = time.monotonic() + limits.DNS_QUERY_TIMEOUT
        step = 0
        next_at = time.monotonic()
        try:
            while (now := time.monotonic()) < ends:
                alive = [server for server in self._servers if server not in self._failed]
                if not alive:
                    return failure
                if now >= next_at:
                    self._send(alive[step % len(alive)])
                    next_at = now + limits.DNS_RETRANSMIT * 2 ** (step // len(alive))
                    step += 1
                wait = min(next_at, ends) - now
                done, _ = await asyncio.wait(self._asked, timeout=wait, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    reply = self._read(task)
                    if reply[0].outcome != "failed":
                        return reply
                    failure = reply
                    next_at = time.monotonic()
            return failure
        finally:
            self._end()

    def _send(self, server: Server) -> None:
        query = dns.message.make_query(self._question, self._type, use_edns=0, payload=dns_transport.EDNS_PAYLOAD)
        record = self._records.get(server)
        if record is None:
            record = DnsQuery(
                name=self._question.to_text(), type=self._type, server=_server_text(server), started=time.monotonic()
            )
            self._records[server] = record
            self._log.append(record)
        task = asyncio.get_running_loop().create_task(dns_transport.ask(server, query, tcp=self._tcp))
        self._asked[task] = server

    def _read(self, task: asyncio.Task[dns.message.Message]) -> tuple[Answer, str, float]:
        server = self._asked.pop(task)
        record = self._records[server]
        try:
            message = task.result()
            rcode = dns.rcode.to_text(message.rcode())
            answer, ttl = _read_message(message)
        except (OSError, dns.exception.DNSException, ValueError) as error:
            answer = Answer("failed")
            self._failed.add(server)
            close(record, answer, message=_words(error))
            return answer, "", 0
        record.rcode = rcode
        record.ttl = ttl if answer.outcome == "answered" else None
        if answer.outcome == "failed":
            self._failed.add(server)
        close(record, answer)
        return answer, rcode, ttl

    def _end(self) -> None:
        """Close what is still open. A server that was silent while another answered is asked last for a while."""
        now = time.monotonic()
        answered = any(record.outcome in ("answered", "empty", "nxdomain") for record in self._records.values())
        cancelled = asyncio.current_task()
        stopped = cancelled is not None and cancelled.cancelling() > 0
        for task in self._asked:
            if not task.cancel() and not task.cancelled():
                task.exception()  # seen, and too late to matter
        for server, record in self._records.items():
            if record.outcome == "pending" and not stopped:
                record.outcome, record.ended = "timeout", now
                if answered:
                    self._penalties[server] = now + _PENALTY


def _read_message(message: dns.message.Message) -> tuple[Answer, int]:
    """The addresses at the end of the CNAME chain, and for how many seconds they hold."""
    rcode = message.rcode()
    if rcode not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        return Answer("failed"), 0
    if not isinstance(message, dns.message.QueryMessage):
        raise ValueError("not an answer to a query")
    chain = message.resolve_chaining()
    ttl = min(int(chain.minimum_ttl), limits.DNS_TTL_MAX)
    if chain.answer is not None and rcode == dns.rcode.NOERROR:
        addresses = tuple(dict.fromkeys(str(item.address) for item in chain.answer))[: limits.MAX_DNS_ANSWERS]
        return Answer("answered", addresses), ttl
    negative: QueryOutcome = "nxdomain" if rcode == dns.rcode.NXDOMAIN else "empty"
    return Answer(negative), min(ttl, limits.DNS_NEGATIVE_TTL_MAX)


def _words(error: Exception) -> str:
    """What failed, as attempts to connect say it."""
    if isinstance(error, OSError) and error.errno is not None:
        return f"{errno.errorcode.get(error.errno, error.errno)} {os.strerror(error.errno)}"
    return f"{type(error).__name__}: {error}"


def close(record: DnsQuery, answer: Answer, message: str = "") -> Answer:
    """Write an outcome into a query's record; gives back the answer."""
    record.ended = time.monotonic()
    record.outcome = answer.outcome
    record.answers = answer.addresses
    record.message = message
    return answer


def _server_text(server: Server) -> str:
    host, port = server
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
