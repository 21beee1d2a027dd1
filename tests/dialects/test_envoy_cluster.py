from __future__ import annotations

import pytest

from envoy_example import BOOTSTRAP, IDP, error, good, warnings
from ostiary.model.clusters import CircuitBreakers, Cluster, Endpoint, HappyEyeballsConfig

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


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("dns_refresh_rate: 30s, respect_dns_ttl: false", ["dns_refresh_rate", "respect_dns_ttl"]),
        ("dns_refresh_rate: 5s, respect_dns_ttl: true", []),
    ],
)
def test_how_often_a_name_is_asked_for_is_a_listed_difference(written: str, told: list[str]) -> None:
    custom = f"    cluster_type: {{name: envoy.clusters.dns, typed_config: {{{DNS}, {written}}}}}\n"
    lines = good((TYPE, custom), (FAMILY, ""), (RESOLVER, "")).differences
    assert [word for word in ("dns_refresh_rate", "respect_dns_ttl") if any(word in line for line in lines)] == told


def test_a_dns_cluster_without_a_family_gets_ours() -> None:
    custom = f"    cluster_type: {{name: envoy.clusters.dns, typed_config: {{{DNS}}}}}\n"
    found = idp((TYPE, custom), (FAMILY, ""), (RESOLVER, ""))
    assert (found.type, found.dns_lookup_family) == ("STRICT_DNS", None)


def test_endpoints_are_flattened_over_their_localities() -> None:
    more = (
        ENDPOINT
        + "          load_balancing_weight: 3\n"
        + "      - locality: {zone: z}\n        lb_endpoints:\n"
        + "        - endpoint: {hostname: h, address: {socket_address: {address: '::1', port_value: 2}},\n"
        + "            additional_addresses: [{address: {socket_address: {address: 127.0.0.2, port_value: 3}}}]}\n"
    )
    assert idp((TYPE, "    type: STRICT_DNS\n"), (ENDPOINT, more)).endpoints == (
        Endpoint(address="idp.test", port=21443, weight=3),
        Endpoint(address="::1", port=2, hostname="h", additional_addresses=(("127.0.0.2", 3),)),
    )


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
    assert found.circuit_breakers == CircuitBreakers(max_connections=5)
    assert found.happy_eyeballs_config == HappyEyeballsConfig(first_address_family_version="V6")
    assert (found.idle_timeout, found.max_requests_per_connection) == (5.0, 7)


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
        ((IDP, "    typed_extension_protocol_options: {}\n    http2_protocol_options: {}\n"), "spoken to in HTTP/1.1"),
        ((ENDPOINT, ENDPOINT + "        priority: 1\n"), "put the endpoints into one priority"),
    ],
)
def test_what_is_refused(replacement: tuple[str, str], message: str) -> None:
    assert message in error(replacement)


def test_a_cluster_without_endpoints_is_a_warning() -> None:
    start = BOOTSTRAP.index("    load_assignment:\n      cluster_name: backend")
    assignment = BOOTSTRAP[start : BOOTSTRAP.index("  - name: idp")]
    assert any("no endpoint: every request will fail" in line for line in warnings((assignment, "")))
