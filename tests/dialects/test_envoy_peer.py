"""The same spoilt configurations go to the real Envoy and to the dialect: what one accepts, the other accepts."""

# ruff: noqa: E501, ISC004 - one case a line, with the configuration it is about

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from envoy_example import HTTP_FILTERS, IDP, OAUTH2, ROUTE, SNI, loaded, spoilt

Replacements = tuple[tuple[str, str], ...]

AUTHORIZE = "authorization_endpoint: https://idp.test/authorize"
SCOPES = "auth_scopes: [openid, profile]"
MATCH = "match: {prefix: /}"
ENDPOINT = "        - endpoint: {address: {socket_address: {address: idp.test, port_value: 21443}}}\n"
ASSIGNMENT = f"    load_assignment:\n      cluster_name: idp\n      endpoints:\n      - lb_endpoints:\n{ENDPOINT}"
ROUTER = (
    "          - name: envoy.filters.http.router\n            typed_config:\n"
    "              '@type': type.googleapis.com/envoy.extensions.filters.http.router.v3.Router\n"
)
STDOUT = "              '@type': type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog"
TYPE = "'@type': type.googleapis.com/envoy"
PER_FILTER = f"{ROUTE}\n                typed_per_filter_config:"
SOCKET = "    transport_socket:\n      name: envoy.transport_sockets.tls\n      typed_config:\n"
UPSTREAM_TLS = f"        {TYPE}.extensions.transport_sockets.tls.v3.UpstreamTlsContext\n{SNI}"
NO_TLS: Replacements = ((SOCKET + UPSTREAM_TLS, ""),)
OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def add_header(header: str) -> Replacements:
    return ((ROUTE, f"{ROUTE}\n                request_headers_to_add: [{{header: {header}}}]"),)


def oauth2(field: str) -> Replacements:
    return ((OAUTH2, f"                {field}\n"),)


def cluster(field: str, policy: str = "") -> Replacements:
    return ((IDP, f"    {field}\n" + (f"    lb_policy: {policy}\n" if policy else "")),)


CHECK = "timeout: 1s, interval: 1s, unhealthy_threshold: 1, healthy_threshold: 1"


def check(fields: str) -> Replacements:
    return cluster(f"health_checks: [{{{CHECK}, {fields}}}]")


def protocol(options: str, more: str = "") -> Replacements:
    typed = f"typed_extension_protocol_options: {{{OPTIONS}: {{'@type': type.googleapis.com/{OPTIONS}, {options}}}}}"
    return cluster(f"{typed}\n{more}")


def manager(field: str) -> Replacements:
    return ((HTTP_FILTERS, f"          {field}\n{HTTP_FILTERS}"),)


def runtime(layers: str) -> Replacements:
    return (("static_resources:\n", f"layered_runtime: {{layers: [{layers}]}}\nstatic_resources:\n"),)


