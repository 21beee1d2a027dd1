from __future__ import annotations

import pytest

from envoy_example import BOOTSTRAP, HTTP_FILTERS, ROUTE, error, errors, good, manager
from ostiary.model.config import Address, Cors, HealthCheck, HttpFilter, Router
from ostiary.model.matchers import HeaderMatcher, StringMatcher
from ostiary.model.oauth2 import EnvoyOAuth2

CHAINS, CHAIN = "    filter_chains:\n", "    - filters:"
TYPE = "'@type': type.googleapis.com/envoy"
ADDRESS = "{socket_address: {address: 127.0.0.1, port_value: 21080}}"
ROUTER = BOOTSTRAP[
    BOOTSTRAP.index("          - name: envoy.filters.http.router") : BOOTSTRAP.index("          route_config")
]


def add_filter(name: str, config: str) -> tuple[str, str]:
    return HTTP_FILTERS, f"{HTTP_FILTERS}          - name: {name}\n            typed_config: {{{TYPE}.{config}}}\n"


def test_envoys_defaults() -> None:
    http = manager()
    assert (http.stat_prefix, http.server_name, http.profile) == ("ingress", "envoy", "envoy")
    assert (http.use_remote_address, http.generate_request_id, http.normalize_path) == (False, True, False)
    assert (http.idle_timeout, http.stream_idle_timeout, http.request_timeout) == (3600.0, 300.0, 0.0)
    assert (http.max_request_headers_kb, http.max_headers_count) == (60, 100)


def test_a_time_to_drain_that_is_not_ours_is_a_listed_difference() -> None:
    assert any(
        "drain_timeout" in x for x in good((HTTP_FILTERS, f"          drain_timeout: 9s\n{HTTP_FILTERS}")).differences
    )
    assert not any("drain_timeout" in line for line in good().differences)


def test_a_bound_of_ours_that_envoy_has_not_is_a_listed_difference_until_it_is_written() -> None:
    assert any("request_headers_timeout" in line for line in good().differences)
    written = (HTTP_FILTERS, f"          request_headers_timeout: 0s\n{HTTP_FILTERS}")
    assert manager(written).request_headers_timeout == 0.0
    assert not any("request_headers_timeout" in line for line in good(written).differences)


def test_the_other_fields() -> None:
    lines = (
        "use_remote_address: true", "xff_num_trusted_hops: 1", "server_name: s",
        "server_header_transformation: PASS_THROUGH", "normalize_path: true", "merge_slashes: true",
        "path_with_escaped_slashes_action: UNESCAPE_AND_REDIRECT", "strip_any_host_port: true",
        "scheme_header_transformation: {scheme_to_overwrite: https}", "max_request_headers_kb: 96",
        ("common_http_protocol_options: {idle_timeout: 5s, max_headers_count: 7, "
        "headers_with_underscores_action: REJECT_REQUEST}"),
        "upgrade_configs: [{upgrade_type: websocket, enabled: false}]", "codec_type: HTTP1",
    )  # fmt: skip
    http = manager((HTTP_FILTERS, "".join(f"          {line}\n" for line in lines) + HTTP_FILTERS))
    assert (http.use_remote_address, http.xff_num_trusted_hops, http.server_name) == (True, 1, "s")
    assert (http.server_header_transformation, http.scheme_to_overwrite) == ("PASS_THROUGH", "https")
    assert (http.normalize_path, http.merge_slashes, http.strip_any_host_port) == (True, True, True)
    assert http.path_with_escaped_slashes_action == "UNESCAPE_AND_REDIRECT"
    assert (http.max_request_headers_kb, http.max_headers_count, http.idle_timeout) == (96, 7, 5.0)
    assert (http.underscores_in_headers, http.upgrade_types) == ("REJECT_REQUEST", {"websocket": False})


@pytest.mark.parametrize("tracing", ["{}", "{random_sampling: {value: 10}, verbose: true}"])
def test_tracing_without_a_provider_changes_nothing(tracing: str) -> None:
    good((HTTP_FILTERS, f"          tracing: {tracing}\n{HTTP_FILTERS}"))


