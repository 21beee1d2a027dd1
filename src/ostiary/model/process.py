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
