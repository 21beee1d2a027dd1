"""Clusters: discovery, addresses, resolvers, TLS, pools."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, get_args

from ostiary.dialects.envoy_common import Context, is_ip_address, socket_address
from ostiary.dialects.envoy_tls import upstream_tls
from ostiary.dialects.schema_tree import Message
from ostiary.model import limits
from ostiary.model.clusters import (
    CircuitBreakers,
    Cluster,
    ClusterType,
    DnsLookupFamily,
    Endpoint,
    HappyEyeballsConfig,
    LbPolicy,
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
_CARES: Final = "envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig"
_GETADDRINFO: Final = "envoy.extensions.network.dns_resolver.getaddrinfo.v3.GetAddrInfoDnsResolverConfig"
_HTTP_OPTIONS: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_DNS_REFRESH_RATE: Final = 5.0
"""Envoy's default, in seconds."""
_HARMLESS: Final = (
    "metadata", "cleanup_interval", "wait_for_warm_on_init", "ignore_health_on_host_removal",
    "close_connections_on_host_health_failure", "track_cluster_stats",
)  # fmt: skip
"""What changes nothing here: nobody reads it, or it is about health checks and warming that are not there."""


def cluster(message: Message, context: Context) -> Cluster:
    """config.cluster.v3.Cluster."""
    message.ignore(*_HARMLESS)
    name = message.text("name")
    kind, dns = _discovery(message)
    idle_timeout, max_requests = _protocol_options(message)
    socket = message.message("transport_socket")
    resolver = _resolver(message, dns, context)
    eyeballs = message.optional("upstream_connection_options").optional("happy_eyeballs_config")
    family = _family(message, dns)
    if family is None and kind != "STATIC":
        context.differs(
            f"cluster '{name}': no dns_lookup_family; Envoy would use AUTO, here ALL (both families, Happy Eyeballs)"
        )
    if (rate := dns.optional_duration("dns_refresh_rate")) is not None and rate != _DNS_REFRESH_RATE:
        context.differs(f"cluster '{name}': dns_refresh_rate is not used; a name is asked for anew after its TTL")
    if dns.take("respect_dns_ttl") is False:
        context.differs(f"cluster '{name}': respect_dns_ttl is always true here")
    return Cluster(
        name=name,
        type=kind,
        connect_timeout=message.duration("connect_timeout", limits.CONNECT_TIMEOUT),
        dns_lookup_family=family,
        lb_policy=_lb_policy(message),
        endpoints=_endpoints(message, kind),
        transport_socket=upstream_tls(socket, name, context) if socket is not None else None,
        dns_resolvers=resolver[0],
        use_tcp_for_dns_lookups=resolver[1],
        no_default_search_domain=resolver[2],
        circuit_breakers=_circuit_breakers(message),
        happy_eyeballs_config=HappyEyeballsConfig(
            first_address_family_version=eyeballs.choice("first_address_family_version", ("DEFAULT", "V4", "V6")),
            first_address_family_count=eyeballs.integer("first_address_family_count", 1),
        ),
        idle_timeout=idle_timeout,
        max_requests_per_connection=max_requests,
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


def _endpoints(message: Message, kind: ClusterType) -> tuple[Endpoint, ...]:
    assignment = message.message("load_assignment")
    if assignment is None:
        if kind == "LOGICAL_DNS":
            message.problem("load_assignment", "a LOGICAL_DNS cluster needs a load_assignment")
        message.problem("load_assignment", "no endpoint: every request will fail", severity="warning")
        return ()
    assignment.take("cluster_name")
    found = []
    for locality in assignment.messages("endpoints"):
        locality.ignore("locality", "metadata")
        if locality.integer("priority"):
            locality.unsupported("priority", "put the endpoints into one priority")
        for item in locality.messages("lb_endpoints"):
            item.ignore("metadata")
            item.choice("health_status", ("UNKNOWN", "HEALTHY"))
            weight = item.integer("load_balancing_weight", 1)
            if (endpoint := item.message("endpoint")) is not None:
                found.append(_endpoint(endpoint, kind, weight))
    if kind == "LOGICAL_DNS" and len(found) != 1:
        text = "LOGICAL_DNS clusters must have a single locality_lb_endpoint and a single lb_endpoint"
        assignment.problem(None, text, "use STRICT_DNS for several names")
    return tuple(found)


def _endpoint(message: Message, kind: ClusterType, weight: int) -> Endpoint:
    message.ignore("observability_name")
    address = message.required("address")
    others = tuple(
        found
        for item in message.messages("additional_addresses")
        if (found := _host(item.required("address"), kind)) is not None
    )
    hostname = message.text("hostname")
    if (pipe := address.message("pipe")) is not None:
        if kind != "STATIC":
            address.problem("pipe", f"a {kind} cluster needs a host name", "use type STATIC")
        pipe.ignore("mode")
        return Endpoint(pipe=pipe.text("path"), hostname=hostname, weight=weight)
    host, port = _host(address, kind) or ("", 0)
    return Endpoint(address=host, port=port, additional_addresses=others, hostname=hostname, weight=weight)


def _host(address: Message, kind: ClusterType) -> tuple[str, int] | None:
    found = address.message("socket_address")
    if found is None:
        return None
    host, port = socket_address(found)
    if kind == "STATIC" and host and not is_ip_address(host):
        mend = "set the cluster's type to LOGICAL_DNS or STRICT_DNS"
        found.problem("address", f"malformed IP address: '{host}'", mend)
    return host, port


def _resolver(message: Message, dns: Message, context: Context) -> tuple[tuple[tuple[str, int], ...], bool, bool]:
    """Servers, TCP, no search domain: of the cluster, or of the bootstrap."""
    tcp = message.boolean("use_tcp_for_dns_lookups")
    old = message.message("dns_resolution_config")
    written = dns.message("typed_dns_resolver_config")
    if written is None and old is not None:
        options = old.optional("dns_resolver_options")
        tcp = tcp or options.boolean("use_tcp_for_dns_lookups")
        return _servers(old, "resolvers"), tcp, options.boolean("no_default_search_domain")
    if written is None and message.has("dns_resolvers"):
        return _servers(message, "dns_resolvers"), tcp, False
    extension = written or context.dns_resolver
    if extension is None:
        return (), tcp, False
    extension.take("name")
    typed = extension.message("typed_config")
    if typed is None or typed.name == _GETADDRINFO:
        return (), tcp, False
    if typed.name != _CARES:
        typed.unsupported(None, f"use {_CARES.rpartition('.')[2]}, or none for the system's resolver")
        return (), tcp, False
    typed.ignore("filter_unroutable_families")  # addresses without a route are tried last here
    options = typed.optional("dns_resolver_options")
    tcp = tcp or options.boolean("use_tcp_for_dns_lookups")
    return _servers(typed, "resolvers"), tcp, options.boolean("no_default_search_domain")


def _servers(message: Message, name: str) -> tuple[tuple[str, int], ...]:
    found = []
    for item in message.messages(name):
        host, port = socket_address(item.required("socket_address"))
        if not is_ip_address(host):
            item.problem("socket_address", f"malformed IP address: '{host}'", "a DNS server is given by address")
        found.append((host, port or 53))
    return tuple(found)


def _lb_policy(message: Message) -> LbPolicy:
    for name in ("round_robin_lb_config", "least_request_lb_config"):
        if (config := message.message(name)) is not None and config.written():
            config.unsupported(None, "remove it")
    message.optional("common_lb_config").ignore(
        "healthy_panic_threshold", "update_merge_window", "ignore_new_hosts_until_first_hc"
    )
    written = message.choice("lb_policy", get_args(LbPolicy))
    policies = message.message("load_balancing_policy")
    if policies is None:
        return "RANDOM" if written == "RANDOM" else "LEAST_REQUEST" if written == "LEAST_REQUEST" else "ROUND_ROBIN"
    for policy in policies.messages("policies"):
        extension = policy.required("typed_extension_config")
        extension.take("name")
        typed = extension.message("typed_config")
        if typed is not None and typed.name in _LB_POLICIES:
            return _LB_POLICIES[typed.name]
        extension.unsupported(None, "use RoundRobin, LeastRequest or Random")
    return "ROUND_ROBIN"


def _circuit_breakers(message: Message) -> CircuitBreakers:
    result = CircuitBreakers()
    for thresholds in message.optional("circuit_breakers").messages("thresholds"):
        if thresholds.text("priority", "DEFAULT") != "DEFAULT":
            thresholds.ignore(*thresholds.written())  # no route can have that priority
            continue
        thresholds.ignore("max_retries", "track_remaining")
        result = CircuitBreakers(
            max_connections=thresholds.integer("max_connections", limits.MAX_UPSTREAM_CONNECTIONS),
            max_pending_requests=thresholds.integer("max_pending_requests", limits.MAX_PENDING_REQUESTS),
            max_requests=thresholds.integer("max_requests", 1024),
        )
    return result


def _protocol_options(message: Message) -> tuple[float | None, int | None]:
    """idle_timeout and max_requests_per_connection, of the present or the deprecated spelling; HTTP/1.1 only."""
    message.choice("protocol_selection", ("USE_CONFIGURED_PROTOCOL",))
    common = message.optional("common_http_protocol_options")
    idle = common.optional_duration("idle_timeout")
    requests = common.integer("max_requests_per_connection") or message.integer("max_requests_per_connection")
    _http1(message.message("http_protocol_options"))
    for key, options in message.map("typed_extension_protocol_options").items():
        if key != _HTTP_OPTIONS or not isinstance(options, Message) or options.name != _HTTP_OPTIONS:
            text = f"'{key}': no such protocol options, or not of the type that the name promises"
            message.problem("typed_extension_protocol_options", text, f"key and @type are {_HTTP_OPTIONS}")
            continue
        if (explicit := options.message("explicit_http_config")) is not None:
            _http1(explicit.message("http_protocol_options"))
        if (mirrored := options.message("use_downstream_protocol_config")) is not None:
            _http1(mirrored.message("http_protocol_options"))
        common = options.optional("common_http_protocol_options")
        idle = common.optional_duration("idle_timeout") if common.has("idle_timeout") else idle
        requests = common.integer("max_requests_per_connection") or requests
        options.optional("upstream_http_protocol_options").ignore("auto_san_validation")
    idle = limits.UPSTREAM_IDLE_TIMEOUT if idle is None else idle
    return idle or None, requests or None


def _http1(options: Message | None) -> None:
    """core.v3.Http1ProtocolOptions: what Ostiary does anyway."""
    if options is not None:
        options.ignore("enable_trailers", "use_balsa_parser")
