"""One name and record type, several servers: the first good answer counts.

The next server is asked as soon as one fails or stays silent for a second, or for a quarter of it if the next one is of
the other address family; all keep the chance to answer. Every server asked leaves a record with its timing, whatever
becomes of it.
"""

from __future__ import annotations

import asyncio
import errno
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Final

import dns.exception
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdtypes.svcbbase
from dns.rdtypes.svcbbase import ParamKey

from ostiary.core.addresses import RecordType, family_of
from ostiary.core.services import ServiceRecord
from ostiary.core.trace import DnsQuery, QueryOutcome
from ostiary.model import limits
from ostiary.model.dns import EDNS_PAYLOAD
from ostiary.net import dns_transport
from ostiary.net.resolv_conf import Server

_PENALTY: Final = 30.0
"""Seconds for which a silent server is asked last."""
_UNDERSTOOD: Final = frozenset(
    (ParamKey.ALPN, ParamKey.NO_DEFAULT_ALPN, ParamKey.PORT, ParamKey.IPV4HINT, ParamKey.IPV6HINT)
)
"""What `mandatory` may name; not `ech`, which can't be done here."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What is known about one record type of a name."""

    outcome: QueryOutcome
    addresses: tuple[str, ...] = ()
    services: tuple[ServiceRecord, ...] = ()
    stale: bool = False
    """It has expired, and the question goes on: a fresh one may follow."""

    @property
    def texts(self) -> tuple[str, ...]:
        """For the trace."""
        return self.addresses or tuple(str(service) for service in self.services)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How the servers are asked. Times in seconds."""

    silence: float = 0.0
    """After which the next server is asked too; doubled each round. 0: DNS_RETRANSMIT."""
    total: float = 0.0
    """After which nobody is waited for; 0: DNS_QUERY_TIMEOUT."""
    tcp: bool = False
    payload: int = EDNS_PAYLOAD


class Exchange:
    """One question; `run` it once."""

    def __init__(
        self,
        records: list[DnsQuery],
        question: dns.name.Name,
        record_type: RecordType,
        servers: Sequence[Server],
        pace: Pace,
        penalties: dict[Server, float],
    ) -> None:
        self._log = records
        self._question = question
        self._type: RecordType = record_type
        self._servers = servers
        self._pace = pace
        self._penalties = penalties
        self._asked: dict[asyncio.Task[dns.message.Message], Server] = {}
        self._records: dict[Server, DnsQuery] = {}
        self._failed: set[Server] = set()

    async def run(self) -> tuple[Answer, str, float] | None:
        """(answer, rcode, seconds it may be kept); None if no server answered in time."""
        failure: tuple[Answer, str, float] | None = None
        ends = time.monotonic() + (self._pace.total or limits.DNS_QUERY_TIMEOUT)
        step = 0
        next_at = time.monotonic()
        try:
            while (now := time.monotonic()) < ends:
                alive = [server for server in self._servers if server not in self._failed]
                if not alive:
                    return failure
                if now >= next_at:
                    self._send(alive[step % len(alive)])
                    next_at = now + self._silence(alive, step)
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

    def _silence(self, alive: Sequence[Server], step: int) -> float:
        silence: float = (self._pace.silence or limits.DNS_RETRANSMIT) * 2 ** (step // len(alive))
        asked, following = alive[step % len(alive)], alive[(step + 1) % len(alive)]
        if step < len(alive) and family_of(asked[0]) != family_of(following[0]):
            return min(silence, limits.DNS_OTHER_FAMILY)
        return silence

    def _send(self, server: Server) -> None:
        query = dns.message.make_query(self._question, self._type, use_edns=0, payload=self._pace.payload)
        record = self._records.get(server)
        if record is None:
            record = DnsQuery(
                name=self._question.to_text(), type=self._type, server=_server_text(server), started=time.monotonic()
            )
            self._records[server] = record
            self._log.append(record)
        task = asyncio.get_running_loop().create_task(dns_transport.ask(server, query, tcp=self._pace.tcp))
        self._asked[task] = server

    def _read(self, task: asyncio.Task[dns.message.Message]) -> tuple[Answer, str, float]:
        server = self._asked.pop(task)
        record = self._records[server]
        try:
            message = task.result()
            rcode = dns.rcode.to_text(message.rcode())
            answer, ttl = _read_message(message, self._type)
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


def _read_message(message: dns.message.Message, record_type: RecordType) -> tuple[Answer, int]:
    """What stands at the end of the CNAME chain, and for how many seconds it holds."""
    rcode = message.rcode()
    if rcode not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        return Answer("failed"), 0
    if not isinstance(message, dns.message.QueryMessage):
        raise ValueError("not an answer to a query")
    chain = message.resolve_chaining()
    ttl = min(int(chain.minimum_ttl), limits.DNS_TTL_MAX)
    if chain.answer is not None and rcode == dns.rcode.NOERROR:
        records = list(chain.answer)[: limits.MAX_DNS_ANSWERS]
        if services := tuple(_service(r) for r in records if isinstance(r, dns.rdtypes.svcbbase.SVCBBase)):
            return Answer("answered", services=services), ttl
        return Answer("answered", tuple(dict.fromkeys(_plain(item.address) for item in records))), ttl
    negative: QueryOutcome = "nxdomain" if rcode == dns.rcode.NXDOMAIN else "empty"
    if not message.authority:
        return Answer(negative), limits.DNS_NEGATIVE_TTL_UNSAID
    longest = limits.DNS_NEGATIVE_TTL_MAX if record_type != "HTTPS" else limits.DNS_NO_SERVICE_TTL_MAX
    return Answer(negative), min(ttl, longest)


def _plain(address: str) -> str:
    """An IPv4 address that stands in an AAAA record (RFC 4038 section 4.2) is one of IPv4."""
    if not address.lower().startswith("::ffff:"):
        return address
    mapped = IPv6Address(address).ipv4_mapped
    return address if mapped is None else str(mapped)


def _service(record: dns.rdtypes.svcbbase.SVCBBase) -> ServiceRecord:
    params = record.params
    alpn, port, mandatory = (params.get(key) for key in (ParamKey.ALPN, ParamKey.PORT, ParamKey.MANDATORY))
    hints = [params.get(key) for key in (ParamKey.IPV6HINT, ParamKey.IPV4HINT)]
    return ServiceRecord(
        priority=int(record.priority),
        target="" if record.target == dns.name.root else record.target.to_text().lower(),
        alpn=tuple(i.decode("ascii", "replace") for i in alpn.ids) if alpn is not None else (),
        no_default_alpn=ParamKey.NO_DEFAULT_ALPN in params,
        port=port.port if port is not None else None,
        hints=tuple(str(address) for hint in hints if hint is not None for address in hint.addresses),
        mandatory_known=mandatory is None or _UNDERSTOOD.issuperset(mandatory.keys),
        ech=ParamKey.ECH in params,
    )


def _words(error: Exception) -> str:
    """What failed, as attempts to connect say it."""
    if isinstance(error, OSError) and error.errno is not None:
        return f"{errno.errorcode.get(error.errno, error.errno)} {os.strerror(error.errno)}"
    return f"{type(error).__name__}: {error}"


def close(record: DnsQuery, answer: Answer, message: str = "") -> Answer:
    """Write an outcome into a query's record; gives back the answer."""
    record.ended = time.monotonic()
    record.outcome = answer.outcome
    record.answers = answer.texts
    record.message = message
    return answer


def _server_text(server: Server) -> str:
    host, port = server
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