AGREED: dict[str, Replacements] = {
    "nothing spoilt": (),
    # what the schema says
    "unknown field": cluster("lb_policyy: RANDOM"),
    "camelCase": cluster("lbPolicy: RANDOM"),
    "enum in lower case": cluster("lb_policy: random"),
    "enum by number": cluster("lb_policy: 3"),
    "enum by unknown number": cluster("lb_policy: 77"),
    "unknown enum value": oauth2("auth_type: POST_BODY"),
    "duration without unit": (("    connect_timeout: 2s\n    load", "    connect_timeout: 2\n    load"),),
    "duration in milliseconds": (("    connect_timeout: 2s\n    load", "    connect_timeout: 200ms\n    load"),),
    "duration of zero": (("    connect_timeout: 2s\n    load", "    connect_timeout: 0s\n    load"),),
    "duration with ten decimals": (("timeout: 3s", "timeout: 0.0000000001s"),),
    "negative duration": oauth2("csrf_token_expires_in: -1s"),
    "number for text": cluster("alt_stat_name: 10"),
    "float for text": cluster("alt_stat_name: 1.5"),
    "boolean for text": cluster("alt_stat_name: on"),
    "null": cluster("alt_stat_name:"),
    "quoted number": cluster("circuit_breakers: {thresholds: [{max_connections: '5'}]}"),
    "number with an exponent": cluster("circuit_breakers: {thresholds: [{max_connections: 1e3}]}"),
    "fraction for an integer": cluster("circuit_breakers: {thresholds: [{max_connections: 1.5}]}"),
    "integer out of range": cluster("circuit_breakers: {thresholds: [{max_connections: 4294967296}]}"),
    "negative unsigned": cluster("circuit_breakers: {thresholds: [{max_connections: -1}]}"),
    "quoted boolean": oauth2("forward_bearer_token: 'true'"),
    "number for a boolean": oauth2("forward_bearer_token: 1"),
    "one item for a list": ((SCOPES, "auth_scopes: openid"),),
    "mapping for text": cluster("alt_stat_name: {a: b}"),
    "port out of range": (("port_value: 21443", "port_value: 65536"),),
    "port zero": (("port_value: 21443", "port_value: 0"),),
    "oneof twice": ((MATCH, "match: {prefix: /, path: /}"),),
    "oneof missing": ((MATCH, "match: {}"),),
    "required message missing": (("                redirect_path_matcher: {path: {exact: /oauth2/callback}}\n", ""),),
    "required text missing": (("                  client_id: client\n", ""),),
    "cluster_name missing": (("      cluster_name: idp\n", ""),),
    "cookie path without slash": oauth2("cookie_configs: {bearer_token_cookie_config: {path: abc}}"),
    "cookie configuration": oauth2("cookie_configs: {bearer_token_cookie_config: {path: /abc, same_site: lax}}"),
    "cookie name with a space": (("client_id: client\n", "client_id: client\n                  cookie_names: {id_token: a b}\n"),),
    "header value with a line break": add_header('{key: x, value: "a\\nb"}'),
    "count of zero": cluster(
        "upstream_connection_options: {happy_eyeballs_config: {first_address_family_count: 0}}"
    ),
    "merge key": cluster("<<: {alt_stat_name: x}"),
    "anchor": (("connect_timeout: 2s", "connect_timeout: &t 2s"), ("    connect_timeout: 2s\n    lb", "    connect_timeout: *t\n    lb")),
    # typed configurations
    "no type": ((SNI, ""), (f"        {TYPE}.extensions.transport_sockets.tls.v3.UpstreamTlsContext\n", "        sni: x\n")),
    "wrong type": (("UpstreamTlsContext", "DownstreamTlsContext"),),
    "unknown type": (("oauth2.v3.OAuth2\n", "oauth2.v3alpha.OAuth2\n"),),
    "type URL with another host": (("type.googleapis.com/envoy.extensions.filters.http.router", "x.y/envoy.extensions.filters.http.router"),),
    "TypedStruct": (
        (STDOUT, f"{STDOUT.replace('envoy.extensions.access_loggers.stream.v3.StdoutAccessLog', 'xds.type.v3.TypedStruct')}\n"
                 f"              type_url: {STDOUT.rpartition(' ')[2]}\n              value: {{}}"),
    ),
    "unknown field in a TypedStruct": (
        (STDOUT, f"{STDOUT.replace('envoy.extensions.access_loggers.stream.v3.StdoutAccessLog', 'xds.type.v3.TypedStruct')}\n"
                 f"              type_url: {STDOUT.rpartition(' ')[2]}\n              value: {{q: 1}}"),
    ),
    "access log without a type": ((STDOUT, "              {}"),),
    # the OAuth2 filter's own rules
    "no token endpoint": (("                token_endpoint: {cluster: idp, uri: 'https://idp.test/token', timeout: 3s}\n", ""),),
    "unknown token cluster": (("{cluster: idp, uri", "{cluster: nope, uri"),),
    "token endpoint without timeout": ((", timeout: 3s", ""),),
    "relative authorization endpoint": ((AUTHORIZE, "authorization_endpoint: idp.test/authorize"),),
    "authorization endpoint with a bad port": ((AUTHORIZE, "authorization_endpoint: https://idp.test:99999/a"),),
    "authorization endpoint with a space": ((AUTHORIZE, "authorization_endpoint: https://idp.test/a b"),),
    "authorization endpoint by address": ((AUTHORIZE, "authorization_endpoint: 'https://[::1]:8443/a?b=c'"),),
    "end session without openid": ((SCOPES, "auth_scopes: [profile]\n                end_session_endpoint: https://x/y"),),
    "end session": ((SCOPES, "auth_scopes: [openid]\n                end_session_endpoint: zzz"),),
    "bad logout template": ((SCOPES, "auth_scopes: [openid]\n                end_session_endpoint: zzz\n                post_logout_redirect_uri: {uri: '%NOPE%'}"),),
    "bad logout template that is not used": ((SCOPES, "auth_scopes: [openid]\n                post_logout_redirect_uri: {uri: '%NOPE%'}"),),
    "two users of Authorization": oauth2("forward_bearer_token: true\n                preserve_authorization_header: true"),
    "ID token on Authorization": oauth2("forward_bearer_token: true\n                forward_id_token: {header: Authorization}"),
    "ID token on a pseudo-header": oauth2("forward_id_token: {header: ':path'}"),
    "no token secret": (("                  token_secret: {name: token}\n", ""),),
    "no token secret with TLS client authentication": (
        ("                  token_secret: {name: token}\n", ""), *oauth2("auth_type: TLS_CLIENT_AUTH"),
    ),
    "unknown secret": (("hmac_secret: {name: hmac}", "hmac_secret: {name: nope}"),),
    "secret of another type": (("generic_secret: {secret: {inline_string: s3cret}}", "validation_context: {}"),),
    "bad pattern in a matcher": oauth2("pass_through_matcher: [{name: x, string_match: {safe_regex: {regex: '['}}}]"),
    "two secrets of one name": (("  secrets:\n", "  secrets:\n  - {name: hmac, generic_secret: {secret: {inline_string: b}}}\n"),),
    # routes
    "route to an unknown cluster": ((ROUTE, "route: {cluster: nope}"),),
    "route to an unknown cluster, unchecked": (
        (ROUTE, "route: {cluster: nope}"), ("name: local\n", "name: local\n            validate_clusters: false\n"),
    ),
    "domain twice": (("domains: ['*']", "domains: [a.b, A.B]"),),
    "virtual host twice": (("            virtual_hosts:\n", "            virtual_hosts:\n            - {name: vh, domains: [q]}\n"),),
    "pattern with lookahead": ((MATCH, "match: {safe_regex: {regex: '(?=a)'}}"),),
    "separated prefix that ends in a slash": ((MATCH, "match: {path_separated_prefix: /a/}"),),
    "two rewrites": ((ROUTE, "route: {cluster: backend, prefix_rewrite: /x, regex_rewrite: {pattern: {regex: a}, substitution: b}}"),),
    "weights": ((ROUTE, "route: {weighted_clusters: {clusters: [{name: backend, weight: 1}]}}"),),
    "weights beyond 32 bits": ((ROUTE, "route: {weighted_clusters: {clusters: [{name: backend, weight: 4294967295}, {name: idp, weight: 1}]}}"),),
    "weight of nothing": ((ROUTE, "route: {weighted_clusters: {clusters: [{weight: 1}]}}"),),
    "full share": ((MATCH, "match: {prefix: /, runtime_fraction: {runtime_key: k, default_value: {numerator: 10000, denominator: TEN_THOUSAND}}}"),),
    "alternative name without a type": ((SNI, f"{SNI}        common_tls_context: {{validation_context: {{trusted_ca: {{filename: /etc/hostname}}, match_typed_subject_alt_names: [{{matcher: {{exact: a}}}}]}}}}\n"),),
    "default for escaped slashes": manager("path_with_escaped_slashes_action: IMPLEMENTATION_SPECIFIC_DEFAULT"),
    "weights of zero": ((ROUTE, "route: {weighted_clusters: {clusters: [{name: backend, weight: 0}]}}"),),
    "long body": ((ROUTE, f"direct_response: {{status: 200, body: {{inline_string: {'x' * 5000}}}}}"),),
    "informational status": ((ROUTE, "direct_response: {status: 100}"),),
    "unknown operator in a header": add_header("{key: x, value: '%NOPE%'}"),
    "open operator in a header": add_header("{key: x, value: '%REQ(x'}"),
    "escaped percent sign": add_header("{key: x, value: '100%%'}"),
    "lone percent sign": add_header("{key: x, value: '100%'}"),
    "Host header": add_header("{key: Host, value: x}"),
    "pseudo-header": add_header("{key: ':path', value: x}"),
    "removed Host": ((ROUTE, f"{ROUTE}\n                request_headers_to_remove: [host]"),),
    "filter configuration without a name": ((ROUTE, f"{PER_FILTER} {{q: {{{TYPE}.extensions.filters.http.cors.v3.CorsPolicy}}}}"),),
    "OAuth2 on a route": ((ROUTE, f"{PER_FILTER} {{envoy.filters.http.oauth2: {{{TYPE}.extensions.filters.http.oauth2.v3.OAuth2}}}}"),),
    "empty OAuth2PerRoute": ((ROUTE, f"{PER_FILTER} {{envoy.filters.http.oauth2: {{{TYPE}.extensions.filters.http.oauth2.v3.OAuth2PerRoute}}}}"),),
    "filter off": ((ROUTE, f"{PER_FILTER} {{envoy.filters.http.oauth2: {{{TYPE}.config.route.v3.FilterConfig, disabled: true}}}}"),),
    "empty FilterConfig": ((ROUTE, f"{PER_FILTER} {{envoy.filters.http.oauth2: {{{TYPE}.config.route.v3.FilterConfig}}}}"),),
    # listeners and filters
    "listener on a name": (("address: 127.0.0.1, port_value: 21080", "address: localhost, port_value: 21080"),),
    "no address": (("    address: {socket_address: {address: 127.0.0.1, port_value: 21080}}\n", ""),),
    "no router": ((ROUTER, ""),),
    "disabled router": ((ROUTER, ROUTER.replace("router\n", "router\n            disabled: true\n", 1)),),
    "disabled OAuth2": (("http.oauth2\n", "http.oauth2\n            disabled: true\n"),),
    "no http_filters": ((HTTP_FILTERS, "          x:\n"),),
    "two ways to strip the port": manager("strip_any_host_port: true\n          strip_matching_host_port: true"),
    "upgrade twice": manager("upgrade_configs: [{upgrade_type: websocket}, {upgrade_type: WebSocket}]"),
    "health check": (
        (HTTP_FILTERS, f"{HTTP_FILTERS}          - name: hc\n            typed_config: {{{TYPE}.extensions.filters.http.health_check.v3.HealthCheck, pass_through_mode: false}}\n"),
    ),
    "health check without a mode": (
        (HTTP_FILTERS, f"{HTTP_FILTERS}          - name: hc\n            typed_config: {{{TYPE}.extensions.filters.http.health_check.v3.HealthCheck}}\n"),
    ),
    "TLS without a certificate": (
        ("    - filters:", f"    - transport_socket: {{name: t, typed_config: {{{TYPE}.extensions.transport_sockets.tls.v3.DownstreamTlsContext}}}}\n      filters:"),
    ),
    "runtime": runtime("{name: a, static_layer: {envoy.reloadable_features.oauth2_use_gcm_encryption: true}}"),
    "runtime layer twice": runtime("{name: a, static_layer: {}}, {name: a, static_layer: {}}"),
    # clusters
    "cluster twice": (("  - name: idp\n", "  - name: backend\n"),),
    "STATIC with a name": (("    type: LOGICAL_DNS\n", "    type: STATIC\n"),),
    "LOGICAL_DNS with an address": (("address: idp.test", "address: 127.0.0.1"),),
    "LOGICAL_DNS with two endpoints": ((ENDPOINT, ENDPOINT * 2),),
    "LOGICAL_DNS without endpoints": ((ASSIGNMENT, ""),),
    "STRICT_DNS without endpoints": (("    type: LOGICAL_DNS\n", "    type: STRICT_DNS\n"), (ASSIGNMENT, "")),
    "DNS server by name": (("address: 127.0.0.1, port_value: 21053", "address: dns.test, port_value: 21053"),),
    "cluster_type": (("    type: LOGICAL_DNS\n", "    cluster_type: {name: envoy.cluster.strict_dns}\n"),),
    "unknown cluster_type": (("    type: LOGICAL_DNS\n", "    cluster_type: {name: nope}\n"),),
    "type and cluster_type": cluster("cluster_type: {name: envoy.cluster.strict_dns}"),
    "HTTP/1.1 options": cluster(
        f"typed_extension_protocol_options: {{{OPTIONS}: {{'@type': type.googleapis.com/{OPTIONS}, "
        "explicit_http_config: {http_protocol_options: {}}}}"
    ),
    "HTTP/2 options": protocol(
        "explicit_http_config: {http2_protocol_options: {max_concurrent_streams: 10, hpack_table_size: 0, "
        "connection_keepalive: {interval: 30s, timeout: 5s, interval_jitter: {value: 10}}}}"
    ),
    "HTTP/2 options of before": cluster("http2_protocol_options: {}"),
    "HTTP/1.1 and HTTP/2 options of before": cluster("http2_protocol_options: {}\n    http_protocol_options: {}"),
    "both, and the client's protocol": cluster(
        "http2_protocol_options: {}\n    http_protocol_options: {}\n    protocol_selection: USE_DOWNSTREAM_PROTOCOL"
    ),
    "HTTP/2 options of before and of now": protocol(
        "explicit_http_config: {http_protocol_options: {}}", "    http2_protocol_options: {}"
    ),
    "no protocol": protocol("explicit_http_config: {}"),
    "no configuration of protocols": protocol("common_http_protocol_options: {}"),
    "ALPN": protocol("auto_config: {http2_protocol_options: {}}"),
    "ALPN without TLS": (*protocol("auto_config: {}"), *NO_TLS),
    "the client's protocol": protocol("use_downstream_protocol_config: {http2_protocol_options: {}}"),
    "a keepalive without timeout": protocol(
        "explicit_http_config: {http2_protocol_options: {connection_keepalive: {interval: 1s}}}"
    ),
    "a window too small": protocol(
        "explicit_http_config: {http2_protocol_options: {initial_stream_window_size: 65534}}"
    ),
    "no streams": protocol("explicit_http_config: {http2_protocol_options: {max_concurrent_streams: 0}}"),
    "protocol options of another name": cluster(
        f"typed_extension_protocol_options: {{x: {{'@type': type.googleapis.com/{OPTIONS}, "
        "explicit_http_config: {http_protocol_options: {}}}}"
    ),
    "outlier detection": cluster("outlier_detection: {consecutive_5xx: 3, max_ejection_percent: 100}"),
    "ejections that get shorter": cluster("outlier_detection: {base_ejection_time: 9s, max_ejection_time: 8s}"),
    "ejections longer than the longest by default": cluster("outlier_detection: {base_ejection_time: 400s}"),
    "more than all may be ejected": cluster("outlier_detection: {max_ejection_percent: 101}"),
    "no interval of outlier detection": cluster("outlier_detection: {interval: 0s}"),
    "health check of an upstream": check("http_health_check: {path: /}"),
    "health check of its port": check("tcp_health_check: {}"),
    "health check of nothing": check(""),
    "health check without a path": check("http_health_check: {}"),
    "health check without a threshold": cluster("health_checks: [{timeout: 1s, interval: 1s, tcp_health_check: {}}]"),
    "two health checks": cluster(f"health_checks: [{{{CHECK}, tcp_health_check: {{}}}}, {{{CHECK}, tcp_health_check: {{}}}}]"),
    "statuses in the wrong order": check("http_health_check: {path: /, expected_statuses: [{start: 300, end: 200}]}"),
    "statuses beyond HTTP": check("http_health_check: {path: /, expected_statuses: [{start: 100, end: 601}]}"),
    "payload of a GET": check("http_health_check: {path: /, send: {text: 00}}"),
    "payload of a POST": check("http_health_check: {path: /, method: POST, send: {text: '00'}}"),
    "CONNECT as a health check": check("http_health_check: {path: /, method: CONNECT}"),
    "payload that is not hexadecimal": check("tcp_health_check: {send: {text: xy}}"),
    "empty payload": check("tcp_health_check: {send: {}}"),
    "receive more than is kept": check("http_health_check: {path: /, response_buffer_size: 1, receive: [{text: '0000'}]}"),
    "jitter beyond a percentage": check("tcp_health_check: {}, interval_jitter_percent: 500"),
    "LEAST_REQUEST": cluster("least_request_lb_config: {choice_count: 3}", policy="LEAST_REQUEST"),
    "LEAST_REQUEST of one": cluster("least_request_lb_config: {choice_count: 1}", policy="LEAST_REQUEST"),
    "numbers of a policy that is not used": cluster("least_request_lb_config: {choice_count: 3}"),
    "panic threshold": cluster("common_lb_config: {healthy_panic_threshold: {value: 101}}"),
    "DNS back-off": cluster("dns_failure_refresh_rate: {base_interval: 1s, max_interval: 9s}"),
    "DNS back-off that shrinks": cluster("dns_failure_refresh_rate: {base_interval: 2s, max_interval: 1s}"),
    "no DNS back-off": cluster("dns_failure_refresh_rate: {}"),
    "DNS refresh rate": cluster("dns_refresh_rate: 0.001s"),
    "DNS refresh rate of nothing": cluster("dns_refresh_rate: 0s"),
    "priority of a LOGICAL_DNS cluster": ((ENDPOINT, f"{ENDPOINT}        priority: 3\n"),),
    "priority beyond 128": ((ENDPOINT, f"{ENDPOINT}        priority: 129\n"),),
    "priorities with a gap": (
        ("    type: LOGICAL_DNS\n", "    type: STRICT_DNS\n"), (ENDPOINT, f"{ENDPOINT}        priority: 2\n"),
    ),
    "weight of an endpoint": ((ENDPOINT, f"{ENDPOINT}          load_balancing_weight: 0\n"),),
    "additional address of a name": (
        ("{socket_address: {address: idp.test, port_value: 21443}}}", "{socket_address: {address: idp.test, port_value: 21443}}, "
         "additional_addresses: [{address: {socket_address: {address: '::1', port_value: 1}}}]}"),
    ),
    "cipher suites": ((SNI, f"{SNI}        common_tls_context: {{tls_params: {{cipher_suites: ['[ECDHE-ECDSA-AES128-GCM-SHA256|ECDHE-ECDSA-CHACHA20-POLY1305]', AES256-SHA]}}}}\n"),),
    "unknown cipher suite": ((SNI, f"{SNI}        common_tls_context: {{tls_params: {{cipher_suites: [FOO]}}}}\n"),),
}  # fmt: skip

