"""Route configurations, from the model to Envoy's fields."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Final

from ostiary.dialects.envoy_route import CORS_POLICY, MAX_BODY, NOT_FOUND_CODES, OAUTH2_PER_ROUTE, REDIRECT_CODES
from ostiary.dialects.envoy_text_oauth2 import oauth2_config
from ostiary.dialects.envoy_text_values import (
    Secrets,
    Tree,
    differing,
    duration,
    given,
    header_matchers,
    inline,
    some,
    string_matcher,
    typed,
    unless,
    upgrade_configs,
)
from ostiary.model.matchers import QueryParameterMatcher
from ostiary.model.oauth2 import OAuth2Config
from ostiary.model.routes import (
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
)

_FILTER_CONFIG: Final = "envoy.config.route.v3.FilterConfig"
_CODE_NAMES: Final = {code: name for name, code in REDIRECT_CODES.items()}
_NOT_FOUND_NAMES: Final = {code: name for name, code in NOT_FOUND_CODES.items()}


def route_configuration(model: RouteConfiguration, clusters: Collection[str], secrets: Secrets) -> Tree:
    """config.route.v3.RouteConfiguration; `clusters` are those that there are."""
    actions = [route.action for host in model.virtual_hosts for route in host.routes]
    bodies = [len(action.body) for action in actions if isinstance(action, DirectResponseAction)]
    longest = max(bodies, default=0)
    unknown = any(name not in clusters for action in actions for name in _named(action))
    return given(
        name=some(model.name),
        virtual_hosts=[_virtual_host(host, secrets) for host in model.virtual_hosts],
        **_mutations(model.mutations),
        most_specific_header_mutations_wins=some(model.most_specific_header_mutations_wins),
        ignore_port_in_host_matching=some(model.ignore_port_in_host_matching),
        typed_per_filter_config=_per_filter(model.typed_per_filter_config, secrets),
        validate_clusters=False if unknown else None,
        max_direct_response_body_size_bytes=longest if longest > MAX_BODY else None,
    )


def _named(action: object) -> Iterator[str]:
    """The clusters that an action names."""
    if isinstance(action, RouteAction):
        if action.cluster is not None:
            yield action.cluster
        yield from (each.name for each in action.weighted_clusters)


def _virtual_host(model: VirtualHost, secrets: Secrets) -> Tree:
    return given(
        name=model.name,
        domains=list(model.domains),
        require_tls=unless(model.require_tls, "NONE"),
        routes=[_route(route, secrets) for route in model.routes],
        **_mutations(model.mutations),
        typed_per_filter_config=_per_filter(model.typed_per_filter_config, secrets),
    )


def _route(model: Route, secrets: Secrets) -> Tree:
    action = model.action
    return given(
        name=some(model.name),
        match=_match(model.match),
        route=_route_action(action) if isinstance(action, RouteAction) else None,
        redirect=_redirect(action) if isinstance(action, RedirectAction) else None,
        direct_response=_direct_response(action) if isinstance(action, DirectResponseAction) else None,
        decorator={"operation": model.decorator} if model.decorator else None,
        **_mutations(model.mutations),
        typed_per_filter_config=_per_filter(model.typed_per_filter_config, secrets),
    )


def _match(model: RouteMatch) -> Tree:
    return given(
        prefix=model.prefix,
        path=model.path,
        path_separated_prefix=model.path_separated_prefix,
        safe_regex={"regex": model.safe_regex} if model.safe_regex is not None else None,
        case_sensitive=unless(model.case_sensitive, True),
        headers=header_matchers(model.headers),
        query_parameters=[_query_parameter(each) for each in model.query_parameters] or None,
    )


def _query_parameter(model: QueryParameterMatcher) -> Tree:
    return given(
        name=model.name,
        string_match=string_matcher(model.string_match) if model.string_match is not None else None,
        present_match=model.present_match,
    )


def _route_action(model: RouteAction) -> Tree:
    weighted = [{"name": each.name, "weight": each.weight} for each in model.weighted_clusters]
    own = ("prefix_rewrite", "host_rewrite_literal", "host_rewrite_header", "auto_host_rewrite")
    return given(
        cluster=model.cluster,
        cluster_header=model.cluster_header,
        weighted_clusters={"clusters": weighted} if weighted else None,
        cluster_not_found_response_code=_NOT_FOUND_NAMES[model.cluster_not_found_response_code]
        if model.cluster_not_found_response_code != RouteAction().cluster_not_found_response_code
        else None,
        timeout=duration(model.timeout) if model.timeout is not None else None,
        idle_timeout=duration(model.idle_timeout) if model.idle_timeout is not None else None,
        **differing(model, (*own, "append_x_forwarded_host")),
        regex_rewrite=_regex_rewrite(model.regex_rewrite),
        upgrade_configs=upgrade_configs(model.upgrade_types),
    )


def _regex_rewrite(model: RegexRewrite | None) -> Tree | None:
    return {"pattern": {"regex": model.pattern}, "substitution": model.substitution} if model is not None else None


def _redirect(model: RedirectAction) -> Tree:
    own = ("https_redirect", "scheme_redirect", "host_redirect", "port_redirect", "path_redirect", "prefix_rewrite")
    return given(
        **differing(model, (*own, "strip_query")),
        regex_rewrite=_regex_rewrite(model.regex_rewrite),
        response_code=unless(_CODE_NAMES[model.response_code], "MOVED_PERMANENTLY"),
    )


def _direct_response(model: DirectResponseAction) -> Tree:
    return given(status=model.status, body=inline(model.body) if model.body else None)


def _mutations(model: HeaderMutations) -> Tree:
    return given(
        request_headers_to_add=[_header(each) for each in model.request_headers_to_add] or None,
        request_headers_to_remove=some(list(model.request_headers_to_remove)),
        response_headers_to_add=[_header(each) for each in model.response_headers_to_add] or None,
        response_headers_to_remove=some(list(model.response_headers_to_remove)),
    )


def _header(model: HeaderValueOption) -> Tree:
    return given(
        header={"key": model.key, "value": model.value},
        **differing(model, ("append_action", "keep_empty_value")),
    )


def _per_filter(configs: PerFilterConfig, secrets: Secrets) -> Tree | None:
    return {name: _filter_config(config, secrets) for name, config in configs.items()} or None


def _filter_config(config: Any, secrets: Secrets) -> Tree:
    if isinstance(config, OAuth2Config):
        return typed(OAUTH2_PER_ROUTE, config=oauth2_config(config, secrets))
    if isinstance(config, CorsPolicy):
        origins = [string_matcher(each) for each in config.allow_origin_string_match]
        fields = [name for name in CorsPolicy.__struct_fields__ if name != "allow_origin_string_match"]
        return typed(CORS_POLICY, allow_origin_string_match=origins or None, **differing(config, fields))
    assert isinstance(config, FilterDisabled), config
    return typed(_FILTER_CONFIG, disabled=True)
