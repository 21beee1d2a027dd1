"""Clusters, with the names of Envoy's `config.cluster.v3`. Durations are seconds."""

from __future__ import annotations

from typing import Literal

import msgspec

from ostiary.model import limits
from ostiary.model.dns import DnsOptions
from ostiary.model.tls import UpstreamTlsContext

ClusterType = Literal["STATIC", "STRICT_DNS", "LOGICAL_DNS"]
DnsLookupFamily = Literal["AUTO", "V4_ONLY", "V6_ONLY", "V4_PREFERRED", "ALL"]
LbPolicy = Literal["ROUND_ROBIN", "LEAST_REQUEST", "RANDOM"]
HealthStatus = Literal["UNKNOWN", "HEALTHY", "UNHEALTHY", "DRAINING", "TIMEOUT"]


class Locality(msgspec.Struct, frozen=True, kw_only=True):
    """core.v3.Locality: shown by the admin API; nothing is chosen by it."""

    region: str = ""
    zone: str = ""
    sub_zone: str = ""


class EndpointHealthCheck(msgspec.Struct, frozen=True, kw_only=True):
    """Endpoint.HealthCheckConfig."""

    port: int = 0
    """0: the endpoint's own."""
    hostname: str = ""
    disabled: bool = False


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One upstream address: a socket address, or a Unix socket's path."""

    address: str = ""
    """A host name or an IP address; empty for a Unix socket."""
    port: int = 0
    pipe: str | None = None
    additional_addresses: tuple[tuple[str, int], ...] = ()
    hostname: str = ""
    """Endpoint.hostname: for auto_host_rewrite and auto_host_sni; empty means `address`."""
    weight: int = 1
    priority: int = 0
    """LocalityLbEndpoints.priority: 0 is the first choice."""
    health_status: HealthStatus = "UNKNOWN"
    """What the configuration says of it; UNHEALTHY, DRAINING and TIMEOUT get no request."""
    locality: Locality = Locality()
    health_check: EndpointHealthCheck = EndpointHealthCheck()


class CircuitBreakers(msgspec.Struct, frozen=True, kw_only=True):
    """Thresholds of one routing priority."""

    max_connections: int = limits.MAX_UPSTREAM_CONNECTIONS
    max_pending_requests: int = limits.MAX_PENDING_REQUESTS
    max_requests: int = limits.MAX_PARALLEL_REQUESTS
    max_retries: int = limits.MAX_PARALLEL_RETRIES
    """Shown by the admin API; nothing is retried here."""
    max_connections_per_host: int | None = None
    track_remaining: bool = False
    """Gauges of what is left."""


class HappyEyeballsConfig(msgspec.Struct, frozen=True, kw_only=True):
    """UpstreamConnectionOptions.happy_eyeballs_config."""

    first_address_family_version: Literal["DEFAULT", "V4", "V6"] = "DEFAULT"
    first_address_family_count: int = 1


class TcpKeepalive(msgspec.Struct, frozen=True, kw_only=True):
    """core.v3.TcpKeepalive; None: as the kernel has it."""

    probes: int | None = None
    time: int | None = None
    interval: int | None = None


class DnsRefresh(msgspec.Struct, frozen=True, kw_only=True):
    """When names are asked for again, in the background. A failing one may have a back-off of its own."""

    rate: float = limits.DNS_REFRESH_RATE
    respect_ttl: bool = False
    min_rate: float = 0.0
    """The shortest TTL that is respected."""
    jitter: float = 0.0
    failure_base: float | None = None
    failure_max: float = 0.0


class LoadBalancing(msgspec.Struct, frozen=True, kw_only=True):
    """common_lb_config, least_request_lb_config and the load assignment's policy."""

    healthy_panic_threshold: float = 50.0
    """Percent of hosts that must be healthy; below it all of them are used. 0: never."""
    overprovisioning_factor: int = 140
    choice_count: int = 2
    active_request_bias: float = 1.0
    full_scan: bool = False
    ignore_new_hosts_until_first_hc: bool = False


class OutlierDetection(msgspec.Struct, frozen=True, kw_only=True):
    """cluster.v3.OutlierDetection."""

    consecutive_5xx: int = 5
    interval: float = 10.0
    base_ejection_time: float = 30.0
    max_ejection_percent: int = 10
    enforcing_consecutive_5xx: int = 100
    enforcing_success_rate: int = 100
    success_rate_minimum_hosts: int = 5
    success_rate_request_volume: int = 100
    success_rate_stdev_factor: int = 1900
    consecutive_gateway_failure: int = 5
    enforcing_consecutive_gateway_failure: int = 0
    split_external_local_origin_errors: bool = False
    consecutive_local_origin_failure: int = 5
    enforcing_consecutive_local_origin_failure: int = 100
    enforcing_local_origin_success_rate: int = 100
    failure_percentage_threshold: int = 85
    enforcing_failure_percentage: int = 0
    enforcing_failure_percentage_local_origin: int = 0
    failure_percentage_minimum_hosts: int = 5
    failure_percentage_request_volume: int = 50
    max_ejection_time: float = 300.0
    max_ejection_time_jitter: float = 0.0
    successful_active_health_check_uneject_host: bool = True
    always_eject_one_host: bool = False


