from __future__ import annotations

from pathlib import Path

import pytest

from envoy_example import ROUTE, error, manager, spoilt, warnings
from ostiary.dialects.envoy import load
from ostiary.model.matchers import HeaderMatcher, QueryParameterMatcher, StringMatcher
from ostiary.model.oauth2 import OAuth2Config
from ostiary.model.routes import (
    CorsPolicy,
    DirectResponseAction,
    FilterDisabled,
    HeaderValueOption,
    RedirectAction,
    RegexRewrite,
    Route,
    RouteAction,
    RouteMatch,
    WeightedCluster,
)

MATCH = "match: {prefix: /}"
PER_FILTER = f"{ROUTE}\n                typed_per_filter_config:"
TYPE = "'@type': type.googleapis.com/envoy"
CORS_FILTER = f"          - name: cors\n            typed_config: {{{TYPE}.extensions.filters.http.cors.v3.Cors}}\n"
WITH_CORS = ("          http_filters:\n", f"          http_filters:\n{CORS_FILTER}")


def route(*replacements: tuple[str, str]) -> Route:
    return manager(*replacements).route_config.virtual_hosts[0].routes[0]


def test_the_smallest_route() -> None:
    assert route() == Route(name="default", match=RouteMatch(prefix="/"), action=RouteAction(cluster="backend"))


def test_matches() -> None:
    match = (
        "match: {safe_regex: {regex: '/a.*'}, case_sensitive: false, headers: [{name: X, present_match: true}], "
        "query_parameters: [{name: q, string_match: {contains: b, ignore_case: true}}]}"
    )
    assert route((MATCH, match)).match == RouteMatch(
        safe_regex="/a.*",
        case_sensitive=False,
        headers=(HeaderMatcher(name="x", present_match=True),),
        query_parameters=(QueryParameterMatcher(name="q", string_match=StringMatcher("contains", "b", True)),),
    )


@pytest.mark.parametrize(
    ("written", "action"),
    [
        (
            ("route: {cluster: backend, timeout: 0s, idle_timeout: 5s, prefix_rewrite: /x, host_rewrite_literal: h, "
            "cluster_not_found_response_code: NOT_FOUND, upgrade_configs: [{upgrade_type: WebSocket}]}"),
            RouteAction(
                cluster="backend", timeout=0.0, idle_timeout=5.0, prefix_rewrite="/x", host_rewrite_literal="h",
                cluster_not_found_response_code=404, upgrade_types={"websocket": True},
            ),
        ),
        (
            "route: {weighted_clusters: {clusters: [{name: backend, weight: 3}, {name: idp, weight: 1}]}}",
            RouteAction(
                weighted_clusters=(WeightedCluster(name="backend", weight=3), WeightedCluster(name="idp", weight=1))
            ),
        ),
        (
            "route: {cluster_header: X-Cluster, regex_rewrite: {pattern: {regex: '^/(a)'}, substitution: '/\\1'}}",
            RouteAction(cluster_header="x-cluster", regex_rewrite=RegexRewrite(pattern="^/(a)", substitution="/\\1")),
        ),
        (
            "redirect: {https_redirect: true, port_redirect: 8443, response_code: FOUND, strip_query: true}",
            RedirectAction(https_redirect=True, port_redirect=8443, response_code=302, strip_query=True),
        ),
        (
            "direct_response: {status: 403, body: {inline_string: no}}",
            None,
        ),
        ("direct_response: {status: 403, body: {inline_bytes: bm8=}}", DirectResponseAction(status=403, body=b"no")),
    ],
)  # fmt: skip
def test_actions(written: str, action: object) -> None:
    if action is None:
        assert "YAML reads this as true or false" in error((ROUTE, written))
    else:
        assert route((ROUTE, written)).action == action


def test_a_body_from_a_file_is_read_at_load(tmp_path: Path) -> None:
    file = tmp_path / "body.txt"
    file.write_text("hello")
    text = spoilt((ROUTE, f"direct_response: {{status: 200, body: {{filename: {file}}}}}")).encode()
    config, _ = load([("f", text)], read=lambda path: Path(path).read_bytes())
    assert config is not None
    action = config.listeners[0].http.route_config.virtual_hosts[0].routes[0].action
    assert action == DirectResponseAction(status=200, body=b"hello")
    file.unlink()
    config, found = load([("f", text)], read=lambda path: Path(path).read_bytes())
    assert config is None
    assert "can't read" in str(found[0])
    assert load([("f", text)])[0] is None