def test_the_chain_in_its_order() -> None:
    matching = "headers: [{name: ':path', string_match: {exact: /hc}}]"
    health = f"extensions.filters.http.health_check.v3.HealthCheck, pass_through_mode: false, {matching}"
    filters = manager(add_filter("cors", "extensions.filters.http.cors.v3.Cors"), add_filter("hc", health)).http_filters
    matcher = HeaderMatcher(name=":path", string_match=StringMatcher("exact", "/hc"))
    assert filters[0] == HttpFilter(name="hc", config=HealthCheck(headers=(matcher,)))
    assert filters[1] == HttpFilter(name="cors", config=Cors())
    assert isinstance(filters[2].config, EnvoyOAuth2)
    assert filters[3] == HttpFilter(name="envoy.filters.http.router", config=Router())


def test_a_filter_may_be_off_or_without_a_configuration() -> None:
    disabled = manager(("http.oauth2\n", "http.oauth2\n            disabled: true\n")).http_filters[0]
    assert disabled.disabled is True
    empty = manager(add_filter("o", "extensions.filters.http.oauth2.v3.OAuth2")).http_filters[0]
    assert empty.config == EnvoyOAuth2(config=None)


def test_addresses() -> None:
    assert good().listeners[0].address == Address(host="127.0.0.1", port=21080)
    pipe = good((ADDRESS, "{pipe: {path: /run/x.sock, mode: 0660}}")).listeners[0]
    assert pipe.address == Address(pipe="/run/x.sock", mode=0o660)


def test_listener_filters_that_only_choose_a_chain_change_nothing() -> None:
    inspector = f"{{{TYPE}.extensions.filters.listener.tls_inspector.v3.TlsInspector}}"
    assert good(
        (
            "    filter_chains:\n",
            f"    listener_filters: [{{name: a, typed_config: {inspector}}}]\n    filter_chains:\n",
        )
    )


def test_the_default_chain_serves_if_it_is_the_only_one() -> None:
    assert good(("    filter_chains:\n    - filters:", "    default_filter_chain:\n      filters:")).listeners


@pytest.mark.parametrize(
    ("replacement", "message"),
    [
        ((CHAIN, "    - filter_chain_match: {server_names: [a]}\n      filters:"), "server_names: valid in Envoy"),
        ((CHAINS, f"    use_original_dst: true\n{CHAINS}"), "use_original_dst: valid in Envoy"),
        ((ADDRESS, "{socket_address: {address: localhost, port_value: 1}}"), "malformed IP address 'localhost'"),
        ((ADDRESS, "{socket_address: {address: 127.0.0.1, port_value: 1, protocol: UDP}}"), "protocol: valid in Envoy"),
        (add_filter("lua", "extensions.filters.http.lua.v3.Lua"), "the HTTP filters here are OAuth2, Cors"),
        (add_filter("hc", "extensions.filters.http.health_check.v3.HealthCheck, pass_through_mode: true"),
         "pass_through_mode: valid in Envoy"),
        ((ROUTER, ""), "the last filter must be a router"),
        (add_filter("r", "extensions.filters.http.router.v3.Router"), "the router must be the last filter"),
        ((HTTP_FILTERS, f"          local_reply_config: {{}}\n{HTTP_FILTERS}"), "local_reply_config: valid in Envoy"),
        ((HTTP_FILTERS, f"          codec_type: HTTP2\n{HTTP_FILTERS}"), "HTTP/1.1 is served; use AUTO"),
    ],
)  # fmt: skip
def test_what_is_refused(replacement: tuple[str, str], message: str) -> None:
    assert message in error(replacement)


def test_dynamic_routes_are_refused() -> None:
    start = BOOTSTRAP.index("          route_config:")
    routes = BOOTSTRAP[start : BOOTSTRAP.index("  clusters:\n")]
    assert ROUTE in routes
    found = errors((routes, "          rds: {route_config_name: r, config_source: {ads: {}}}\n"))
    assert len(found) == 1
    assert "rds: valid in Envoy, not implemented in Ostiary (write the routes inline: route_config)" in found[0]
