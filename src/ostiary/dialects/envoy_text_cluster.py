"""Clusters, from the model to Envoy's fields."""

from __future__ import annotations

from itertools import groupby
from typing import Any, Final

import msgspec

from ostiary.dialects.envoy_text_health import health_check, outlier_detection
from ostiary.dialects.envoy_text_tls import upstream_tls
from ostiary.dialects.envoy_text_values import (
    Secrets,
    Tree,
    address,
    differing,
    duration,
    duration_unless,
    extension,
    given,
    socket_address,
    some,
    typed,
    unless,
)
from ostiary.model import limits
from ostiary.model.clusters import (
    CircuitBreakers,
    Cluster,
    DnsRefresh,
    Endpoint,
    EndpointHealthCheck,
    HappyEyeballsConfig,
    Http2,
    LoadBalancing,
    TcpKeepalive,
)
from ostiary.model.config import Address
from ostiary.model.dns import DnsOptions

_RESOLVER: Final = "envoy.extensions.network.dns_resolver"
_DNS_CLUSTER: Final = "envoy.extensions.clusters.dns.v3.DnsCluster"
_OPTIONS: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_LEAST_REQUEST: Final = "envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest"
_BUFFER: Final = 1024 * 1024
"""Envoy's default of per_connection_buffer_limit_bytes."""


def cluster(model: Cluster, secrets: Secrets) -> Tree:
    """config.cluster.v3.Cluster."""
    dns = _dns(model)
    balancing = model.load_balancing
    connections = given(
        tcp_keepalive=_tcp_keepalive(model.tcp_keepalive),
        happy_eyeballs_config=some(
            differing(model.happy_eyeballs_config, HappyEyeballsConfig.__struct_fields__),
        ),
    )
    socket = model.transport_socket
    options = _protocol_options(model)
    return given(
        name=model.name,
        **dns,
        connect_timeout=duration(model.connect_timeout),
        **_balancing(model),
        load_assignment=_load_assignment(model) if model.endpoints else None,
        transport_socket=upstream_tls(socket, model.name, secrets) if socket is not None else None,
        typed_extension_protocol_options={_OPTIONS: options} if options is not None else None,
        upstream_bind_config=_bind_config(model.local_addresses),
        upstream_connection_options=some(connections),
        circuit_breakers=_circuit_breakers(model),
        common_lb_config=some(
            given(
                healthy_panic_threshold={"value": balancing.healthy_panic_threshold}
                if balancing.healthy_panic_threshold != LoadBalancing().healthy_panic_threshold
                else None,
                ignore_new_hosts_until_first_hc=some(balancing.ignore_new_hosts_until_first_hc),
            )
        ),
        outlier_detection=outlier_detection(model.outlier_detection),
        health_checks=[health_check(model.health_checking)] if model.health_checking is not None else None,
        ignore_health_on_host_removal=some(model.ignore_health_on_host_removal),
        per_connection_buffer_limit_bytes=unless(model.per_connection_buffer_limit_bytes, _BUFFER),
        alt_stat_name=some(model.alt_stat_name),
    )


def _dns(model: Cluster) -> Tree:
    """How names become addresses. On the Cluster itself the times of refreshing are deprecated."""
    refresh = model.dns_refresh or DnsRefresh()
    failure = refresh.failure_base
    fields = given(
        dns_lookup_family=model.dns_lookup_family,
        dns_refresh_rate=duration_unless(refresh.rate, limits.DNS_REFRESH_RATE),
        respect_dns_ttl=some(refresh.respect_ttl),
        dns_min_refresh_rate=duration_unless(refresh.min_rate, 0.0),
        dns_jitter=duration_unless(refresh.jitter, 0.0),
        dns_failure_refresh_rate={"base_interval": duration(failure), "max_interval": duration(refresh.failure_max)}
        if failure is not None
        else None,
        typed_dns_resolver_config=_resolver(model),
    )
    if refresh == DnsRefresh() or model.type == "STATIC":
        return {"type": model.type} | fields
    one = some(model.type == "LOGICAL_DNS")
    config = typed(_DNS_CLUSTER, **fields, all_addresses_in_single_endpoint=one)
    return {"cluster_type": extension("envoy.clusters.dns", config)}


def _resolver(model: Cluster) -> Tree | None:
    options = model.dns_options
    if options.system:
        config = typed(f"{_RESOLVER}.getaddrinfo.v3.GetAddrInfoDnsResolverConfig", num_retries=options.num_retries)
        return extension("envoy.network.dns_resolver.getaddrinfo", config)
    lookups = given(
        use_tcp_for_dns_lookups=some(model.use_tcp_for_dns_lookups),
        no_default_search_domain=some(model.no_default_search_domain),
    )
    if not model.dns_resolvers and not lookups and options == DnsOptions():
        return None
    own = ("query_tries", "rotate_nameservers", "edns0_max_payload_size", "use_resolvers_as_fallback")
    config = typed(
        f"{_RESOLVER}.cares.v3.CaresDnsResolverConfig",
        resolvers=[socket_address(*server) for server in model.dns_resolvers] or None,
        dns_resolver_options=some(lookups),
        query_timeout_seconds=int(options.query_timeout) if options.query_timeout is not None else None,
        **differing(options, (*own, "filter_unroutable_families")),
    )
    return extension("envoy.network.dns_resolver.cares", config)


