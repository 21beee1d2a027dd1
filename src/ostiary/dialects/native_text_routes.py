"""`upstream` and `routes` of a native configuration, out of virtual hosts, routes and clusters.

A native route is a host, a path (a prefix that ends where a segment ends) and an upstream. Envoy's other ways to match
and to answer have no place in it: such a route is left out and told. Routes of named hosts come before those of every
host, since here the first that fits decides.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from msgspec.structs import replace

from ostiary.core.addresses import is_ip_address
from ostiary.dialects.envoy_text_values import duration, given, some
from ostiary.dialects.lost import lost
from ostiary.dialects.native_upstreams import cluster_type, path_problem, rewrite_of
from ostiary.dialects.native_upstreams import http2 as http2_of
from ostiary.model import limits
from ostiary.model.clusters import CircuitBreakers, Cluster, Endpoint
from ostiary.model.errors import Diagnostic
from ostiary.model.routes import (
    HeaderMutations,
    RedirectAction,
    Route,
    RouteAction,
    RouteConfiguration,
    RouteMatch,
    VirtualHost,
)
from ostiary.model.tls import CertificateValidationContext, UpstreamTlsContext

Tree = dict[str, Any]
_HOST: Final = re.compile(r"(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*", re.ASCII)
_CLUSTERS: Final = "static_resources.clusters"


def routes(config: RouteConfiguration, clusters: tuple[Cluster, ...], base: str, found: list[Diagnostic]) -> Tree:
    """The two keys; `base` is the path of the listener in the source."""
    writer = _Routes(clusters, f"{base}.filter_chains[0].filters[0].typed_config.route_config", found)
    return writer.write(config)


class _Routes:
    def __init__(self, clusters: tuple[Cluster, ...], where: str, found: list[Diagnostic]) -> None:
        self._clusters = {each.name: (index, each) for index, each in enumerate(clusters)}
        self._where = where
        self._found = found
        self._upstreams: dict[str, Any] = {}

    def write(self, config: RouteConfiguration) -> Tree:
        self._mutations(config.mutations, self._where)
        entries: list[Tree] = []
        for index, host in sorted(enumerate(config.virtual_hosts), key=lambda each: _rank(each[1])):
            entries += self._host(host, f"{self._where}.virtual_hosts[{index}]")
        unique: list[Tree] = []
        for entry in entries:
            if entry not in unique:
                unique.append(entry)
        last = unique[-1] if unique else {}
        if set(last) == {"upstream"}:
            return given(routes=some(unique[:-1])) | last
        return {"routes": unique}

    def _lost(self, path: str, message: str, mend: str = "") -> None:
        self._found.append(lost(path, message, mend))

    def _mutations(self, mutations: HeaderMutations, where: str) -> None:
        for field in HeaderMutations.__struct_fields__:
            if names := getattr(mutations, field):
                headers = ", ".join(each if isinstance(each, str) else each.key for each in names)
                self._lost(f"{where}.{field}", f"no key for headers to add or remove ({headers})")

    def _host(self, host: VirtualHost, where: str) -> Iterable[Tree]:
        self._mutations(host.mutations, where)
        if host.require_tls != "NONE":
            self._lost(f"{where}.require_tls", "no redirect to https", "let what ends TLS do it")
        self._per_filter(host.typed_per_filter_config, where)
        domains = [domain.lower() for domain in host.domains]
        usable = [domain for domain in domains if _HOST.fullmatch(domain)]
        for domain in set(domains) - set(usable) - {"*"}:
            self._lost(f"{where}.domains", f"'{domain}': hosts are names or *.names, without port")
        if not usable and "*" not in domains:
            return
        hosts = [] if "*" in domains else usable
        for index, route in enumerate(host.routes):
            entry = self._route(route, f"{where}.routes[{index}]")
            if entry is not None:
                yield given(host=hosts[0] if len(hosts) == 1 else some(hosts)) | entry
                if "path" not in entry:
                    return  # everything after it is never reached

    def _per_filter(self, configs: Any, where: str) -> None:
        for name in configs:
            self._lost(f"{where}.typed_per_filter_config", f"settings for '{name}' on a host or route")

    def _route(self, route: Route, where: str) -> Tree | None:
        path = self._path(route.match, f"{where}.match")
        action = route.action
        if path is None:
            return None
        self._mutations(route.mutations, where)
        self._per_filter(route.typed_per_filter_config, where)
        start = given(path=path if path != "/" else None)
        if isinstance(action, RouteAction):
            more = self._action(action, path, f"{where}.route")
            return start | more if more is not None else None
        if isinstance(action, RedirectAction):
            target = self._redirect(action, f"{where}.redirect")
            return start | {"redirect": target} if target else None
        self._lost(f"{where}.direct_response", "an answer without an upstream", "let the application answer it")
        return None

    def _path(self, match: RouteMatch, where: str) -> str | None:
        """The path of a native route; None, told, if there is none that means nearly the same."""
        written = match.path_separated_prefix or match.prefix or match.path
        if match.safe_regex is not None or match.headers or match.query_parameters or not match.case_sensitive:
            self._lost(where, "routes are told apart by host and path alone: this one is left out")
            return None
        path = (written or "/").rstrip("/") or "/"
        if path_problem(path):
            self._lost(where, f"'{path}' is no path that a request has after normalising: the route is left out")
            return None
        if path != "/" and match.path_separated_prefix is None:
            self._lost(where, f"a path ends where a segment ends: this becomes {path} and everything below it")
        return path

    def _action(self, action: RouteAction, path: str, where: str) -> Tree | None:
        if action.cluster is None or action.cluster not in self._clusters:
            self._lost(where, "the upstream isn't one cluster that there is: the route is left out")
            return None
        if action.host_rewrite_header is not None:
            self._lost(f"{where}.host_rewrite_header", "a Host header taken from another one")
        if action.idle_timeout is not None:
            self._lost(f"{where}.idle_timeout", "an idle timeout of a route", "timeouts.stream_idle is for all")
        host_header = "upstream" if action.auto_host_rewrite else action.host_rewrite_literal
        timeout = limits.ROUTE_TIMEOUT if action.timeout is None else action.timeout
        upstream = self._upstream(action.cluster, host_header)
        return given(
            upstream=upstream,
            rewrite=self._rewrite(action, path, where),
            timeout=duration(timeout) if timeout else None,
        )

    def _rewrite(self, action: RouteAction, path: str, where: str) -> str | None:
        rewrite, prefix = action.regex_rewrite, path.rstrip("/")
        if rewrite is not None:
            plain = rewrite.substitution.rstrip("/") or "/"
            if rewrite == rewrite_of(prefix, plain):
                return plain
            self._lost(f"{where}.regex_rewrite", "a rewrite of something else than the whole prefix")
        if action.prefix_rewrite is None:
            return None
        plain = action.prefix_rewrite.rstrip("/") or "/"
        if path_problem(plain):
            self._lost(f"{where}.prefix_rewrite", f"'{plain}' is no plain path")
            return None
        return plain

    def _redirect(self, action: RedirectAction, where: str) -> str | None:
        if action.https_redirect or action.prefix_rewrite is not None or action.regex_rewrite is not None:
            self._lost(where, "a redirect goes to one address here: the route is left out")
            return None
        if action.response_code != 302:
            self._lost(where, f"the redirect answers 302, not {action.response_code}")
        if action.host_redirect is None:
            return action.path_redirect
        port = f":{action.port_redirect}" if action.port_redirect else ""
        return f"{action.scheme_redirect or 'https'}://{action.host_redirect}{port}{action.path_redirect or ''}"

    def _upstream(self, name: str, host_header: str | None) -> Any:
        """One upstream: its address alone, or a mapping where more is to be said."""
        index, cluster = self._clusters[name]
        where = f"{_CLUSTERS}[{index}]"
        if name not in self._upstreams:
            self._upstreams[name] = self._cluster(cluster, where)
        tree: Tree = dict(self._upstreams[name]) | given(host_header=host_header)
        return tree["url"] if set(tree) == {"url"} else tree

    def _cluster(self, cluster: Cluster, where: str) -> Tree:
        tls = cluster.transport_socket
        sockets = any(each.pipe is not None for each in cluster.endpoints)  # whose addresses have no scheme
        plain = "h2c" if cluster.http2 is not None and not sockets else "http"
        scheme = "https" if tls is not None else plain
        urls = [_url(scheme, each) for each in cluster.endpoints]
        tree = {"url": urls[0]} if len(urls) == 1 else {"urls": urls}
        tree |= given(
            connect_timeout=_other(duration(cluster.connect_timeout), duration(limits.CONNECT_TIMEOUT)),
            dns_lookup_family=_other(cluster.dns_lookup_family or "ALL", "ALL"),
            balance=_other(cluster.lb_policy, "ROUND_ROBIN"),
            idle_timeout=_idle(cluster.idle_timeout),
            http2=True if cluster.http2 is not None and scheme != "h2c" else None,
            **(self._tls(tls, cluster, where) if tls is not None else {}),
        )
        self._compare(cluster, where)
        return tree

    def _tls(self, tls: UpstreamTlsContext, cluster: Cluster, where: str) -> Tree:
        validation = tls.validation_context
        ca = validation.trusted_ca
        if ca is not None and ca.filename is None:
            self._lost(f"{where}.transport_socket", "the CA stands in the file itself", "put it into a file: ca_file")
        named = {tls.sni} if tls.sni else {each.hostname or each.address for each in cluster.endpoints}
        if any(each.matcher.value not in named for each in validation.match_typed_subject_alt_names):
            text = "other names of the certificate than the server's own"
            self._lost(f"{where}.transport_socket", text, "server_name is the name that is verified")
        usual = UpstreamTlsContext(
            sni=tls.sni,
            auto_host_sni=tls.auto_host_sni,
            alpn_protocols=tls.alpn_protocols,
            validation_context=CertificateValidationContext(
                trusted_ca=ca,
                accept_untrusted=validation.accept_untrusted,
                match_typed_subject_alt_names=validation.match_typed_subject_alt_names,
            ),
        )
        for field in UpstreamTlsContext.__struct_fields__:
            if getattr(tls, field) != getattr(usual, field):
                self._lost(f"{where}.transport_socket", f"{field} of the upstream")
        return given(
            ca_file=ca.filename if ca is not None and not validation.accept_untrusted else None,
            verify=False if validation.accept_untrusted else None,
            server_name=some(tls.sni),
        )

    def _compare(self, cluster: Cluster, where: str) -> None:
        """Everything that a cluster says and an upstream can't."""
        endpoints = tuple(Endpoint(address=e.address, port=e.port, pipe=e.pipe) for e in cluster.endpoints)
        breakers = CircuitBreakers(max_connections=cluster.circuit_breakers.max_connections)
        if endpoints != cluster.endpoints:
            self._lost(f"{where}.load_assignment", "weights, priorities, health or names of endpoints")
        if breakers != cluster.circuit_breakers:
            self._lost(f"{where}.circuit_breakers", "bounds other than of connections")
        if cluster.type != cluster_type(endpoints):
            self._lost(f"{where}.type", f"{cluster.type}: here it is {cluster_type(endpoints)}")
        if cluster.http2 is not None:
            spoken = http2_of(tls=cluster.transport_socket is not None)
            if replace(cluster.http2, scheme_of_client=False) != spoken:
                self._lost(f"{where}.typed_extension_protocol_options", "bounds and times of HTTP/2")
        usual = Cluster(name=cluster.name)
        for field in Cluster.__struct_fields__:
            if field not in _KEPT and getattr(cluster, field) != getattr(usual, field):
                self._lost(f"{where}.{_KEYS.get(field, field)}", f"{field}: there is no key for it")


