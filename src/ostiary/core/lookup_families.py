"""What Envoy's five lookup families would do from here: a forecast out of what was measured.

Given are both DNS answers and one attempt at each address, alone. From that follows what Envoy does, because its race
is simple: 300 ms between attempts, a failed attempt starts the next at once, `connect_timeout` covers everything, no
memory. What can't be told from here is left out: how a cluster retries, and which of two answers comes first the next
time.

`LOGICAL_DNS` makes one host of all addresses and races them. `STRICT_DNS` makes a host of each: a request gets one
address, and a dead one is a failed request.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

from ostiary.core.addresses import RecordType, fallback_lookup, first_lookups, is_usable_source
from ostiary.core.trace import Attempt, QueryOutcome
from ostiary.model.clusters import DnsLookupFamily

LOOKUP_FAMILIES: Final[tuple[DnsLookupFamily, ...]] = get_args(DnsLookupFamily)
ENVOY_ATTEMPT_DELAY: Final = 300.0
"""Milliseconds; not configurable in Envoy 1.39."""

Fate = Literal["works", "some requests fail", "fails"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """The final answer for one record type."""

    type: RecordType
    addresses: tuple[str, ...]
    outcome: QueryOutcome
    elapsed_ms: float


@dataclass(frozen=True, slots=True)
class Forecast:
    """A cluster's fate."""

    fate: Fate
    winner: Attempt | None = None
    elapsed_ms: float | None = None
    """Of the connect alone: Envoy resolves beforehand."""
    flags: str = ""
    """Envoy's %RESPONSE_FLAGS% when it fails."""
    reason: str = ""
    """Envoy's words for it."""
    dead: tuple[str, ...] = ()
    """STRICT_DNS: hosts that fail."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One lookup family."""

    family: DnsLookupFamily
    asked: tuple[RecordType, ...]
    dns_ms: float | None
    """None: a query was never answered, Envoy waits for it (5 s and more) each time it resolves."""
    addresses: tuple[str, ...]
    """In Envoy's order."""
    logical: Forecast
    strict: Forecast


def verdicts(answers: Iterable[Resolved], probes: Iterable[Attempt], connect_timeout: float) -> list[Verdict]:
    """All five, in the order of Envoy's enum. `probes` are attempts at single addresses."""
    known = {answer.type: answer for answer in answers}
    tried = {probe.address: probe for probe in probes}
    return [_verdict(family, known, tried, connect_timeout * 1000) for family in LOOKUP_FAMILIES]


def has_route(probe: Attempt) -> bool:
    """Whether this host had a way to send a packet there, and a source address that an answer can come back to."""
    if probe.stage == "route":
        return False
    return probe.source is None or is_usable_source(probe.address, probe.source)


def took_ms(probe: Attempt) -> float:
    """How long an attempt ran."""
    return 0.0 if probe.started is None or probe.ended is None else (probe.ended - probe.started) * 1000


def _verdict(
    family: DnsLookupFamily, known: dict[RecordType, Resolved], tried: dict[str, Attempt], timeout_ms: float
) -> Verdict:
    asked = list(first_lookups(family))
    fallback = fallback_lookup(family)
    if fallback is not None and not known[asked[0]].addresses:
        asked.append(fallback)
    found = [known[record_type] for record_type in asked]
    silent = any(answer.outcome in ("timeout", "pending") for answer in found)
    spent = [answer.elapsed_ms for answer in found]
    listed = [probe for address in _in_order(found) if (probe := tried.get(address)) is not None]
    return Verdict(
        family=family,
        asked=tuple(asked),
        dns_ms=None if silent else max(spent) if family == "ALL" else sum(spent),
        addresses=tuple(probe.address for probe in listed),
        logical=_raced(listed, timeout_ms),
        strict=_one_by_one(listed, timeout_ms),
    )


def _in_order(answers: Sequence[Resolved]) -> list[str]:
    """As Envoy's race has them: the family whose answer came first leads, then they alternate."""
    lists = [list(a.addresses) for a in sorted(answers, key=lambda answer: answer.elapsed_ms) if a.addresses]
    mixed: list[str] = []
    while any(lists):
        mixed += [addresses.pop(0) for addresses in lists if addresses]
    return mixed


def _raced(listed: Sequence[Attempt], timeout_ms: float) -> Forecast:
    """Envoy's race over a host's addresses."""
    if not listed:
        return Forecast("fails", flags="UH", reason="no_healthy_upstream")
    waiting, now = list(listed), 0.0
    ends: dict[str, float] = {}
    last: Attempt | None = None
    next_start = 0.0
    while True:
        if waiting and now >= next_start:
            probe = waiting.pop(0)
            ends[probe.address] = now + took_ms(probe) if probe.outcome != "timeout" else timeout_ms
            next_start = now + ENVOY_ATTEMPT_DELAY
        events = [*ends.values(), *([next_start] if waiting else [])]
        now = min(events, default=now)
        if now >= timeout_ms:
            return Forecast("fails", flags="UF", reason="connection_timeout")
        for probe in [p for p in listed if ends.get(p.address) == now]:
            del ends[probe.address]
            if probe.outcome == "won":
                return Forecast("works", probe, now)
            last, next_start = probe, now
        if not ends and not waiting and last is not None:
            return Forecast("fails", flags="UF", reason=_reason(last))


def _one_by_one(listed: Sequence[Attempt], timeout_ms: float) -> Forecast:
    """A host an address; requests go round."""
    alone = [_raced([probe], timeout_ms) for probe in listed]
    if not alone:
        return _raced(listed, timeout_ms)
    dead = tuple(probe.address for probe, fate in zip(listed, alone, strict=True) if fate.fate == "fails")
    if not dead:
        return Forecast("works", alone[0].winner, alone[0].elapsed_ms)
    failed = next(fate for fate in alone if fate.fate == "fails")
    fate: Fate = "fails" if len(dead) == len(alone) else "some requests fail"
    return Forecast(fate, flags=failed.flags, reason=failed.reason, dead=dead)


def _reason(probe: Attempt) -> str:
    """%RESPONSE_CODE_DETAILS%, the part that tells."""
    if probe.outcome == "timeout":
        return "connection_timeout"
    if probe.stage == "tls":
        return f"TLS_error:{probe.errno or probe.message}"
    kind = "immediate" if probe.stage == "route" else "delayed"
    return f"{kind}_connect_error:_{probe.message.replace(' ', '_')}"
