"""What is exported over OTLP, and where to."""

from __future__ import annotations

from typing import Literal

import msgspec

from ostiary.model import limits
from ostiary.model.tls import DataSource

CustomTagKind = Literal["literal", "environment", "request_header", "value"]


class CustomTag(msgspec.Struct, frozen=True, kw_only=True):
    """type.tracing.v3.CustomTag: one more attribute of a request's spans."""

    tag: str
    kind: CustomTagKind
    value: str
    """The text itself, the name of the variable or of the header (lower case), or a format string."""
    default: str = ""
    """Where there is no such variable or header. Empty: no attribute."""


class Collector(msgspec.Struct, frozen=True, kw_only=True):
    """Where OTLP is sent, as protobuf. Either `url`, or `cluster` with `authority` and `path`."""

    grpc: bool = False
    """By gRPC, else by HTTP. The path is then the signal's, whatever `url` and `path` say."""
    url: str = ""
    cluster: str = ""
    authority: str = ""
    path: str = ""
    headers: tuple[tuple[str, DataSource], ...] = ()
    """They may hold keys: a file with one is read again when it changes."""
    timeout: float = limits.TELEMETRY_TIMEOUT
    compress: bool = False
    """gzip."""
    ca: DataSource | None = None
    """Roots that verify it, where `url` is https; None: the system's."""


class Tracing(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of the requests of one connection manager."""

    collector: Collector
    resource: tuple[tuple[str, str], ...] = ()
    sampling: float = 1.0
    """The part of traces begun here that is recorded: 0 to 1."""
    gate: float = 1.0
    """The part of all traces, also of those begun elsewhere, that may be recorded at all: 0 to 1."""
    parent_based: bool = True
    """What a trace's beginner decided holds here too."""
    restart: bool = False
    """Traces begin here: `traceparent` of clients counts for nothing."""
    spawn_upstream_span: bool = True
    custom_tags: tuple[CustomTag, ...] = ()
    operation: str = ""
    """A format string: what the request's span is called, whatever its route says."""
    upstream_operation: str = ""
    """The same for the upstream's span."""
    max_path_tag_length: int = 256
    max_queue: int = limits.TELEMETRY_QUEUE
    names: Literal["otel", "envoy"] = "otel"
    """Whose names spans and attributes have: OpenTelemetry's HTTP conventions, or Envoy's."""
    node_id: str = ""
    zone: str = ""
    """node.id and node.locality.zone, which Envoy's spans name."""


class MetricsExport(msgspec.Struct, frozen=True, kw_only=True):
    """All counters and gauges, at an interval."""

    collector: Collector
    resource: tuple[tuple[str, str], ...] = ()
    interval: float = limits.METRICS_INTERVAL
    prefix: str = ""
    """Put before each name, with a dot."""
    extract: bool = True
    """Names without what varies in them (`core.stat_tags`)."""
    attributes: bool = True
    """What varies becomes attributes."""