_KEPT: Final = frozenset((
    "name", "type", "connect_timeout", "dns_lookup_family", "lb_policy", "endpoints", "transport_socket", "dns_refresh",
    "circuit_breakers", "idle_timeout", "http2", "per_connection_buffer_limit_bytes",
))  # fmt: skip
"""What is written, compared by itself, or the engine's own affair."""
_KEYS: Final = {"dns_resolvers": "typed_dns_resolver_config", "health_checking": "health_checks"}
"""Where the source has what the model calls otherwise."""


def _rank(host: VirtualHost) -> int:
    """Names before wildcards before everything."""
    return 2 if "*" in host.domains else 1 if any(domain.startswith("*") for domain in host.domains) else 0


def _url(scheme: str, endpoint: Endpoint) -> str:
    if endpoint.pipe is not None:
        return f"unix:{endpoint.pipe}"
    host = f"[{endpoint.address}]" if ":" in endpoint.address and is_ip_address(endpoint.address) else endpoint.address
    usual = {"https": 443, "http": 80}.get(scheme)
    return f"{scheme}://{host}" if endpoint.port == usual else f"{scheme}://{host}:{endpoint.port}"


def _other(value: Any, usual: Any) -> Any:
    return None if value == usual else value


def _idle(seconds: float | None) -> str | None:
    return None if seconds == limits.UPSTREAM_IDLE_TIMEOUT else "off" if seconds is None else duration(seconds)
