"""`telemetry` of the native dialect, and OpenTelemetry's standard environment variables.

The variables count only where there is a `telemetry` section (an empty one will do): operators inject them into every
pod, and nothing should be sent anywhere because of that alone. What the configuration says wins over them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final
from urllib.parse import unquote, urlsplit

from msgspec.structs import replace as changed

from ostiary.core.tracing import SDK_ATTRIBUTES
from ostiary.dialects.native_reader import Report, Section
from ostiary.dialects.native_values import Value, overlay
from ostiary.model import limits
from ostiary.model.secret import Secret
from ostiary.model.telemetry import Collector, MetricsExport, Tracing
from ostiary.model.tls import DataSource

DEFAULT_ENDPOINTS: Final[Mapping[str, str]] = {
    "http/protobuf": "http://localhost:4318",
    "grpc": "http://localhost:4317",
}
"""OpenTelemetry's, by protocol."""
_RATIO: Final = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,9})?)(%?)", re.ASCII)
_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,256}", re.ASCII)
_MILLISECONDS: Final = re.compile(r"[0-9]{1,9}", re.ASCII)
_SAMPLERS: Final[Mapping[str, str]] = {"always_on": "1", "always_off": "0", "traceidratio": ""}
"""Name, without `parentbased_` -> the ratio; empty: it is the argument."""

Texts = dict[str, str | dict[str, str]]


def with_environment(tree: Value, env: Mapping[str, str], report: Report) -> Value:
    """The document with what OTEL_* variables say laid under its `telemetry` section, where it has one."""
    content = tree.content
    if not isinstance(content, Mapping) or "telemetry" not in content:
        return tree
    below = Value({}, content["telemetry"].file, content["telemetry"].line, content["telemetry"].column)
    for name, read in _VARIABLES.items():
        if text := env.get(name, "").strip():
            found = read(text, env)
            if isinstance(found, str):
                report.error(Value(None, name), "telemetry", found)
                continue
            for key, value in found.items():
                inner = (
                    Value({each: Value(one, name) for each, one in value.items()}, name)
                    if isinstance(value, dict)
                    else Value(value, name)
                )
                below = overlay(below, Value({key: inner}, name))
    section = overlay(below, content["telemetry"])
    return replace(tree, content={**content, "telemetry": replace(section, key=content["telemetry"].key)})


def _to(key: str, unit: str = "") -> Callable[[str, Mapping[str, str]], Texts | str]:
    return lambda text, _env: {key: text + unit}


def _milliseconds(key: str) -> Callable[[str, Mapping[str, str]], Texts | str]:
    def read(text: str, _env: Mapping[str, str]) -> Texts | str:
        return {key: f"{text}ms"} if _MILLISECONDS.fullmatch(text) else "milliseconds are needed, as in 5000"

    return read


def _pairs(key: str) -> Callable[[str, Mapping[str, str]], Texts | str]:
    """`a=1,b=2`, percent-encoded (W3C Baggage). The text is never shown: headers hold keys."""

    def read(text: str, _env: Mapping[str, str]) -> Texts | str:
        found: dict[str, str] = {}
        for pair in filter(None, (each.strip() for each in text.split(","))):
            name, equals, value = pair.partition("=")
            if not equals or not name.strip():
                return "name=value pairs are needed, separated by commas"
            found[unquote(name.strip())] = unquote(value.strip())
        return {key: found}

    return read


def _exporter(key: str) -> Callable[[str, Mapping[str, str]], Texts | str]:
    def read(text: str, _env: Mapping[str, str]) -> Texts | str:
        if text.lower() not in ("otlp", "none"):
            return f"{text!r} is not implemented: otlp or none"
        return {key: "true" if text.lower() == "otlp" else "false"}

    return read


def _sampler(text: str, env: Mapping[str, str]) -> Texts | str:
    ratio = _SAMPLERS.get(text.lower().removeprefix("parentbased_"))
    if ratio is None:
        return f"{text!r} is not implemented: one of {', '.join(_SAMPLERS)}, or parentbased_ and one of them"
    argument = env.get("OTEL_TRACES_SAMPLER_ARG", "").strip()
    parent_based = "true" if text.lower().startswith("parentbased_") else "false"
    return {"sampling": ratio or argument or "1", "parent_based": parent_based}


