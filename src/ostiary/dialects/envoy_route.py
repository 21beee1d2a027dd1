"""Route configurations: virtual hosts, routes, header mutations, what filters find on routes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final

from ostiary.core.regex import Substitution
from ostiary.dialects.envoy_common import (
    Context,
    content,
    header_matchers,
    query_parameter_matcher,
    regex,
    share,
    string_matcher,
    template,
)
from ostiary.dialects.envoy_oauth2 import oauth2_config
from ostiary.dialects.schema_tree import Message
from ostiary.model.routes import (
    AppendAction,
    CorsPolicy,
    DirectResponseAction,
    FilterDisabled,
    HeaderMutations,
    HeaderValueOption,
    PerFilterConfig,
    RedirectAction,
    RegexRewrite,
    Route,
    RouteAction,
    RouteConfiguration,
    RouteMatch,
    VirtualHost,
    WeightedCluster,
)

OAUTH2_PER_ROUTE: Final = "envoy.extensions.filters.http.oauth2.v3.OAuth2PerRoute"
CORS_POLICY: Final = "envoy.extensions.filters.http.cors.v3.CorsPolicy"
_FILTER_CONFIG: Final = "envoy.config.route.v3.FilterConfig"
REDIRECT_CODES: Final = {
    "MOVED_PERMANENTLY": 301,
    "FOUND": 302,
    "SEE_OTHER": 303,
    "TEMPORARY_REDIRECT": 307,
    "PERMANENT_REDIRECT": 308,
}
NOT_FOUND_CODES: Final = {"SERVICE_UNAVAILABLE": 503, "NOT_FOUND": 404, "INTERNAL_SERVER_ERROR": 500}
_MAX_WEIGHT: Final = (1 << 32) - 1
MAX_BODY: Final = 4096
"""RouteConfiguration.max_direct_response_body_size_bytes, its default."""
_APPEND_ACTIONS: Final[tuple[AppendAction, ...]] = (
    "APPEND_IF_EXISTS_OR_ADD",
    "ADD_IF_ABSENT",
    "OVERWRITE_IF_EXISTS_OR_ADD",
    "OVERWRITE_IF_EXISTS",
)


class Routes:
    """One RouteConfiguration on its way: what its virtual hosts and routes have to know of it."""

    def __init__(self, message: Message, filters: Mapping[str, Collection[str]], context: Context) -> None:
        self.message = message
        self.filters = filters
        """The chain: filter name -> full names of the configurations' types (two filters may share a name)."""
        self.context = context
        self.check_clusters = message.boolean("validate_clusters", True)
        self.max_body = message.integer("max_direct_response_body_size_bytes", MAX_BODY)

    def convert(self) -> RouteConfiguration:
        """config.route.v3.RouteConfiguration."""
        message = self.message
        message.ignore("metadata")
        hosts = message.messages("virtual_hosts")
        self._check_domains(hosts)
        return RouteConfiguration(
            name=message.text("name"),
            virtual_hosts=tuple(self._virtual_host(host) for host in hosts),
            mutations=mutations(message),
            most_specific_header_mutations_wins=message.boolean("most_specific_header_mutations_wins"),
            ignore_port_in_host_matching=message.boolean("ignore_port_in_host_matching"),
            typed_per_filter_config=self._per_filter(message),
        )

    def _check_domains(self, hosts: Iterable[Message]) -> None:
        seen: set[str] = set()
        for host in hosts:
            for domain in host.texts("domains"):
                if domain.lower() in seen:
                    what = "a single wildcard domain is" if domain == "*" else "unique values for domains are"
                    host.problem("domains", f"only {what} permitted: '{domain}' is written twice")
                seen.add(domain.lower())

    def _virtual_host(self, message: Message) -> VirtualHost:
        message.ignore("metadata")
        return VirtualHost(
            name=message.text("name"),
            domains=message.texts("domains"),
            routes=tuple(self._route(route) for route in message.messages("routes")),
            require_tls=message.choice("require_tls", ("NONE", "EXTERNAL_ONLY", "ALL")),
            mutations=mutations(message),
            typed_per_filter_config=self._per_filter(message),
        )

    def _route(self, message: Message) -> Route:
        message.ignore("metadata", "stat_prefix")
        decorator = message.optional("decorator")
        decorator.ignore("propagate")
        action: RouteAction | RedirectAction | DirectResponseAction = RouteAction()
        if (written := message.message("route")) is not None:
            action = self._route_action(written)
        elif (written := message.message("redirect")) is not None:
            action = _redirect(written)
        elif (written := message.message("direct_response")) is not None:
            action = self._direct_response(written)
        return Route(
            name=message.text("name"),
            match=_match(message.required("match")),
            action=action,
            mutations=mutations(message),
            typed_per_filter_config=self._per_filter(message),
            decorator=decorator.text("operation"),
        )

    def _route_action(self, message: Message) -> RouteAction:
        weighted: tuple[WeightedCluster, ...] = ()
        if (clusters := message.message("weighted_clusters")) is not None:
            weighted = self._weighted(clusters)
        cluster = message.text("cluster") or None
        if cluster is not None:
            self._known(message, "cluster", cluster)
        code = message.choice("cluster_not_found_response_code", tuple(NOT_FOUND_CODES))
        prefix_rewrite, rewrite = message.text("prefix_rewrite") or None, _rewrite(message)
        if prefix_rewrite is not None and rewrite is not None:
            message.problem("regex_rewrite", "only one of prefix_rewrite and regex_rewrite may be set")
        return RouteAction(
            cluster=cluster,
            cluster_header=message.text("cluster_header").lower() or None,
            weighted_clusters=weighted,
            cluster_not_found_response_code=NOT_FOUND_CODES[code],
            timeout=message.optional_duration("timeout"),
            idle_timeout=message.optional_duration("idle_timeout"),
            prefix_rewrite=prefix_rewrite,
            regex_rewrite=rewrite,
            host_rewrite_literal=message.text("host_rewrite_literal") or None,
            host_rewrite_header=message.text("host_rewrite_header").lower() or None,
            auto_host_rewrite=message.boolean("auto_host_rewrite"),
            append_x_forwarded_host=message.boolean("append_x_forwarded_host"),
            upgrade_types=upgrade_types(message),
        )

    def _weighted(self, message: Message) -> tuple[WeightedCluster, ...]:
        message.ignore("runtime_key_prefix", "total_weight")
        found = []
        for item in message.messages("clusters"):
            name, weight = item.text("name"), item.integer("weight")
            if name:
                self._known(item, "name", name)
            elif not item.has("cluster_header"):
                item.problem("name", "is required")
            found.append(WeightedCluster(name=name, weight=weight))
        if not 0 < sum(item.weight for item in found) <= _MAX_WEIGHT:
            message.problem("clusters", f"the weights must add up to more than 0 and at most {_MAX_WEIGHT}")
        return tuple(found)

    def _known(self, message: Message, name: str, cluster: str) -> None:
        if self.check_clusters and cluster not in self.context.clusters:
            known = ", ".join(sorted(self.context.clusters)) or "none"
            message.problem(name, f"route: unknown cluster '{cluster}'", f"the clusters are: {known}")

    def _direct_response(self, message: Message) -> DirectResponseAction:
        body = b""
        if (written := message.message("body")) is not None:
            body = content(written, self.context) or b""
        if len(body) > self.max_body:
            message.problem(
                "body",
                f"response body size is {len(body)} bytes; maximum is {self.max_body}",
                "raise max_direct_response_body_size_bytes of the route configuration",
            )
        return DirectResponseAction(status=message.integer("status"), body=body)

    def _per_filter(self, message: Message) -> PerFilterConfig:
        result: dict[str, object] = {}
        for name, config in message.map("typed_per_filter_config").items():
            found = self._filter_config(name, config) if isinstance(config, Message) else None
            if found is not None:
                result[name] = found
            if name not in self.filters:
                known = ", ".join(self.filters) or "none"
                text = f"no filter of the chain is called '{name}': this has no effect"
                message.problem("typed_per_filter_config", text, f"the filters are: {known}", "warning")
        return result

    def _filter_config(self, name: str, config: Message) -> object:
        if config.name == _FILTER_CONFIG:
            config.ignore("is_optional")
            if config.boolean("disabled"):
                config.ignore("config")
                return FilterDisabled()
            inner = config.message("config")
            if inner is not None and inner.name:
                return self._filter_config(name, inner)
            config.problem(None, "neither `disabled: true` nor a config: this says nothing")
            return None
        if config.name == OAUTH2_PER_ROUTE:
            self._fits(config, name, ".oauth2.v3.OAuth2")
            return oauth2_config(config.required("config"), self.context)
        if config.name == CORS_POLICY:
            self._fits(config, name, ".cors.v3.Cors")
            return _cors_policy(config)
        if config.name.endswith(".oauth2.v3.OAuth2"):
            config.problem(None, "the filter takes no OAuth2 on a route", f"use type.googleapis.com/{OAUTH2_PER_ROUTE}")
            config.ignore(*config.written())
        else:
            config.unsupported(None, "on a route there may be OAuth2PerRoute, CorsPolicy and FilterConfig")
        return None

    def _fits(self, config: Message, name: str, wanted: str) -> None:
        kinds = self.filters.get(name, ())
        if kinds and not any(kind.endswith(wanted) for kind in kinds):
            words = " and ".join(sorted(kind.rpartition(".")[2] for kind in kinds))
            config.problem(None, f"'{name}' is the name of {words} in http_filters", "check the filter's name")


