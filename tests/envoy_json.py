"""The model's routes as Envoy's JSON, as far as the comparisons with a real Envoy use them."""

from __future__ import annotations

from typing import Any

from ostiary.model.matchers import HeaderMatcher, StringMatcher
from ostiary.model.routes import (
    CorsPolicy,
    HeaderMutations,
    HeaderValueOption,
    RedirectAction,
    RegexRewrite,
    Route,
    RouteAction,
    RouteConfiguration,
    RouteMatch,
    VirtualHost,
)

CORS = "envoy.filters.http.cors"
TYPES = "type.googleapis.com/envoy.extensions"
REDIRECT_CODES = {
    301: "MOVED_PERMANENTLY",
    302: "FOUND",
    303: "SEE_OTHER",
    307: "TEMPORARY_REDIRECT",
    308: "PERMANENT_REDIRECT",
}
CATCH_ALL = Route(match=RouteMatch(prefix="/"), action=RouteAction(cluster="app"))


def regex_json(rewrite: RegexRewrite) -> dict[str, Any]:
    return {"pattern": {"regex": rewrite.pattern}, "substitution": rewrite.substitution}


def string_json(matcher: StringMatcher) -> dict[str, Any]:
    value: Any = {"regex": matcher.value} if matcher.kind == "safe_regex" else matcher.value
    return {matcher.kind: value, **({"ignore_case": True} if matcher.ignore_case else {})}


def header_json(matcher: HeaderMatcher) -> dict[str, Any]:
    made: dict[str, Any] = {"name": matcher.name, "invert_match": matcher.invert_match}
    made["treat_missing_header_as_empty"] = matcher.treat_missing_header_as_empty
    if matcher.string_match is not None:
        made["string_match"] = string_json(matcher.string_match)
    if matcher.present_match is not None:
        made["present_match"] = matcher.present_match
    if matcher.range_match is not None:
        made["range_match"] = dict(zip(("start", "end"), matcher.range_match, strict=True))
    return made


def match_json(match: RouteMatch) -> dict[str, Any]:
    made: dict[str, Any] = {"case_sensitive": match.case_sensitive}
    for name in ("prefix", "path", "path_separated_prefix"):
        if getattr(match, name) is not None:
            made[name] = getattr(match, name)
    if match.safe_regex is not None:
        made["safe_regex"] = {"regex": match.safe_regex}
    made["headers"] = [header_json(each) for each in match.headers]
    made["query_parameters"] = [
        {"name": each.name}
        | ({"string_match": string_json(each.string_match)} if each.string_match else {})
        | ({"present_match": each.present_match} if each.present_match is not None else {})
        for each in match.query_parameters
    ]
    return made


def given_fields(value: object, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(value, name) for name in names if getattr(value, name) not in (None, False)}


def route_json(route: Route) -> dict[str, Any]:
    made: dict[str, Any] = {"name": route.name, "match": match_json(route.match), **mutations_json(route.mutations)}
    action = route.action
    if isinstance(action, RouteAction):
        names = ("cluster", "prefix_rewrite", "host_rewrite_literal", "host_rewrite_header", "append_x_forwarded_host")
        made["route"] = given_fields(action, names)
        if action.regex_rewrite:
            made["route"]["regex_rewrite"] = regex_json(action.regex_rewrite)
    elif isinstance(action, RedirectAction):
        names = (
            "https_redirect",
            "scheme_redirect",
            "host_redirect",
            "port_redirect",
            "path_redirect",
            "prefix_rewrite",
            "strip_query",
        )
        made["redirect"] = given_fields(action, names) | {"response_code": REDIRECT_CODES[action.response_code]}
        if action.regex_rewrite:
            made["redirect"]["regex_rewrite"] = regex_json(action.regex_rewrite)
    policy = route.typed_per_filter_config.get(CORS)
    if isinstance(policy, CorsPolicy):
        made["typed_per_filter_config"] = {CORS: cors_json(policy)}
    return made


def cors_json(policy: CorsPolicy) -> dict[str, Any]:
    names = (
        "allow_methods",
        "allow_headers",
        "expose_headers",
        "max_age",
        "allow_credentials",
        "allow_private_network_access",
    )
    return {
        "@type": f"{TYPES}.filters.http.cors.v3.CorsPolicy",
        "allow_origin_string_match": [string_json(each) for each in policy.allow_origin_string_match],
        "forward_not_matching_preflights": policy.forward_not_matching_preflights,
        **given_fields(policy, names),
    }


def mutations_json(mutations: HeaderMutations) -> dict[str, Any]:
    def options(given: tuple[HeaderValueOption, ...]) -> list[dict[str, Any]]:
        return [
            {
                "header": {"key": each.key, "value": each.value},
                "append_action": each.append_action,
                "keep_empty_value": each.keep_empty_value,
            }
            for each in given
        ]

    return {
        "request_headers_to_add": options(mutations.request_headers_to_add),
        "request_headers_to_remove": list(mutations.request_headers_to_remove),
        "response_headers_to_add": options(mutations.response_headers_to_add),
        "response_headers_to_remove": list(mutations.response_headers_to_remove),
    }


def configuration_json(configuration: RouteConfiguration) -> dict[str, Any]:
    return {
        **mutations_json(configuration.mutations),
        "most_specific_header_mutations_wins": configuration.most_specific_header_mutations_wins,
        "ignore_port_in_host_matching": configuration.ignore_port_in_host_matching,
        "virtual_hosts": [
            {
                "name": host.name,
                "domains": list(host.domains),
                "require_tls": host.require_tls,
                "routes": [route_json(route) for route in host.routes],
                **mutations_json(host.mutations),
                "typed_per_filter_config": {
                    name: cors_json(policy)
                    for name, policy in host.typed_per_filter_config.items()
                    if isinstance(policy, CorsPolicy)
                },
            }
            for host in configuration.virtual_hosts
        ],
    }


def one_host(*routes: Route, **options: Any) -> RouteConfiguration:
    return RouteConfiguration(virtual_hosts=(VirtualHost(name="v", domains=("*",), routes=routes, **options),))
