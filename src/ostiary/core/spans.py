"""What a finished request becomes in OpenTelemetry's terms: its own span, and those of what it waited for.

    server span                     the request (kind SERVER)
    ├─ provider token, jwks, ...    what a sign-in asked for (CLIENT)
    │  └─ connect
    └─ upstream's span              from being forwarded to the answer's end (CLIENT)
       └─ connect                   a new connection: DNS queries and attempts are its events

Names and attributes are OpenTelemetry's (semantic conventions for HTTP, stable since 1.23) and a few of Envoy's, or
Envoy's alone for who came with its configuration. The query is not part of `url.path`; where Envoy's `http.url` shows
it, authorization codes and tokens have been taken out of it (`core.redaction`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Final, final

from ostiary.core.formatter import compile_format
from ostiary.core.record import Record
from ostiary.core.trace import Attempt, ConnectTrace, DnsQuery
from ostiary.core.tracing import SpanContext
from ostiary.model import limits
from ostiary.model.telemetry import CustomTag, Tracing

if TYPE_CHECKING:
    from ostiary.core.flights.parts import Call

Value = str | int | float | bool
Attributes = list[tuple[str, Value]]
SERVER: Final = 2
CLIENT: Final = 3
"""OTLP's Span.SpanKind."""
_METHODS: Final = frozenset(
    ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"),
)
"""Others count as `_OTHER`: whoever names metrics after methods must not get a client's inventions."""
_RESET: Final = re.compile(r"upstream_reset_before_response_started\{([a-z_]+)")
_ORIGINAL_PATH: Final = "x-envoy-original-path"


@final
class Span:
    """One span. Ids are hex digits, times Unix seconds."""

    __slots__ = (
        "attributes",
        "end",
        "error",
        "events",
        "id",
        "kind",
        "message",
        "name",
        "parent",
        "start",
        "state",
        "trace",
    )

    def __init__(
        self, context: SpanContext, name: str, kind: int, span: bytes, parent: bytes, start: float, end: float
    ) -> None:
        self.trace = context.trace
        self.state = context.state
        self.name = name
        self.kind = kind
        self.id = span
        self.parent = parent
        self.start = start
        self.end = max(start, end)
        self.attributes: Attributes = []
        self.events: list[tuple[float, str, Attributes]] = []
        self.error = False
        self.message = ""


@final
class Finished:
    """A request that is over, kept until it is exported. `wall` is what makes monotonic seconds Unix seconds; `size` is
    about what it keeps in memory, in bytes."""

    __slots__ = ("context", "ended", "record", "size", "wall")

    def __init__(self, context: SpanContext, record: Record, ended: float, wall: float, size: int = 0) -> None:
        self.context = context
        self.record = record
        self.ended = ended
        self.wall = wall
        self.size = size


