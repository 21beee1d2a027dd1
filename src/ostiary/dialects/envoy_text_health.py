"""`outlier_detection` and `health_checks` of a cluster, from the model to Envoy's fields."""

from __future__ import annotations

import msgspec

from ostiary.dialects.envoy_text_values import Tree, differing, duration, given, some, unless
from ostiary.model import limits
from ostiary.model.clusters import HealthChecking, HttpHealthCheck, OutlierDetection, TcpHealthCheck


def outlier_detection(model: OutlierDetection | None) -> Tree | None:
    """cluster.v3.OutlierDetection."""
    if model is None:
        return None
    fields = [each.name for each in msgspec.structs.fields(model)]
    found = differing(model, fields)
    if model.base_ejection_time > limits.MAX_EJECTION_TIME:
        found["max_ejection_time"] = duration(model.max_ejection_time)  # its default then is another
    return found


def health_check(model: HealthChecking) -> Tree:
    """core.v3.HealthCheck."""
    check = model.check
    unhealthy = model.unhealthy_interval
    return given(
        timeout=duration(model.timeout),
        interval=duration(model.interval),
        unhealthy_threshold=model.unhealthy_threshold,
        healthy_threshold=model.healthy_threshold,
        http_health_check=_http(check) if isinstance(check, HttpHealthCheck) else None,
        tcp_health_check=_tcp(check) if isinstance(check, TcpHealthCheck) else None,
        **differing(model, ("alt_port", "initial_jitter", "interval_jitter", "interval_jitter_percent")),
        **differing(model, ("reuse_connection", "no_traffic_interval")),
        no_traffic_healthy_interval=unless(
            duration(model.no_traffic_healthy_interval), duration(model.no_traffic_interval)
        ),
        unhealthy_interval=unless(duration(unhealthy), duration(model.interval)),
        unhealthy_edge_interval=unless(duration(model.unhealthy_edge_interval), duration(unhealthy)),
        healthy_edge_interval=unless(duration(model.healthy_edge_interval), duration(model.interval)),
    )


def _http(model: HttpHealthCheck) -> Tree:
    headers = [
        {"header": {"key": name, "value": value.replace("%", "%%")}} for name, value in model.request_headers_to_add
    ]
    return given(
        path=model.path,
        host=some(model.host),
        method=unless(model.method, "GET"),
        send=_payload(model.send) if model.send else None,
        receive=[_payload(each) for each in model.receive] or None,
        response_buffer_size=unless(model.response_buffer_size, limits.HEALTH_CHECK_BODY),
        request_headers_to_add=headers or None,
        request_headers_to_remove=some(list(model.request_headers_to_remove)),
        expected_statuses=unless(_ranges(model.expected_statuses), _ranges(((200, 201),))),
        retriable_statuses=some(_ranges(model.retriable_statuses)),
    )


def _tcp(model: TcpHealthCheck) -> Tree:
    return given(
        send=_payload(model.send) if model.send else None,
        receive=[_payload(each) for each in model.receive] or None,
    )


def _payload(value: bytes) -> Tree:
    return {"text": value.hex()}


def _ranges(ranges: tuple[tuple[int, int], ...]) -> list[Tree]:
    return [{"start": start, "end": end} for start, end in ranges]
