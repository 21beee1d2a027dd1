"""What a world is made of: addresses, rules of the router, peers, names. And what its packet log holds.

The client is 198.51.100.2 and 2001:db8:c::2. Every address of 192.0.2.0/24 and 2001:db8:5::/48 is a host that is up,
one packet away: without a peer its ports are closed, and rules say what else becomes of packets. These prefixes are
for documentation (RFC 5737, RFC 3849), so nothing here could reach anyone.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Final, Literal

from lab.packets import Packet
from net.dns_server import Reply

CLIENT_V4, CLIENT_V6 = "198.51.100.2", "2001:db8:c::2"
SERVERS_V4, SERVERS_V6 = "192.0.2.0/24", "2001:db8:5::/48"
ROUTER_V4, ROUTER_V6 = "192.0.2.1", "2001:db8:5::1"
DNS = "192.0.2.53"
DNS_V6 = "2001:db8:5::53"
V4, V6 = "192.0.2.80", "2001:db8:5::80"
"""The peer's addresses where a world says nothing else."""
NAME = "dual.test"

Records = Mapping[tuple[str, str], Reply]

NO_IPV6: Final = f"ip -6 route del default; ip -6 addr del {CLIENT_V6} dev wan"
"""A client without an IPv6 address and route: the incident's network."""
LINK_LOCAL_ONLY: Final = f"ip -6 addr add fe80::2/64 dev wan nodad; ip -6 addr del {CLIENT_V6} dev wan"
"""A default route, and no source address that could use it: what a half-configured router leaves behind."""
IPV6_DISABLED: Final = "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6"


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What becomes of the client's packets to a prefix. The first rule that fits a packet decides."""

    to: str
    port: int | None = None
    delay: float = 0.0
    """Seconds a packet takes on its way there, or until it is answered: the round trip grows by so much."""
    drop: bool = False
    drop_syns: int = 0
    """The first so many SYNs of each connection are lost."""
    loss: float = 0.0
    """The share of packets that are lost, drawn from `seed`."""
    seed: int = 1
    rst: bool = False
    icmp: tuple[int, int] | None = None
    """Type and code of the error with which the router answers."""
    max_size: int | None = None
    """Longer packets are lost without a word, both ways: a path MTU black hole."""


class Judge:
    """A rule with what it remembers."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self._network = ip_network(rule.to)
        self._random = random.Random(rule.seed)
        self._syns: dict[tuple[str, int, int], int] = {}

    def fits(self, address: str, port: int) -> bool:
        """Whether the rule is about this address and port of a server."""
        return ip_address(address) in self._network and self.rule.port in (None, port)

    def drops(self, packet: Packet) -> bool:
        """Whether a packet of the client is lost."""
        if self.rule.drop or (self.rule.loss and self._random.random() < self.rule.loss):
            return True
        if packet.is_syn and self.rule.drop_syns:
            key = (packet.destination, packet.dport, packet.sport)
            self._syns[key] = self._syns.get(key, 0) + 1
            return self._syns[key] <= self.rule.drop_syns
        return False


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A server at some addresses. It answers HTTP with the address it was reached at, if it gets as far."""

    at: Sequence[str] = (V6, V4)
    port: int = 443
    kind: Literal["http", "tls", "silent", "alert", "reset"] = "http"
    """`silent` accepts and says nothing; `alert` and `reset` end the TLS handshake after the ClientHello."""
    certificate: Literal["good", "foreign", "other name"] = "good"
    pause: float = 0.0
    """Seconds from accepting to the first byte."""
    alpn: Sequence[str] = ("http/1.1",)


@dataclass(frozen=True, kw_only=True)
class Spec:
    """A world."""

    rules: Sequence[Rule] = ()
    peers: Sequence[Peer] = ()
    dns: Mapping[str, Records] = field(default_factory=dict)
    """Address of a DNS server -> what it knows. The first one is the client's resolv.conf."""
    client: str = ""
    """Shell commands that change the client's network before anything happens."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """One packet at the router: when the client sent it, or got it."""

    time: float
    """Of the monotonic clock, which all processes of a machine share."""
    sent: bool
    """By the client; False: to the client."""
    fate: Literal["passed", "lost", "rst", "icmp"]
    packet: Packet


@dataclass(frozen=True, slots=True)
class Ready:
    """A world that has been built, for those who want to enter it."""

    pid: int
    client: str
    """Path of the client's network namespace."""
    servers: str
    mounts: str
    """Where /etc/resolv.conf is the client's."""
    ca_pem: bytes
