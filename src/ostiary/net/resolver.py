"""Names to addresses, each record type on its own: no answer ever waits for another.

Order of sources, as with the system's own resolver: the hosts file, then DNS with resolv.conf's servers, search list
and `ndots`. Names that DNS can't know (`printer.local`, mDNS) go to the system's resolver, in threads of our own: a
hanging one must not block the default executor, nor the end of the program.

The search list is followed on NXDOMAIN and on errors, not on an empty answer: NXDOMAIN says that the name does not
exist for any type (RFC 8020), an empty answer that it does. So A and AAAA stop at the same name and a race never mixes
two hosts. Servers are asked one after the other, the next as soon as one fails or stays silent for a second; all of
them keep the chance to answer. A server that let us wait is asked last for a while.

Answers are cached by TTL, and several connections that ask for the same share one query. A query that nobody waits for
any more is stopped, or goes on for a moment if what asked for it succeeded without it: its answer helps the next one.
When servers fail, an expired answer is better than none (RFC 8767).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import dns.exception
import dns.name

from ostiary.core.addresses import RecordType
from ostiary.core.trace import DnsQuery
from ostiary.model import limits
from ostiary.net.dns_exchange import Answer, Exchange, close
from ostiary.net.resolv_conf import Server, SystemFiles

_LOCALHOST: Final[dict[RecordType, tuple[str, ...]]] = {"A": ("127.0.0.1",), "AAAA": ("::1",)}
Key = tuple[str, RecordType, tuple[Server, ...], bool, bool]


@dataclass(frozen=True, slots=True)
class _Cached:
    answer: Answer
    name: str
    rcode: str
    expires: float


class Lookup:
    """One question, shared by all who ask it at the same time. `answer` is set at once if the cache knows it."""

    __slots__ = ("_forget", "_stop", "_task", "_waiting", "answer", "queries")

    def __init__(self, forget: Callable[[], object] | None = None) -> None:
        self._forget = forget
        self.answer: Answer | None = None
        self.queries: list[DnsQuery] = []
        """What was asked so far, in order; grows until there is an answer."""
        self._waiting: list[Callable[[Answer], None]] = []
        self._task: asyncio.Task[None] | None = None
        self._stop: asyncio.TimerHandle | None = None

    def wait(self, on_answer: Callable[[Answer], None]) -> None:
        """Call `on_answer` once, when there is an answer. Only while `answer` is None."""
        self._waiting.append(on_answer)
        if self._stop is not None:
            self._stop.cancel()
            self._stop = None

    def release(self, on_answer: Callable[[Answer], None], linger: float = 0.0) -> None:
        """Wait no longer. The last one to leave stops the question, after `linger` seconds."""
        if on_answer in self._waiting:
            self._waiting.remove(on_answer)
        if self._waiting or self._task is None or self._task.done():
            return
        if linger > 0:
            self._stop = asyncio.get_running_loop().call_later(linger, self.stop)
        else:
            self.stop()

    def stop(self) -> None:
        """End the question; whoever waits is not called."""
        self._waiting.clear()
        if self._stop is not None:
            self._stop.cancel()
            self._stop = None
        if self._task is not None:
            self._task.cancel()
        if self._forget is not None:
            self._forget()  # at once: who asks now must not join a question that is ending

    def _settle(self, answer: Answer) -> None:
        if self.answer is not None:
            return
        self.answer = answer
        waiting, self._waiting = self._waiting, []
        for on_answer in waiting:
            on_answer(answer)


class Resolver:
    """One per event loop; not for use from several threads."""

    __slots__ = ("_cache", "_files", "_lookups", "_penalties", "_system_lookups")

    def __init__(self, files: SystemFiles | None = None) -> None:
        self._files = files or SystemFiles()
        self._cache: dict[Key, _Cached] = {}
        self._lookups: dict[Key, Lookup] = {}
        self._penalties: dict[Server, float] = {}
        self._system_lookups = 0

    def lookup(
        self,
        name: str,
        record_type: RecordType,
        *,
        servers: Sequence[Server] = (),
        search: bool = True,
        tcp: bool = False,
        fresh: bool = False,
    ) -> Lookup:
        """Ask for one record type of a host name. Never raises: a name that can't exist has the outcome `failed`.

        `servers` (IP address, port) replaces those of resolv.conf, `search` False its search list, `tcp` asks over
        TCP only; `fresh` asks although the cache knows an answer.
        """
        now = time.monotonic()
        plain = name.lower().removesuffix(".")
        local = self._local(plain, record_type)
        if local is not None:
            return _settled(f"{plain}.", record_type, "hosts", local, now)
        key: Key = (name.lower(), record_type, tuple(servers), search, tcp)
        cached = self._cache.get(key) if not fresh else None
        if cached is not None and cached.expires > now:
            lookup = _settled(cached.name, record_type, "cache", cached.answer, now)
            lookup.queries[0].rcode = cached.rcode
            lookup.queries[0].ttl = int(cached.expires - now)
            return lookup
        running = self._lookups.get(key)
        if running is not None:
            return running
        lookup = Lookup(lambda: self._lookups.pop(key, None))
        self._lookups[key] = lookup
        lookup._task = asyncio.get_running_loop().create_task(self._run(lookup, key, plain))
        return lookup

    def flush(self) -> None:
        """Forget all answers and what is known about servers: the network has changed."""
        self._cache.clear()
        self._penalties.clear()

    def close(self) -> None:
        """Stop every question."""
        for lookup in list(self._lookups.values()):
            lookup.stop()
        self._lookups.clear()

    # --- what needs no question

    def _local(self, plain: str, record_type: RecordType) -> Answer | None:
        entry = self._files.hosts(plain)
        if entry is None and (plain == "localhost" or plain.endswith(".localhost")):
            entry = _LOCALHOST  # RFC 6761 section 6.3: never asked on the network
        if entry is None:
            return None
        addresses = entry.get(record_type, ())
        return Answer("answered" if addresses else "empty", addresses[: limits.MAX_DNS_ANSWERS])

    # --- questions

    async def _run(self, lookup: Lookup, key: Key, plain: str) -> None:
        stale = self._cache.get(key)
        usable = stale is not None and stale.answer.addresses
        timer = None
        if stale is not None and usable:
            timer = asyncio.get_running_loop().call_later(
                limits.DNS_STALE_AFTER, self._use_stale, lookup, key[1], stale
            )
        try:
            if plain.endswith(".local") and plain.count(".") == 1:
                answer = await self._ask_system(lookup, plain, key[1])
            else:
                answer = await self._ask_dns(lookup, key)
            if stale is not None and usable and answer.outcome in ("failed", "timeout"):
                self._use_stale(lookup, key[1], stale)
            lookup._settle(answer)
        finally:
            if timer is not None:
                timer.cancel()
            if self._lookups.get(key) is lookup:
                del self._lookups[key]

    def _use_stale(self, lookup: Lookup, record_type: RecordType, stale: _Cached) -> None:
        now = time.monotonic()
        if lookup.answer is None and now < stale.expires + limits.DNS_STALE_LIFETIME:
            lookup.queries.append(_record(stale.name, record_type, "cache (expired)", stale.answer, now))
            lookup._settle(stale.answer)

    async def _ask_dns(self, lookup: Lookup, key: Key) -> Answer:
        name, record_type, given, search, tcp = key
        conf = self._files.conf()
        servers = sorted(given or conf.servers, key=lambda server: self._penalties.get(server, 0.0) > time.monotonic())
        worst = Answer("nxdomain")
        for candidate in conf.candidates(name, search=search):
            try:
                question = dns.name.from_text(candidate)
            except (dns.exception.DNSException, UnicodeError) as error:
                now = time.monotonic()
                lookup.queries.append(
                    DnsQuery(name=candidate, type=record_type, server="none", started=now, ended=now,
                             outcome="failed", message=f"not a host name: {type(error).__name__}")
                )  # fmt: skip
                worst = Answer("failed")
                continue
            reply = await Exchange(lookup.queries, question, record_type, servers, tcp, self._penalties).run()
            if reply is None:
                return Answer("timeout")
            answer, rcode, ttl = reply
            if answer.outcome in ("answered", "empty"):
                self._remember(key, _Cached(answer, question.to_text(), rcode, time.monotonic() + ttl))
                return answer
            worst = answer if answer.outcome == "failed" else worst
        if worst.outcome == "nxdomain":
            ttl = limits.DNS_NEGATIVE_TTL_MAX
            self._remember(key, _Cached(worst, f"{name.removesuffix('.')}.", "NXDOMAIN", time.monotonic() + ttl))
        return worst

    def _remember(self, key: Key, cached: _Cached) -> None:
        self._cache.pop(key, None)
        while len(self._cache) >= limits.MAX_DNS_CACHE:
            del self._cache[next(iter(self._cache))]
        self._cache[key] = cached

    async def _ask_system(self, lookup: Lookup, name: str, record_type: RecordType) -> Answer:
        record = DnsQuery(name=f"{name}.", type=record_type, server="system", started=time.monotonic())
        lookup.queries.append(record)
        if self._system_lookups >= limits.MAX_SYSTEM_LOOKUPS:
            return close(record, Answer("failed"), message="too many lookups hang in the system's resolver")
        loop = asyncio.get_running_loop()
        result: asyncio.Future[Answer] = loop.create_future()

        def finish(answer: Answer) -> None:
            self._system_lookups -= 1
            if not result.done():
                result.set_result(answer)

        def work() -> None:
            answer = _getaddrinfo(name, record_type)
            with contextlib.suppress(RuntimeError):  # the loop may be gone by then
                loop.call_soon_threadsafe(finish, answer)

        self._system_lookups += 1
        threading.Thread(target=work, name="ostiary-getaddrinfo", daemon=True).start()
        try:
            async with asyncio.timeout(limits.DNS_QUERY_TIMEOUT):
                return close(record, await result)
        except TimeoutError:
            return close(record, Answer("timeout"))


def _getaddrinfo(name: str, record_type: RecordType) -> Answer:
    family = socket.AF_INET if record_type == "A" else socket.AF_INET6
    try:
        found = socket.getaddrinfo(name, None, family, socket.SOCK_STREAM)
    except socket.gaierror as error:
        absent = error.errno in (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))
        return Answer("empty" if absent else "failed")
    except (OSError, UnicodeError):
        return Answer("failed")
    addresses = tuple(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))
    return Answer("answered" if addresses else "empty", addresses[: limits.MAX_DNS_ANSWERS])


def _record(name: str, record_type: RecordType, server: str, answer: Answer, now: float) -> DnsQuery:
    return DnsQuery(
        name=name, type=record_type, server=server, started=now, ended=now, answers=answer.addresses,
        outcome=answer.outcome,
    )  # fmt: skip


def _settled(name: str, record_type: RecordType, server: str, answer: Answer, now: float) -> Lookup:
    lookup = Lookup()
    lookup.answer = answer
    lookup.queries.append(_record(name, record_type, server, answer, now))
    return lookup