def _balancing(model: Cluster) -> Tree:
    balancing = model.load_balancing
    if model.lb_policy != "LEAST_REQUEST":
        return {"lb_policy": model.lb_policy}
    bias = balancing.active_request_bias
    config = given(
        choice_count=unless(balancing.choice_count, LoadBalancing().choice_count),
        active_request_bias={"default_value": bias, "runtime_key": "unused"}
        if bias != LoadBalancing().active_request_bias
        else None,
    )
    if not balancing.full_scan:
        return {"lb_policy": model.lb_policy} | ({"least_request_lb_config": config} if config else {})
    policy = extension(
        "envoy.load_balancing_policies.least_request", typed(_LEAST_REQUEST, **config, selection_method="FULL_SCAN")
    )
    return {"load_balancing_policy": {"policies": [{"typed_extension_config": policy}]}}


def _load_assignment(model: Cluster) -> Tree:
    factor = model.load_balancing.overprovisioning_factor
    localities = [
        given(
            locality=some(differing(locality, locality.__struct_fields__)),
            priority=some(priority),
            lb_endpoints=[_endpoint(each) for each in members],
        )
        for (priority, locality), members in groupby(model.endpoints, key=lambda each: (each.priority, each.locality))
    ]
    return given(
        cluster_name=model.name,
        endpoints=localities,
        policy={"overprovisioning_factor": factor} if factor != LoadBalancing().overprovisioning_factor else None,
    )


def _endpoint(model: Endpoint) -> Tree:
    check = model.health_check
    others = [{"address": socket_address(*each)} for each in model.additional_addresses]
    endpoint = given(
        address=address(Address(host=model.address, port=model.port, pipe=model.pipe)),
        additional_addresses=others or None,
        hostname=some(model.hostname),
        health_check_config=given(
            port_value=some(check.port),
            hostname=some(check.hostname),
            disable_active_health_check=some(check.disabled),
        )
        if check != EndpointHealthCheck()
        else None,
    )
    return given(
        endpoint=endpoint,
        health_status=unless(model.health_status, "UNKNOWN"),
        load_balancing_weight=unless(model.weight, 1),
    )


def _protocol_options(model: Cluster) -> Tree | None:
    """extensions.upstreams.http.v3.HttpProtocolOptions, if it would say something."""
    common = given(
        idle_timeout=duration_unless(model.idle_timeout or 0.0, limits.UPSTREAM_IDLE_TIMEOUT),
        max_connection_duration=duration_unless(model.max_connection_duration, 0.0),
        max_requests_per_connection=model.max_requests_per_connection,
    )
    http2 = model.http2
    if http2 is None and not common:
        return None
    spoken: Tree = {"explicit_http_config": {"http_protocol_options": {}}}
    if http2 is not None:
        options = {"http2_protocol_options": _http2(http2)}
        spoken = {"auto_config": options} if http2.negotiate else {"explicit_http_config": options}
    return typed(_OPTIONS, common_http_protocol_options=some(common), **spoken)


def _http2(model: Http2) -> Tree:
    own = (
        "max_concurrent_streams", "initial_stream_window_size", "initial_connection_window_size", "hpack_table_size",
    )  # fmt: skip
    keepalive: dict[str, Any] = given(
        interval=duration_unless(model.keepalive_interval, 0.0),
        timeout=duration_unless(model.keepalive_timeout, limits.HTTP2_KEEPALIVE_TIMEOUT),
        connection_idle_interval=duration_unless(model.connection_idle_interval, 0.0),
    )
    if keepalive:
        keepalive.setdefault("timeout", duration(model.keepalive_timeout))  # Envoy wants it beside the others
    return differing(model, own) | ({"connection_keepalive": keepalive} if keepalive else {})


def _bind_config(addresses: tuple[tuple[str, int], ...]) -> Tree | None:
    if not addresses:
        return None
    first, *others = (socket_address(*each)["socket_address"] for each in addresses)
    extra = [{"address": each} for each in others] or None
    return given(source_address=first, extra_source_addresses=extra)


def _tcp_keepalive(model: TcpKeepalive | None) -> Tree | None:
    if model is None:
        return None
    return given(keepalive_probes=model.probes, keepalive_time=model.time, keepalive_interval=model.interval)


def _circuit_breakers(model: Cluster) -> Tree | None:
    thresholds: list[Tree] = []
    per_host: list[Tree] = []
    plain = tuple(
        name
        for name in (each.name for each in msgspec.structs.fields(CircuitBreakers))
        if name != "max_connections_per_host"
    )
    for priority, breakers in (("DEFAULT", model.circuit_breakers), ("HIGH", model.high_circuit_breakers)):
        mark = {} if priority == "DEFAULT" else {"priority": priority}
        if fields := differing(breakers, plain):
            thresholds.append(mark | fields)
        if breakers.max_connections_per_host is not None:
            per_host.append(mark | {"max_connections": breakers.max_connections_per_host})
    return given(thresholds=some(thresholds), per_host_thresholds=some(per_host)) or None
