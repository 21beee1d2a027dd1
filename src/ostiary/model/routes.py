"""Routes, with the names of Envoy's `config.route.v3`. Durations are seconds; 0 switches a timeout off."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from ostiary.model.matchers import HeaderMatcher, QueryParameterMatcher, StringMatcher

AppendAction = Literal["APPEND_IF_EXISTS_OR_ADD", "ADD_IF_ABSENT", "OVERWRITE_IF_EXISTS_OR_ADD", "OVERWRITE_IF_EXISTS"]


class HeaderValueOption(msgspec.Struct, frozen=True, kw_only=True):
    """config.core.v3.HeaderValueOption; `value` is an Envoy format string (`%REQ(x)%`, ...)."""

    key: str
    value: str
    append_action: AppendAction = "APPEND_IF_EXISTS_OR_ADD"
    keep_empty_value: bool = False


class HeaderMutations(msgspec.Struct, frozen=True, kw_only=True):
    """The four lists that a RouteConfiguration, VirtualHost, Route or cluster may carry."""

    request_headers_to_add: tuple[HeaderValueOption, ...] = ()
    request_headers_to_remove: tuple[str, ...] = ()
    response_headers_to_add: tuple[HeaderValueOption, ...] = ()
    response_headers_to_remove: tuple[str, ...] = ()


class RegexRewrite(msgspec.Struct, frozen=True, kw_only=True):
    """type.matcher.v3.RegexMatchAndSubstitute: RE2 pattern, `\\1` in the substitution."""

    pattern: str
    substitution: str


class RouteMatch(msgspec.Struct, frozen=True, kw_only=True):
    """config.route.v3.RouteMatch: exactly one of the four path specifiers."""

    prefix: str | None = None
    path: str | None = None
    path_separated_prefix: str | None = None
    safe_regex: str | None = None
    case_sensitive: bool = True
    headers: tuple[HeaderMatcher, ...] = ()
    query_parameters: tuple[QueryParameterMatcher, ...] = ()


class WeightedCluster(msgspec.Struct, frozen=True, kw_only=True):
    """config.route.v3.WeightedCluster.ClusterWeight."""

    name: str
    weight: int


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """config.core.v3.RetryPolicy / config.route.v3.RetryPolicy, the part both have."""

    num_retries: int = 1
    retry_on: str = ""
    base_interval: float = 0.025
    max_interval: float = 0.25


class RouteAction(msgspec.Struct, frozen=True, kw_only=True):
    """config.route.v3.RouteAction: one of `cluster`, `cluster_header`, `weighted_clusters`."""

    cluster: str | None = None
    cluster_header: str | None = None
    weighted_clusters: tuple[WeightedCluster, ...] = ()
    cluster_not_found_response_code: int = 503
    timeout: float | None = None
    """None is Envoy's default (15 s)."""
    idle_timeout: float | None = None
    prefix_rewrite: str | None = None
    regex_rewrite: RegexRewrite | None = None
    host_rewrite_literal: str | None = None
    host_rewrite_header: str | None = None
    auto_host_rewrite: bool = False
    append_x_forwarded_host: bool = False
    upgrade_types: Mapping[str, bool] = msgspec.field(default_factory=dict)
    """RouteAction.upgrade_configs: lower-case protocol -> enabled."""


class RedirectAction(msgspec.Struct, frozen=True, kw_only=True):
    """config.route.v3.RedirectAction."""

    https_redirect: bool = False
    scheme_redirect: str | None = None
    host_redirect: str | None = None
    port_redirect: int | None = None
    path_redirect: str | None = None
    prefix_rewrite: str | None = None
    regex_rewrite: RegexRewrite | None = None
    response_code: int = 301
    strip_query: bool = False


class DirectResponseAction(msgspec.Struct, frozen=True, kw_only=True):
    """config.route.v3.DirectResponseAction; a body from a file is read when the configuration is."""

    status: int
    body: bytes = b""


class CorsPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """extensions.filters.http.cors.v3.CorsPolicy."""

    allow_origin_string_match: tuple[StringMatcher, ...] = ()
    allow_methods: str = ""
    allow_headers: str = ""
    expose_headers: str = ""
    max_age: str = ""
    allow_credentials: bool = False
    allow_private_network_access: bool = False
    forward_not_matching_preflights: bool = True


PerFilterConfig = Mapping[str, object]
"""Filter name -> CorsPolicy, OAuth2Config, or FilterDisabled."""


class FilterDisabled(msgspec.Struct, frozen=True):
    """config.route.v3.FilterConfig{disabled: true}."""


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """config.route.v3.Route."""

    name: str = ""
    match: RouteMatch
    action: RouteAction | RedirectAction | DirectResponseAction
    mutations: HeaderMutations = HeaderMutations()
    typed_per_filter_config: PerFilterConfig = msgspec.field(default_factory=dict)
    decorator: str = ""
    """Decorator.operation: what a trace's span of such a request is called. Empty: as any other."""


class VirtualHost(msgspec.Struct, frozen=True, kw_only=True):
    """config.route.v3.VirtualHost; `domains` as in Envoy: exact, `*.suffix`, `prefix.*`, `*`."""

    name: str
    domains: tuple[str, ...]
    routes: tuple[Route, ...]
    require_tls: Literal["NONE", "EXTERNAL_ONLY", "ALL"] = "NONE"
    mutations: HeaderMutations = HeaderMutations()
    typed_per_filter_config: PerFilterConfig = msgspec.field(default_factory=dict)


class RouteConfiguration(msgspec.Struct, frozen=True, kw_only=True):
    """config.route.v3.RouteConfiguration."""

    name: str = ""
    virtual_hosts: tuple[VirtualHost, ...]
    mutations: HeaderMutations = HeaderMutations()
    most_specific_header_mutations_wins: bool = False
    ignore_port_in_host_matching: bool = False
    typed_per_filter_config: PerFilterConfig = msgspec.field(default_factory=dict)
