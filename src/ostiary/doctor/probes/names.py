"""What DNS says of a name: every server of this place on its own, each type, and the search list's detours."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from ostiary.core.addresses import is_ip_address
from ostiary.core.lookup_families import Resolved
from ostiary.core.trace import DnsQuery
from ostiary.doctor.facts.dns import LookedUp, SearchDomains
from ostiary.doctor.facts.origin import Fact, Origin
from ostiary.doctor.probes.traces import lookup_of
from ostiary.net.dns_survey import ask_detours, ask_each, system_settings
from ostiary.net.resolv_conf import SystemFiles
from ostiary.net.resolver import Resolver

_NOT_DNS: Final = ("hosts", "system", "cache", "none", "resolv.conf")
"""Who answers instead of a DNS server."""


async def probe_names(host: str, servers: Sequence[tuple[str, int]], patience: float) -> list[Fact]:
    """Facts of every server; none for an address, and for a name that no server is asked for."""
    conf = system_settings()
    if is_ip_address(host) or Resolver(SystemFiles()).is_local(host) or not (servers or conf.configured):
        return []
    asked = tuple(servers) or conf.servers
    own = ask_each(host, asked, patience)
    others = ask_detours(host, asked, patience) if not servers else _none()
    queries, detours = await asyncio.gather(own, others)
    facts: list[Fact] = [fact for query in queries for fact in lookup_of(query)]
    strange = [query for query in detours if query.outcome not in ("nxdomain", "empty")]
    if strange:
        quote = f"ndots {conf.ndots}, search {' '.join(conf.search)}"
        origin = Origin(kind="probe", source="/etc/resolv.conf", quote=quote)
        facts.append(SearchDomains(origin=origin, ndots=conf.ndots, search=conf.search))
        facts += [fact for query in strange for fact in lookup_of(query)]
    return facts


async def _none() -> list[DnsQuery]:
    return []


def resolved(answers: Sequence[Resolved], queries: Sequence[DnsQuery], host: str, known: Sequence[Fact]) -> list[Fact]:
    """What the name came to by the way that a connection takes: hosts file, search list and system included.

    Failures count where no server was asked on its own (`known`): else each has told for itself.
    """
    found: list[Fact] = []
    for answer in answers if not is_ip_address(host) else ():
        if answer.type == "HTTPS" or (known and answer.outcome != "answered"):
            continue
        query = next((q for q in queries if q.type == answer.type and q.outcome == answer.outcome), None)
        if known and query is not None and query.server not in _NOT_DNS and query.name.rstrip(".") == host.rstrip("."):
            continue  # that server has said it already
        told = ", ".join(answer.addresses) or answer.outcome
        server = query.server if query is not None else ""
        found.append(
            LookedUp(
                origin=Origin(kind="probe", source=server or "DNS", quote=f"{answer.type} {host}: {told}"),
                name=host.rstrip("."),
                type="A" if answer.type == "A" else "AAAA",
                server=server,
                outcome=answer.outcome,
                rcode=(query.rcode or "") if query is not None else "",
                answers=answer.addresses,
                took=answer.elapsed_ms / 1000,
            )
        )
    return found
