from __future__ import annotations

import pytest

from dialects.test_envoy_cluster import RESOLVER, idp
from envoy_example import IDP, error, good
from ostiary.model.dns import DnsOptions

CARES = "type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig"
GETADDRINFO = "type.googleapis.com/envoy.extensions.network.dns_resolver.getaddrinfo.v3.GetAddrInfoDnsResolverConfig"


def resolver(kind: str, fields: str = "") -> tuple[str, str]:
    config = f"{{'@type': {kind}{', ' if fields else ''}{fields}}}"
    return RESOLVER, f"    typed_dns_resolver_config: {{name: x, typed_config: {config}}}\n"


def test_the_options_of_cares() -> None:
    found = idp(
        resolver(
            CARES,
            "resolvers: [{socket_address: {address: 10.0.0.1, port_value: 0}},"
            " {socket_address: {protocol: UDP, address: '::1', port_value: 5353}}], use_resolvers_as_fallback: true,"
            " dns_resolver_options: {use_tcp_for_dns_lookups: true}, query_timeout_seconds: 2, query_tries: 3,"
            " rotate_nameservers: true, edns0_max_payload_size: 512, filter_unroutable_families: true",
        )
    )
    assert found.dns_resolvers == (("10.0.0.1", 53), ("::1", 5353))
    assert (found.use_tcp_for_dns_lookups, found.no_default_search_domain) == (True, False)
    assert found.dns_options == DnsOptions(
        query_timeout=2.0,
        query_tries=3,
        rotate_nameservers=True,
        edns0_max_payload_size=512,
        use_resolvers_as_fallback=True,
        filter_unroutable_families=True,
    )


def test_what_can_not_matter_here_is_accepted_and_what_differs_is_noted() -> None:
    fields = "udp_max_queries: 5, max_udp_channel_duration: 5s, reinit_channel_on_timeout: true"
    assert idp(resolver(CARES, fields)).dns_options == DnsOptions()
    assert not any("qcache" in line for line in good(resolver(CARES, fields)).differences)
    assert any("qcache_max_ttl" in line for line in good(resolver(CARES, "qcache_max_ttl: 60")).differences)


def test_getaddrinfo_is_the_system() -> None:
    assert idp(resolver(GETADDRINFO)).dns_options == DnsOptions(system=True)
    found = idp(resolver(GETADDRINFO, "num_retries: 0, num_resolver_threads: 2"))
    assert found.dns_options == DnsOptions(system=True, num_retries=0)


@pytest.mark.parametrize(
    ("replacement", "message"),
    [
        (resolver(CARES, "query_timout_seconds: 1"), "query_timeout_seconds"),
        (resolver(CARES, "query_tries: 0"), "query_tries"),
        (resolver(CARES, "edns0_max_payload_size: 5000"), "edns0_max_payload_size"),
        (resolver(CARES, "resolvers: [{socket_address: {address: dns.test, port_value: 53}}]"), "is given by address"),
        (
            resolver("type.googleapis.com/envoy.extensions.network.dns_resolver.apple.v3.AppleDnsResolverConfig"),
            "use CaresDnsResolverConfig, or none",
        ),
    ],
)
def test_what_is_refused(replacement: tuple[str, str], message: str) -> None:
    assert message in error(replacement)


# --- where connections come from

BIND = "source_address: {address: 10.0.0.5, port_value: 0}"
EXTRA = "extra_source_addresses: [{address: {address: 'fd00::5', port_value: 0}}]"


def test_source_addresses_of_a_cluster() -> None:
    found = idp((IDP, f"    upstream_bind_config: {{{BIND}, {EXTRA}}}\n"))
    assert found.local_addresses == (("10.0.0.5", 0), ("fd00::5", 0))


def test_source_addresses_of_the_cluster_manager_are_those_of_clusters_without_any() -> None:
    manager = f"cluster_manager: {{upstream_bind_config: {{{BIND}}}}}\nstatic_resources:\n"
    assert idp(("static_resources:\n", manager)).local_addresses == (("10.0.0.5", 0),)
    own = "    upstream_bind_config: {source_address: {address: 10.0.0.6, port_value: 7}}\n"
    assert idp(("static_resources:\n", manager), (IDP, own)).local_addresses == (("10.0.0.6", 7),)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (f"{BIND}, freebind: true", "bind to an address that this host has"),
        ("source_address: {address: eth0, port_value: 0}", "malformed IP address: 'eth0'"),
        (
            f"{BIND}, extra_source_addresses: [{{address: {{address: 10.0.0.6, port_value: 0}}}}]",
            "a second source address of IPv4",
        ),
        (f"{BIND}, socket_options: [{{level: 1, name: 2, int_value: 3}}]", "socket_options"),
    ],
)
def test_what_is_refused_of_source_addresses(config: str, message: str) -> None:
    assert message in error((IDP, f"    upstream_bind_config: {{{config}}}\n"))
