"""Clusters, with the names of Envoy's `config.cluster.v3`. Durations are seconds."""

from __future__ import annotations

from typing import Literal

import msgspec

from ostiary.model import limits
from ostiary.model.tls import UpstreamTlsContext

ClusterType = Literal["STATIC", "STRICT_DNS", "LOGICAL_DNS"]
DnsLookupFamily = Literal["AUTO", "V4_ONLY", "V6_ONLY", "V4_PREFERRED", "ALL"]
LbPolicy = Literal["ROUND_ROBIN", "LEAST_REQUEST", "RANDOM"]


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


class CircuitBreakers(msgspec.Struct, frozen=True, kw_only=True):
    """The DEFAULT priority's thresholds."""

    max_connections: int = limits.MAX_UPSTREAM_CONNECTIONS
    max_pending_requests: int = limits.MAX_PENDING_REQUESTS
    max_requests: int = 1024


class HappyEyeballsConfig(msgspec.Struct, frozen=True, kw_only=True):
    """UpstreamConnectionOptions.happy_eyeballs_config."""

    first_address_family_version: Literal["DEFAULT", "V4", "V6"] = "DEFAULT"
    first_address_family_count: int = 1


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
    circuit_breakers: CircuitBreakers = CircuitBreakers()
    happy_eyeballs_config: HappyEyeballsConfig = HappyEyeballsConfig()
    idle_timeout: float | None = limits.UPSTREAM_IDLE_TIMEOUT
    max_requests_per_connection: int | None = None
    per_connection_buffer_limit_bytes: int = limits.WRITE_HIGH_WATER
    """Bytes waiting to be written to the upstream before the client is not read any more."""
    alt_stat_name: str = ""