class HttpHealthCheck(msgspec.Struct, frozen=True, kw_only=True):
    """HealthCheck.HttpHealthCheck, HTTP/1.1."""

    path: str
    host: str = ""
    """Empty: the cluster's name."""
    method: str = "GET"
    send: bytes = b""
    receive: tuple[bytes, ...] = ()
    response_buffer_size: int = 1024
    request_headers_to_add: tuple[tuple[str, str], ...] = ()
    request_headers_to_remove: tuple[str, ...] = ()
    expected_statuses: tuple[tuple[int, int], ...] = ((200, 201),)
    """Half-open ranges."""
    retriable_statuses: tuple[tuple[int, int], ...] = ()


class TcpHealthCheck(msgspec.Struct, frozen=True, kw_only=True):
    """HealthCheck.TcpHealthCheck; without anything to receive, a connection is enough."""

    send: bytes = b""
    receive: tuple[bytes, ...] = ()


class HealthChecking(msgspec.Struct, frozen=True, kw_only=True):
    """core.v3.HealthCheck."""

    timeout: float
    interval: float
    unhealthy_threshold: int
    healthy_threshold: int
    check: HttpHealthCheck | TcpHealthCheck
    alt_port: int = 0
    initial_jitter: float = 0.0
    interval_jitter: float = 0.0
    interval_jitter_percent: int = 0
    reuse_connection: bool = True
    no_traffic_interval: float = 60.0
    no_traffic_healthy_interval: float = 60.0
    unhealthy_interval: float = 0.0
    unhealthy_edge_interval: float = 0.0
    healthy_edge_interval: float = 0.0
    """The last three are never 0 once read: what isn't written is `interval`."""


class Http2(msgspec.Struct, frozen=True, kw_only=True):
    """HTTP/2 to a cluster: core.v3.Http2ProtocolOptions, and when it is spoken."""

    negotiate: bool = False
    """Only if TLS agrees on it (ALPN), else HTTP/1.1: auto_config. False: always, TLS or not."""
    scheme_of_client: bool = True
    """`:scheme` is the client's, as X-Forwarded-Proto has it and Envoy does; else it is the connection's."""
    max_concurrent_streams: int = limits.HTTP2_MAX_STREAMS
    initial_stream_window_size: int = limits.HTTP2_STREAM_WINDOW
    initial_connection_window_size: int = limits.HTTP2_CONNECTION_WINDOW
    hpack_table_size: int = limits.HTTP2_HEADER_TABLE
    keepalive_interval: float = 0.0
    """A PING this often; 0: none."""
    keepalive_timeout: float = limits.HTTP2_KEEPALIVE_TIMEOUT
    connection_idle_interval: float = 0.0
    """A PING with the first request after this much silence; 0: none."""


class Cluster(msgspec.Struct, frozen=True, kw_only=True):
    """config.cluster.v3.Cluster."""

    name: str
    type: ClusterType = "STATIC"
    connect_timeout: float = limits.CONNECT_TIMEOUT
    dns_lookup_family: DnsLookupFamily | None = None
    """None: the configuration says nothing, which here means ALL (a listed difference from Envoy)."""
    lb_policy: LbPolicy = "ROUND_ROBIN"
    endpoints: tuple[Endpoint, ...] = ()
    """load_assignment, flattened over its localities."""
    transport_socket: UpstreamTlsContext | None = None
    dns_resolvers: tuple[tuple[str, int], ...] = ()
    """Servers of typed_dns_resolver_config; empty means the system's."""
    use_tcp_for_dns_lookups: bool = False
    no_default_search_domain: bool = False
    dns_options: DnsOptions = DnsOptions()
    """The rest of typed_dns_resolver_config."""
    local_addresses: tuple[tuple[str, int], ...] = ()
    """upstream_bind_config: where connections come from, one address (and port, 0: any) of each family."""
    dns_refresh: DnsRefresh | None = None
    """None: no name is asked for until a connection needs it, and its answer is kept for its TTL."""
    circuit_breakers: CircuitBreakers = CircuitBreakers()
    high_circuit_breakers: CircuitBreakers = CircuitBreakers()
    """Of the HIGH priority, which no route has here: shown by the admin API."""
    load_balancing: LoadBalancing = LoadBalancing()
    outlier_detection: OutlierDetection | None = None
    health_checking: HealthChecking | None = None
    ignore_health_on_host_removal: bool = False
    tcp_keepalive: TcpKeepalive | None = None
    happy_eyeballs_config: HappyEyeballsConfig = HappyEyeballsConfig()
    idle_timeout: float | None = limits.UPSTREAM_IDLE_TIMEOUT
    max_requests_per_connection: int | None = None
    per_connection_buffer_limit_bytes: int = limits.WRITE_HIGH_WATER
    """Bytes waiting to be written to the upstream before the client is not read any more."""
    max_connection_duration: float = 0.0
    """A connection of this age takes no further request; 0: no limit."""
    http2: Http2 | None = None
    """None: HTTP/1.1."""
    alt_stat_name: str = ""
