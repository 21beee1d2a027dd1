"""Probes: what is to be seen from here. Everything runs at the same time, within the timeouts of who would connect.

Nothing that is sent can do harm: connections that are closed again, questions to DNS servers, GET requests for what is
public, one token request with a code that nobody issued, one authorization request that nobody is signed in for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from ostiary.core.target import Target, parse_target
from ostiary.doctor.case import Case
from ostiary.doctor.facts.configuration import ClusterSeen, OAuth2Seen
from ostiary.doctor.facts.dns import LookedUp
from ostiary.doctor.probes.environment import is_near, proxy_variables
from ostiary.doctor.probes.issuers import issuer_of, typed
from ostiary.doctor.probes.place import probe_place, routes
from ostiary.doctor.probes.trust import trust_of
from ostiary.doctor.report import Found

if TYPE_CHECKING:
    from ostiary.doctor.probes.provider import Asking

_MAX_PLACES: Final = 20
"""Hosts that one examination connects to; a dump may have thousands of clusters."""
_MAX_PROVIDERS: Final = 10

Tell = Callable[[str, str], None]


async def probe(target: str, case: Case, tell: Tell) -> Found:
    """Probe a target, and the hosts that the case's sign-in needs. Raises ValueError for a target that is none."""
    return await _Probing(case, tell).run(target)


class _Probing:
    """One examination's probes: places and providers, each once."""

    def __init__(self, case: Case, tell: Tell) -> None:
        self._case = case
        self._tell = tell
        self._places: dict[tuple[str, int], asyncio.Task[Found]] = {}
        self._clusters = {
            (host, cluster.port): cluster
            for cluster in reversed(case.all(ClusterSeen)) if cluster.for_provider
            for host in cluster.hosts
        }  # fmt: skip

    async def run(self, target: str) -> Found:
        """Everything."""
        if target:
            self._visit(parse_target(target))
        for (host, port), cluster in self._clusters.items():
            self._visit(Target(host, port, cluster.tls))
        asked = await asyncio.gather(*(self._ask(asking) for asking in self._providers(target)))
        found = Found()
        for each in [*await asyncio.gather(*self._places.values()), *asked]:
            found.add(each)
        if self._places:
            found.facts += proxy_variables([host for host, _ in self._places])
            found.facts += routes([a for fact in found.facts if isinstance(fact, LookedUp) for a in fact.answers])
        return found

    def _visit(self, where: Target, like: ClusterSeen | None = None) -> None:
        """Probe a place, once. `like`: the cluster that it is connected to like."""
        key = (where.host, where.port)
        if key not in self._places and len(self._places) < _MAX_PLACES:
            place = probe_place(where, self._clusters.get(key, like), self._tell)
            self._places[key] = asyncio.get_running_loop().create_task(place)

    async def _ask(self, asking: Asking) -> Found:
        from ostiary.doctor.probes.provider import Inquiry

        like = self._cluster_of(asking.sign_in)
        return await Inquiry(asking, self._tell, lambda urls: self._endpoints(urls, like)).run()

    def _endpoints(self, urls: list[str], like: ClusterSeen | None) -> None:
        """Places that a provider's document names: token endpoints and keys often have hosts of their own."""
        for url in urls:
            where = parse_target(url)
            if like is not None:
                settings = {"hosts": (where.host,), "port": where.port, "sni": where.host, "tls": where.tls is True}
                like = replace(like, **settings)  # type: ignore[arg-type] # each of its own type
            self._visit(where, like)

    def _cluster_of(self, sign_in: OAuth2Seen) -> ClusterSeen | None:
        return next((c for c in self._case.all(ClusterSeen) if c.name == sign_in.token_cluster), None)

    def _providers(self, target: str) -> Iterator[Asking]:
        """Those of the configuration, then the target if it may be one."""
        from ostiary.doctor.probes.provider import Asking

        issuers: set[str] = set()
        for sign_in in self._case.all(OAuth2Seen)[:_MAX_PROVIDERS]:
            if sign_in.has_config and (sign_in.issuer or sign_in.token_endpoint):
                issuers.add(sign_in.issuer)
                yield self._asking(sign_in)
        issuer, expected = issuer_of(target)
        if issuer and issuer not in issuers:
            yield Asking(sign_in=typed(target, issuer), strict=False, expected=expected, tls=trust_of(None).tls)

    def _asking(self, sign_in: OAuth2Seen) -> Asking:
        from ostiary.doctor.probes.provider import Asking, routed

        cluster = self._cluster_of(sign_in)
        trust = trust_of(cluster)
        judged = trust.checks_chain and trust.conclusive
        plain = cluster.hosts if cluster is not None and not cluster.tls else None
        return Asking(
            sign_in=sign_in,
            tls=trust.tls if judged else trust.unverified,
            trusted=judged if plain is None else all(map(is_near, plain)),
            dns_servers=cluster.dns_servers if cluster is not None else (),
            cluster=routed(cluster, trust.tls if judged else trust.unverified) if cluster is not None else None,
        )
