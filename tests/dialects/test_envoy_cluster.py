from __future__ import annotations

import pytest

from envoy_example import BOOTSTRAP, IDP, SNI, error, good, loaded, warnings
from ostiary.model.clusters import (
    CircuitBreakers,
    Cluster,
    DnsRefresh,
    Endpoint,
    EndpointHealthCheck,
    HappyEyeballsConfig,
    Http2,
    LoadBalancing,
    Locality,
    TcpKeepalive,
)

TYPE = "    type: LOGICAL_DNS\n"
FAMILY = "    dns_lookup_family: V4_ONLY\n"
ENDPOINT = "        - endpoint: {address: {socket_address: {address: idp.test, port_value: 21443}}}\n"
RESOLVER = BOOTSTRAP[
    BOOTSTRAP.index("    typed_dns_resolver_config") : BOOTSTRAP.index("    load_assignment:\n      cluster_name: idp")
]
DNS = "'@type': type.googleapis.com/envoy.extensions.clusters.dns.v3.DnsCluster"
OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def idp(*replacements: tuple[str, str]) -> Cluster:
    found = good(*replacements).cluster("idp")
    assert found is not None
    return found


def test_the_fields() -> None:
    found = idp()
    assert (found.type, found.connect_timeout, found.dns_lookup_family) == ("LOGICAL_DNS", 2.0, "V4_ONLY")
    assert found.endpoints == (Endpoint(address="idp.test", port=21443),)
    assert found.dns_resolvers == (("127.0.0.1", 21053),)
    assert found.no_default_search_domain is True
    assert found.use_tcp_for_dns_lookups is False


def test_a_dns_cluster_of_the_new_form() -> None:
    custom = (
        f"    cluster_type: {{name: envoy.clusters.dns, typed_config: {{{DNS}, dns_lookup_family: ALL, "
        "dns_refresh_rate: 30s, respect_dns_ttl: true, all_addresses_in_single_endpoint: true}}\n"
    )
    found = idp((TYPE, custom), (FAMILY, ""), (RESOLVER, ""))
    assert (found.type, found.dns_lookup_family) == ("LOGICAL_DNS", "ALL")


def test_when_names_are_asked_for_again() -> None:
    written = (
        "dns_refresh_rate: 30s, respect_dns_ttl: true, dns_jitter: 2s, dns_min_refresh_rate: 3s, "
        "dns_failure_refresh_rate: {base_interval: 1s}"
    )
    custom = f"    cluster_type: {{name: envoy.clusters.dns, typed_config: {{{DNS}, {written}}}}}\n"
    assert idp((TYPE, custom), (FAMILY, ""), (RESOLVER, "")).dns_refresh == DnsRefresh(
        rate=30.0, respect_ttl=True, min_rate=3.0, jitter=2.0, failure_base=1.0, failure_max=10.0
    )
    assert idp().dns_refresh == DnsRefresh()
    assert good().clusters[0].dns_refresh is None  # STATIC


def test_a_back_off_that_shrinks_is_refused_as_in_envoy() -> None:
    written = "    dns_failure_refresh_rate: {base_interval: 2s, max_interval: 1s}\n"
    assert "max_interval greater than or equal to the base_interval" in error((IDP, written))


def test_a_dns_cluster_without_a_family_gets_ours() -> None:
    custom = f"    cluster_type: {{name: envoy.clusters.dns, typed_config: {{{DNS}}}}}\n"
    found = idp((TYPE, custom), (FAMILY, ""), (RESOLVER, ""))
    assert (found.type, found.dns_lookup_family) == ("STRICT_DNS", None)


def test_endpoints_are_flattened_over_their_localities() -> None:
    more = (
        ENDPOINT
        + "          load_balancing_weight: 3\n"
        + "      - locality: {zone: z}\n        priority: 1\n        lb_endpoints:\n"
        + "        - health_status: DRAINING\n"
        + "          endpoint: {hostname: h, address: {socket_address: {address: '::1', port_value: 2}},\n"
        + "            health_check_config: {port_value: 9, hostname: hc}}\n"
    )
    assert idp((TYPE, "    type: STRICT_DNS\n"), (ENDPOINT, more)).endpoints == (
        Endpoint(address="idp.test", port=21443, weight=3),
        Endpoint(
            address="::1",
            port=2,
            hostname="h",
            priority=1,
            health_status="DRAINING",
            locality=Locality(zone="z"),
            health_check=EndpointHealthCheck(port=9, hostname="hc"),
        ),
    )


def test_further_addresses_of_a_static_endpoint() -> None:
    one = "address: {socket_address: {address: 127.0.0.1, port_value: 21081}}"
    more = f"{one}, additional_addresses: [{{address: {{socket_address: {{address: '::1', port_value: 3}}}}}}]"
    assert good((one, more)).clusters[0].endpoints[0].additional_addresses == (("::1", 3),)
    elsewhere = ENDPOINT.replace(
        "}}}\n", "}}, additional_addresses: [{address: {socket_address: {address: '::1', port_value: 3}}}]}\n"
    )
    assert idp((ENDPOINT, elsewhere)).endpoints[0].additional_addresses == ()
    assert "does nothing in a LOGICAL_DNS cluster, as in Envoy" in "".join(warnings((ENDPOINT, elsewhere)))


