"""Tracing and the statistics sink out of the model."""

from __future__ import annotations

from ostiary.core.tracing import SDK_ATTRIBUTES
from ostiary.dialects.envoy_telemetry import (
    ALWAYS_ON,
    MAX_CACHE,
    OPENTELEMETRY,
    PARENT_BASED,
    RATIO,
    SINK,
    STATIC_RESOURCE,
    UNKNOWN_SERVICE,
)
from ostiary.dialects.envoy_text_values import (
    Secrets,
    Tree,
    duration,
    extension,
    given,
    some,
    typed,
    unless,
)
from ostiary.model.telemetry import Collector, CustomTag, MetricsExport, Tracing
from ostiary.model.tls import DataSource

_MILLION = 1_000_000


def tracing(model: Tracing | None, secrets: Secrets) -> Tree | None:
    """HttpConnectionManager.Tracing. Without a cluster, as in the native dialect, there is none."""
    if model is None or not model.collector.cluster:
        return None
    names = [name for name, _ in model.resource]
    config = typed(
        OPENTELEMETRY,
        **_service(model.collector, secrets),
        service_name=unless(dict(model.resource).get("service.name", UNKNOWN_SERVICE), UNKNOWN_SERVICE),
        set_service_name_resource_attribute=unless("service.name" in names, True),
        set_telemetry_sdk_resource_attributes=unless(set(SDK_ATTRIBUTES) <= set(model.resource), True),
        resource_detectors=_detectors(model.resource),
        sampler=_sampler(model),
        max_cache_size=unless(model.max_queue, MAX_CACHE),
    )
    return given(
        provider=extension("envoy.tracers.opentelemetry", config),
        random_sampling=None if model.gate >= 1 else {"value": model.gate * 100},
        spawn_upstream_span=some(model.spawn_upstream_span),
        max_path_tag_length=unless(model.max_path_tag_length, 256),
        custom_tags=[_tag(tag) for tag in model.custom_tags] or None,
        operation=some(model.operation),
        upstream_operation=some(model.upstream_operation),
    )


def stats_sink(model: MetricsExport, secrets: Secrets) -> Tree:
    """metrics.v3.StatsSink."""
    config = typed(
        SINK,
        **_service(model.collector, secrets),
        prefix=some(model.prefix),
        use_tag_extracted_name=unless(model.extract, True),
        emit_tags_as_attributes=unless(model.attributes, True),
        resource_detectors=_detectors(model.resource),
    )
    return extension("envoy.stat_sinks.open_telemetry", config)


def _service(model: Collector, secrets: Secrets) -> Tree:
    """`grpc_service` or `http_service`."""
    headers = [{"key": name, "value": _value(name, source, secrets)} for name, source in model.headers]
    if model.grpc:
        authority = unless(model.authority, model.cluster)
        envoy = given(cluster_name=model.cluster, authority=authority)
        service = given(envoy_grpc=envoy, timeout=duration(model.timeout), initial_metadata=headers or None)
        return {"grpc_service": service}
    uri = {"uri": f"http://{model.authority}{model.path}", "cluster": model.cluster, "timeout": duration(model.timeout)}
    return {"http_service": given(http_uri=uri, request_headers_to_add=[{"header": each} for each in headers] or None)}


def _value(name: str, source: DataSource, secrets: Secrets) -> str:
    if source.inline is None or not secrets.show:
        secrets.hidden[f"the header {name} for the collector"] = source.inline
        return secrets.placeholder
    return source.inline.text()


def _detectors(resource: tuple[tuple[str, str], ...]) -> list[Tree] | None:
    known = {"service.name", *(name for name, _ in SDK_ATTRIBUTES)}
    attributes = {name: value for name, value in resource if name not in known}
    return [extension("static", typed(STATIC_RESOURCE, attributes=attributes))] if attributes else None


def _sampler(model: Tracing) -> Tree | None:
    if model.sampling >= 1 and model.parent_based:
        return None
    share = {"numerator": round(model.sampling * _MILLION), "denominator": "MILLION"}
    inner = typed(ALWAYS_ON) if model.sampling >= 1 else typed(RATIO, sampling_percentage=share)
    sampler = extension("sampler", inner)
    return extension("parent", typed(PARENT_BASED, wrapped_sampler=sampler)) if model.parent_based else sampler


def _tag(model: CustomTag) -> Tree:
    if model.kind == "value":
        return {"tag": model.tag, "value": model.value}
    if model.kind == "literal":
        return {"tag": model.tag, "literal": {"value": model.value}}
    return {"tag": model.tag, model.kind: given(name=model.value, default_value=some(model.default))}
