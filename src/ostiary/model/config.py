"""The one model that every dialect becomes: listeners, their filters and routes, and clusters, with Envoy's names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from ostiary.model import limits
from ostiary.model.access_log import AccessLog
from ostiary.model.clusters import Cluster
from ostiary.model.matchers import HeaderMatcher
from ostiary.model.oauth2 import EnvoyOAuth2
from ostiary.model.routes import RouteConfiguration
from ostiary.model.signin import SignIn
from ostiary.model.telemetry import MetricsExport, Tracing
from ostiary.model.tls import DownstreamTlsContext


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """Where to listen: host and port (0 = any free one), or a Unix socket's path."""

    host: str = ""
    port: int = 0
    pipe: str | None = None
    mode: int | None = None
    """Permissions of the Unix socket."""

    def __str__(self) -> str:
        if self.pipe is not None:
            return f"unix:{self.pipe}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Cors(msgspec.Struct, frozen=True):
    """extensions.filters.http.cors.v3.Cors; its policies live on routes."""


class HealthCheck(msgspec.Struct, frozen=True, kw_only=True):
    """extensions.filters.http.health_check.v3.HealthCheck without the pass-through mode."""

    headers: tuple[HeaderMatcher, ...] = ()
    cluster: str = ""
    """The bootstrap's node.cluster, which every answer names."""


class Router(msgspec.Struct, frozen=True):
    """extensions.filters.http.router.v3.Router, the end of the chain."""

    suppress_envoy_headers: bool = False
    start_child_span: bool = False


HttpFilterConfig = EnvoyOAuth2 | SignIn | Cors | HealthCheck | Router


class HttpFilter(msgspec.Struct, frozen=True, kw_only=True):
    """One link of the chain; `name` is what typed_per_filter_config refers to."""

    name: str
    config: HttpFilterConfig
    disabled: bool = False


class HttpConnectionManager(msgspec.Struct, frozen=True, kw_only=True):
    """extensions.filters.network.http_connection_manager.v3.HttpConnectionManager. 0 switches a timeout off."""

    stat_prefix: str
    route_config: RouteConfiguration
    http_filters: tuple[HttpFilter, ...]
    access_log: tuple[AccessLog, ...] = ()
    server_name: str = "ostiary"
    server_header_transformation: Literal["OVERWRITE", "APPEND_IF_ABSENT", "PASS_THROUGH"] = "OVERWRITE"
    use_remote_address: bool = False
    """True: an edge; the peer's address is the client, X-Forwarded-Proto is set from the connection."""
    xff_num_trusted_hops: int = 0
    skip_xff_append: bool = False
    via: str = ""
    scheme_to_overwrite: str = ""
    """scheme_header_transformation.scheme_to_overwrite."""
    generate_request_id: bool = True
    preserve_external_request_id: bool = False
    always_set_request_id_in_response: bool = False
    normalize_path: bool = False
    merge_slashes: bool = False
    path_with_escaped_slashes_action: Literal[
        "KEEP_UNCHANGED", "REJECT_REQUEST", "UNESCAPE_AND_REDIRECT", "UNESCAPE_AND_FORWARD"
    ] = "KEEP_UNCHANGED"
    strip_matching_host_port: bool = False
    strip_any_host_port: bool = False
    strip_trailing_host_dot: bool = False
    accept_http_10: bool = False
    """http_protocol_options.accept_http_10: otherwise HTTP/1.0 is answered with 426."""
    max_request_headers_kb: int = limits.MAX_REQUEST_HEADERS_BYTES // 1024
    max_headers_count: int = limits.MAX_HEADERS_COUNT
    max_requests_per_connection: int | None = None
    max_connection_duration: float = 0.0
    max_stream_duration: float = 0.0
    request_timeout: float = 0.0
    request_headers_timeout: float = limits.REQUEST_HEADERS_TIMEOUT
    idle_timeout: float = limits.IDLE_TIMEOUT
    stream_idle_timeout: float = limits.STREAM_IDLE_TIMEOUT
    delayed_close_timeout: float = 1.0
    upgrade_types: Mapping[str, bool] = msgspec.field(default_factory=dict)
    """upgrade_configs: lower-case protocol (`websocket`) -> enabled."""
    underscores_in_headers: Literal["ALLOW", "REJECT_REQUEST", "DROP_HEADER"] = "ALLOW"
    tracing: Tracing | None = None
    """None: trace headers go on as they came, and nothing is recorded."""
    profile: Literal["ostiary", "envoy"] = "envoy"
    """Which set of response bodies, identity headers and defaults applies."""


class Listener(msgspec.Struct, frozen=True, kw_only=True):
    """config.listener.v3.Listener with one filter chain that ends in the connection manager."""

    name: str
    address: Address
    http: HttpConnectionManager
    tls: DownstreamTlsContext | None = None
    per_connection_buffer_limit_bytes: int = 1024 * 1024
    reuse_port: bool = False
    """Several processes may listen on the address (Envoy's enable_reuse_port, which its dialect turns on)."""
    tcp_backlog_size: int = 1024


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """Everything `ostiary run` needs; what a dialect's text becomes."""

    dialect: Literal["native", "envoy", "istio", "oauth2-proxy"]
    listeners: tuple[Listener, ...]
    clusters: tuple[Cluster, ...] = ()
    admin: Address | None = None
    metrics: tuple[MetricsExport, ...] = ()
    differences: tuple[str, ...] = ()
    """Where this configuration runs otherwise than its original would; printed at start at `info`."""

    def cluster(self, name: str) -> Cluster | None:
        """The cluster of that name, or None."""
        return next((c for c in self.clusters if c.name == name), None)
