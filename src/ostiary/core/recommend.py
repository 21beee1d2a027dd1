"""Which lookup family a cluster of Envoy should have in this place, and why.

The rule behind it: a family that can't come (no route) is left out, because it can only cost; a family that could come
but doesn't answer stays, second; two that answer are raced. AUTO is never the answer: it takes IPv6 if the name has
any, and does not come back from a connection that fails.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from ostiary.core.addresses import TYPE_OF_FAMILY, Family, RecordType
from ostiary.core.lookup_families import ENVOY_ATTEMPT_DELAY, Resolved, has_route, took_ms
from ostiary.core.trace import Attempt
from ostiary.model.clusters import DnsLookupFamily

_NAMES: Final[dict[Family, str]] = {"v4": "IPv4", "v6": "IPv6"}
_OTHER: Final[dict[Family, Family]] = {"v4": "v6", "v6": "v4"}
_ONLY: Final[dict[Family, DnsLookupFamily]] = {"v4": "V4_ONLY", "v6": "V6_ONLY"}
_FIRST: Final[dict[Family, Literal["V4", "V6"]]] = {"v4": "V4", "v6": "V6"}
_MAX_TOLD: Final = 3
_SLOWER: Final = 2.0
"""IPv6 leads unless it takes more than this many times as long as IPv4."""


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What to write into the cluster."""

    dns_lookup_family: DnsLookupFamily | None
    """None: no lookup family helps."""
    first: Literal["V4", "V6"] | None
    """first_address_family_version."""
    reason: str
    warnings: tuple[str, ...] = ()

    @property
    def yaml(self) -> str:
        """The lines of the cluster; empty if none helps."""
        if self.dns_lookup_family is None:
            return ""
        lines = ["type: LOGICAL_DNS", f"dns_lookup_family: {self.dns_lookup_family}"]
        if self.first is not None:
            lines += [
                "upstream_connection_options:",
                "  happy_eyeballs_config:",
                f"    first_address_family_version: {self.first}",
            ]
        return "\n".join(lines)


def recommend(answers: Iterable[Resolved], probes: Sequence[Attempt], connect_timeout: float) -> Recommendation:
    """The setting for this place."""
    silent = {answer.type for answer in answers if answer.outcome in ("timeout", "pending")}
    by_family: dict[Family, list[Attempt]] = {"v4": [], "v6": []}
    for probe in probes:
        if probe.family != "unix":
            by_family[probe.family].append(probe)
    alive = {family: [p for p in members if p.outcome == "won"] for family, members in by_family.items()}
    found = _nothing_works(probes, alive) or _one_family(by_family, alive, silent) or _both(by_family, alive)
    return Recommendation(found.dns_lookup_family, found.first, found.reason, tuple(_warnings(probes, connect_timeout)))


def _nothing_works(probes: Sequence[Attempt], alive: dict[Family, list[Attempt]]) -> Recommendation | None:
    if not probes:
        return Recommendation(None, None, "No lookup family helps: the name gives no address.")
    if not any(alive.values()):
        errors = dict.fromkeys(f"{probe.errno or probe.message} at {probe.address}" for probe in probes)
        told = ", ".join([*errors][:_MAX_TOLD]) + (
            f" and {len(errors) - _MAX_TOLD} more" if len(errors) > _MAX_TOLD else ""
        )
        return Recommendation(None, None, f"No lookup family helps: no address can be connected to from here ({told}).")
    return None


def _one_family(
    members: dict[Family, list[Attempt]], alive: dict[Family, list[Attempt]], silent: set[RecordType]
) -> Recommendation | None:
    for family in ("v4", "v6"):
        other = _OTHER[family]
        if not alive[family] or alive[other]:
            continue
        here, there = _NAMES[family], _NAMES[other]
        if TYPE_OF_FAMILY[other] in silent:
            reason = (
                f"The {TYPE_OF_FAMILY[other]} query is never answered, and Envoy waits for it, 5 s or more each time. "
                f"{_ONLY[family]} does not ask it. Better still: mend the DNS server."
            )
            return Recommendation(_ONLY[family], None, reason)
        if not members[other]:
            reason = f"The name has {here} addresses only. ALL keeps working on the day it gets {there} ones"
            reason += ", AUTO would then use those alone." if other == "v6" else "."
            return Recommendation("ALL", _FIRST[family], reason)
        if not any(has_route(probe) for probe in members[other]):
            reason = (
                f"This host has no {there} route, so {there} addresses can only fail. ALL works too, "
                f"but only in a LOGICAL_DNS cluster, where it races."
            )
            return Recommendation(_ONLY[family], None, reason)
        reason = (
            f"This host has an {there} route, but no {there} address of the name can be connected to. ALL with {here} "
            f"first costs nothing and keeps {there} for the day {here} fails; {there} first would cost up to "
            f"{ENVOY_ATTEMPT_DELAY:.0f} ms a connection."
        )
        return Recommendation("ALL", _FIRST[family], reason)
    return None


def _both(members: dict[Family, list[Attempt]], alive: dict[Family, list[Attempt]]) -> Recommendation:
    best = {family: min(map(took_ms, alive[family])) for family in alive}
    dead = {family: len(members[family]) - len(alive[family]) for family in alive}
    first: Family = "v6"
    why = "Without first_address_family_version the order is that in which the DNS answers come."
    if dead["v6"] and not dead["v4"]:
        first, why = "v4", f"{dead['v6']} of {len(members['v6'])} IPv6 addresses fail, so IPv4 goes first."
    elif best["v6"] > _SLOWER * best["v4"] and best["v6"] - best["v4"] > 1.0:
        first, why = "v4", f"IPv4 is nearer ({best['v4']:.0f} ms, IPv6 {best['v6']:.0f} ms), so it goes first."
    reason = f"Both families connect from here: race them, and survive the loss of either. {why}"
    return Recommendation("ALL", _FIRST[first], reason)


def _warnings(probes: Sequence[Attempt], connect_timeout: float) -> Iterable[str]:
    if len(probes) > 1 and connect_timeout * 1000 <= ENVOY_ATTEMPT_DELAY:
        yield (
            f"With a connect_timeout of {connect_timeout:g} s Envoy never starts a second attempt beside a silent one: "
            f"its attempts are {ENVOY_ATTEMPT_DELAY:.0f} ms apart."
        )
    if any(p.outcome != "won" for p in probes) and any(p.outcome == "won" for p in probes):
        yield (
            "In a STRICT_DNS cluster each address is a host of its own: with ALL, requests that meet a dead one fail "
            "unless a retry policy moves them to another host."
        )
