"""Names of a cluster, asked for in the background: which record types, what an answer changes, when to ask again.

`Round` is one resolution: record types are asked for as the lookup family says, and each answers for itself. With
`ALL`, a type that fails keeps the addresses it had: a server that doesn't answer says nothing about them. `Schedule`
says when the next round begins: after `dns_refresh_rate`, or the TTL where that is to be respected, plus jitter; after
a failure that rate again, or a random back-off that doubles.

An empty answer is an answer for STRICT_DNS: there are no hosts. For LOGICAL_DNS it is a failure, and the last addresses
stay, as in Envoy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import zip_longest
from typing import Literal, NamedTuple, final

from ostiary.core.addresses import RecordType, fallback_lookup, first_lookups
from ostiary.core.trace import QueryOutcome
from ostiary.model import limits
from ostiary.model.clusters import ClusterType, DnsLookupFamily, DnsRefresh

Verdict = Literal["resolved", "empty", "failed"]


class Answered(NamedTuple):
    """What became of one record type."""

    outcome: QueryOutcome
    addresses: tuple[str, ...] = ()
    ttl: int | None = None

    @property
    def failed(self) -> bool:
        """No server said anything about the name."""
        return self.outcome not in ("answered", "empty", "nxdomain")


@final
class Round:
    """One resolution of one name."""

    __slots__ = ("_asked", "_family", "_known", "answers")

    def __init__(self, family: DnsLookupFamily, known: Mapping[RecordType, tuple[str, ...]]) -> None:
        """`known` are the addresses that the last rounds found, by type."""
        self._family: DnsLookupFamily = family
        self._known = known
        self._asked: set[RecordType] = set()
        self.answers: dict[RecordType, Answered] = {}

    def begin(self) -> tuple[RecordType, ...]:
        """What to ask for first."""
        first = first_lookups(self._family)
        self._asked.update(first)
        return first

    def answer(self, record_type: RecordType, answered: Answered) -> tuple[RecordType, ...]:
        """Take in an answer; what to ask for because of it."""
        self.answers[record_type] = answered
        other = fallback_lookup(self._family)
        if answered.addresses or other is None or other in self._asked:
            return ()
        self._asked.add(other)
        return (other,)

    @property
    def complete(self) -> bool:
        """Everything asked for has been answered."""
        return self.answers.keys() == self._asked

    @property
    def verdict(self) -> Verdict:
        """What this round says about the name."""
        if any(answered.addresses for answered in self.answers.values()):
            return "resolved"
        return "failed" if any(answered.failed for answered in self.answers.values()) else "empty"

    @property
    def addresses(self) -> dict[RecordType, tuple[str, ...]]:
        """Addresses by type, IPv6 first; a type of `ALL` that failed, or isn't answered yet, keeps what it had."""
        found: dict[RecordType, tuple[str, ...]] = {}
        for record_type in ("AAAA", "A"):
            answered = self.answers.get(record_type)
            if answered is not None and not answered.failed:
                found[record_type] = answered.addresses
            elif self._family == "ALL":
                found[record_type] = self._known.get(record_type, ())
        return {record_type: found_ for record_type, found_ in found.items() if found_}

    @property
    def ttl(self) -> int | None:
        """The smallest of those with addresses."""
        ttls = [a.ttl for a in self.answers.values() if a.addresses and a.ttl is not None]
        return min(ttls, default=None)


@final
class Schedule:
    """When to ask for a cluster's names again."""

    __slots__ = ("_backoff", "_config", "_random")

    def __init__(self, config: DnsRefresh, random: Callable[[], float]) -> None:
        """`random` gives floats in [0, 1)."""
        self._config = config
        self._random = random
        self._backoff = config.failure_base

    def after_success(self, ttl: int | None) -> float:
        """Seconds until the next round."""
        config = self._config
        self._backoff = config.failure_base
        rate = max(float(ttl), config.min_rate) if config.respect_ttl and ttl else config.rate
        return max(limits.MIN_DNS_REFRESH, rate + self._random() * config.jitter)

    def after_failure(self) -> float:
        """Seconds until the next round."""
        if self._backoff is None:
            return self._config.rate
        limit, self._backoff = self._backoff, min(self._backoff * 2, self._config.failure_max)
        return max(limits.MIN_DNS_REFRESH, self._random() * limit)


def raced_pairs(known: Mapping[RecordType, tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Hosts of a name whose addresses race: each IPv6 address with an IPv4 address, as far as there are both."""
    v6, v4 = known.get("AAAA", ()), known.get("A", ())
    if not v6 or not v4:
        return [(address,) for address in (*v6, *v4)]
    longer = zip_longest(v6, v4)
    return [(a or v6[n % len(v6)], b or v4[n % len(v4)]) for n, (a, b) in enumerate(longer)]


def hosts_of(
    known: Mapping[RecordType, tuple[str, ...]], cluster_type: ClusterType, family: DnsLookupFamily | None
) -> list[tuple[str, ...]]:
    """The addresses of each host that a name's addresses make."""
    found = dict.fromkeys((*known.get("AAAA", ()), *known.get("A", ())))
    if cluster_type == "LOGICAL_DNS":
        return [tuple(found)] if found else []
    return raced_pairs(known) if family is None else [(address,) for address in found]
