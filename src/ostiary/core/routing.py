"""Which route a request takes: virtual host by authority, then the first of its routes that matches.

A virtual host is found as Envoy finds it: the exact name, then the longest `*.suffix`, then the longest `prefix.*`,
then `*`; case does not matter, a port does unless `ignore_port_in_host_matching`. Paths are matched on
`Request.path`. Everything about a route is compiled when the router is built; `match` hands out the same object for
the same route every time, so whoever needs per-route data can keep it in an array by `MatchedRoute.index`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, final

from ostiary.core.decision import Entropy, Request
from ostiary.core.matching import all_of, first_parameters, query_parameter_matcher
from ostiary.core.regex import Regex, wire_text
from ostiary.core.rewriting import (
    Mutations,
    Redirector,
    RequestRewriter,
    request_mutations,
    response_mutations,
)
from ostiary.model.routes import (
    DirectResponseAction,
    FilterDisabled,
    RedirectAction,
    Route,
    RouteAction,
    RouteConfiguration,
    RouteMatch,
    VirtualHost,
)

PathPredicate = Callable[[str], bool]
RequestPredicate = Callable[[Request], bool]

_ENTROPY_BYTES: Final = 8


@final
class MatchedRoute:
    """One route, compiled. Immutable, and the same object at every match."""

    __slots__ = (
        "_cumulative",
        "_filter_configs",
        "action",
        "cluster",
        "index",
        "name",
        "redirector",
        "response_mutations",
        "rewriter",
        "route",
        "virtual_host",
    )

    def __init__(
        self, index: int, route: Route, virtual_host: VirtualHost, router: Router, *, tls: bool = False
    ) -> None:
        configuration = router.configuration
        levels = (route.mutations, virtual_host.mutations, configuration.mutations)
        wins = configuration.most_specific_header_mutations_wins
        self.index = index
        """Position among all routes of the router."""
        self.name = route.name
        self.route = route
        self.virtual_host = virtual_host
        self.action: RouteAction | RedirectAction | DirectResponseAction = route.action
        self.response_mutations: tuple[Mutations, ...] = response_mutations(levels, wins)
        self.rewriter: RequestRewriter | None = None
        """For a RouteAction."""
        self.redirector: Redirector | None = None
        """For a RedirectAction."""
        self.cluster: str | None = None
        """The cluster of a RouteAction where it is always the same; None: ask `pick_cluster`."""
        self._cumulative: tuple[tuple[int, str], ...] = ()
        if isinstance(route.action, RouteAction):
            self.rewriter = RequestRewriter(
                route.match, route.action, request_mutations(levels, wins), keep_original=router.keep_original
            )
            self.cluster = route.action.cluster
            self._cumulative = _cumulative_weights(route.action)
        elif isinstance(route.action, RedirectAction):
            self.redirector = Redirector(route.match, route.action, required_tls=tls)
        sources = (
            route.typed_per_filter_config,
            virtual_host.typed_per_filter_config,
            configuration.typed_per_filter_config,
        )
        names = {name for source in sources for name in source}
        self._filter_configs: Mapping[str, tuple[object, ...]] = {
            name: tuple(source[name] for source in sources if name in source) for name in names
        }

    def filter_config(self, filter_name: str) -> object | None:
        """The most specific configuration for a filter (route, virtual host, route configuration), or None."""
        configs = self._filter_configs.get(filter_name)
        return configs[0] if configs else None

    def filter_configs(self, filter_name: str) -> tuple[object, ...]:
        """All of them, the most specific first: CORS takes each field from the first policy that has it."""
        return self._filter_configs.get(filter_name, ())

    def is_disabled(self, filter_name: str) -> bool:
        """True if the most specific configuration switches the filter off."""
        return isinstance(self.filter_config(filter_name), FilterDisabled)

    def pick_cluster(self, request: Request, entropy: Entropy) -> str | None:
        """The cluster for this request: the fixed one, the one a header names, or one by weight.

        None where the header is missing or this is no RouteAction.
        """
        if self.cluster is not None:
            return self.cluster
        if not isinstance(self.action, RouteAction):
            return None
        if self.action.cluster_header is not None:
            return request.headers.get(self.action.cluster_header.lower()) or None
        point = int.from_bytes(entropy(_ENTROPY_BYTES), "big") % self._cumulative[-1][0]
        return next(name for bound, name in self._cumulative if point < bound)

    def __repr__(self) -> str:
        return f"<MatchedRoute {self.index} {self.name or self.route.match!r}>"


def _cumulative_weights(action: RouteAction) -> tuple[tuple[int, str], ...]:
    total = 0
    bounds: list[tuple[int, str]] = []
    for cluster in action.weighted_clusters:
        if cluster.weight < 0:
            raise ValueError(f"cluster {cluster.name!r}: the weight is negative")
        total += cluster.weight
        bounds.append((total, cluster.name))
    given = sum((action.cluster is not None, action.cluster_header is not None, bool(bounds)))
    if given != 1:
        raise ValueError("a route needs exactly one of cluster, cluster_header and weighted_clusters")
    if bounds and total == 0:
        raise ValueError("the weights of weighted_clusters add up to 0")
    return tuple(bounds)


@final
class _Candidate:
    """One route of a virtual host with its conditions. None stands for a condition that always holds."""

    __slots__ = ("conditions", "matched", "path")

    def __init__(self, matched: MatchedRoute) -> None:
        match = matched.route.match
        self.matched = matched
        self.path = path_predicate(match)
        self.conditions: tuple[RequestPredicate, ...] = _conditions(match)


def path_predicate(match: RouteMatch) -> PathPredicate | None:
    """The condition on the path; None: every path. Raises ValueError unless exactly one specifier is given."""
    specifiers = (match.prefix, match.path, match.path_separated_prefix, match.safe_regex)
    if sum(specifier is not None for specifier in specifiers) != 1:
        raise ValueError("a route needs exactly one of prefix, path, path_separated_prefix and safe_regex")
    if match.safe_regex is not None:
        return Regex(match.safe_regex).fullmatch
    if match.prefix == "/" or match.prefix == "":
        return None
    expected = wire_text(next(specifier for specifier in specifiers if specifier is not None))
    if not match.case_sensitive:
        return _path_predicate_without_case(match, expected.lower())
    if match.prefix is not None:
        return lambda path: path.startswith(expected)
    if match.path is not None:
        return expected.__eq__
    below = _below(expected)
    return lambda path: path == expected or path.startswith(below)


def _path_predicate_without_case(match: RouteMatch, expected: str) -> PathPredicate:
    if match.prefix is not None:
        return lambda path: path.lower().startswith(expected)
    if match.path is not None:
        return lambda path: path.lower() == expected
    below = _below(expected)
    return lambda path: path.lower() == expected or path.lower().startswith(below)


def _below(prefix: str) -> str:
    if prefix.endswith("/") or "?" in prefix or "#" in prefix:
        raise ValueError(f"path_separated_prefix {prefix!r} must not end in a slash or hold a query")
    return f"{prefix}/"


def _conditions(match: RouteMatch) -> tuple[RequestPredicate, ...]:
    conditions: list[RequestPredicate] = []
    if match.headers:
        conditions.append(all_of(match.headers))
    if match.query_parameters:
        predicates = tuple(query_parameter_matcher(matcher) for matcher in match.query_parameters)

        def parameters_match(request: Request) -> bool:
            parameters = first_parameters(request.query)
            return all(predicate(parameters) for predicate in predicates)

        conditions.append(parameters_match)
    return tuple(conditions)


@final
class _CompiledHost:
    __slots__ = ("candidates", "only", "require_tls", "tls_redirect")

    def __init__(self, host: VirtualHost, candidates: list[_Candidate], tls_redirect: MatchedRoute | None) -> None:
        self.candidates = tuple(candidates)
        first = self.candidates[0] if self.candidates else None
        catches_all = first is not None and first.path is None and not first.conditions
        self.only: MatchedRoute | None = first.matched if first and catches_all and tls_redirect is None else None
        self.require_tls = host.require_tls
        self.tls_redirect = tls_redirect

    def match(self, request: Request) -> MatchedRoute | None:
        if self.only is not None:
            return self.only
        if self.tls_redirect is not None and self._must_use_tls(request):
            return self.tls_redirect
        path = request.path
        for candidate in self.candidates:
            if candidate.path is not None and not candidate.path(path):
                continue
            if all(condition(request) for condition in candidate.conditions):
                return candidate.matched
        return None

    def _must_use_tls(self, request: Request) -> bool:
        if (request.headers.get("x-forwarded-proto") or request.scheme) == "https":
            return False
        return self.require_tls == "ALL" or request.headers.get("x-envoy-internal") != "true"


@final
class Router:
    """A route configuration, compiled. Raises ValueError for one that can't be, naming the route."""

    __slots__ = (
        "_default",
        "_exact",
        "_ignore_port",
        "_prefixes",
        "_suffixes",
        "configuration",
        "is_header_independent",
        "keep_original",
        "routes",
    )

    def __init__(self, configuration: RouteConfiguration, *, suppress_envoy_headers: bool = False) -> None:
        self.configuration = configuration
        self.keep_original = not suppress_envoy_headers
        self.routes: list[MatchedRoute] = []
        """Every route, at its index."""
        self._exact: dict[str, _CompiledHost] = {}
        self._suffixes: dict[str, _CompiledHost] = {}
        self._prefixes: dict[str, _CompiledHost] = {}
        self._default: _CompiledHost | None = None
        self._ignore_port = configuration.ignore_port_in_host_matching
        self.is_header_independent = True
        """True if the route follows from authority, path and scheme alone, so that a match may be remembered."""
        for host in configuration.virtual_hosts:
            self._add_host(host)
        self._suffixes = _longest_first(self._suffixes)
        self._prefixes = _longest_first(self._prefixes)

    def match(self, request: Request) -> MatchedRoute | None:
        """The route of a request, or None (404)."""
        host = self._default
        if self._exact or self._suffixes or self._prefixes:
            host = self._find_host(request.authority)
        return None if host is None else host.match(request)

    def _find_host(self, authority: str) -> _CompiledHost | None:
        name = authority.lower()
        if self._ignore_port:
            name = without_port(name)
        host = self._exact.get(name)
        if host is not None:
            return host
        for suffix, host in self._suffixes.items():
            if name.endswith(suffix) and len(name) > len(suffix):
                return host
        for prefix, host in self._prefixes.items():
            if name.startswith(prefix) and len(name) > len(prefix):
                return host
        return self._default

    def _add_host(self, host: VirtualHost) -> None:
        candidates: list[_Candidate] = []
        for number, route in enumerate(host.routes):
            try:
                candidates.append(_Candidate(self._add_route(route, host)))
            except ValueError as error:
                raise ValueError(f"virtual host {host.name!r}, route {route.name or number}: {error}") from None
            if route.match.headers or route.match.query_parameters:
                self.is_header_independent = False
        tls_redirect = None
        if host.require_tls != "NONE":
            self.is_header_independent = False
            route = Route(match=RouteMatch(prefix="/"), action=RedirectAction(https_redirect=True))
            tls_redirect = self._add_route(route, host, tls=True)
        compiled = _CompiledHost(host, candidates, tls_redirect)
        for domain in host.domains:
            self._add_domain(domain.lower(), compiled)

    def _add_route(self, route: Route, host: VirtualHost, *, tls: bool = False) -> MatchedRoute:
        matched = MatchedRoute(len(self.routes), route, host, self, tls=tls)
        self.routes.append(matched)
        return matched

    def _add_domain(self, domain: str, host: _CompiledHost) -> None:
        if domain == "*":
            if self._default is not None:
                raise ValueError("only a single wildcard domain is permitted")
            self._default = host
            return
        table, key = self._exact, domain
        if domain.startswith("*"):
            table, key = self._suffixes, domain[1:]
        elif domain.endswith("*"):
            table, key = self._prefixes, domain[:-1]
        if not key or "*" in key:
            raise ValueError(f"domain {domain!r}: one wildcard, at its beginning or its end")
        if key in table:
            raise ValueError(f"domain {domain!r} is given twice")
        table[key] = host


def without_port(authority: str) -> str:
    """`host:8080` -> `host`, `[::1]:8080` -> `[::1]`; what has no port stays as it is."""
    host, separator, port = authority.rpartition(":")
    if not separator or "]" in port or (port and not port.isdigit()):
        return authority
    return host


def _longest_first(table: dict[str, _CompiledHost]) -> dict[str, _CompiledHost]:
    return dict(sorted(table.items(), key=lambda item: -len(item[0])))