@final
class SpanMaker:
    """Makes the spans of one connection manager's requests."""

    def __init__(self, tracing: Tracing, environment: dict[str, str]) -> None:
        """`environment`: what custom tags may name."""
        self._tracing = tracing
        self._envoy = tracing.names == "envoy"
        self._tags = [(tag.tag, _tag_getter(tag, environment)) for tag in tracing.custom_tags]
        self._operation = _renderer(tracing.operation)
        self._upstream_operation = _renderer(tracing.upstream_operation)

    def spans(self, request: Finished, new_id: Iterator[bytes]) -> list[Span]:
        """The request's spans, its own first."""
        context, record = request.context, request.record
        name = self._server_name(record)
        span = Span(context, name, SERVER, context.span, context.parent, record.start_time, request.ended)
        tags = self._custom(record)
        status = record.response_code
        span.error = status >= 500 or not status
        span.attributes += self._envoy_server(record) if self._envoy else _otel_server(record)
        span.attributes += tags
        made = [span]
        parent = context.span
        if context.forwarded_at and context.upstream:
            upstream = self._upstream(request)
            upstream.attributes += tags
            made.append(upstream)
            parent = context.upstream
        made += [_connect(context, trace, parent, next(new_id), request.wall) for trace in context.connects]
        for call in context.calls:
            provider = _call(context, call, next(new_id), request.wall)
            made.append(provider)
            made += [_connect(context, trace, provider.id, next(new_id), request.wall) for trace in call.connects]
        return made

    def _server_name(self, record: Record) -> str:
        if self._operation is not None:
            return self._operation(record)
        if self._envoy:
            return record.decorator or "ingress"
        method = _method_name(record)
        return f"{method} {record.route_name}" if record.route_name else method

    def _custom(self, record: Record) -> Attributes:
        return [(name, value) for name, getter in self._tags if (value := getter(record))]

    def _upstream(self, request: Finished) -> Span:
        context, record = request.context, request.record
        name = f"router {record.upstream_cluster} egress" if self._envoy else _method_name(record)
        if self._upstream_operation is not None:
            name = self._upstream_operation(record)
        start = context.forwarded_at + request.wall
        span = Span(context, name, CLIENT, context.upstream, context.span, start, request.ended)
        answered = record.response_code if record.response_code_details == "via_upstream" else 0
        host = record.upstream_host
        if not self._envoy:
            span.error = not answered or answered >= 400
            span.attributes += _otel_upstream(record, answered)
            return span
        if not answered or answered >= 500:
            span.attributes.append(("error", "true"))
        if reset := _RESET.match(record.response_code_details):
            span.attributes.append(("error.reason", reset[1].replace("_", " ")))
        span.attributes += [
            ("http.protocol", record.upstream_protocol or "-"),
            ("upstream_address", host),
            ("peer.address", host),
            *_envoy_outcome(record, answered),
        ]
        return span

    def _envoy_server(self, record: Record) -> Attributes:
        """What Envoy's HttpTracerUtility sets, in its order."""
        headers = record.request_headers
        path = headers.get(_ORIGINAL_PATH) or record.path
        found: Attributes = [
            ("node_id", self._tracing.node_id),
            ("zone", self._tracing.zone),
        ]
        if record.stream_id:
            found.append(("guid:x-request-id", record.stream_id))
        if client_trace := headers.get("x-client-trace-id"):
            found.append(("guid:x-client-trace-id", client_trace))
        found += [
            ("http.url", f"{record.scheme}://{record.authority}{path[: self._tracing.max_path_tag_length]}"),
            ("http.method", record.method),
            ("downstream_cluster", headers.get("x-envoy-downstream-service-cluster") or "-"),
            ("user_agent", headers.get("user-agent") or "-"),
            ("http.protocol", record.protocol),
            ("peer.address", _split(record.downstream_remote_address)[0]),
            ("request_size", str(record.bytes_received)),
            ("response_size", str(record.bytes_sent)),
            *_envoy_outcome(record, record.response_code),
        ]
        if record.response_code >= 500 or not record.response_code:
            found.append(("error", "true"))
        return found


def _renderer(template: str) -> Callable[[Record], str] | None:
    """What a format string makes of a request; None if there is none. Credentials become `[secret]`."""
    return compile_format(template, omit_empty=True, redact=True).render if template else None


def _tag_getter(tag: CustomTag, environment: dict[str, str]) -> Callable[[Record], str]:
    """What a custom tag says of a request; empty: nothing."""
    if tag.kind == "request_header":
        name, default = tag.value, tag.default
        return lambda record: record.request_set.get(name) or record.request_headers.get(name) or default
    if tag.kind == "value":
        return compile_format(tag.value, omit_empty=True, redact=True).render
    fixed = environment.get(tag.value, "") or tag.default if tag.kind == "environment" else tag.value
    return lambda _record: fixed


def _envoy_outcome(record: Record, status: int) -> Attributes:
    found: Attributes = [("component", "proxy")]
    if record.upstream_cluster:
        found += [("upstream_cluster", record.upstream_cluster), ("upstream_cluster.name", record.upstream_cluster)]
    return [*found, ("http.status_code", str(status)), ("response_flags", record.response_flags or "-")]


def _otel_server(record: Record) -> Attributes:
    headers = record.request_headers
    path = (headers.get(_ORIGINAL_PATH) or record.path).partition("?")[0]
    status = record.response_code
    found: Attributes = [
        ("http.request.method", _method(record)),
        ("url.path", path),
        ("network.protocol.version", _version(record.protocol)),
        ("component", "proxy"),
    ]
    if record.scheme:
        found.append(("url.scheme", record.scheme))
    if record.authority:
        found += _server(record.authority)
    if client := _split(record.downstream_remote_address)[0]:
        found.append(("client.address", client))
    if peer := _split(record.downstream_direct_remote_address)[0]:
        found.append(("network.peer.address", peer))
    if agent := headers.get("user-agent"):
        found.append(("user_agent.original", agent))
    if status:
        found.append(("http.response.status_code", status))
    if record.route_name:
        found.append(("http.route", record.route_name))
    if record.stream_id:
        found.append(("guid:x-request-id", record.stream_id))
    if record.upstream_cluster:
        found.append(("upstream_cluster", record.upstream_cluster))
    if record.response_flags:
        found.append(("response_flags", record.response_flags))
    if status >= 500 or not status:
        found.append(("error.type", _error_type(status, record)))
        found.append(("response_code_details", record.response_code_details))
    return found


