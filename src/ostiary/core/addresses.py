"""Which addresses of a host to try, and in which order.

Three rules, applied one after the other:

1. The lookup family (Envoy's `dns_lookup_family`) says which record types are asked for. AUTO and V4_PREFERRED are
   rules about *lookups*: the other family is asked for only when the first has no address, never because a connection
   failed. Only ALL puts both families into one race.
2. RFC 6724 section 6 sorts the whole list by destination and source address. The source is an input: whoever calls
   has asked the kernel (a UDP `connect` sends no packet). A destination without a usable source is put last and kept,
   not dropped: the check may be wrong, and the trace should show what was left.
3. The families are interleaved (RFC 8305 section 4) with a First Address Family Count. Like Envoy, and beyond the
   RFC's words, the block repeats: with a count of 2 the order is 6 6 4 6 6 4, not 6 6 4 6 4.

Rule 9 (longest matching prefix) is applied to IPv6 only: for IPv4 it defeats the round robin of DNS servers.
Rules 4 and 7 (mobile home addresses, tunnels) need knowledge no program has, as in every other implementation.

Two rules of RFC 8305 section 4 stand between rules 8 and 9: what is known to be nearer comes first, and what was used
before. Round-trip times count in classes that double (below 16 ms, 32, 64, ...), so that noise does not sort; an
address without history counts as one of the class of the attempt delay. The families stay as rule 6 put them.

HTTPS records (Happy Eyeballs v3) put groups above all that: the endpoints of a better service come before those of any
other, and what has no service comes last.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final, Literal, NamedTuple

from ostiary.model.clusters import DnsLookupFamily

Family = Literal["v4", "v6"]
RecordType = Literal["A", "AAAA", "HTTPS"]

TYPE_OF_FAMILY: Final[dict[Family, RecordType]] = {"v4": "A", "v6": "AAAA"}

_LOOKUPS: Final[dict[DnsLookupFamily, tuple[tuple[RecordType, ...], RecordType | None]]] = {
    "AUTO": (("AAAA",), "A"),
    "V4_PREFERRED": (("A",), "AAAA"),
    "V4_ONLY": (("A",), None),
    "V6_ONLY": (("AAAA",), None),
    "ALL": (("AAAA", "A"), None),
}

_MEMORY: Final = 4096
"""Addresses whose place in the tables below is remembered: looking it up costs more than all the rest of a race."""

_FIRST_RTT_CLASS: Final = 0.016
_UNKNOWN_RTT_CLASS: Final = 4
"""128 to 256 ms."""

_GLOBAL_SCOPE: Final = 14
_SITE_LOCAL_SCOPE: Final = 5
_LINK_LOCAL_SCOPE: Final = 2

# RFC 6724 section 2.1, most specific first: prefix, precedence, label.
_POLICY: Final = tuple(
    (IPv6Network(prefix), precedence, label)
    for prefix, precedence, label in (
        ("::1/128", 50, 0),
        ("::ffff:0:0/96", 35, 4),
        ("::/96", 1, 3),
        ("2001::/32", 5, 5),
        ("2002::/16", 30, 2),
        ("3ffe::/16", 1, 12),
        ("fec0::/10", 1, 11),
        ("fc00::/7", 3, 13),
        ("::/0", 40, 1),
    )
)


class Destination(NamedTuple):
    """Where one attempt goes."""

    address: str
    """An IP address; a link-local one may carry its zone (`fe80::1%eth0`)."""
    port: int

    @property
    def family(self) -> Family:
        """The address's family."""
        return "v6" if ":" in self.address else "v4"

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


class Candidate(NamedTuple):
    """A destination, what the kernel says about reaching it, and what is known of it."""

    destination: Destination
    source: str | None = None
    """The local address the kernel would use; None: not known."""
    routable: bool = True
    """False: no route, or no source address fit for this destination."""
    rtt: float | None = None
    """Seconds a TCP handshake with it took lately; None: no history."""
    delay: float | None = None
    """The attempt delay that follows from its history; None: the usual one."""
    group: int = 0
    """The place of its service among those of the HTTPS records; 0 is the best."""


def family_of(address: str) -> Family:
    """The family of an IP address in text form."""
    return "v6" if ":" in address else "v4"


