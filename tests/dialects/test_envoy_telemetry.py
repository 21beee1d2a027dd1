"""Tracing and the statistics sink in Envoy's dialect: what is read, and what is refused with what to write instead."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from envoy_example import BOOTSTRAP, HTTP_FILTERS, IDP, error, good, manager
from ostiary.model.telemetry import CustomTag, Tracing

TYPE = "type.googleapis.com/envoy"
OTEL = f"{TYPE}.config.trace.v3.OpenTelemetryConfig"
SINK = f"{TYPE}.extensions.stat_sinks.open_telemetry.v3.SinkConfig"
SERVICE: dict[str, Any] = {"http_uri": {"uri": "https://c.test/v1/traces?x=1", "cluster": "idp", "timeout": "3s"}}
GRPC = {"envoy_grpc": {"cluster_name": "idp"}}
HTTP2 = (IDP, f"{IDP}    http2_protocol_options: {{}}\n")


def traced(typed: dict[str, Any] | None = None, **tracing: Any) -> tuple[str, str]:
    """The replacement that puts it into the connection manager."""
    return provided({"@type": OTEL, **({"http_service": SERVICE} if typed is None else typed)}, **tracing)


def provided(typed: dict[str, Any], **tracing: Any) -> tuple[str, str]:
    provider = {"name": "o", "typed_config": typed}
    return HTTP_FILTERS, f"          tracing: {flow({'provider': provider, **tracing})}\n{HTTP_FILTERS}"


def flow(tree: Any) -> str:
    return yaml.safe_dump(tree, default_flow_style=True, width=10_000).strip()


def sink(**typed: Any) -> tuple[str, str]:
    sinks = [{"name": "s", "typed_config": {"@type": SINK, **typed}}]
    return "static_resources:\n", f"stats_sinks: {flow(sinks)}\nstatic_resources:\n"


def tracing(*replacements: tuple[str, str]) -> Tracing:
    found = manager(*replacements).tracing
    assert found is not None
    return found


def test_envoys_defaults() -> None:
    assert any("never egress" in line for line in good(traced()).differences)
    found = tracing(traced())
    collector = found.collector
    assert (collector.cluster, collector.authority, collector.path) == ("idp", "c.test", "/v1/traces?x=1")
    assert collector.timeout == 3.0
    assert (found.gate, found.sampling, found.parent_based, found.restart) == (1.0, 1.0, True, False)
    assert (found.spawn_upstream_span, found.max_queue, found.names) == (False, 1024, "envoy")
    assert dict(found.resource)["service.name"] == "unknown_service:envoy"


def test_what_is_written_counts() -> None:
    headers = [{"header": {"key": "X-Key", "value": "k"}}]
    typed = {"http_service": {**SERVICE, "request_headers_to_add": headers}, "service_name": "s", "max_cache_size": 7}
    tags = [
        {"tag": "a", "literal": {"value": "b"}},
        {"tag": "c", "request_header": {"name": "X-C", "default_value": "d"}},
        {"tag": "e", "environment": {"name": "E"}},
    ]
    found = tracing(
        traced(typed, random_sampling={"value": 25}, overall_sampling={"value": 50}, custom_tags=tags),
        ("static_resources:\n", "node: {id: here, cluster: x, locality: {zone: z}}\nstatic_resources:\n"),
    )
    [(name, source)] = found.collector.headers
    assert name == "x-key" and source.inline is not None and source.inline.text() == "k"
    assert (found.gate, found.max_queue, found.node_id, found.zone) == (0.25, 7, "here", "z")
    assert found.custom_tags == (
        CustomTag(tag="a", kind="literal", value="b"),
        CustomTag(tag="c", kind="request_header", value="x-c", default="d"),
        CustomTag(tag="e", kind="environment", value="E"),
    )


def test_grpc_goes_to_a_cluster_with_its_metadata() -> None:
    service = {
        "envoy_grpc": {"cluster_name": "idp", "authority": "otel.test", "max_receive_message_length": 9},
        "timeout": "3s",
        "initial_metadata": [{"key": "X-Key", "value": "k"}, {"key": "x-raw", "raw_value": "dg=="}],
    }
    found = tracing(traced({"grpc_service": service}), HTTP2).collector
    assert (found.grpc, found.cluster, found.authority, found.timeout) == (True, "idp", "otel.test", 3.0)
    headers = {name: source.inline.text() for name, source in found.headers if source.inline is not None}
    assert headers == {"x-key": "k", "x-raw": "v"}
    [export] = good(sink(grpc_service=GRPC), HTTP2).metrics
    assert (export.collector.grpc, export.collector.authority, export.collector.timeout) == (True, "idp", 10.0)


def test_what_grpc_does_not_do_is_refused() -> None:
    said = "grpc_service.retry_policy: valid in Envoy, not implemented in Ostiary"
    assert said in error(traced({"grpc_service": {**GRPC, "retry_policy": {"num_retries": 2}}}), HTTP2)
    said = "http_service: there is a grpc_service too, and spans go one way (remove one of them)"
    assert said in error(traced({"grpc_service": GRPC, "http_service": SERVICE}), HTTP2)


def test_the_routers_child_span_is_the_upstreams() -> None:
    router = "              '@type': type.googleapis.com/envoy.extensions.filters.http.router.v3.Router\n"
    assert router in BOOTSTRAP
    assert tracing(traced(), (router, f"{router}              start_child_span: true\n")).spawn_upstream_span


def test_a_sink_exports_every_flush() -> None:
    [found] = good(sink(http_service=SERVICE, prefix="p"), ("admin:\n", "stats_flush_interval: 2s\nadmin:\n")).metrics
    assert (found.interval, found.prefix, found.extract, found.attributes) == (2.0, "p", True, True)
    [found] = good(sink(http_service=SERVICE)).metrics
    assert found.interval == 5.0
    assert good().metrics == ()


DATADOG = {"@type": f"{TYPE}.config.trace.v3.DatadogConfig", "collector_cluster": "idp", "service_name": "s"}
STATSD = [{"name": "s", "typed_config": {"@type": f"{TYPE}.config.metrics.v3.StatsdSink", "tcp_cluster_name": "idp"}}]
ENVIRONMENT = f"{TYPE}.extensions.tracers.opentelemetry.resource_detectors.v3.EnvironmentResourceDetectorConfig"
DETECTOR = [{"name": "e", "typed_config": {"@type": ENVIRONMENT}}]
METADATA = {"kind": {"request": {}}, "metadata_key": {"key": "k", "path": [{"key": "p"}]}}


@pytest.mark.parametrize(
    ("replacement", "said"),
    [
        (
            traced({"grpc_service": GRPC}),
            "envoy_grpc.cluster_name: cluster 'idp' speaks HTTP/1.1, gRPC needs HTTP/2 (give the cluster http2_",
        ),
        (
            traced({"grpc_service": {"google_grpc": {"target_uri": "c.test:4317", "stat_prefix": "c"}}}),
            "google_grpc: valid in Envoy, not implemented in Ostiary (use envoy_grpc with a cluster that has http2_",
        ),
        (traced({"grpc_service": {"envoy_grpc": {"cluster_name": "none"}}}), "unknown cluster 'none' (define it in"),
        (traced({}), "grpc_service or http_service is required (name the collector's cluster)"),
        (traced(verbose=True), "verbose: valid in Envoy, not implemented in Ostiary (remove it: connections are spans"),
        (traced(no_context_propagation=True), "no_context_propagation: valid in Envoy"),
        (
            traced(custom_tags=[{"tag": "t", "metadata": METADATA}]),
            "(use value, literal, environment or request_header)",
        ),
        (
            traced(custom_tags=[{"tag": "t", "request_header": {"name": "Authorization"}}]),
            "name: 'Authorization' would put a secret into traces (name another header)",
        ),
        (traced({"http_service": SERVICE, "resource_detectors": DETECTOR}), "(write the attributes into a Static"),
        (traced(operation="%REQ(:path)"), "operation: format string '%REQ(:path)': no valid command at position 0"),
        (traced(custom_tags=[{"tag": "t", "value": "%NOPE%"}]), "custom_tags[0].value: "),
        (sink(grpc_service=GRPC), "cluster 'idp' speaks HTTP/1.1, gRPC needs HTTP/2"),
        (sink(http_service=SERVICE, report_counters_as_deltas=True), "(remove it: counters are cumulative)"),
        (
            provided(DATADOG),
            "(use envoy.tracers.opentelemetry, envoy.config.trace.v3.OpenTelemetryConfig)",
        ),
        (
            ("static_resources:\n", f"stats_sinks: {flow(STATSD)}\nstatic_resources:\n"),
            "(use envoy.stat_sinks.open_telemetry, or scrape /stats/prometheus at the admin address)",
        ),
        (
            traced({"http_service": {"http_uri": {**SERVICE["http_uri"], "cluster": "none"}}}),
            "unknown cluster 'none' (define it in static_resources.clusters)",
        ),
    ],
)
def test_what_is_not_implemented_is_refused_with_what_to_write(replacement: tuple[str, str], said: str) -> None:
    assert said in error(replacement)