STRICTER: dict[str, Replacements] = {
    "template that Envoy parses at the first request, and aborts": oauth2("original_request_uri: '%NOPE%'"),
    "max_interval below base_interval, a bug in Envoy": oauth2(
        "retry_policy: {retry_back_off: {base_interval: 1s, max_interval: 0.5s}}"
    ),
    "filter configuration of another filter's type, which does nothing": (
        (ROUTE, f"{PER_FILTER} {{envoy.filters.http.oauth2: {{{TYPE}.extensions.filters.http.cors.v3.CorsPolicy}}}}"),
    ),
    "socket in a DNS cluster": (
        ("    type: LOGICAL_DNS\n", "    type: STRICT_DNS\n"),
        ("{socket_address: {address: idp.test, port_value: 21443}}", "{pipe: {path: /tmp/x}}"),
    ),
    "field in both spellings": cluster("lbPolicy: RANDOM\n    lb_policy: RANDOM"),
    "substitution of a group that is not there": (
        (ROUTE, "route: {cluster: backend, regex_rewrite: {pattern: {regex: a}, substitution: '\\1'}}"),
    ),
    "key written twice": cluster("connect_timeout: 2s"),
}
"""Envoy accepts these, Ostiary does not: each is named in docs/envoy-differences.md."""


def accepted_by_envoy(envoy: Path, directory: Path, text: str) -> bool:
    file = directory / "envoy.yaml"
    file.write_text(text)
    command = [envoy, "--mode", "validate", "-c", file, "-l", "critical"]
    return subprocess.run(command, capture_output=True, check=False, timeout=30).returncode == 0