def upgrade_types(message: Message) -> Mapping[str, bool]:
    """upgrade_configs of a connection manager or a route."""
    found = {}
    for item in message.messages("upgrade_configs"):
        kind = item.text("upgrade_type").lower()
        if kind == "connect":
            item.unsupported("upgrade_type", "only upgrades of GET requests (websocket, ...) are implemented")
        if kind in found:
            item.problem("upgrade_type", f"multiple upgrade configs with the same name: '{kind}'")
        found[kind] = item.boolean("enabled", True)
    return found


def mutations(message: Message) -> HeaderMutations:
    """The four lists of headers to add and to remove."""
    for name in ("request_headers_to_remove", "response_headers_to_remove"):
        for header in message.texts(name):
            if header.startswith(":") or (name.startswith("request") and header.lower() == "host"):
                message.problem(name, ":-prefixed or host headers may not be removed")
    return HeaderMutations(
        request_headers_to_add=_headers_to_add(message, "request_headers_to_add"),
        request_headers_to_remove=tuple(name.lower() for name in message.texts("request_headers_to_remove")),
        response_headers_to_add=_headers_to_add(message, "response_headers_to_add"),
        response_headers_to_remove=tuple(name.lower() for name in message.texts("response_headers_to_remove")),
    )


def _headers_to_add(message: Message, name: str) -> tuple[HeaderValueOption, ...]:
    return tuple(_header_value_option(item) for item in message.messages(name))


