"""OpenTelemetry in Envoy's configuration: the connection manager's `tracing`, and the statistics sink."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from ostiary.core.tracing import SDK_ATTRIBUTES
from ostiary.dialects.envoy_common import Context, template
from ostiary.dialects.schema_tree import Message
from ostiary.model import limits
from ostiary.model.secret import Secret
from ostiary.model.telemetry import Collector, CustomTag, CustomTagKind, MetricsExport, Tracing
from ostiary.model.tls import DataSource

OPENTELEMETRY: Final = "envoy.config.trace.v3.OpenTelemetryConfig"
SINK: Final = "envoy.extensions.stat_sinks.open_telemetry.v3.SinkConfig"
_TRACERS: Final = "envoy.extensions.tracers.opentelemetry"
ALWAYS_ON: Final = f"{_TRACERS}.samplers.v3.AlwaysOnSamplerConfig"
PARENT_BASED: Final = f"{_TRACERS}.samplers.v3.ParentBasedSamplerConfig"
RATIO: Final = f"{_TRACERS}.samplers.v3.TraceIdRatioBasedSamplerConfig"
STATIC_RESOURCE: Final = f"{_TRACERS}.resource_detectors.v3.StaticConfigResourceDetectorConfig"
_ENVOY_GRPC: Final = "use envoy_grpc with a cluster that has http2_protocol_options"
_HTTP2: Final = "give the cluster http2_protocol_options, in explicit_http_config of its HttpProtocolOptions"
UNKNOWN_SERVICE: Final = "unknown_service:envoy"
MAX_CACHE: Final = 1024
FLUSH_INTERVAL: Final = 5.0
_SECRET_HEADERS: Final = frozenset(("authorization", "proxy-authorization", "cookie", "x-forwarded-access-token"))
_TAG_KINDS: Final[dict[str, CustomTagKind]] = {"environment": "environment", "request_header": "request_header"}


def tracing(message: Message, context: Context, *, child_span: bool) -> Tracing | None:
    """HttpConnectionManager.Tracing; None if nothing is traced. `child_span` is the router's `start_child_span`."""
    provider = message.message("provider")
    if provider is None:  # nobody to report to
        message.ignore(*message.written())
        return None
    provider.take("name")
    typed = provider.message("typed_config")
    if typed is None or not typed.name:
        provider.problem("typed_config", "is required", f"add '@type: type.googleapis.com/{OPENTELEMETRY}'")
        return None
    random, overall = (_percent(message, name) for name in ("random_sampling", "overall_sampling"))
    message.take("client_sampling")
    context.differs("x-client-trace-id and x-envoy-force-trace do not make a request traced")
    context.differs("a request's span is a SERVER's, and called ingress where nothing names it: never egress")
    if message.boolean("verbose"):
        message.unsupported("verbose", "remove it: connections are spans of their own here")
    spawns, longest = message.boolean("spawn_upstream_span"), message.integer("max_path_tag_length", 256)
    tags = tuple(tag for item in message.messages("custom_tags") if (tag := _custom_tag(item)) is not None)
    if typed.name != OPENTELEMETRY:
        typed.unsupported(None, f"use envoy.tracers.opentelemetry, {OPENTELEMETRY}")
        return None
    collector = _collector(typed, context)
    sampling, parent_based = _sampler(typed.message("sampler"), (1.0, True))
    resource: tuple[tuple[str, str], ...] = ()
    service = typed.text("service_name") or UNKNOWN_SERVICE
    if typed.boolean("set_service_name_resource_attribute", True):
        resource = (("service.name", service),)
    if typed.boolean("set_telemetry_sdk_resource_attributes", True):
        resource += SDK_ATTRIBUTES
    return Tracing(
        collector=collector,
        resource=resource + _detected(typed),
        sampling=sampling,
        gate=min(random, overall),
        parent_based=parent_based,
        spawn_upstream_span=spawns or child_span,
        custom_tags=tags,
        operation=_format(message, "operation"),
        upstream_operation=_format(message, "upstream_operation"),
        max_path_tag_length=longest,
        max_queue=typed.integer("max_cache_size", MAX_CACHE),
        names="envoy",
        node_id=context.node_id,
        zone=context.zone,
    )


def _format(message: Message, field: str) -> str:
    """A format string, checked."""
    text = message.text(field)
    template(message, field, text)
    return text


def _percent(message: Message, name: str) -> float:
    """type.v3.Percent as a part of 1; all of it where it is not written."""
    written = message.message(name)
    if written is None:
        return 1.0
    value = written.take("value")
    return float(value) / 100 if isinstance(value, int | float) else 0.0


def _custom_tag(message: Message) -> CustomTag | None:
    tag = message.text("tag")
    if (literal := message.message("literal")) is not None:
        return CustomTag(tag=tag, kind="literal", value=literal.text("value"))
    if message.has("value"):
        return CustomTag(tag=tag, kind="value", value=_format(message, "value"))
    for field, kind in _TAG_KINDS.items():
        if (source := message.message(field)) is not None:
            name = source.text("name")
            value = name.lower() if kind == "request_header" else name
            if value in _SECRET_HEADERS:
                source.problem("name", f"'{name}' would put a secret into traces", "name another header")
            return CustomTag(tag=tag, kind=kind, value=value, default=source.text("default_value"))
    return None  # of a kind that is reported