@pytest.mark.peer
@pytest.mark.parametrize("case", AGREED)
def test_envoy_and_ostiary_agree(case: str, envoy: Path, tmp_path: Path) -> None:
    config, found = loaded(*AGREED[case])
    assert (config is not None) == accepted_by_envoy(envoy, tmp_path, spoilt(*AGREED[case])), list(map(str, found))


@pytest.mark.peer
@pytest.mark.parametrize("case", STRICTER)
def test_ostiary_refuses_more_only_where_it_says_so(case: str, envoy: Path, tmp_path: Path) -> None:
    config, _ = loaded(*STRICTER[case])
    assert config is None
    assert accepted_by_envoy(envoy, tmp_path, spoilt(*STRICTER[case]))


@pytest.mark.peer
def test_the_schema_is_what_the_installed_envoy_says(envoy: Path, tmp_path: Path) -> None:
    tool = Path(__file__).parents[2] / "tools" / "envoy_schema.py"
    made = tmp_path / "made.json.xz"
    subprocess.run([sys.executable, tool, "--output", made], check=True, capture_output=True, timeout=60)
    kept = Path(__file__).parents[2] / "src" / "ostiary" / "dialects" / "data" / "envoy-1.39.3.json.xz"
    assert made.read_bytes() == kept.read_bytes(), envoy
