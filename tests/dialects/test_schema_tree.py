from __future__ import annotations

import pytest

from ostiary.dialects.schema_reader import read
from ostiary.dialects.schema_tree import Message, Report, unread
from ostiary.dialects.yaml_nodes import parse

CLUSTER = "envoy.config.cluster.v3.Cluster"


def reading(text: str, *, ignore_unsupported: bool = False) -> Message:
    report = Report(ignore_unsupported=ignore_unsupported)
    return read(parse(text.encode(), "f"), CLUSTER, report)


def left(message: Message) -> list[str]:
    unread(message, message.report, {f"{CLUSTER}.lb_policy": "mend it"})
    return [str(found) for found in message.report.diagnostics]


def test_whatever_is_written_and_not_taken_is_reported() -> None:
    message = reading(
        "name: a\nlb_policy: RANDOM\nload_assignment: {cluster_name: a, policy: {overprovisioning_factor: 5}}\n"
    )
    message.text("name")
    message.required("load_assignment").text("cluster_name")
    assert left(message) == [
        "f:2:1: error: lb_policy: valid in Envoy, not implemented in Ostiary (mend it)",
        "f:3:36: error: load_assignment.policy: valid in Envoy, not implemented in Ostiary",
    ]


def test_defaults_say_nothing_but_presence_does() -> None:
    message = reading("{name: a, lb_policy: ROUND_ROBIN, respect_dns_ttl: false, filters: [], alt_stat_name: ''}")
    message.text("name")
    assert [line for line in left(message) if "error" in line] == []
    message = reading("{name: a, max_requests_per_connection: 0, http2_protocol_options: {}}")
    message.text("name")
    assert len([line for line in left(message) if "error" in line]) == 2


def test_ignoring_what_is_unsupported() -> None:
    message = reading("{name: a, lb_policy: RANDOM}", ignore_unsupported=True)
    message.text("name")
    assert left(message) == [
        "f:1:11: warning: lb_policy: valid in Envoy, not implemented in Ostiary: ignored (mend it)"
    ]
    assert not message.report.failed


def test_a_choice_that_is_not_offered_is_reported_once() -> None:
    message = reading("{name: a, lb_policy: MAGLEV}")
    assert message.choice("lb_policy", ("ROUND_ROBIN", "RANDOM")) == "ROUND_ROBIN"
    message.text("name")
    assert left(message) == [
        "f:1:11: error: lb_policy: valid in Envoy, not implemented in Ostiary (use one of ROUND_ROBIN, RANDOM)"
    ]


def test_what_follows_from_a_broken_field_is_not_reported() -> None:
    message = reading("{name: 5}")
    before = len(message.report.diagnostics)
    message.problem("name", "there is no such name")
    message.problem(None, "something about the whole")
    assert len(message.report.diagnostics) == before


def test_asking_for_a_field_that_envoy_does_not_have_is_a_mistake_of_ours() -> None:
    with pytest.raises(KeyError):
        reading("{name: a}").text("nam")


def test_an_absent_message_has_its_defaults() -> None:
    message = reading("{name: a}")
    assert message.optional("circuit_breakers").messages("thresholds") == []
    assert message.required("load_assignment").text("cluster_name", "none") == "none"
    assert [str(found) for found in message.report.diagnostics] == ["f:1:1: error: load_assignment: is required"]
