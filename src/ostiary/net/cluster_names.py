"""Names of a cluster, asked for in the background: the shell of core/cluster_dns.py."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final, final

from ostiary.core.addresses import Destination, RecordType
from ostiary.core.cluster_dns import Answered, Round, Schedule
from ostiary.model import limits
from ostiary.model.clusters import Cluster, DnsLookupFamily
from ostiary.net import resolution_log, routes
from ostiary.net.log import log

if TYPE_CHECKING:
    from ostiary.core.trace import DnsQuery
    from ostiary.net.dns_exchange import Answer
    from ostiary.net.resolver import Lookup, Resolver

_LOG, _UPSTREAM = log("dns"), log("upstream")
_EXPIRED: Final = "cache (expired)"
Known = dict[RecordType, tuple[str, ...]]


@final
class NameWatcher:
    """One name, resolved again and again."""

    def __init__(
        self,
        cluster: Cluster,
        name: str,
        family: DnsLookupFamily,
        schedule: Schedule,
        counts: Counter[str],
        on_change: Callable[[Known | None], bool],
    ) -> None:
        """`on_change` gets the addresses, or None when there are none; it says whether that changed anything."""
        self._cluster = cluster
        self.name = name
        self._family: DnsLookupFamily = family
        self._schedule = schedule
        self._counts = counts
        self._on_change = on_change
        self._loop = asyncio.get_running_loop()
        self._resolver: Resolver | None = None
        self._known: Known = {}
        self._round: Round | None = None
        self._lookups: dict[RecordType, tuple[Lookup, Callable[[Answer], None]]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self.resolved = False
        """True after the first round."""
        self.why = ""
        """Why there is no address."""
        self.queries: list[DnsQuery] = []
        """What the last round asked, and whom."""
        self._asked: list[DnsQuery] = []

    def start(self, resolver: Resolver) -> None:
        """Ask for the first time."""
        self._resolver = resolver
        self._begin()

    def stop(self) -> None:
        """Ask no more."""
        if self._timer is not None:
            self._timer.cancel()
        for lookup, on_answer in self._lookups.values():
            lookup.release(on_answer)
        self._lookups.clear()
        self._round = None

    def _begin(self) -> None:
        self._counts["update_attempt"] += 1
        _UPSTREAM.trace("starting async DNS resolution for %s", self.name)
        _LOG.trace("dns resolution for %s started", self.name)
        current = self._round = Round(self._family, self._known)
        self._asked = []
        self._ask(current.begin())

    def _ask(self, record_types: tuple[RecordType, ...]) -> None:
        assert self._resolver is not None
        cluster = self._cluster
        known: list[tuple[RecordType, Lookup]] = []
        for record_type in record_types:
            lookup = self._resolver.lookup(
                self.name,
                record_type,
                servers=cluster.dns_resolvers,
                search=not cluster.no_default_search_domain,
                tcp=cluster.use_tcp_for_dns_lookups,
                options=cluster.dns_options,
                fresh=True,
            )
            if lookup.answer is not None:
                known.append((record_type, lookup))
                continue
            on_answer = partial(self._on_answer, record_type, lookup)
            self._lookups[record_type] = (lookup, on_answer)
            lookup.wait(on_answer)
        for record_type, lookup in known:
            assert lookup.answer is not None
            self._on_answer(record_type, lookup, lookup.answer)

    def _on_answer(self, record_type: RecordType, lookup: Lookup, answer: Answer) -> None:
        self._lookups.pop(record_type, None)
        current = self._round
        if current is None:
            return
        self._asked += lookup.queries
        more = current.answer(record_type, self._judged(_answered(lookup, answer)))
        if more:
            self._ask(more)
        elif current.complete:
            self._finish(current)
        elif not self.resolved and current.addresses and self._timer is None:
            self._timer = self._loop.call_later(limits.RESOLUTION_DELAY, self._use_part, current)

    def _judged(self, answered: Answered) -> Answered:
        """With `filter_unroutable_families`, an answer none of whose addresses has a route is an empty one."""
        cluster = self._cluster
        if not cluster.dns_options.filter_unroutable_families or not answered.addresses:
            return answered
        there = (Destination(address, 1) for address in answered.addresses)
        if any(routes.check(destination, cluster.local_addresses).routable for destination in there):
            return answered
        return Answered("empty")

    def _use_part(self, current: Round) -> None:
        """The other family takes its time: those who wait need not wait for it."""
        self._timer = None
        if current is self._round:
            self._on_change(current.addresses)

    def _finish(self, current: Round) -> None:
        self._round = None
        self.queries = self._asked
        if self._timer is not None:
            self._timer.cancel()
        self.resolved = True
        verdict = current.verdict
        logical = self._cluster.type == "LOGICAL_DNS"
        said = resolution_log.completed(self.name, {answered.outcome for answered in current.answers.values()})
        _UPSTREAM.trace("async DNS resolution complete for %s details %s", self.name, said)
        if verdict == "failed" or (verdict == "empty" and logical):
            self._counts["update_failure"] += 1
            if not self.why:
                kept = "the last addresses stay in use" if self._known else "requests get 503"
                _LOG.warning("cluster %r: %s gives no address (%s): %s, and it is asked for again",
                             self._cluster.name, self.name, _told(current), kept)  # fmt: skip
            self.why = f"{self.name} has no address: {_told(current)}"
            self._on_change(None)
            delay = self._schedule.after_failure()
            failure = "(failure) "
        else:
            self._counts["update_success"] += 1
            self._known = current.addresses
            if self.why and self._known:
                _LOG.info("cluster %r: %s has addresses again", self._cluster.name, self.name)
            self.why = "" if self._known else f"{self.name} has no address: {_told(current)}"
            if self._on_change(self._known):
                _UPSTREAM.debug("DNS hosts have changed for %s", self.name)
            else:
                self._counts["update_no_rebuild"] += 1
            delay = self._schedule.after_success(current.ttl)
            failure = ""
        text = "DNS refresh rate reset for %s, %srefresh rate %d ms"
        _UPSTREAM.debug(text, self.name, failure, int(delay * 1000))
        self._timer = self._loop.call_later(delay, self._again)

    def _again(self) -> None:
        self._timer = None
        self._begin()


def _answered(lookup: Lookup, answer: Answer) -> Answered:
    """What the resolver says; an expired answer, used because no server spoke, is no news."""
    last: DnsQuery | None = lookup.queries[-1] if lookup.queries else None
    if last is not None and last.server == _EXPIRED:
        return Answered("failed")
    ttls = [query.ttl for query in lookup.queries if query.outcome == "answered" and query.ttl is not None]
    return Answered(answer.outcome, answer.addresses, ttls[-1] if ttls else None)


def _told(current: Round) -> str:
    return ", ".join(f"{record_type} {answered.outcome}" for record_type, answered in current.answers.items())