def _otel_upstream(record: Record, answered: int) -> Attributes:
    found: Attributes = [("http.request.method", _method(record)), *_server(record.upstream_host)]
    if record.upstream_protocol:
        found.append(("network.protocol.version", _version(record.upstream_protocol)))
    if answered:
        found.append(("http.response.status_code", answered))
    if not answered or answered >= 400:
        found.append(("error.type", _error_type(answered, record)))
    found.append(("upstream_cluster", record.upstream_cluster))
    if record.response_flags:
        found.append(("response_flags", record.response_flags))
    return found


def _method_name(record: Record) -> str:
    return record.method if record.method in _METHODS else "HTTP"


def _method(record: Record) -> str:
    return record.method if record.method in _METHODS else "_OTHER"


def _version(protocol: str) -> str:
    return protocol.removeprefix("HTTP/")


def _error_type(status: int, record: Record) -> str:
    return str(status) if status else record.response_flags or "_OTHER"


def _split(address: str) -> tuple[str, int]:
    """Host and port of `host:port`, `[::1]:80`, or a host alone (port 0)."""
    host, colon, port = address.rpartition(":")
    if colon and port.isascii() and port.isdigit() and (":" not in host or host.startswith("[")):
        return host.strip("[]"), int(port)
    return address.strip("[]"), 0


def _server(address: str) -> tuple[tuple[str, Value], ...]:
    return (_known_server if len(address) <= limits.MAX_REMEMBERED_ATTRIBUTE else _new_server)(address)


def _new_server(address: str) -> tuple[tuple[str, Value], ...]:
    host, port = _split(address)
    if not host:
        return ()
    return (("server.address", host), ("server.port", port)) if port else (("server.address", host),)


_known_server = lru_cache(maxsize=1024)(_new_server)


def _call(context: SpanContext, call: Call, span_id: bytes, wall: float) -> Span:
    name = f"provider {call.purpose}" if call.purpose else "provider"
    span = Span(context, name, CLIENT, span_id, context.span, call.started + wall, call.ended + wall)
    span.attributes.append(("http.request.method", call.method))
    scheme, _, rest = call.url.partition("://")
    if rest:
        span.attributes += [("url.full", call.url), ("url.scheme", scheme), *_server(rest.partition("/")[0])]
    else:
        cluster, _, path = call.url.partition(": ")
        span.attributes += [("upstream_cluster", cluster), ("url.path", path)]
    status = call.status or 0
    span.error = status >= 400 or not status
    if status:
        span.attributes.append(("http.response.status_code", status))
    if span.error:
        span.message = call.message or call.error_description
        span.attributes.append(("error.type", call.failure or call.error or str(status)))
    if call.tries > 1:
        span.attributes.append(("http.request.resend_count", call.tries - 1))
    return span


def _connect(context: SpanContext, trace: ConnectTrace, parent: bytes, span_id: bytes, wall: float) -> Span:
    ended = trace.ended if trace.ended is not None else trace.started
    span = Span(context, f"connect {trace.target}", CLIENT, span_id, parent, trace.started + wall, ended + wall)
    span.attributes += [*_server(trace.target), ("dns_lookup_family", trace.dns_lookup_family)]
    if trace.winner is not None:
        span.attributes += [("network.peer.address", trace.winner.address), ("network.peer.port", trace.winner.port)]
    else:
        span.error = True
        span.message = trace.summary
        failed = [attempt.errno for attempt in trace.attempts if attempt.errno]
        span.attributes.append(("error.type", failed[-1] if failed else "timeout"))
    if trace.tls is not None:
        span.attributes.append(("tls.protocol.version", trace.tls.version.removeprefix("TLSv")))
    span.events += [(query.started + wall, "dns.query", _query(query)) for query in trace.dns]
    started = [attempt for attempt in trace.attempts if attempt.started is not None]
    span.events += [((attempt.started or 0.0) + wall, "connect.attempt", _attempt(attempt)) for attempt in started]
    return span


def _query(query: DnsQuery) -> Attributes:
    found: Attributes = [
        ("dns.question.name", query.name),
        ("dns.question.type", query.type),
        ("dns.server", query.server),
        ("outcome", query.outcome),
    ]
    if query.answers:
        found.append(("dns.answers", " ".join(query.answers)))
    if query.ended is not None:
        found.append(("duration_ms", round((query.ended - query.started) * 1000, 3)))
    return found


def _attempt(attempt: Attempt) -> Attributes:
    found: Attributes = [
        ("network.peer.address", attempt.address),
        ("network.peer.port", attempt.port),
        ("family", attempt.family),
        ("stage", attempt.stage),
        ("outcome", attempt.outcome),
    ]
    if attempt.errno:
        found.append(("errno", attempt.errno))
    if attempt.message:
        found.append(("message", attempt.message))
    if attempt.ended is not None and attempt.started is not None:
        found.append(("duration_ms", round((attempt.ended - attempt.started) * 1000, 3)))
    return found
