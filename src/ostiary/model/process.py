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
    "a2a admin alternate_protocols_cache aws assert backtrace basic_auth cache_filter client config connection "
    "conn_handler compression credential_injector decompression dns dubbo envoy_bug ext_authz ext_proc rocketmq "
    "file filter forward_proxy geolocation grpc happy_eyeballs hc health_checker http http2 hystrix init io jwt "
    "json_rpc kafka key_value_store lua local_rate_limit main matcher mcp misc mongo multi_connection "
    "notification oauth2 quic quic_stream pool rate_limit_quota rbac rds redis router runtime stats secret sse "
    "tap testing thrift tracing upstream udp wasm websocket golang stats_sinks dynamic_modules ip_tagging"
)
LOG_COMPONENTS: tuple[str, ...] = tuple(_COMPONENTS.split(" "))
"""Envoy's loggers, in the order in which it lists them. Some log nothing here; a level for them is no mistake."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """How `ostiary run` runs: workers and logs."""

    workers: int = 1
    """Worker processes; 0 = one for each CPU this process may use."""
    log_level: LogLevel = "info"
    component_log_level: Mapping[str, LogLevel] = field(default_factory=dict)
    """Component (`happy_eyeballs`, `oauth2`, ...) -> its own level."""
    log_format: LogFormat = "envoy"
    flight_users: bool = True
    """Whether the flight recorder keeps who signed in."""
    drain_timeout: float = limits.DRAIN_TIMEOUT
    """Seconds that SIGTERM lets running requests finish."""
    watch: bool = True
    """Read the configuration again when its files change, not only on SIGHUP."""
