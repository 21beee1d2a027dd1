"""A listener's routes with everything that belongs to each: its filters, its cluster, its time limit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

from ostiary.app.chain import Chain
from ostiary.core.decision import Filter, Request
from ostiary.core.routing import MatchedRoute, Router
from ostiary.model import limits
from ostiary.model.config import HttpConnectionManager, HttpFilter
from ostiary.model.routes import RouteAction, RouteConfiguration
from ostiary.net.clusters import ClusterPool

_MATCHES: Final = 4096

FilterFactory = Callable[[HttpFilter, MatchedRoute], Filter | None]
"""The filter as it is for one route; None where it does nothing there. The same object for the same configuration."""


@final
class CompiledRoute:
    """One route, ready to be used."""

    __slots__ = ("action", "chain", "cluster", "idle_timeout", "matched", "simple", "tail", "timeout", "upgrades")

    def __init__(
        self, matched: MatchedRoute, chain: Chain, http: HttpConnectionManager, cluster: ClusterPool | None, tail: bytes
    ) -> None:
        self.matched = matched
        self.action = matched.action
        self.chain = chain
        self.cluster = cluster
        """Where the route always goes; None: ask `matched.pick_cluster`, or it goes nowhere."""
        self.timeout = 0.0
        self.idle_timeout = http.stream_idle_timeout
        self.upgrades = dict(http.upgrade_types)
        self.tail = tail
        """Header lines that every forwarded request of this route gets."""
        rewriter = matched.rewriter
        self.simple = (
            rewriter is not None and rewriter.is_identity and not matched.response_mutations and cluster is not None
        )
        """True if the head depends on nothing but the client's head and the filters."""
        if isinstance(matched.action, RouteAction):
            self.timeout = limits.ROUTE_TIMEOUT if matched.action.timeout is None else matched.action.timeout
            if matched.action.idle_timeout is not None:
                self.idle_timeout = matched.action.idle_timeout
            self.upgrades.update(matched.action.upgrade_types)
            if matched.action.auto_host_rewrite:
                self.simple = False


@final
class RouteTable:
    """Finds the route of a request."""

    __slots__ = ("_matches", "_router", "routes", "single", "suppress")

    def __init__(
        self,
        http: HttpConnectionManager,
        filters: FilterFactory,
        clusters: Callable[[str], ClusterPool | None],
        suppress_envoy_headers: bool,
    ) -> None:
        self._router = Router(http.route_config, suppress_envoy_headers=suppress_envoy_headers)
        self.suppress = suppress_envoy_headers
        self._matches: dict[tuple[str, str, str], CompiledRoute | None] = {}
        self.routes = [self._compile(m, http, filters, clusters, suppress_envoy_headers) for m in self._router.routes]
        self.single = self.routes[0] if _catches_all(http.route_config) else None
        """The only route there is, where one takes everything."""

    def _compile(
        self,
        matched: MatchedRoute,
        http: HttpConnectionManager,
        filters: FilterFactory,
        clusters: Callable[[str], ClusterPool | None],
        suppress: bool,
    ) -> CompiledRoute:
        made = (filters(link, matched) for link in http.http_filters)
        chain = Chain(tuple(each for each in made if each is not None))
        cluster = clusters(matched.cluster) if matched.cluster is not None else None
        route = CompiledRoute(matched, chain, http, cluster, b"")
        if http.profile == "envoy" and not suppress and route.timeout:
            route.tail = b"x-envoy-expected-rq-timeout-ms: %d\r\n" % round(route.timeout * 1000)
        return route

    @property
    def by_target(self) -> bool:
        """True if authority, scheme and target alone decide."""
        return self._router.is_header_independent

    def find(self, request: Request) -> CompiledRoute | None:
        """The route of a request, or None."""
        if self.single is not None:
            return self.single
        if not self._router.is_header_independent:
            return self._index(self._router.match(request))
        key = (request.authority, request.path, request.scheme)
        if key in self._matches:
            return self._matches[key]
        if len(self._matches) >= _MATCHES:
            self._matches.clear()
        found = self._index(self._router.match(request))
        if len(request.path) + len(request.authority) <= limits.MAX_REMEMBERED_TARGET_BYTES:
            self._matches[key] = found
        return found

    def _index(self, matched: MatchedRoute | None) -> CompiledRoute | None:
        return None if matched is None else self.routes[matched.index]


def _catches_all(configuration: RouteConfiguration) -> bool:
    if len(configuration.virtual_hosts) != 1:
        return False
    host = configuration.virtual_hosts[0]
    if "*" not in host.domains or host.require_tls != "NONE" or not host.routes:
        return False
    match = host.routes[0].match
    return match.prefix in ("", "/") and not match.headers and not match.query_parameters