def _collector(message: Message, context: Context) -> Collector:
    """The `http_service` or the `grpc_service` of a tracer or a sink."""
    grpc, service = message.message("grpc_service"), message.message("http_service")
    if grpc is not None and service is not None:
        message.problem("http_service", "there is a grpc_service too, and spans go one way", "remove one of them")
        service.ignore(*service.written())
    if grpc is not None:
        return _over_grpc(grpc, context)
    if service is None:
        message.problem(None, "grpc_service or http_service is required", "name the collector's cluster")
        return Collector()
    endpoint = service.required("http_uri")
    uri = endpoint.text("uri")
    parts = urlsplit(uri if "://" in uri else f"//{uri}")
    path = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    return Collector(
        cluster=_cluster(endpoint, "cluster", context),
        authority=parts.netloc,
        path=path,
        timeout=endpoint.duration("timeout"),
        headers=tuple(_header(item.required("header"), item) for item in service.messages("request_headers_to_add")),
    )


def _over_grpc(message: Message, context: Context) -> Collector:
    """core.v3.GrpcService."""
    if message.has("google_grpc"):
        message.unsupported("google_grpc", _ENVOY_GRPC)
    envoy = message.message("envoy_grpc")
    if envoy is None:
        if not message.has("google_grpc"):
            message.problem("envoy_grpc", "is required", _ENVOY_GRPC)
        return Collector(grpc=True)
    envoy.ignore("skip_envoy_headers", "max_receive_message_length")  # none is sent, and an answer is bounded anyway
    name = _cluster(envoy, "cluster_name", context)
    if name in context.clusters and name not in context.http2_clusters:
        envoy.problem("cluster_name", f"cluster '{name}' speaks HTTP/1.1, gRPC needs HTTP/2", _HTTP2)
    return Collector(
        grpc=True,
        cluster=name,
        authority=envoy.text("authority") or name,
        timeout=message.duration("timeout") or limits.TELEMETRY_TIMEOUT,
        headers=tuple(_header(item) for item in message.messages("initial_metadata")),
    )


def _cluster(message: Message, field: str, context: Context) -> str:
    name = message.text(field)
    if name and name not in context.clusters:
        message.problem(field, f"unknown cluster '{name}'", "define it in static_resources.clusters")
    return name


def _header(header: Message, option: Message | None = None) -> tuple[str, DataSource]:
    """core.v3.HeaderValue, in a HeaderValueOption; nothing else sets these headers, so appending is setting."""
    if option is not None:
        option.ignore("append", "append_action", "keep_empty_value")
    value = header.take("raw_value") if header.has("raw_value") else header.text("value")
    return header.text("key").lower(), DataSource(inline=Secret(value))


def _sampler(message: Message | None, unsaid: tuple[float, bool]) -> tuple[float, bool]:
    """The part that is sampled, and whether the parent's decision goes first."""
    if message is None:
        return unsaid
    message.take("name")
    typed = message.message("typed_config")
    if typed is None or not typed.name:
        message.problem("typed_config", "is required", f"add '@type: type.googleapis.com/{PARENT_BASED}'")
        return unsaid
    if typed.name == ALWAYS_ON:
        return 1.0, False
    if typed.name == PARENT_BASED:
        return _sampler(typed.required("wrapped_sampler"), unsaid)[0], True
    if typed.name == RATIO:
        share = typed.optional("sampling_percentage")
        whole = {"HUNDRED": 100, "TEN_THOUSAND": 10_000, "MILLION": 1_000_000}[share.text("denominator", "HUNDRED")]
        return min(1.0, share.integer("numerator") / whole), False
    typed.unsupported(None, "use AlwaysOnSamplerConfig, TraceIdRatioBasedSamplerConfig or ParentBasedSamplerConfig")
    return unsaid


def _detected(message: Message) -> tuple[tuple[str, str], ...]:
    """What resource detectors add: the static one."""
    found: list[tuple[str, str]] = []
    for item in message.messages("resource_detectors"):
        item.take("name")
        typed = item.message("typed_config")
        if typed is not None and typed.name == STATIC_RESOURCE:
            found += [(name, str(value)) for name, value in typed.map("attributes").items()]
        elif typed is not None:
            typed.unsupported(None, "write the attributes into a StaticConfigResourceDetectorConfig")
    return tuple(found)


def stats_sinks(message: Message, context: Context) -> tuple[MetricsExport, ...]:
    """Bootstrap.stats_sinks, flushed every `stats_flush_interval`."""
    interval = message.duration("stats_flush_interval", FLUSH_INTERVAL)
    found: list[MetricsExport] = []
    for sink in message.messages("stats_sinks"):
        sink.take("name")
        typed = sink.message("typed_config")
        if typed is None or typed.name != SINK:
            mend = "use envoy.stat_sinks.open_telemetry, or scrape /stats/prometheus at the admin address"
            (typed or sink).unsupported(None, mend)
            continue
        for field in ("report_counters_as_deltas", "report_histograms_as_deltas"):
            if typed.boolean(field):
                typed.unsupported(field, "remove it: counters are cumulative")
        export = MetricsExport(
            collector=_collector(typed, context),
            resource=SDK_ATTRIBUTES + _detected(typed),
            interval=interval,
            prefix=typed.text("prefix"),
            extract=typed.boolean("use_tag_extracted_name", True),
            attributes=typed.boolean("emit_tags_as_attributes", True),
        )
        found.append(export)
    return tuple(found)
