"""A collector for tests: takes OTLP over HTTP, or by gRPC from a real server of gRPC's, and decodes what came."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import grpc
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from waiting import PATIENCE

_SERVICES: Final = (
    "opentelemetry.proto.collector.trace.v1.TraceService",
    "opentelemetry.proto.collector.metrics.v1.MetricsService",
)


@dataclass(frozen=True)
class Span:
    """One span as it was exported."""

    name: str
    kind: str
    trace: str
    id: str
    parent: str
    start: int
    end: int
    state: str
    status: int
    attributes: dict[str, Any]
    events: list[tuple[str, dict[str, Any]]]
    resource: dict[str, Any]


@dataclass
class Collector:
    """What was received; `paths` and `headers` of every request."""

    status: int = 200
    code: str = "OK"
    """What a call of gRPC's is answered with; then with a reason in words."""
    answer: bytes = b""
    delay: float = 0.0
    spans: list[Span] = field(default_factory=list)
    metrics: list[dict[str, Any]] = field(default_factory=list)
    """Of each export: (name, attributes as sorted pairs) -> value, kind, and the resource under `resource`."""
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    port: int = 0

    def wait(self, what: Callable[[Collector], Any], seconds: float = PATIENCE) -> Any:
        """Until `what(self)` is true; its value. Raises AssertionError."""
        deadline = time.monotonic() + seconds
        while not (found := what(self)):
            assert time.monotonic() < deadline, (self.spans, self.metrics[-1:])
            time.sleep(0.02)
        return found

    def spans_of(self, count: int, trace: str = "") -> list[Span]:
        """At least so many spans (of a trace), in the order of their start."""

        def found(self: Collector) -> list[Span]:
            spans = [span for span in self.spans if trace in ("", span.trace)]
            return sorted(spans, key=lambda span: span.start) if len(spans) >= count else []

        spans: list[Span] = self.wait(found)
        return spans

    def take(self, path: str, headers: dict[str, str], body: bytes) -> None:
        """One request."""
        self.requests.append((path, headers))
        if headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        if path.endswith(("/v1/traces", ".TraceService/Export")):
            self._spans(ExportTraceServiceRequest.FromString(body))
        elif path.endswith(("/v1/metrics", ".MetricsService/Export")):
            self.metrics.append(_metrics(ExportMetricsServiceRequest.FromString(body)))

    def _spans(self, message: Any) -> None:
        for resource in message.resource_spans:
            about = _attributes(resource.resource.attributes)
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self.spans.append(
                        Span(
                            name=span.name,
                            kind=span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
                            trace=span.trace_id.hex(),
                            id=span.span_id.hex(),
                            parent=span.parent_span_id.hex(),
                            start=span.start_time_unix_nano,
                            end=span.end_time_unix_nano,
                            state=span.trace_state,
                            status=span.status.code,
                            attributes=_attributes(span.attributes),
                            events=[(event.name, _attributes(event.attributes)) for event in span.events],
                            resource=about,
                        )
                    )


def _attributes(items: Any) -> dict[str, Any]:
    found = {item.key: getattr(item.value, item.value.WhichOneof("value")) for item in items}
    assert len(found) == len(items), items
    return found


def _metrics(message: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for resource in message.resource_metrics:
        found["resource"] = _attributes(resource.resource.attributes)
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                kind = metric.WhichOneof("data")
                data = getattr(metric, kind)
                for point in data.data_points:
                    key = (metric.name, *sorted(_attributes(point.attributes).items()))
                    if kind == "histogram":
                        found[key] = (kind, point.count, point.sum)
                    else:
                        value = getattr(point, point.WhichOneof("value"))
                        found[key] = (kind, value, getattr(data, "aggregation_temporality", 0))
    return found


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    collector: Collector

    def do_POST(self) -> None:
        body = self._body()
        time.sleep(self.collector.delay)
        if self.collector.status == 200:
            self.collector.take(self.path, {k.lower(): v for k, v in self.headers.items()}, body)
        self.send_response(self.collector.status)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", str(len(self.collector.answer)))
        self.end_headers()
        self.wfile.write(self.collector.answer)

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("content-length", "0")))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def log_message(self, *_: object) -> None:
        """Silent."""


class Receiver:
    """The collector, listening on loopback while the `with` lasts."""

    def __init__(self, port: int = 0) -> None:
        self.collector = Collector()
        handler = type("Handler", (_Handler,), {"collector": self.collector})
        self._server = ThreadingHTTPServer(("127.0.0.1", port), handler)
        self._server.daemon_threads = True
        self.collector.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Collector:
        self._thread.start()
        return self.collector

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class GrpcReceiver:
    """The collector behind a gRPC server, listening on loopback while the `with` lasts."""

    def __init__(self, credentials: grpc.ServerCredentials | None = None, services: Sequence[str] = _SERVICES) -> None:
        self.collector = Collector()
        self._server = grpc.server(ThreadPoolExecutor(4))
        for service in services:
            handler = grpc.unary_unary_rpc_method_handler(partial(self._export, f"/{service}/Export"))
            handlers = grpc.method_handlers_generic_handler(service, {"Export": handler})
            self._server.add_generic_rpc_handlers((handlers,))
        if credentials is not None:
            self.collector.port = self._server.add_secure_port("127.0.0.1:0", credentials)
        else:
            self.collector.port = self._server.add_insecure_port("127.0.0.1:0")

    def _export(self, path: str, message: bytes, context: grpc.ServicerContext) -> bytes:
        collector = self.collector
        time.sleep(collector.delay)
        if collector.code != "OK":
            context.abort(grpc.StatusCode[collector.code], "not today: 100 % \u00fc")
        metadata = {key: str(value) for key, value in context.invocation_metadata()}
        metadata["timeout"] = str(context.time_remaining())
        collector.take(path, metadata, message)
        return collector.answer

    def __enter__(self) -> Collector:
        self._server.start()
        return self.collector

    def __exit__(self, *_: object) -> None:
        self._server.stop(0).wait()