def is_ip_address(host: str) -> bool:
    """True for text that needs no lookup; an IPv6 address may carry its zone."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def first_lookups(family: DnsLookupFamily) -> tuple[RecordType, ...]:
    """The record types asked for at once, in the order in which the queries are sent (RFC 8305 section 3)."""
    return _LOOKUPS[family][0]


def fallback_lookup(family: DnsLookupFamily) -> RecordType | None:
    """The record type asked for when the first lookup gives no address; None if there is none."""
    return _LOOKUPS[family][1]


@lru_cache(_MEMORY)
def is_usable_source(destination: str, source: str) -> bool:
    """Whether a connection from `source` can reach `destination` and come back.

    The kernel offers a link-local or loopback source where a default route exists but no global address does; packets
    sent from it are lost. Such a source is good only for destinations of the same kind. Text that is no IP address
    counts as unusable.
    """
    try:
        target, local = ip_address(destination), ip_address(source)
    except ValueError:
        return False
    if local.is_unspecified:
        return False
    if local.is_link_local or local.is_loopback:
        return target.is_link_local or target.is_loopback or target == local or target.is_unspecified
    return True


def order(candidates: Iterable[Candidate], *, first: Family | None = None, count: int = 1) -> list[Candidate]:
    """The order of attempts: RFC 6724, then families interleaved; candidates without a route come last.

    `first` forces the family of the first entry (Envoy's first_address_family_version), None leaves it to the sort;
    `count` is the First Address Family Count (>= 1). The order of equals is kept.
    """
    listed = list(candidates)
    if len(listed) < 2:
        return listed
    listed.sort(key=_rank)
    if len(listed) == 2 and first is None:
        return listed
    if listed[0].group == listed[-1].group and listed[0].routable == listed[-1].routable:
        return _interleave(listed, first, count)
    blocks: dict[tuple[bool, int], list[Candidate]] = {}
    for candidate in listed:
        blocks.setdefault((not candidate.routable, candidate.group), []).append(candidate)
    return [candidate for key in sorted(blocks) for candidate in _interleave(blocks[key], first, count)]


def _interleave(ranked: Sequence[Candidate], first: Family | None, count: int) -> list[Candidate]:
    if len(ranked) < 2:
        return list(ranked)
    lead = first or ranked[0].destination.family
    leaders = [c for c in ranked if c.destination.family == lead]
    others = [c for c in ranked if c.destination.family != lead]
    if not leaders:
        return others
    mixed: list[Candidate] = []
    position = 0
    for other in others:
        mixed += leaders[position : position + count]
        position += count
        mixed.append(other)
    return mixed + leaders[position:]


def _rank(candidate: Candidate) -> tuple[int, ...]:
    """What decides the order, as a sort key; smaller is better."""
    rules, prefix = _rules(candidate.destination.address, candidate.source)
    rtt = candidate.rtt
    known = rtt is not None
    distance = _UNKNOWN_RTT_CLASS if rtt is None else int(rtt / _FIRST_RTT_CLASS).bit_length()
    return (not candidate.routable, candidate.group, *rules, distance, not known, prefix)


@lru_cache(_MEMORY)
def _rules(destination: str, source: str | None) -> tuple[tuple[int, ...], int]:
    """RFC 6724 section 6: rules 2 to 8, and rule 9."""
    target = _mapped(destination)
    precedence, label = _policy(target)
    scope = _scope(target)
    if source is None:
        return (0, 0, -precedence, scope), 0
    local = _mapped(source)
    prefix = 0 if target.ipv4_mapped is not None else min(64, _common_bits(target, local))
    return (scope != _scope(local), label != _policy(local)[1], -precedence, scope), -prefix


def _mapped(address: str) -> IPv6Address:
    parsed = ip_address(address.partition("%")[0])
    return parsed if isinstance(parsed, IPv6Address) else IPv6Address(0xFFFF_0000_0000 | int(parsed))


def _policy(address: IPv6Address) -> tuple[int, int]:
    return next((precedence, label) for network, precedence, label in _POLICY if address in network)


def _scope(address: IPv6Address) -> int:
    plain: IPv4Address | IPv6Address = address.ipv4_mapped or address
    if plain.is_loopback or plain.is_link_local:
        return _LINK_LOCAL_SCOPE
    return _SITE_LOCAL_SCOPE if isinstance(plain, IPv6Address) and plain.is_site_local else _GLOBAL_SCOPE


def _common_bits(one: IPv6Address, other: IPv6Address) -> int:
    return 128 - (int(one) ^ int(other)).bit_length()


def address_text(name: object) -> str:
    """A socket's name as Envoy prints it: `1.2.3.4:80`, `[::1]:80`, or a Unix socket's path."""
    if isinstance(name, tuple) and len(name) >= 2:
        host, port = str(name[0]), name[1]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if isinstance(name, bytes):
        name = name.decode(errors="replace")
    return str(name) if name else ""