def _header_value_option(message: Message) -> HeaderValueOption:
    header = message.required("header")
    key, value = header.text("key").lower(), header.text("value")
    raw = header.take("raw_value")
    if isinstance(raw, bytes) and raw:
        if value:
            header.problem("raw_value", "only one of value and raw_value may be set")
        value = raw.decode("latin-1")
    if key.startswith(":") or key == "host":
        header.problem("key", ":-prefixed or host headers may not be modified", "use the route's host_rewrite_literal")
    template(header, "value", value)
    action = message.choice("append_action", _APPEND_ACTIONS)
    if message.has("append"):
        if message.has("append_action"):
            message.problem("append", "append and append_action can't be set together")
        action = "APPEND_IF_EXISTS_OR_ADD" if message.boolean("append") else "OVERWRITE_IF_EXISTS_OR_ADD"
    return HeaderValueOption(
        key=key,
        value=value,
        append_action=action,
        keep_empty_value=message.boolean("keep_empty_value"),
    )


def _match(message: Message) -> RouteMatch:
    share(message, "runtime_fraction", 100)
    pattern = message.message("safe_regex")
    return RouteMatch(
        prefix=message.text("prefix") if message.has("prefix") else None,
        path=message.text("path") if message.has("path") else None,
        path_separated_prefix=message.text("path_separated_prefix") if message.has("path_separated_prefix") else None,
        safe_regex=regex(pattern) if pattern is not None else None,
        case_sensitive=message.boolean("case_sensitive", True),
        headers=header_matchers(message, "headers"),
        query_parameters=tuple(query_parameter_matcher(item) for item in message.messages("query_parameters")),
    )


def _rewrite(message: Message) -> RegexRewrite | None:
    """matcher.v3.RegexMatchAndSubstitute in `regex_rewrite`."""
    written = message.message("regex_rewrite")
    if written is None:
        return None
    pattern, substitution = regex(written.required("pattern")), written.text("substitution")
    try:
        Substitution(pattern, substitution)
    except ValueError as error:
        written.problem("substitution", str(error))
    return RegexRewrite(pattern=pattern, substitution=substitution)


def _redirect(message: Message) -> RedirectAction:
    code = message.choice("response_code", tuple(REDIRECT_CODES))
    return RedirectAction(
        https_redirect=message.boolean("https_redirect"),
        scheme_redirect=message.text("scheme_redirect") or None,
        host_redirect=message.text("host_redirect") or None,
        port_redirect=message.integer("port_redirect") or None,
        path_redirect=message.text("path_redirect") or None,
        prefix_rewrite=message.text("prefix_rewrite") if message.has("prefix_rewrite") else None,
        regex_rewrite=_rewrite(message),
        response_code=REDIRECT_CODES[code],
        strip_query=message.boolean("strip_query"),
    )


def _cors_policy(message: Message) -> CorsPolicy:
    share(message, "filter_enabled", 100)
    share(message, "shadow_enabled", 0)
    return CorsPolicy(
        allow_origin_string_match=tuple(string_matcher(item) for item in message.messages("allow_origin_string_match")),
        allow_methods=message.text("allow_methods"),
        allow_headers=message.text("allow_headers"),
        expose_headers=message.text("expose_headers"),
        max_age=message.text("max_age"),
        allow_credentials=message.boolean("allow_credentials"),
        allow_private_network_access=message.boolean("allow_private_network_access"),
        forward_not_matching_preflights=message.boolean("forward_not_matching_preflights", True),
    )
