"""`telemetry`, and OpenTelemetry's own variables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from dialects.test_native import MINIMAL, good, told
from ostiary.model.telemetry import MetricsExport, Tracing

OTEL = {
    "OTEL_EXPORTER_OTLP_ENDPOINT": "https://collector.example:4318/",
    "OTEL_EXPORTER_OTLP_HEADERS": "x-api-key=k%3D1, x-tenant=blue",
    "OTEL_EXPORTER_OTLP_TIMEOUT": "2500",
    "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
    "OTEL_SERVICE_NAME": "from-environment",
    "OTEL_RESOURCE_ATTRIBUTES": "service.name=lost,deployment.environment.name=a%20b",
    "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
    "OTEL_TRACES_SAMPLER_ARG": "0.25",
    "OTEL_METRIC_EXPORT_INTERVAL": "30000",
}


def tracing(text: str = "telemetry:\n", env: Mapping[str, str] | None = None) -> Tracing:
    found = good(MINIMAL + text, env=env).listeners[0].http.tracing
    assert found is not None
    return found


def metrics(text: str = "telemetry:\n", env: Mapping[str, str] | None = None) -> MetricsExport:
    (found,) = good(MINIMAL + text, env=env).metrics
    return found


def test_nothing_is_exported_because_of_variables_alone() -> None:
    config = good(MINIMAL, env=OTEL)
    assert (config.listeners[0].http.tracing, config.metrics) == (None, ())


def test_an_empty_section_is_opentelemetrys_defaults() -> None:
    assert tracing().collector.url == "http://localhost:4318/v1/traces"
    assert metrics().collector.url == "http://localhost:4318/v1/metrics"
    assert (tracing().sampling, tracing().parent_based, tracing().restart) == (1.0, True, False)
    assert (metrics().interval, metrics().collector.timeout) == (60.0, 10.0)
    assert ("service.name", "ostiary") in tracing().resource


def test_the_standard_variables_say_what_the_section_doesnt() -> None:
    found = tracing(env=OTEL)
    collector = found.collector
    assert collector.url == "https://collector.example:4318/v1/traces"
    headers = {name: source.inline and source.inline.text() for name, source in collector.headers}
    assert headers == {"x-api-key": "k=1", "x-tenant": "blue"}
    assert (collector.timeout, collector.compress, found.sampling) == (2.5, True, 0.25)
    resource = dict(found.resource)
    assert (resource["service.name"], resource["deployment.environment.name"]) == ("from-environment", "a b")
    assert metrics(env=OTEL).interval == 30.0


@pytest.mark.parametrize(
    ("text", "env"),
    [
        ("telemetry: {protocol: grpc, endpoint: 'https://c.test:4317/'}\n", {}),
        ("telemetry: {protocol: gRPC}\n", {"OTEL_EXPORTER_OTLP_ENDPOINT": "https://c.test:4317/"}),
        (
            "telemetry:\n",
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "https://c.test:4317/", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
        ),
    ],
)
def test_grpc_by_the_section_or_the_variable(text: str, env: Mapping[str, str]) -> None:
    for collector in (tracing(text, env).collector, metrics(text, env).collector):
        assert (collector.grpc, collector.url) == (True, "https://c.test:4317/")
    assert tracing("telemetry: {protocol: grpc}\n").collector.url == "http://localhost:4317"


def test_the_path_of_a_signal_comes_before_the_query() -> None:
    found = tracing("telemetry:\n  endpoint: https://c.test/otlp/?key=abc\n")
    assert found.collector.url == "https://c.test/otlp/v1/traces?key=abc"


def test_the_section_wins_over_the_variables() -> None:
    text = "telemetry:\n  endpoint: http://127.0.0.1:9\n  service_name: mine\n  headers: {x-tenant: red}\n"
    found = tracing(text, OTEL)
    assert found.collector.url == "http://127.0.0.1:9/v1/traces"
    assert ("service.name", "mine") in found.resource
    assert len(found.collector.headers) == 2
    assert dict(found.collector.headers)["x-tenant"].inline is not None
    assert "red" not in repr(found)


@pytest.mark.parametrize(
    ("sampler", "argument", "expected"),
    [
        ("always_on", "", (1.0, False)),
        ("always_off", "", (0.0, False)),
        ("traceidratio", "0.5", (0.5, False)),
        ("traceidratio", "", (1.0, False)),
        ("parentbased_always_on", "", (1.0, True)),
        ("parentbased_always_off", "0.7", (0.0, True)),
        ("parentbased_traceidratio", "0.01", (0.01, True)),
    ],
)
def test_every_standard_sampler(sampler: str, argument: str, expected: tuple[float, bool]) -> None:
    found = tracing(env={"OTEL_TRACES_SAMPLER": sampler, "OTEL_TRACES_SAMPLER_ARG": argument})
    assert (found.sampling, found.parent_based) == expected


@pytest.mark.parametrize(
    "env", [{"OTEL_SDK_DISABLED": "true"}, {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none"}]
)
def test_it_can_be_switched_off_from_outside(env: dict[str, str]) -> None:
    config = good(MINIMAL + "telemetry:\n", env=env)
    assert (config.listeners[0].http.tracing, config.metrics) == (None, ())


def test_each_signal_may_have_a_url_of_its_own_or_none() -> None:
    text = "telemetry:\n  traces_endpoint: http://t:1/x\n  metrics: false\n  sampling: 5%\n  incoming: restart\n"
    config = good(MINIMAL + text)
    assert config.metrics == ()
    found = config.listeners[0].http.tracing
    assert found is not None
    assert (found.collector.url, found.sampling, found.restart) == ("http://t:1/x", 0.05, True)


def test_a_header_may_be_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("k")
    text = f"telemetry:\n  header_files: {{X-Api-Key: {tmp_path / 'key'}}}\n"
    [(name, source)] = tracing(text).collector.headers
    assert (name, source.filename) == ("x-api-key", str(tmp_path / "key"))


@pytest.mark.parametrize(
    ("text", "env", "said"),
    [
        ("protocol: http/json", {}, "o.yaml:7:13: error: telemetry.protocol: 'http/json' is not one of http/protobuf,"),
        ("", {"OTEL_EXPORTER_OTLP_PROTOCOL": "http"}, "OTEL_EXPORTER_OTLP_PROTOCOL: error: telemetry.protocol: 'http'"),
        (
            "{protocol: grpc, traces_endpoint: 'http://c:4317/v1/traces'}",
            {},
            "telemetry.traces_endpoint: a collector's address for gRPC has no path (for example http://localhost:4317",
        ),
        ("endpoint: collector:4318", {}, "telemetry.endpoint: is not the URL of a collector"),
        ("endpoint: http://me:secret@c", {}, "telemetry.endpoint: a URL can't hold a password here"),
        ("sampling: 110%", {}, "telemetry.sampling: '110%' is not a part of requests (write 0.1 or 10%)"),
        ("header: {a: b}", {}, "telemetry.header: unknown key (did you mean headers?)"),
        ("headers: {'a b': c}", {}, "telemetry.headers: 'a b' can't be the name of a header"),
        ("", {"OTEL_EXPORTER_OTLP_HEADERS": "secret"}, "OTEL_EXPORTER_OTLP_HEADERS: error: telemetry: name=value"),
        ("", {"OTEL_TRACES_SAMPLER": "jaeger_remote"}, "OTEL_TRACES_SAMPLER: error: telemetry: 'jaeger_remote' is not"),
        ("", {"OTEL_TRACES_EXPORTER": "console"}, "OTEL_TRACES_EXPORTER: error: telemetry: 'console' is not"),
        ("", {"OTEL_METRIC_EXPORT_INTERVAL": "soon"}, "OTEL_METRIC_EXPORT_INTERVAL: error: telemetry: milliseconds"),
    ],
)
def test_what_cant_be_done_is_refused_where_it_was_said(text: str, env: dict[str, str], said: str) -> None:
    [message] = [line for line in told(f"{MINIMAL}telemetry:\n  {text}\n", env=env) if "error" in line]
    assert said in message
    assert "secret" not in message


def test_a_header_on_the_command_line_is_refused() -> None:
    [message] = told(MINIMAL, flags={"set telemetry.headers.x-api-key": "k"})
    assert "telemetry.header_files or the environment variable OTEL_EXPORTER_OTLP_HEADERS" in message
