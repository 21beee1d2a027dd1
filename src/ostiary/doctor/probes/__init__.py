"""Probes: what is to be seen from here. Everything runs at the same time, within the timeouts of who would connect."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from ostiary.core.target import Target, parse_target
from ostiary.doctor.case import Case
from ostiary.doctor.facts.configuration import ClusterSeen
from ostiary.doctor.facts.dns import LookedUp
from ostiary.doctor.probes.place import probe_place, routes
from ostiary.doctor.report import Found

_MAX_PLACES: Final = 20
"""Hosts that one examination connects to; a dump may have thousands of clusters."""


async def probe(target: str, case: Case, tell: Callable[[str, str], None]) -> Found:
    """Probe a target, and the hosts that the case's sign-in needs. Raises ValueError for a target that is none."""
    found = Found()
    places: dict[tuple[str, int], tuple[Target, ClusterSeen | None]] = {}
    if target:
        named = parse_target(target)
        places[named.host, named.port] = (named, None)
    for cluster in case.all(ClusterSeen):
        for host in cluster.hosts if cluster.for_provider else ():
            places.setdefault((host, cluster.port), (Target(host, cluster.port, cluster.tls), cluster))
    chosen = list(places.values())[:_MAX_PLACES]
    if not chosen:
        return found
    for each in await asyncio.gather(*(probe_place(where, cluster, tell) for where, cluster in chosen)):
        found.add(each)
    found.facts += routes([a for fact in found.facts if isinstance(fact, LookedUp) for a in fact.answers])
    return found
