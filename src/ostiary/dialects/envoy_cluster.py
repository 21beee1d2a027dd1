"""Clusters: discovery, addresses, resolvers, TLS, pools."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, get_args

from ostiary.dialects.envoy_common import Context
from ostiary.dialects.envoy_endpoints import endpoints
from ostiary.dialects.envoy_health import health_checking, outlier_detection
from ostiary.dialects.envoy_protocols import protocols
from ostiary.dialects.envoy_resolver import local_addresses, resolver
from ostiary.dialects.envoy_tls import upstream_tls
from ostiary.dialects.schema_tree import Message
from ostiary.model import limits
from ostiary.model.clusters import (
    CircuitBreakers,
    Cluster,
    ClusterType,
    DnsLookupFamily,
    DnsRefresh,
    HappyEyeballsConfig,
    LbPolicy,
    LoadBalancing,
    TcpKeepalive,
)

_TYPES: Final[tuple[ClusterType, ...]] = get_args(ClusterType)
_FAMILIES: Final[tuple[DnsLookupFamily, ...]] = get_args(DnsLookupFamily)
_CLUSTER_TYPES: Final[Mapping[str, ClusterType]] = {
    "envoy.cluster.static": "STATIC",
    "envoy.cluster.strict_dns": "STRICT_DNS",
    "envoy.cluster.logical_dns": "LOGICAL_DNS",
}
_DNS_CLUSTER: Final = "envoy.extensions.clusters.dns.v3.DnsCluster"
_LB_POLICIES: Final[Mapping[str, LbPolicy]] = {
    "envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin": "ROUND_ROBIN",
    "envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest": "LEAST_REQUEST",
    "envoy.extensions.load_balancing_policies.random.v3.Random": "RANDOM",
}
_HARMLESS: Final = (
    "metadata", "cleanup_interval", "wait_for_warm_on_init", "close_connections_on_host_health_failure",
    "track_cluster_stats",
)  # fmt: skip
"""What changes nothing here: no listener waits for clusters, and the others are about what only other types have."""


def cluster(message: Message, context: Context) -> Cluster:
    """config.cluster.v3.Cluster."""
    message.ignore(*_HARMLESS)
    name = message.text("name")
    kind, dns = _discovery(message)
    spoken = protocols(message, context)
    socket = message.message("transport_socket")
    names = resolver(message, dns, context)
    connections = message.optional("upstream_connection_options")
    eyeballs = connections.optional("happy_eyeballs_config")
    family = _family(message, dns)
    if family is None and kind != "STATIC":
        context.differs(
            f"cluster '{name}': no dns_lookup_family; Envoy would use AUTO, here ALL (both families, Happy Eyeballs)"
        )
    policy, balancing = _load_balancing(message)
    breakers = _circuit_breakers(message)
    return Cluster(
        name=name,
        type=kind,
        connect_timeout=message.duration("connect_timeout", limits.CONNECT_TIMEOUT),
        dns_lookup_family=family,
        lb_policy=policy,
        endpoints=endpoints(message, kind),
        transport_socket=upstream_tls(socket, name, context, spoken.http2) if socket is not None else None,
        dns_resolvers=names.servers,
        use_tcp_for_dns_lookups=names.tcp,
        no_default_search_domain=names.no_default_search_domain,
        dns_options=names.options,
        local_addresses=local_addresses(message, context),
        dns_refresh=_dns_refresh(dns, kind),
        circuit_breakers=breakers.get("DEFAULT", CircuitBreakers()),
        high_circuit_breakers=breakers.get("HIGH", CircuitBreakers()),
        load_balancing=balancing,
        outlier_detection=outlier_detection(message),
        health_checking=health_checking(message),
        ignore_health_on_host_removal=message.boolean("ignore_health_on_host_removal"),
        tcp_keepalive=_tcp_keepalive(connections.message("tcp_keepalive")),
        happy_eyeballs_config=HappyEyeballsConfig(
            first_address_family_version=eyeballs.choice("first_address_family_version", ("DEFAULT", "V4", "V6")),
            first_address_family_count=eyeballs.integer("first_address_family_count", 1),
        ),
        idle_timeout=spoken.idle_timeout,
        max_requests_per_connection=spoken.max_requests,
        max_connection_duration=spoken.max_connection_duration,
        http2=spoken.http2,
        per_connection_buffer_limit_bytes=message.integer("per_connection_buffer_limit_bytes", 1024 * 1024),
        alt_stat_name=message.text("alt_stat_name"),
    )


def _discovery(message: Message) -> tuple[ClusterType, Message]:
    """The type (STRICT_DNS for a reported one: it asks least of addresses), and the message with the DNS settings."""
    custom = message.message("cluster_type")
    if custom is None:
        mend = "use STATIC, STRICT_DNS or LOGICAL_DNS"
        kind = message.choice("type", _TYPES, mend)
        return (kind if message.text("type", kind) in _TYPES else "STRICT_DNS"), message
    name, typed = custom.text("name"), custom.message("typed_config")
    if typed is not None and typed.name == _DNS_CLUSTER:
        return ("LOGICAL_DNS" if typed.boolean("all_addresses_in_single_endpoint") else "STRICT_DNS"), typed
    if name in _CLUSTER_TYPES and (typed is None or not typed.name):
        return _CLUSTER_TYPES[name], message
    custom.unsupported(None, f"use envoy.clusters.dns with {_DNS_CLUSTER}, or `type`")
    return "STRICT_DNS", message


def _family(message: Message, dns: Message) -> DnsLookupFamily | None:
    """None where nothing is written: AUTO only where it says AUTO."""
    message.take("dns_lookup_family")
    if not dns.has("dns_lookup_family") or dns.text("dns_lookup_family") == "UNSPECIFIED":
        dns.take("dns_lookup_family")
        return None
    return dns.choice("dns_lookup_family", _FAMILIES)


def _dns_refresh(dns: Message, kind: ClusterType) -> DnsRefresh | None:
    """When names are asked for again; nothing to ask for in a STATIC cluster."""
    rate = dns.duration("dns_refresh_rate", limits.DNS_REFRESH_RATE)
    failure = dns.message("dns_failure_refresh_rate")
    base = failure.duration("base_interval") if failure is not None else None
    longest = failure.duration("max_interval", 10 * (base or 0.0)) if failure is not None else 0.0
    if failure is not None and base is not None and longest < base:
        text = "dns_failure_refresh_rate must have max_interval greater than or equal to the base_interval"
        failure.problem("max_interval", text)
    refresh = DnsRefresh(
        rate=rate,
        respect_ttl=dns.boolean("respect_dns_ttl"),
        min_rate=dns.duration("dns_min_refresh_rate") if dns.name == _DNS_CLUSTER else 0.0,
        jitter=dns.duration("dns_jitter"),
        failure_base=base,
        failure_max=longest,
    )
    return refresh if kind != "STATIC" else None


def _tcp_keepalive(message: Message | None) -> TcpKeepalive | None:
    if message is None:
        return None
    return TcpKeepalive(
        probes=message.integer("keepalive_probes") or None,
        time=message.integer("keepalive_time") or None,
        interval=message.integer("keepalive_interval") or None,
    )


def _load_balancing(message: Message) -> tuple[LbPolicy, LoadBalancing]:
    """The policy with its numbers, of the present or the newer spelling."""
    common = message.optional("common_lb_config")
    common.ignore("update_merge_window")
    panic = common.message("healthy_panic_threshold")
    policy = message.optional("load_assignment").optional("policy")
    numbers = {
        "healthy_panic_threshold": _number(panic, "value", 0.0) if panic is not None else 50.0,
        "ignore_new_hosts_until_first_hc": common.boolean("ignore_new_hosts_until_first_hc"),
        "overprovisioning_factor": policy.integer("overprovisioning_factor", 140),
    }
    written = message.choice("lb_policy", get_args(LbPolicy))
    old = message.optional("least_request_lb_config")
    config = old
    message.optional("round_robin_lb_config")
    policies = message.message("load_balancing_policy")
    if policies is not None:
        written, config = _newer_policy(policies)
    if written != "LEAST_REQUEST":
        old.ignore(*old.written())
    else:
        numbers["choice_count"] = config.integer("choice_count", 2)
        bias = config.message("active_request_bias")
        if bias is not None:
            bias.ignore("runtime_key")
            numbers["active_request_bias"] = _number(bias, "default_value", 0.0)
        if config is not old:
            full = config.choice("selection_method", ("N_CHOICES", "FULL_SCAN")) == "FULL_SCAN"
            numbers["full_scan"] = full or config.boolean("enable_full_scan")
    return written, LoadBalancing(**numbers)  # type: ignore[arg-type] # each name has its type above


def _newer_policy(policies: Message) -> tuple[LbPolicy, Message]:
    for policy in policies.messages("policies"):
        extension = policy.required("typed_extension_config")
        extension.take("name")
        typed = extension.message("typed_config")
        if typed is not None and typed.name in _LB_POLICIES:
            return _LB_POLICIES[typed.name], typed
        extension.unsupported(None, "use RoundRobin, LeastRequest or Random")
    return "ROUND_ROBIN", policies


def _number(message: Message, field: str, default: float) -> float:
    value = message.take(field)
    return float(value) if isinstance(value, float | int) else default


def _circuit_breakers(message: Message) -> dict[str, CircuitBreakers]:
    """Thresholds by routing priority; of each, the last one counts."""
    breakers = message.optional("circuit_breakers")
    per_host: dict[str, int] = {}
    for thresholds in breakers.messages("per_host_thresholds"):
        if thresholds.has("max_connections"):
            per_host[thresholds.text("priority", "DEFAULT")] = thresholds.integer("max_connections")
    found: dict[str, CircuitBreakers] = {
        priority: CircuitBreakers(max_connections_per_host=most) for priority, most in per_host.items()
    }
    for thresholds in breakers.messages("thresholds"):
        priority = thresholds.text("priority", "DEFAULT")
        thresholds.ignore("max_connection_pools")  # an endpoint has one here
        found[priority] = CircuitBreakers(
            max_connections=thresholds.integer("max_connections", limits.MAX_UPSTREAM_CONNECTIONS),
            max_pending_requests=thresholds.integer("max_pending_requests", limits.MAX_PENDING_REQUESTS),
            max_requests=thresholds.integer("max_requests", limits.MAX_PARALLEL_REQUESTS),
            max_retries=thresholds.integer("max_retries", limits.MAX_PARALLEL_RETRIES),
            max_connections_per_host=per_host.get(priority),
            track_remaining=thresholds.boolean("track_remaining"),
        )
    return found
