"""OTLP's messages (opentelemetry-proto 1.x), as bytes.

Imported only where something is exported.

Spans are many, and building their messages attribute by attribute would cost more than everything else about them. But
of two encoded messages of one type, one after the other, protobuf reads all fields together: so an attribute is encoded
once, as a span that has nothing else, and put behind every span that has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.metrics.v1 import metrics_pb2
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1 import trace_pb2

from ostiary._version import __version__
from ostiary.core.histogram import BUCKETS, cumulative
from ostiary.core.spans import Span, Value
from ostiary.core.stat_tags import Tags
from ostiary.model import limits

Points = Mapping[str, Sequence[tuple[Tags, int]]]
"""Name -> its values, each with what tells them apart."""
_SCOPE = InstrumentationScope(name="ostiary", version=__version__)


_SELDOM_TWICE = frozenset(("guid:x-request-id", "http.url", "url.path"))


def _new_attribute(key: str, value: Value) -> KeyValue:
    if isinstance(value, bool):
        return KeyValue(key=key, value=AnyValue(bool_value=value))
    if isinstance(value, int):
        return KeyValue(key=key, value=AnyValue(int_value=value))
    if isinstance(value, float):
        return KeyValue(key=key, value=AnyValue(double_value=value))
    text = value.encode("utf-8", "replace").decode()
    return KeyValue(key=key, value=AnyValue(string_value=text))


_attribute = lru_cache(maxsize=4096, typed=True)(_new_attribute)


def _attributes(items: Iterable[tuple[str, Value]]) -> list[KeyValue]:
    return [_attribute(key, value) for key, value in items]


def _of_span(key: str, value: Value) -> bytes:
    encoded: bytes = trace_pb2.Span(attributes=[_new_attribute(key, value)]).SerializeToString()
    return encoded


_remembered = lru_cache(maxsize=4096, typed=True)(_of_span)


def _is_seldom(key: str, value: Value) -> bool:
    """Not worth being remembered, or, as clients make it, too large for that."""
    return key in _SELDOM_TWICE or (type(value) is str and len(value) > limits.MAX_REMEMBERED_ATTRIBUTE)


def _field(number: int, payload: bytes) -> bytes:
    """A field that holds a message (protobuf's encoding, wire type 2)."""
    length, head = len(payload), bytearray((number << 3 | 2,))
    while length > 0x7F:
        head.append(length & 0x7F | 0x80)
        length >>= 7
    head.append(length)
    return bytes(head) + payload


def _resource(attributes: Iterable[tuple[str, str]]) -> Resource:
    return Resource(attributes=_attributes(attributes))


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1_000_000) * 1000


def encode_spans(resource: Iterable[tuple[str, str]], spans: Iterable[Span]) -> bytes:
    """An ExportTraceServiceRequest."""
    parts = [trace_pb2.ScopeSpans(scope=_SCOPE).SerializeToString()]
    parts += [_field(trace_pb2.ScopeSpans.SPANS_FIELD_NUMBER, _span(span)) for span in spans]
    scope = _field(trace_pb2.ResourceSpans.SCOPE_SPANS_FIELD_NUMBER, b"".join(parts))
    about = trace_pb2.ResourceSpans(resource=_resource(resource)).SerializeToString()
    return _field(ExportTraceServiceRequest.RESOURCE_SPANS_FIELD_NUMBER, about + scope)


def _span(span: Span) -> bytes:
    message = trace_pb2.Span(
        trace_id=bytes.fromhex(span.trace.decode()),
        span_id=bytes.fromhex(span.id.decode()),
        parent_span_id=bytes.fromhex(span.parent.decode()),
        trace_state=span.state.decode("ascii", "replace"),
        name=span.name,
        kind=span.kind,  # type: ignore[arg-type]
        start_time_unix_nano=_nanoseconds(span.start),
        end_time_unix_nano=_nanoseconds(span.end),
    )
    for at, name, attributes in span.events:
        message.events.add(time_unix_nano=_nanoseconds(at), name=name, attributes=_attributes(attributes))
    if span.error:
        message.status.code = trace_pb2.Status.STATUS_CODE_ERROR
        message.status.message = span.message
    parts = [message.SerializeToString()]
    for key, value in span.attributes:
        parts.append(_of_span(key, value) if _is_seldom(key, value) else _remembered(key, value))
    return b"".join(parts)


def encode_metrics(
    resource: Iterable[tuple[str, str]],
    counters: Points,
    gauges: Points,
    histograms: Mapping[str, Sequence[tuple[Tags, tuple[Sequence[int], int]]]],
    started: float,
    now: float,
) -> bytes:
    """An ExportMetricsServiceRequest: cumulative sums since `started`, gauges, and histograms (of milliseconds: bins
    and sum). Times are Unix seconds."""
    begin, at = _nanoseconds(started), _nanoseconds(now)

    def points(values: Sequence[tuple[Tags, int]], since: int) -> list[metrics_pb2.NumberDataPoint]:
        return [
            metrics_pb2.NumberDataPoint(
                attributes=_attributes(tags), start_time_unix_nano=since, time_unix_nano=at, as_int=value
            )
            for tags, value in values
        ]

    metrics = [
        metrics_pb2.Metric(
            name=name,
            sum=metrics_pb2.Sum(
                data_points=points(values, begin),
                aggregation_temporality=metrics_pb2.AGGREGATION_TEMPORALITY_CUMULATIVE,
                is_monotonic=True,
            ),
        )
        for name, values in counters.items()
    ]
    metrics += [
        metrics_pb2.Metric(
            name=name,
            gauge=metrics_pb2.Gauge(data_points=points(values, 0)),
        )
        for name, values in gauges.items()
    ]
    metrics += [
        metrics_pb2.Metric(
            name=name,
            unit="ms",
            histogram=metrics_pb2.Histogram(
                data_points=[_histogram(tags, *value, begin, at) for tags, value in values],
                aggregation_temporality=metrics_pb2.AGGREGATION_TEMPORALITY_CUMULATIVE,
            ),
        )
        for name, values in histograms.items()
    ]
    scope = metrics_pb2.ScopeMetrics(scope=_SCOPE, metrics=metrics)
    message = metrics_pb2.ResourceMetrics(resource=_resource(resource), scope_metrics=[scope])
    encoded: bytes = ExportMetricsServiceRequest(resource_metrics=[message]).SerializeToString()
    return encoded


def _histogram(tags: Tags, bins: Sequence[int], total: int, begin: int, at: int) -> metrics_pb2.HistogramDataPoint:
    count, below = sum(bins), cumulative(bins)
    return metrics_pb2.HistogramDataPoint(
        attributes=_attributes(tags),
        start_time_unix_nano=begin,
        time_unix_nano=at,
        count=count,
        sum=total,
        explicit_bounds=BUCKETS,
        bucket_counts=[high - low for low, high in zip((0, *below), (*below, count), strict=True)],
    )


def rejected(message: bytes, signal: str) -> tuple[int, str]:
    """How many of the `signal` (`spans`, `metrics`) a collector refused that took the others, and why. What it says is
    foreign: if it is no answer of OTLP's, it says nothing."""
    try:
        if signal == "spans":
            spans = ExportTraceServiceResponse.FromString(message).partial_success
            return max(0, spans.rejected_spans), spans.error_message
        points = ExportMetricsServiceResponse.FromString(message).partial_success
        return max(0, points.rejected_data_points), points.error_message
    except DecodeError:
        return 0, ""
