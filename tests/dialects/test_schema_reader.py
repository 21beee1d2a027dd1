from __future__ import annotations

import pytest

from ostiary.dialects.schema_reader import read
from ostiary.dialects.schema_tree import Message, Report
from ostiary.dialects.yaml_nodes import parse

CLUSTER = "envoy.config.cluster.v3.Cluster"
TLS = "envoy.extensions.transport_sockets.tls.v3"


def reading(text: str, name: str = CLUSTER) -> tuple[Message, list[str]]:
    report = Report()
    message = read(parse(text.encode(), "f", merge=False), name, report)
    return message, [str(found) for found in report.diagnostics]


def problems(text: str, name: str = CLUSTER) -> list[str]:
    return reading(text, name)[1]


def test_values_are_typed() -> None:
    message, found = reading("{name: a, connectTimeout: 2s, lb_policy: random, per_connection_buffer_limit_bytes: '5'}")
    assert found == []
    assert message.text("name") == "a"
    assert message.duration("connect_timeout") == 2.0
    assert message.text("lb_policy") == "RANDOM"
    assert message.integer("per_connection_buffer_limit_bytes") == 5


def test_null_is_absent_and_one_item_is_a_list() -> None:
    message, found = reading("{name: a, connect_timeout: null, lrs_report_endpoint_metrics: x}")
    assert found == []
    assert not message.has("connect_timeout")
    assert message.texts("lrs_report_endpoint_metrics") == ("x",)


def test_all_problems_are_found_each_at_its_place() -> None:
    text = "nam: a\nconnect_timeout: 2\nlb_policy: RONDOM\nload_assignment:\n  endpoints: 5\n"
    assert problems(text) == [
        "f:1:1: error: nam: Cluster has no field 'nam' (did you mean 'name'?)",
        "f:2:18: error: connect_timeout: not a duration (write `2s`)",
        "f:3:12: error: lb_policy: no such value (did you mean RANDOM?)",
        (
            "f:5:14: error: load_assignment.endpoints[0]: a mapping is expected here "
            "(envoy.config.endpoint.v3.LocalityLbEndpoints), not a number"
        ),
        "f:5:3: error: load_assignment.cluster_name: is required",
        "f:1:1: error: name: is required",
    ]


def test_rules_of_items_keys_and_oneofs() -> None:
    route = "envoy.config.route.v3.Route"
    base = "{match: {prefix: /}, direct_response: {status: 200}"
    assert problems(f"{base}, request_headers_to_remove: ['']}}", route) == [
        "f:1:82: error: request_headers_to_remove[0]: must not be empty"
    ]
    assert (
        "f:1:54: error: redirect: 'direct_response' is set already" in problems(f"{base}, redirect: {{}}}}", route)[0]
    )
    assert "f:1:9: error: match: one of " in problems("{match: {}, redirect: {}}", route)[0]


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("{'@type': type.googleapis.com/" + TLS + ".UpstreamTlsContext, sni: a}", ""),
        ("{sni: a, '@type': type.googleapis.com/" + TLS + ".UpstreamTlsContext}", ""),
        ("{'@type': type.googleapis.com/xds.type.v3.TypedStruct, type_url: x/" + TLS + ".UpstreamTlsContext, "
         "value: {sni: a}}", ""),
        ("{}", ""),
        ("{sni: a}", "'@type' is missing"),
        ("{'@type': " + TLS + ".UpstreamTlsContext}", "no such type in Envoy's API"),
        ("{'@type': type.googleapis.com/" + TLS + ".UpstreamTlsContext, snx: a}", "typed_config.snx: "),
        ("{'@type': type.googleapis.com/xds.type.v3.TypedStruct, value: {}}", "needs a 'type_url'"),
        ("{'@type': type.googleapis.com/udpa.type.v1.TypedStruct, type_url: x/" + TLS + ".UpstreamTlsContext, "
         "value: {snx: a}}", "typed_config.value.snx: "),
        ("[a]", "a mapping with an '@type' is expected"),
        ("{'@type': [a]}", "'@type' must be text"),
    ],
)  # fmt: skip
def test_typed_configurations(typed: str, message: str) -> None:
    found = problems(f"{{name: a, typed_config: {typed}}}", "envoy.config.core.v3.TransportSocket")
    assert (message in found[0]) if message else found == []


def test_deprecated_and_removed_fields() -> None:
    assert problems("{name: a, dns_refresh_rate: 5s}") == ["f:1:11: warning: dns_refresh_rate: deprecated in Envoy"]


def test_a_value_that_could_not_be_read_is_absent_and_marked() -> None:
    message, _ = reading("{name: a, connect_timeout: soon}")
    assert not message.has("connect_timeout")
    assert message.broken == {"connect_timeout"}
    assert message.duration("connect_timeout", 5.0) == 5.0


def test_a_root_that_is_no_mapping() -> None:
    assert problems("[a]") == [f"f:1:1: error: a mapping is expected here ({CLUSTER}), not a list"]