def test_headers_to_add_and_to_remove() -> None:
    written = (
        f"{ROUTE}\n"
        "                request_headers_to_add:\n"
        "                - {header: {key: X-A, value: '%REQ(x-b)%'}, append_action: ADD_IF_ABSENT}\n"
        "                - {header: {key: x-c, value: c}, append: false}\n"
        "                response_headers_to_remove: [X-D]\n"
    )
    found = route((ROUTE, written)).mutations
    assert found.request_headers_to_add == (
        HeaderValueOption(key="x-a", value="%REQ(x-b)%", append_action="ADD_IF_ABSENT"),
        HeaderValueOption(key="x-c", value="c", append_action="OVERWRITE_IF_EXISTS_OR_ADD"),
    )
    assert found.response_headers_to_remove == ("x-d",)


def test_filters_find_their_configuration_on_the_route() -> None:
    configs = (
        f"{PER_FILTER}\n"
        f"                  envoy.filters.http.oauth2: {{{TYPE}.config.route.v3.FilterConfig, disabled: true}}\n"
        f"                  cors: {{{TYPE}.extensions.filters.http.cors.v3.CorsPolicy, max_age: '5', "
        "allow_origin_string_match: [{exact: a}]}\n"
    )
    assert route(WITH_CORS, (ROUTE, configs)).typed_per_filter_config == {
        "envoy.filters.http.oauth2": FilterDisabled(),
        "cors": CorsPolicy(allow_origin_string_match=(StringMatcher("exact", "a"),), max_age="5"),
    }


def test_a_route_may_replace_the_sign_in() -> None:
    config = (
        "{authorization_endpoint: 'https://other/a', redirect_uri: 'https://x/cb', credentials: {client_id: other, "
        "token_secret: {name: token}, hmac_secret: {name: hmac}}, redirect_path_matcher: {path: {exact: /cb}}, "
        "signout_path: {path: {exact: /so}}, token_endpoint: {uri: 'https://x', cluster: idp, timeout: 1s}}"
    )
    per_route = f"{{{TYPE}.extensions.filters.http.oauth2.v3.OAuth2PerRoute, config: {config}}}"
    found = route((ROUTE, f"{PER_FILTER} {{envoy.filters.http.oauth2: {per_route}}}")).typed_per_filter_config
    oauth2 = found["envoy.filters.http.oauth2"]
    assert isinstance(oauth2, OAuth2Config)
    assert oauth2.credentials.client_id == "other"


def test_a_configuration_for_a_filter_that_is_not_there_is_a_warning() -> None:
    found = warnings((ROUTE, f"{PER_FILTER} {{nope: {{{TYPE}.config.route.v3.FilterConfig, disabled: true}}}}"))
    assert "no filter of the chain is called 'nope'" in found[0]


@pytest.mark.parametrize(
    ("replacement", "message"),
    [
        ((ROUTE, "route: {cluster: nope}"), "unknown cluster 'nope' (the clusters are: backend, idp)"),
        ((ROUTE, "route: {cluster: backend, retry_policy: {retry_on: 5xx}}"), "route.retry_policy: valid in Envoy"),
        ((MATCH, "match: {safe_regex: {regex: '(['}}"), "safe_regex.regex"),
        ((MATCH, "match: {prefix: /, grpc: {}}"), "match.grpc: valid in Envoy, not implemented"),
        (("domains: ['*']", "domains: ['*', '*']"), "only a single wildcard domain is permitted"),
        (("domains: ['*']", "domains: []"), "domains: must have at least 1 item"),
        ((ROUTE, f"{PER_FILTER} {{envoy.filters.http.oauth2: {{{TYPE}.extensions.filters.http.oauth2.v3.OAuth2}}}}"),
         "OAuth2PerRoute"),
        ((ROUTE, f"direct_response: {{status: 200, body: {{inline_string: {'x' * 4097}}}}}"), "maximum is 4096"),
        ((ROUTE, f"{ROUTE}\n                request_headers_to_remove: [Host]"), "may not be removed"),
    ],
)  # fmt: skip
def test_what_is_refused(replacement: tuple[str, str], message: str) -> None:
    assert message in error(replacement)
