"""Options of the process itself, the same for every dialect of configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from ostiary.model import limits

LogLevel = Literal["trace", "debug", "info", "warning", "error", "critical", "off"]
LogFormat = Literal["envoy", "istio", "json"]

LOG_LEVELS: tuple[LogLevel, ...] = get_args(LogLevel)
LOG_FORMATS: tuple[LogFormat, ...] = get_args(LogFormat)

_COMPONENTS = (
    "a2a access_log admin alternate_protocols_cache assert aws backtrace basic_auth cache_filter client "
    "compression config conn_handler connection credential_injector decompression dns dubbo dynamic_modules "
    "envoy_bug ext_authz ext_proc file filter forward_proxy geolocation golang grpc happy_eyeballs hc "
    "health_checker http http2 hystrix init io ip_tagging json_rpc jwt kafka key_value_store local_rate_limit lua "
    "main matcher mcp misc mongo multi_connection notification oauth2 pool quic quic_stream rate_limit_quota rbac "
    "rds redis rocketmq router runtime secret sse stats stats_sinks tap testing thrift tracing udp upstream wasm "
    "websocket"
)
LOG_COMPONENTS: frozenset[str] = frozenset(_COMPONENTS.split(" "))
"""Envoy's loggers and ours: a level set for one that logs nothing here is no mistake, a name nobody knows is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """How `ostiary run` runs: workers and logs."""

    workers: int = 1
    """Worker processes; 0 = one for each CPU this process may use."""
    log_level: LogLevel = "info"
    component_log_level: Mapping[str, LogLevel] = field(default_factory=dict)
    """Component (`happy_eyeballs`, `oauth2`, ...) -> its own level."""
    log_format: LogFormat = "envoy"
    drain_timeout: float = limits.DRAIN_TIMEOUT
    """Seconds that SIGTERM lets running requests finish."""
