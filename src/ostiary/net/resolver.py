"""Names to addresses, each record type on its own: no answer ever waits for another.

Order of sources, as with the system's own resolver: the hosts file, then DNS with resolv.conf's servers, search list
and `ndots`. Names that DNS can't know (`printer.local`, mDNS; a single label that DNS does not have) go to the system's
resolver, each family on its own (`net.system_lookup`); so does everything where a configuration asks for that.

The search list is followed on NXDOMAIN and on errors, not on an empty answer: NXDOMAIN says that the name does not
exist for any type (RFC 8020), an empty answer that it does. So A and AAAA stop at the same name and a race never mixes
two hosts. Servers are asked one after the other, those with an IPv6 address first (RFC 8305 section 3) unless they were
given; all of them keep the chance to answer. A server that let us wait is asked last for a while.

Answers are cached by TTL, and several connections that ask for the same share one query. A query that nobody waits for
any more is stopped, or goes on for a moment if what asked for it succeeded without it: its answer helps the next one.
When servers fail or are slow, an expired answer is better than none (RFC 8767); a fresh one that comes replaces it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import dns.exception
import dns.name

from ostiary.core.addresses import RecordType
from ostiary.core.trace import DnsQuery
from ostiary.model import limits
from ostiary.model.dns import DnsOptions
from ostiary.net.dns_exchange import Answer, Exchange, Pace
from ostiary.net.log import log
from ostiary.net.resolv_conf import ResolvConf, Server, SystemFiles
from ostiary.net.system_lookup import SystemLookups

_LOG: Final = log("dns")

_LOCALHOST: Final[dict[RecordType, tuple[str, ...]]] = {"A": ("127.0.0.1",), "AAAA": ("::1",)}
_DEFAULTS: Final = DnsOptions()


class _Key(NamedTuple):
    name: str
    type: RecordType
    servers: tuple[Server, ...]
    search: bool
    tcp: bool
    options: DnsOptions


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
        """Call `on_answer` once, when there is an answer. Only while `answer` is None, or stale: then the fresh one."""
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
        if self.answer is not None and not self.answer.stale:
            return
        self.answer = answer
        waiting, self._waiting = self._waiting, []
        for on_answer in waiting:
            on_answer(answer)


class Resolver:
    """One per event loop; not for use from several threads."""

    __slots__ = ("_cache", "_files", "_lookups", "_penalties", "_system", "_turn")

    def __init__(self, files: SystemFiles | None = None) -> None:
        self._files = files or SystemFiles()
        self._cache: dict[_Key, _Cached] = {}
        self._lookups: dict[_Key, Lookup] = {}
        self._penalties: dict[Server, float] = {}
        self._system = SystemLookups()
        self._turn = 0
        """Who is asked first, with `rotate`."""

    def lookup(
        self,
        name: str,
        record_type: RecordType,
        *,
        servers: Sequence[Server] = (),
        search: bool = True,
        tcp: bool = False,
        fresh: bool = False,
        options: DnsOptions = _DEFAULTS,
    ) -> Lookup:
        """Ask for one record type of a host name. Never raises: a name that can't exist has the outcome `failed`.

        `servers` (IP address, port) replaces those of resolv.conf, `search` False its search list, `tcp` asks over
        TCP only; `fresh` asks although the cache knows an answer. Who asks for the same in the same way shares the
        query and its answer.
        """
        now = time.monotonic()
        plain = name.lower().removesuffix(".")
        local = self._local(plain, record_type)
        if local is not None:
            return _settled(f"{plain}.", record_type, "hosts", local, now)
        if record_type == "AAAA" and not servers and not options.system and self._files.conf().no_aaaa:
            return _settled(f"{plain}.", record_type, "resolv.conf", Answer("empty"), now)
        key = _Key(name.lower(), record_type, tuple(servers), search, tcp, options)
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

    def is_local(self, name: str) -> bool:
        """Whether the hosts file knows the name, or it is this host: nothing is asked about it."""
        return self._local(name.lower().removesuffix("."), "A") is not None

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

    async def _run(self, lookup: Lookup, key: _Key, plain: str) -> None:
        stale = self._cache.get(key)
        if stale is not None and not (stale.answer.addresses or stale.answer.services):
            stale = None
        timer = None
        if stale is not None:
            timer = asyncio.get_running_loop().call_later(limits.DNS_STALE_AFTER, self._use_stale, lookup, key, stale)
        try:
            if key.options.system or (plain.endswith(".local") and plain.count(".") == 1 and not key.servers):
                answer = await self._ask_system(lookup, key, plain)
            else:
                answer = await self._ask_dns(lookup, key)
                if _may_be_local(plain, answer, key, self._files.conf()):
                    answer = await self._ask_system(lookup, key, plain)
            if stale is not None and answer.outcome in ("failed", "timeout"):
                self._use_stale(lookup, key, stale)
                answer = answer if lookup.answer is None else replace(lookup.answer, stale=False)
            lookup._settle(answer)
        except Exception:  # noqa: BLE001 - whoever waits must hear of it, or would wait for ever
            _LOG.exception("a lookup of %s failed unexpectedly", plain)
            lookup._settle(Answer("failed"))
        finally:
            if timer is not None:
                timer.cancel()
            if self._lookups.get(key) is lookup:
                del self._lookups[key]

    def _use_stale(self, lookup: Lookup, key: _Key, stale: _Cached) -> None:
        now = time.monotonic()
        if lookup.answer is None and now < stale.expires + limits.DNS_STALE_LIFETIME:
            lookup.queries.append(_record(stale.name, key.type, "cache (expired)", stale.answer, now))
            lookup._settle(replace(stale.answer, stale=True))

    async def _ask_dns(self, lookup: Lookup, key: _Key) -> Answer:
        conf = self._files.conf()
        servers = self._servers(key, conf)
        pace = _pace(key, conf, len(servers))
        worst = Answer("nxdomain")
        negative_ttl = float(limits.DNS_NEGATIVE_TTL_MAX)
        for candidate in conf.candidates(key.name, search=key.search):
            try:
                question = dns.name.from_text(candidate)
            except (dns.exception.DNSException, UnicodeError) as error:
                now = time.monotonic()
                lookup.queries.append(
                    DnsQuery(name=candidate, type=key.type, server="none", started=now, ended=now,
                             outcome="failed", message=f"not a host name: {type(error).__name__}")
                )  # fmt: skip
                worst = Answer("failed")
                continue
            reply = await Exchange(lookup.queries, question, key.type, servers, pace, self._penalties).run()
            if reply is None:
                return Answer("timeout")
            answer, rcode, ttl = reply
            if answer.outcome in ("answered", "empty"):
                self._remember(key, _Cached(answer, question.to_text(), rcode, time.monotonic() + ttl))
                return answer
            worst = answer if answer.outcome == "failed" else worst
            negative_ttl = min(negative_ttl, ttl)
        if worst.outcome == "nxdomain":
            name = f"{key.name.removesuffix('.')}."
            self._remember(key, _Cached(worst, name, "NXDOMAIN", time.monotonic() + negative_ttl))
        return worst

    def _servers(self, key: _Key, conf: ResolvConf) -> list[Server]:
        """Whom to ask, in which order."""
        options = key.options
        if key.servers and not (options.use_resolvers_as_fallback and conf.configured):
            servers = list(key.servers)
        else:
            servers = sorted(conf.servers, key=lambda server: ":" not in server[0])
        if options.rotate_nameservers or (conf.rotate and not key.servers):
            self._turn = (self._turn + 1) % len(servers)
            servers = servers[self._turn :] + servers[: self._turn]
        now = time.monotonic()
        return sorted(servers, key=lambda server: self._penalties.get(server, 0.0) > now)

    def _remember(self, key: _Key, cached: _Cached) -> None:
        self._cache.pop(key, None)
        while len(self._cache) >= limits.MAX_DNS_CACHE:
            del self._cache[next(iter(self._cache))]
        self._cache[key] = cached

    async def _ask_system(self, lookup: Lookup, key: _Key, name: str) -> Answer:
        retries = key.options.num_retries if key.options.system else 0
        answer = await self._system.ask(lookup.queries, name, key.type, retries)
        if answer.outcome == "answered":
            ttl = limits.DNS_SYSTEM_TTL if key.options.system else limits.DNS_NEGATIVE_TTL_MAX
            self._remember(key, _Cached(answer, f"{name}.", "", time.monotonic() + ttl))
        return answer


def _may_be_local(plain: str, answer: Answer, key: _Key, conf: ResolvConf) -> bool:
    """Whether the system may know a name that DNS does not: a machine of this network, or there is no DNS at all."""
    if key.servers or key.type == "HTTPS" or answer.outcome in ("answered", "empty"):
        return False
    return (plain.isascii() and plain.isprintable() and "." not in plain) or not conf.configured


def _pace(key: _Key, conf: ResolvConf, servers: int) -> Pace:
    options = key.options
    ours = not key.servers
    silence = options.query_timeout or (conf.timeout if ours else None) or 0.0
    tries = options.query_tries or (conf.attempts if ours else None)
    total = 0.0
    if silence or tries:
        total = min((silence or limits.DNS_RETRANSMIT) * (tries or 2) * servers, limits.DNS_TOTAL_MAX)
    return Pace(
        silence=float(silence),
        total=max(total, limits.DNS_QUERY_TIMEOUT) if options.query_tries is None else total,
        tcp=key.tcp or (ours and conf.use_vc),
        payload=options.edns0_max_payload_size,
    )


def _record(name: str, record_type: RecordType, server: str, answer: Answer, now: float) -> DnsQuery:
    return DnsQuery(
        name=name, type=record_type, server=server, started=now, ended=now, answers=answer.texts,
        outcome=answer.outcome,
    )  # fmt: skip


def _settled(name: str, record_type: RecordType, server: str, answer: Answer, now: float) -> Lookup:
    lookup = Lookup()
    lookup.answer = answer
    lookup.queries.append(_record(name, record_type, server, answer, now))
    return lookup
