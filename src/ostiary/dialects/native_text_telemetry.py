"""`telemetry` of a native configuration, out of tracing and the export of metrics."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from ostiary.core.tracing import SDK_ATTRIBUTES
from ostiary.dialects.envoy_text_values import PLACEHOLDER, Secrets, duration, given, some, unless
from ostiary.dialects.lost import lost
from ostiary.model import limits
from ostiary.model.config import Config
from ostiary.model.errors import Diagnostic
from ostiary.model.telemetry import Collector, MetricsExport, Tracing

Tree = dict[str, Any]
_SDK = frozenset(SDK_ATTRIBUTES)


def telemetry(config: Config, base: str, secrets: Secrets, found: list[Diagnostic]) -> Tree | None:
    """The section, None if nothing is exported. `base`: the path of the listener in the source."""
    tracing = config.listeners[0].http.tracing
    metrics = config.metrics[0] if config.metrics else None
    if tracing is None and metrics is None:
        return None
    where = f"{base}.filter_chains[0].filters[0].typed_config.tracing"
    first = tracing or metrics
    assert first is not None
    tree = given(
        traces_endpoint=_url(tracing.collector, config, where, found) if tracing is not None else None,
        metrics_endpoint=_url(metrics.collector, config, "stats_sinks[0]", found) if metrics is not None else None,
        **_sending(first.collector, secrets),
        **_resource(first.resource),
        traces=False if tracing is None else None,
        metrics=False if metrics is None else None,
    )
    if tracing is not None:
        tree |= _traces(tracing, where, found)
    if metrics is not None:
        tree |= _metrics(metrics, found)
    if tracing is not None and metrics is not None:
        _same(tracing, metrics, found)
    if len(config.metrics) > 1:
        found.append(lost("stats_sinks[1]", "metrics go to one collector here"))
    return tree


def _same(tracing: Tracing, metrics: MetricsExport, found: list[Diagnostic]) -> None:
    """One section says how both are sent."""
    plain = {"url": "", "cluster": "", "authority": "", "path": ""}
    if tracing.collector.grpc != metrics.collector.grpc:
        found.append(lost("stats_sinks[0]", "metrics take the way of the traces: gRPC or HTTP, not one each"))
    elif replace(tracing.collector, **plain) != replace(metrics.collector, **plain):
        found.append(lost("stats_sinks[0]", "headers and timeouts of the metrics' own: those of the traces are taken"))


def _url(collector: Collector, config: Config, where: str, found: list[Diagnostic]) -> str:
    if collector.url:
        return collector.url
    cluster = config.cluster(collector.cluster)
    if cluster is None or len(cluster.endpoints) != 1 or cluster.endpoints[0].pipe is not None:
        found.append(lost(where, f"the collector has one address here; cluster '{collector.cluster}' has another form"))
        return f"http://{PLACEHOLDER}"
    endpoint = cluster.endpoints[0]
    host = f"[{endpoint.address}]" if ":" in endpoint.address else endpoint.address
    scheme = "https" if cluster.transport_socket is not None else "http"
    return f"{scheme}://{host}:{endpoint.port}{collector.path}"


def _sending(collector: Collector, secrets: Secrets) -> Tree:
    files = {name: source.filename for name, source in collector.headers if source.filename is not None}
    values = {name: source.inline for name, source in collector.headers if source.inline is not None}
    if values and not secrets.show:
        secrets.hidden |= {f"the header {name} for the collector": value for name, value in values.items()}
        files |= dict.fromkeys(values, PLACEHOLDER)
        values = {}
    timeout = collector.timeout
    return given(
        headers={name: value.text() for name, value in values.items()} or None,
        header_files=files or None,
        protocol="grpc" if collector.grpc else None,
        timeout=duration(timeout) if timeout != limits.TELEMETRY_TIMEOUT else None,
        compression="gzip" if collector.compress else None,
        ca_file=collector.ca.filename if collector.ca is not None else None,
    )


def _resource(resource: tuple[tuple[str, str], ...]) -> Tree:
    own = dict(each for each in resource if each not in _SDK)
    name = own.pop("service.name", "ostiary")
    return given(service_name=unless(name, "ostiary"), resource=some(own))


def _traces(tracing: Tracing, where: str, found: list[Diagnostic]) -> Tree:
    fields = ("custom_tags", "gate", "max_path_tag_length", "operation", "upstream_operation")
    found += _changed(tracing, Tracing(collector=tracing.collector), fields, where)
    return given(
        sampling=unless(f"{tracing.sampling:.9f}".rstrip("0").rstrip("."), "1"),
        parent_based=unless(tracing.parent_based, True),
        incoming="restart" if tracing.restart else None,
        upstream_spans=unless(tracing.spawn_upstream_span, True),
    )


def _metrics(metrics: MetricsExport, found: list[Diagnostic]) -> Tree:
    fields = ("prefix", "extract", "attributes")
    found += _changed(metrics, MetricsExport(collector=metrics.collector), fields, "stats_sinks[0]")
    interval = metrics.interval
    return given(metrics_interval=duration(interval) if interval != limits.METRICS_INTERVAL else None)


def _changed(value: Any, usual: Any, fields: tuple[str, ...], where: str) -> list[Diagnostic]:
    changed = [field for field in fields if getattr(value, field) != getattr(usual, field)]
    return [lost(where, f"{field}: there is no key for it") for field in changed]
