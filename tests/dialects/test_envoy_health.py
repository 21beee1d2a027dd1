from __future__ import annotations

import pytest

from envoy_example import IDP, error, good
from ostiary.model.clusters import Cluster, HealthChecking, HttpHealthCheck, OutlierDetection, TcpHealthCheck

BASE = "timeout: 1s, interval: 2s, unhealthy_threshold: 2, healthy_threshold: 3"


def idp(text: str) -> Cluster:
    found = good((IDP, f"    {text}\n")).cluster("idp")
    assert found is not None
    return found


def checking(text: str) -> HealthChecking:
    found = idp(f"health_checks: [{{{BASE}, {text}}}]").health_checking
    assert found is not None
    return found


def test_outlier_detection_has_envoys_defaults() -> None:
    assert idp("outlier_detection: {}").outlier_detection == OutlierDetection()
    assert idp("lb_policy: ROUND_ROBIN").outlier_detection is None


def test_outlier_detection() -> None:
    written = (
        "{consecutive_5xx: 3, interval: 1s, base_ejection_time: 400s, max_ejection_percent: 100, "
        "enforcing_consecutive_gateway_failure: 100, split_external_local_origin_errors: true, "
        "successful_active_health_check_uneject_host: false, max_ejection_time_jitter: 5s}"
    )
    assert idp(f"outlier_detection: {written}").outlier_detection == OutlierDetection(
        consecutive_5xx=3,
        interval=1.0,
        base_ejection_time=400.0,
        max_ejection_percent=100,
        enforcing_consecutive_gateway_failure=100,
        split_external_local_origin_errors=True,
        successful_active_health_check_uneject_host=False,
        max_ejection_time_jitter=5.0,
        max_ejection_time=400.0,  # never shorter than the first one
    )


def test_an_http_check() -> None:
    found = checking(
        "no_traffic_interval: 9s, unhealthy_interval: 4s, interval_jitter_percent: 5, reuse_connection: false, "
        "http_health_check: {path: /health, host: h.example, expected_statuses: [{start: 200, end: 300}], "
        "retriable_statuses: [{start: 500, end: 501}], receive: [{text: 6f6b}, {binary: IQ==}], "
        "request_headers_to_add: [{header: {key: X-Check, value: 5%%}}], request_headers_to_remove: [User-Agent]}"
    )
    assert found == HealthChecking(
        timeout=1.0,
        interval=2.0,
        unhealthy_threshold=2,
        healthy_threshold=3,
        check=HttpHealthCheck(
            path="/health",
            host="h.example",
            receive=(b"ok", b"!"),
            request_headers_to_add=(("x-check", "5%"),),
            request_headers_to_remove=("user-agent",),
            expected_statuses=((200, 300),),
            retriable_statuses=((500, 501),),
        ),
        interval_jitter_percent=5,
        reuse_connection=False,
        no_traffic_interval=9.0,
        no_traffic_healthy_interval=9.0,
        unhealthy_interval=4.0,
        unhealthy_edge_interval=4.0,
        healthy_edge_interval=2.0,
    )


def test_a_tcp_check() -> None:
    found = checking("tcp_health_check: {send: {text: 50494e47}, receive: [{text: 504f4e47}]}")
    assert found.check == TcpHealthCheck(send=b"PING", receive=(b"PONG",))
    assert checking("tcp_health_check: {}").check == TcpHealthCheck()


@pytest.mark.parametrize(
    ("field", "message"),
    [
        (
            f"health_checks: [{{{BASE}, tcp_health_check: {{}}}}, {{{BASE}, tcp_health_check: {{}}}}]",
            "multiple health checks not supported",
        ),
        (f"health_checks: [{{{BASE}, grpc_health_check: {{}}}}]", "use http_health_check or tcp_health_check"),
        (f"health_checks: [{{{BASE}, tcp_health_check: {{send: {{text: xyz}}}}}}]", "hexadecimal digits are expected"),
        (
            f"health_checks: [{{{BASE}, http_health_check: {{path: /, expected_statuses: [{{start: 9, end: 8}}]}}}}]",
            "not a range of statuses: 9 to 8",
        ),
        (
            f"health_checks: [{{{BASE}, http_health_check: {{path: /, codec_client_type: HTTP2}}}}]",
            "upstreams are checked in HTTP/1.1",
        ),
        (
            f"health_checks: [{{{BASE}, http_health_check: {{path: /, send: {{text: aa}}}}}}]",
            "a GET request has no body",
        ),
        (
            (
                f"health_checks: [{{{BASE}, http_health_check: {{path: /, request_headers_to_add: "
                "[{header: {key: a, value: '%REQ(b)%'}}]}}]"
            ),
            "no request whose values could be put in",
        ),
        (
            "outlier_detection: {base_ejection_time: 9s, max_ejection_time: 8s}",
            "max_ejection_time cannot be smaller than base_ejection_time",
        ),
        ("outlier_detection: {detect_degraded_hosts: true}", "not implemented in Ostiary"),
    ],
)
def test_what_can_only_be_a_mistake_is_refused(field: str, message: str) -> None:
    assert message in error((IDP, f"    {field}\n"))
