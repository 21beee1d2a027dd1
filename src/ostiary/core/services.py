"""HTTPS records (RFC 9460): which of a name's services a client can use, and in which order.

The record is optional here (RFC 9460 section 3): it adds endpoints and an order, and the addresses of the name itself
stay as the last group, so that a broken record breaks nothing. Encrypted Client Hello is noted in the trace and not
used: neither is there a way to ask for it in the TLS library, nor is DNS protected, without which it would promise more
than it holds. For the same reason a failed lookup aborts nothing, and records with and without it are equals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from ostiary.core.addresses import Candidate, Destination
from ostiary.core.endpoints import Answered, Service
from ostiary.model import limits

DEFAULT_ALPN: Final = "http/1.1"
"""What every HTTPS service speaks unless its record says `no-default-alpn` (RFC 9460 section 9.5)."""
HTTPS_PORT: Final = 443
Entropy = Callable[[int], bytes]
"""So many random bytes."""
_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceRecord:
    """One HTTPS record as it came."""

    priority: int
    """0: AliasMode, the name has its services elsewhere; else the lowest is tried first."""
    target: str = ""
    """Whose addresses to use, absolute; empty: those of the name that was asked for."""
    alpn: tuple[str, ...] = ()
    no_default_alpn: bool = False
    port: int | None = None
    hints: tuple[str, ...] = ()
    """ipv6hint and ipv4hint: addresses to use until the target's own are known."""
    mandatory_known: bool = True
    """False: it says that a client must understand a parameter which this one does not."""
    ech: bool = False

    @property
    def protocols(self) -> frozenset[str]:
        """The ALPN set (RFC 9460 section 7.1.2)."""
        return frozenset(self.alpn if self.no_default_alpn else (*self.alpn, DEFAULT_ALPN))

    def __str__(self) -> str:
        words = [str(self.priority), self.target or "."]
        if self.alpn:
            words.append(f"alpn={','.join(self.alpn)}")
        if self.no_default_alpn:
            words.append("no-default-alpn")
        if self.port is not None:
            words.append(f"port={self.port}")
        for key, family in (("ipv4hint", False), ("ipv6hint", True)):
            if found := [hint for hint in self.hints if (":" in hint) == family]:
                words.append(f"{key}={','.join(found)}")
        if self.ech:
            words.append("ech")
        if not self.mandatory_known:
            words.append("mandatory=?")
        return " ".join(words)


def query_name(host: str, port: int) -> str:
    """The name to ask for: the host itself at the default port, else with the port in front (RFC 9460 section 9.1)."""
    return host if port == HTTPS_PORT else f"_{port}._https.{host}"


def alias_of(records: Iterable[ServiceRecord], entropy: Entropy) -> str | None:
    """Where the services of the name really are; None: here, or there are none.

    An alias counts before all services (RFC 9460 section 2.4.1), one of several is taken by chance, and the alias `.`
    ("no service") is advice that a client of an optional record may ignore.
    """
    aliases = [record.target for record in records if record.priority == 0 and record.target]
    return _shuffled(aliases, entropy)[0] if aliases else None


def usable(records: Iterable[ServiceRecord], protocols: Iterable[str], entropy: Entropy) -> list[ServiceRecord]:
    """The services to try, best first; those of equal priority in random order.

    Left out is what the client can't speak, and what demands knowledge it does not have.
    """
    spoken = frozenset(protocols)
    found = [r for r in records if r.priority > 0 and r.mandatory_known and r.protocols & spoken]
    return sorted(_shuffled(found, entropy), key=lambda record: record.priority)[: limits.MAX_SERVICES]


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """Who reads HTTPS records: the origin it wants, and what it can."""

    host: str
    port: int
    protocols: Sequence[str] = (DEFAULT_ALPN,)
    """In ALPN's terms."""
    judge: Callable[[Iterable[Destination]], list[Candidate]]
    """What is known of addresses."""
    entropy: Entropy

    def read(self, records: Sequence[ServiceRecord], name: str = "", *, final: bool = True) -> Answered:
        """An HTTPS answer in the race's terms; `name` is that of its query there (empty: the origin's own)."""
        alias = alias_of(records, self.entropy)
        if alias is not None:
            return Answered("HTTPS", name=name, final=final, alias=alias)
        owner = name or ("" if self.port == HTTPS_PORT else query_name(self.host, self.port))
        services = [self._service(record, owner) for record in usable(records, self.protocols, self.entropy)]
        return Answered("HTTPS", name=name, final=final, services=services)

    def _service(self, record: ServiceRecord, owner: str) -> Service:
        port = self.port if record.port is None else record.port
        hints = self.judge(Destination(hint, port) for hint in record.hints)
        return Service(target=record.target or owner, port=record.port, hints=tuple(hints))


def _shuffled(items: Sequence[_Item], entropy: Entropy) -> list[_Item]:
    if len(items) < 2:
        return list(items)
    ranks = entropy(2 * len(items))
    order = sorted(range(len(items)), key=lambda place: ranks[2 * place : 2 * place + 2])
    return [items[place] for place in order]