def test_a_socket_of_a_static_cluster() -> None:
    found = good(("{socket_address: {address: 127.0.0.1, port_value: 21081}}", "{pipe: {path: /run/app.sock}}"))
    assert found.clusters[0].endpoints == (Endpoint(pipe="/run/app.sock"),)


def test_pools_and_races() -> None:
    found = idp(
        (
            IDP,
            (
                "    lb_policy: LEAST_REQUEST\n"
                "    circuit_breakers: {thresholds: [{max_connections: 5, max_retries: 9}, {priority: HIGH}]}\n"
                "    upstream_connection_options: {happy_eyeballs_config: {first_address_family_version: V6}}\n"
                f"    typed_extension_protocol_options: {{{OPTIONS}: {{'@type': type.googleapis.com/{OPTIONS},\n"
                "      explicit_http_config: {http_protocol_options: {}},\n"
                "      common_http_protocol_options: {idle_timeout: 5s, max_requests_per_connection: 7}}}\n"
            ),
        )
    )
    assert found.lb_policy == "LEAST_REQUEST"
    assert found.circuit_breakers == CircuitBreakers(max_connections=5, max_retries=9)
    assert found.happy_eyeballs_config == HappyEyeballsConfig(first_address_family_version="V6")
    assert (found.idle_timeout, found.max_requests_per_connection) == (5.0, 7)


def test_balancing_and_breakers() -> None:
    found = idp(
        (
            IDP,
            (
                "    lb_policy: LEAST_REQUEST\n"
                "    least_request_lb_config: {choice_count: 5,\n"
                "      active_request_bias: {default_value: 0.5, runtime_key: x}}\n"
                "    common_lb_config: {healthy_panic_threshold: {value: 10}, ignore_new_hosts_until_first_hc: true}\n"
                "    circuit_breakers: {thresholds: [{track_remaining: true}, {priority: HIGH, max_requests: 1}],\n"
                "      per_host_thresholds: [{max_connections: 3}]}\n"
                "    upstream_connection_options: {tcp_keepalive: {keepalive_probes: 2, keepalive_time: 3}}\n"
            ),
        )
    )
    assert found.load_balancing == LoadBalancing(
        healthy_panic_threshold=10.0, choice_count=5, active_request_bias=0.5, ignore_new_hosts_until_first_hc=True
    )
    assert found.circuit_breakers == CircuitBreakers(track_remaining=True, max_connections_per_host=3)
    assert found.high_circuit_breakers == CircuitBreakers(max_requests=1)
    assert found.tcp_keepalive == TcpKeepalive(probes=2, time=3)


def test_a_threshold_of_nothing_never_panics() -> None:
    written = "    common_lb_config: {healthy_panic_threshold: {}}\n"
    assert idp((IDP, written)).load_balancing.healthy_panic_threshold == 0.0


def test_an_idle_timeout_of_zero_is_none() -> None:
    assert idp((IDP, "    common_http_protocol_options: {idle_timeout: 0s}\n")).idle_timeout is None


def test_a_load_balancing_policy_of_the_new_form() -> None:
    policy = "envoy.extensions.load_balancing_policies.random.v3.Random"
    extension = f"{{name: x, typed_config: {{'@type': type.googleapis.com/{policy}}}}}"
    found = idp((IDP, f"    load_balancing_policy: {{policies: [{{typed_extension_config: {extension}}}]}}\n"))
    assert found.lb_policy == "RANDOM"


def test_the_bootstraps_resolver_serves_clusters_without_one() -> None:
    resolver = RESOLVER.replace("\n    ", "\n").removeprefix("    ")
    assert idp((RESOLVER, ""), ("static_resources:\n", f"{resolver}static_resources:\n")).dns_resolvers == (
        ("127.0.0.1", 21053),
    )


@pytest.mark.parametrize(
    ("replacement", "message"),
    [
        ((TYPE, "    type: STATIC\n"), "malformed IP address: 'idp.test' (set the cluster's type to LOGICAL_DNS"),
        (
            (TYPE, "    type: EDS\n"),
            "valid in Envoy, not implemented in Ostiary (use STATIC, STRICT_DNS or LOGICAL_DNS",
        ),
        ((ENDPOINT, ENDPOINT * 2), "must have a single locality_lb_endpoint"),
        (("  - name: idp\n", "  - name: backend\n"), "'backend' is the name of another one already, in line 47"),
    ],
)
def test_what_is_refused(replacement: tuple[str, str], message: str) -> None:
    assert message in error(replacement)


