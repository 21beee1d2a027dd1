"""The networks that `bench.connect` takes every client through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lab.model import NO_IPV6, V4, V6, Peer, Rule
from lab.world import names
from net.dns_server import Reply

TIMEOUT = 4.0
_SIX = ("2001:db8:5::81", "2001:db8:5::82", "2001:db8:5::83")
_TEN_V6 = tuple(f"2001:db8:5::1:{n}" for n in range(10))
_TEN_V4 = tuple(f"192.0.2.{100 + n}" for n in range(10))
_HTTP, _TLS = (Peer(port=80),), (Peer(kind="tls"),)


def _tls(**broken: object) -> tuple[Peer, ...]:
    """A good peer over IPv4, another one over IPv6."""
    return (Peer(at=[V6], **{"kind": "tls", **broken}), Peer(at=[V4], kind="tls"))  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One row."""

    title: str
    name: str
    """For the command line."""
    peers: Sequence[Peer] = _HTTP
    rules: Sequence[Rule] = ()
    dns: Mapping[tuple[str, str], Reply] = field(default_factory=names)
    client: str = ""
    timeout: float = TIMEOUT
    tls: bool = False
    again: int = 0
    fails: bool = False
    """Nobody can connect: what counts is what the error tells about these addresses."""

    @property
    def addresses(self) -> list[str]:
        """All of the name's."""
        return [address for reply in self.dns.values() for address in reply.addresses]


CASES = (
    Case(title="both families are fine", name="dual"),
    Case(title="IPv6 is a black hole", name="black-hole", rules=[Rule(to=V6, drop=True)]),
    Case(
        title="three IPv6 black holes, then IPv4",
        name="three-black-holes",
        rules=[Rule(to="2001:db8:5::80/124", drop=True)],
        dns=names(_SIX),
    ),
    Case(title="IPv6 round trip 100 ms", name="rtt-100", rules=[Rule(to=V6, delay=0.1)]),
    Case(title="IPv6 round trip 400 ms", name="rtt-400", rules=[Rule(to=V6, delay=0.4)]),
    Case(title="IPv6 refuses after 20 ms", name="refused", rules=[Rule(to=V6, rst=True, delay=0.02)]),
    Case(title="IPv6: ICMP no route after 5 ms", name="icmp", rules=[Rule(to=V6, icmp=(1, 0), delay=0.005)]),
    Case(title="no IPv6 here, AAAA in DNS (the incident)", name="no-ipv6", client=NO_IPV6),
    Case(title="AAAA answered after 400 ms", name="aaaa-400", dns=names(Reply((V6,), delay=0.4))),
    Case(title="A answered after 400 ms", name="a-400", dns=names(v4=Reply((V4,), delay=0.4))),
    Case(title="AAAA never answered", name="aaaa-never", dns=names(Reply(silent=True))),
    Case(title="A never answered", name="a-never", dns=names(v4=Reply(silent=True))),
    Case(title="TLS: both are fine", name="tls", peers=_TLS, tls=True),
    Case(title="TLS: IPv6 accepts and is silent", name="tls-silent", peers=_tls(kind="silent"), tls=True),
    Case(title="TLS: IPv6 sends an alert", name="tls-alert", peers=_tls(kind="alert"), tls=True),
    Case(title="TLS: IPv6 resets in the handshake", name="tls-reset", peers=_tls(kind="reset"), tls=True),
    Case(title="TLS: IPv6 has a foreign certificate", name="tls-foreign", peers=_tls(certificate="foreign"), tls=True),
    Case(
        title="TLS: IPv6 loses large packets (MTU)",
        name="tls-mtu",
        peers=_TLS,
        tls=True,
        rules=[Rule(to=V6, max_size=700)],
    ),
    Case(title="IPv6 is a black hole, 200 ms in all", name="deadline", rules=[Rule(to=V6, drop=True)], timeout=0.2),
    Case(
        title="the next three connections, the slowest; IPv6 is a black hole",
        name="again",
        rules=[Rule(to=V6, drop=True)],
        again=3,
    ),
    Case(
        title="two of each: all refuse",
        name="all-refuse",
        peers=(),
        dns=names((V6, _SIX[0]), (V4, "192.0.2.81")),
        fails=True,
    ),
    Case(
        title="ten and ten black holes",
        name="all-dead",
        rules=[Rule(to="2001:db8:5::1:0/112", delay=30), Rule(to="192.0.2.96/27", delay=30)],
        dns=names(_TEN_V6, _TEN_V4),
        fails=True,
    ),
    Case(
        title="two of each: refused, silent, no route, refused",
        name="error",
        rules=[
            Rule(to=V6, rst=True, delay=0.01),
            Rule(to=_SIX[0], drop=True),
            Rule(to=V4, icmp=(3, 1), delay=0.01),
        ],
        dns=names((V6, _SIX[0]), (V4, "192.0.2.81")),
        timeout=1.5,
        fails=True,
    ),
)