_VARIABLES: Final[Mapping[str, Callable[[str, Mapping[str, str]], Texts | str]]] = {
    "OTEL_SDK_DISABLED": _to("disabled"),
    "OTEL_EXPORTER_OTLP_ENDPOINT": _to("endpoint"),
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": _to("traces_endpoint"),
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": _to("metrics_endpoint"),
    "OTEL_EXPORTER_OTLP_PROTOCOL": _to("protocol"),
    "OTEL_EXPORTER_OTLP_HEADERS": _pairs("headers"),
    "OTEL_EXPORTER_OTLP_TIMEOUT": _milliseconds("timeout"),
    "OTEL_EXPORTER_OTLP_COMPRESSION": _to("compression"),
    "OTEL_EXPORTER_OTLP_CERTIFICATE": _to("ca_file"),
    "OTEL_RESOURCE_ATTRIBUTES": _pairs("resource"),
    "OTEL_SERVICE_NAME": _to("service_name"),
    "OTEL_TRACES_EXPORTER": _exporter("traces"),
    "OTEL_METRICS_EXPORTER": _exporter("metrics"),
    "OTEL_TRACES_SAMPLER": _sampler,
    "OTEL_METRIC_EXPORT_INTERVAL": _milliseconds("metrics_interval"),
}


def read_telemetry(root: Section) -> tuple[Tracing | None, tuple[MetricsExport, ...]]:
    """`telemetry`: what becomes of requests, and of counters. Nothing without the section."""
    if root.get("telemetry") is None:
        return None, ()
    section = root.section("telemetry", "telemetry")
    protocol = section.choice("protocol", tuple(DEFAULT_ENDPOINTS), "http/protobuf")
    base = Collector(
        grpc=protocol == "grpc",
        headers=_headers(section),
        timeout=section.duration("timeout", limits.TELEMETRY_TIMEOUT, low=0.1),
        compress=section.choice("compression", ("none", "gzip"), "none") == "gzip",
        ca=section.file("ca_file"),
    )
    resource = _resource(section)
    tracing = Tracing(
        collector=_at(section, base, "traces"),
        resource=resource,
        sampling=_ratio(section),
        parent_based=section.flag("parent_based", default=True),
        restart=section.choice("incoming", ("continue", "restart"), "continue") == "restart",
        spawn_upstream_span=section.flag("upstream_spans", default=True),
    )
    metrics = MetricsExport(
        collector=_at(section, base, "metrics"),
        resource=resource,
        interval=section.duration("metrics_interval", limits.METRICS_INTERVAL, low=1.0),
    )
    disabled = section.flag("disabled", default=False)
    traces, counters = section.flag("traces", default=True), section.flag("metrics", default=True)
    return tracing if traces and not disabled else None, (metrics,) if counters and not disabled else ()


def _at(section: Section, base: Collector, signal: str) -> Collector:
    """Where that signal goes: its own URL as it is, or below the common one. gRPC's path is the signal's."""
    default = DEFAULT_ENDPOINTS["grpc" if base.grpc else "http/protobuf"]
    key = f"{signal}_endpoint"
    own = section.text(key)
    key = key if own else "endpoint"
    common, mark, query = section.text("endpoint", default).partition("?")
    url = own or (f"{common}{mark}{query}" if base.grpc else f"{common.rstrip('/')}/v1/{signal}{mark}{query}")
    parts = urlsplit(url) if url.isascii() and " " not in url else None
    try:
        good = parts is not None and parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good or parts is None or parts.fragment:
        section.error(key, "is not the URL of a collector", f"for example {default}")
    elif "@" in parts.netloc:
        mend = "put it into headers: authorization: Basic ..., or into a file that header_files names"
        section.error(key, "a URL can't hold a password here", mend)
    elif base.grpc and (parts.path.strip("/") or parts.query):
        section.error(key, "a collector's address for gRPC has no path", f"for example {default}, or http/protobuf")
    return changed(base, url=url)


def _headers(section: Section) -> tuple[tuple[str, DataSource], ...]:
    written = [(name, DataSource(inline=Secret(value))) for name, value in section.mapping("headers").items()]
    for name, filename in section.mapping("header_files").items():
        section.bytes_of("header_files", filename)
        written.append((name, DataSource(filename=filename)))
    for name, _ in written:
        if not _NAME.fullmatch(name):
            section.error("headers", f"{name[:64]!r} can't be the name of a header")
    return tuple((name.lower(), value) for name, value in written)


def _resource(section: Section) -> tuple[tuple[str, str], ...]:
    found = {"service.name": "ostiary", **section.mapping("resource")}
    if name := section.text("service_name"):
        found["service.name"] = name
    return (*found.items(), *SDK_ATTRIBUTES)


def _ratio(section: Section) -> float:
    text = section.text("sampling", "1")
    match = _RATIO.fullmatch(text)
    ratio = float(match[1]) / (100 if match[2] else 1) if match else -1.0
    if not 0 <= ratio <= 1:
        section.error("sampling", f"{text!r} is not a part of requests", "write 0.1 or 10%")
        return 1.0
    return ratio