def test_a_cluster_without_endpoints_is_a_warning() -> None:
    start = BOOTSTRAP.index("    load_assignment:\n      cluster_name: backend")
    assignment = BOOTSTRAP[start : BOOTSTRAP.index("  - name: idp")]
    assert any("no endpoint: every request will fail" in line for line in warnings((assignment, "")))


# --- protocols


def typed(options: str) -> tuple[str, str]:
    message = f"{{'@type': type.googleapis.com/{OPTIONS}, {options}}}"
    return IDP, f"    typed_extension_protocol_options: {{{OPTIONS}: {message}}}\n"


def protocol(options: str, *more: tuple[str, str]) -> Cluster:
    return idp(typed(options), *more)


def test_http_2_as_it_is_written() -> None:
    found = protocol(
        "explicit_http_config: {http2_protocol_options: {max_concurrent_streams: 7, initial_stream_window_size: 65536, "
        "initial_connection_window_size: 1048576, hpack_table_size: 0, "
        "connection_keepalive: {interval: 30s, timeout: 5s, connection_idle_interval: 60s}}}, "
        "common_http_protocol_options: {max_connection_duration: 600s, max_requests_per_connection: 9}"
    )
    assert found.http2 == Http2(
        max_concurrent_streams=7,
        initial_stream_window_size=65536,
        initial_connection_window_size=1048576,
        hpack_table_size=0,
        keepalive_interval=30.0,
        keepalive_timeout=5.0,
        connection_idle_interval=60.0,
    )
    assert (found.max_connection_duration, found.max_requests_per_connection) == (600.0, 9)
    assert found.transport_socket is not None
    assert found.transport_socket.alpn_protocols == ("h2",)


def test_alpn_decides() -> None:
    found = protocol("auto_config: {}")
    assert found.http2 == Http2(negotiate=True)
    assert found.transport_socket is not None
    assert found.transport_socket.alpn_protocols == ("h2", "http/1.1")
    alpn = (SNI, f"{SNI}        common_tls_context: {{alpn_protocols: [http/1.1]}}\n")
    found = protocol("auto_config: {}", alpn)
    assert found.transport_socket is not None
    assert found.transport_socket.alpn_protocols == ("http/1.1",)


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("http2_protocol_options: {}", Http2()),
        ("http2_protocol_options: {}\n    protocol_selection: USE_DOWNSTREAM_PROTOCOL", None),
        ("http_protocol_options: {}", None),
        ("common_http_protocol_options: {idle_timeout: 5s}", None),
    ],
)
def test_the_deprecated_spelling(written: str, spoken: Http2 | None) -> None:
    assert idp((IDP, f"    {written}\n")).http2 == spoken


def test_the_clients_protocol_is_http_1_1() -> None:
    assert protocol("use_downstream_protocol_config: {http2_protocol_options: {}}").http2 is None
    assert protocol("explicit_http_config: {http_protocol_options: {}}", (SNI, SNI)).http2 is None


def test_the_present_spelling_wins() -> None:
    old = ("    connect_timeout: 2s\n", "    connect_timeout: 2s\n    http2_protocol_options: {}\n")
    assert protocol("explicit_http_config: {http_protocol_options: {}}", old).http2 is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("explicit_http_config: {http3_protocol_options: {}}", "(use http2_protocol_options)"),
        ("auto_config: {http3_protocol_options: {}}", "ALPN chooses HTTP/2 or HTTP/1.1"),
        (
            "explicit_http_config: {http2_protocol_options: {custom_settings_parameters: [{identifier: 9, value: 1}]}}",
            "custom_settings_parameters: valid in Envoy, not implemented in Ostiary (remove it)",
        ),
        ("explicit_http_config: {http2_protocol_options: {allow_metadata: true}}", "allow_metadata: valid in Envoy"),
        (
            "explicit_http_config: {http2_protocol_options: {hpack_table_size: 4194304}}",
            "4194304 bytes for every connection (1048576 at most)",
        ),
        (
            "auto_config: {}, common_http_protocol_options: {max_stream_duration: 1s}",
            "use the route's timeout",
        ),
    ],
)
def test_protocol_options_that_are_refused(options: str, message: str) -> None:
    assert message in error(typed(options))


def test_bounds_of_envoys_against_floods_are_named() -> None:
    options = "explicit_http_config: {http2_protocol_options: {max_outbound_frames: 5, allow_connect: true}}"
    config, _ = loaded(typed(options))
    assert config is not None
    assert any("max_outbound_frames not used; Ostiary has bounds of its own" in line for line in config.differences)


def test_h2_that_is_not_offered_is_a_warning() -> None:
    alpn = (SNI, f"{SNI}        common_tls_context: {{alpn_protocols: [http/1.1]}}\n")
    http2 = (IDP, "    http2_protocol_options: {}\n")
    assert any("HTTP/2 is to be spoken, but h2 is not offered" in line for line in warnings(alpn, http2))
    only_h2 = (SNI, f"{SNI}        common_tls_context: {{alpn_protocols: [h2]}}\n")
    assert "h2 alone, but HTTP/1.1 is spoken" in error(only_h2)
