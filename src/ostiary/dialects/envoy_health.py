"""`outlier_detection` and `health_checks` of a cluster."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ostiary.dialects.schema_tree import Message
from ostiary.model import limits
from ostiary.model.clusters import HealthChecking, HttpHealthCheck, OutlierDetection, TcpHealthCheck

_DURATIONS: Final = ("interval", "base_ejection_time", "max_ejection_time_jitter")
_FLAGS: Final = (
    "split_external_local_origin_errors", "successful_active_health_check_uneject_host", "always_eject_one_host",
)  # fmt: skip
_BODILESS: Final = ("GET", "HEAD", "DELETE", "TRACE")
_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH")


def outlier_detection(message: Message) -> OutlierDetection | None:
    """cluster.v3.OutlierDetection."""
    written = message.message("outlier_detection")
    if written is None:
        return None
    values: dict[str, Any] = {}
    for field in msgspec.structs.fields(OutlierDetection):
        name, default = field.name, field.default
        if name in _DURATIONS:
            values[name] = written.duration(name, default)
        elif name in _FLAGS:
            values[name] = written.boolean(name, default)
        elif name != "max_ejection_time":
            values[name] = written.integer(name, default)
    base = values["base_ejection_time"]
    longest = written.duration("max_ejection_time", max(limits.MAX_EJECTION_TIME, base))
    if longest < base:
        written.problem("max_ejection_time", "max_ejection_time cannot be smaller than base_ejection_time")
    return OutlierDetection(max_ejection_time=longest, **values)


def health_checking(message: Message) -> HealthChecking | None:
    """The cluster's health check; Envoy takes one."""
    checks = message.messages("health_checks")
    if not checks:
        return None
    if len(checks) > 1:
        message.problem("health_checks", "multiple health checks not supported", "keep one")
        for other in checks[1:]:
            other.ignore(*other.written())
    written = checks[0]
    written.ignore("always_log_health_check_failures", "always_log_health_check_success")  # about an event log
    check: HttpHealthCheck | TcpHealthCheck = TcpHealthCheck()
    if (http := written.message("http_health_check")) is not None:
        check = _http(http)
    elif (tcp := written.message("tcp_health_check")) is not None:
        receive = tuple(_payload(item) for item in tcp.messages("receive"))
        check = TcpHealthCheck(send=_payload(tcp.optional("send")), receive=receive)
    elif not written.has("grpc_health_check") and not written.has("custom_health_check"):
        written.problem(None, "says neither http_health_check nor tcp_health_check")
    interval = written.duration("interval")
    unhealthy = written.duration("unhealthy_interval", interval)
    no_traffic = written.duration("no_traffic_interval", limits.NO_TRAFFIC_INTERVAL)
    return HealthChecking(
        timeout=written.duration("timeout"),
        interval=interval,
        unhealthy_threshold=written.integer("unhealthy_threshold"),
        healthy_threshold=written.integer("healthy_threshold"),
        check=check,
        alt_port=written.integer("alt_port"),
        initial_jitter=written.duration("initial_jitter"),
        interval_jitter=written.duration("interval_jitter"),
        interval_jitter_percent=written.integer("interval_jitter_percent"),
        reuse_connection=written.boolean("reuse_connection", True),
        no_traffic_interval=no_traffic,
        no_traffic_healthy_interval=written.duration("no_traffic_healthy_interval", no_traffic),
        unhealthy_interval=unhealthy,
        unhealthy_edge_interval=written.duration("unhealthy_edge_interval", unhealthy),
        healthy_edge_interval=written.duration("healthy_edge_interval", interval),
    )


def _http(message: Message) -> HttpHealthCheck:
    message.choice("codec_client_type", ("HTTP1",), "upstreams are checked in HTTP/1.1")
    send = _payload(message.optional("send"))
    method = message.text("method", "METHOD_UNSPECIFIED")
    method = "GET" if method == "METHOD_UNSPECIFIED" else method
    if method not in _METHODS:
        message.problem("method", f"{method} can't check anything", "use GET or HEAD")
    if send and method in _BODILESS:
        message.problem("send", f"a {method} request has no body", "use POST, PUT, PATCH or OPTIONS")
    expected = _ranges(message, "expected_statuses")
    receive = tuple(_payload(item) for item in message.messages("receive"))
    buffer = message.integer("response_buffer_size", limits.HEALTH_CHECK_BODY)
    if buffer and sum(map(len, receive)) > buffer:
        message.problem("receive", f"longer than the {buffer} bytes of response_buffer_size", "make that larger")
    return HttpHealthCheck(
        path=message.text("path"),
        host=message.text("host"),
        method=method,
        send=send,
        receive=receive,
        response_buffer_size=buffer,
        request_headers_to_add=_headers(message),
        request_headers_to_remove=tuple(name.lower() for name in message.texts("request_headers_to_remove")),
        expected_statuses=expected or ((200, 201),),
        retriable_statuses=_ranges(message, "retriable_statuses"),
    )


def _headers(message: Message) -> tuple[tuple[str, str], ...]:
    found = []
    for option in message.messages("request_headers_to_add"):
        option.ignore("append", "append_action", "keep_empty_value")
        header = option.required("header")
        name, value = header.text("key"), header.text("value")
        if "%" in value.replace("%%", ""):
            header.problem("value", "a health check has no request whose values could be put in", "write the value")
        found.append((name.lower(), value.replace("%%", "%")))
    return tuple(found)


def _payload(message: Message) -> bytes:
    """HealthCheck.Payload: `text` is hexadecimal."""
    binary = message.take("binary")
    if isinstance(binary, bytes):
        return binary
    text = message.text("text")
    try:
        return bytes.fromhex(text)
    except ValueError:
        message.problem("text", "hexadecimal digits are expected, as in 50494e47", "write them, or base64 into binary")
        return b""


def _ranges(message: Message, field: str) -> tuple[tuple[int, int], ...]:
    found = []
    for item in message.messages(field):
        start, end = item.integer("start"), item.integer("end")
        if not 100 <= start < end <= 600:
            item.problem(None, f"not a range of statuses: {start} to {end}", "start is 100 or more, end 600 or less")
        found.append((start, end))
    return tuple(found)
