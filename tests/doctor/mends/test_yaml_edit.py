"""Changes in a text: what was wanted is there, and everything else is as it was, comments and all."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ostiary.doctor.finding import Edit
from ostiary.doctor.mends.yaml_edit import EditRefused, apply

ENVOY_FILTER = """\
# sign-in for httpbin
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
spec:
  configPatches:
  - applyTo: CLUSTER   # the provider
    match: {cluster: {service: oauth}}
    patch:
      operation: ADD
      value:
        name: oauth
        connect_timeout: 10s
        type: LOGICAL_DNS # as in the blog

        # keep the address in step with sni
        load_assignment:
          cluster_name: oauth
  - applyTo: HTTP_FILTER
    patch: {operation: INSERT_FIRST}
"""
VALUE = "spec.configPatches[0].patch.value"


def edit(**settings: Any) -> Edit:
    return Edit(**{"file": "f.yaml", "path": VALUE, **settings})


def test_a_new_key_stands_among_its_kind_and_nothing_else_changes() -> None:
    after = apply(ENVOY_FILTER, edit(key="dns_lookup_family", value="V4_ONLY", comment="no IPv6 here"))
    new = "        dns_lookup_family: V4_ONLY  # no IPv6 here\n"
    assert after.replace(new, "") == ENVOY_FILTER
    assert "type: LOGICAL_DNS # as in the blog\n" + new in after


def test_a_written_value_is_replaced_and_its_comment_stays() -> None:
    after = apply(ENVOY_FILTER, edit(key="type", value="STRICT_DNS"))
    assert after == ENVOY_FILTER.replace("LOGICAL_DNS #", "STRICT_DNS #")


def test_what_of_a_path_is_missing_is_made() -> None:
    path = f"{VALUE}.transport_socket.typed_config"
    after = apply(ENVOY_FILTER, edit(path=path, key="sni", value="login.example.com"))
    there = yaml.safe_load(after)["spec"]["configPatches"][0]["patch"]["value"]
    assert there["transport_socket"] == {"typed_config": {"sni": "login.example.com"}}
    assert "# keep the address in step with sni" in after


def test_within_braces() -> None:
    path = "spec.configPatches[0].match.cluster"
    after = apply(ENVOY_FILTER, edit(path=path, key="name", value="oauth"))
    assert "match: {cluster: {service: oauth, name: oauth}}\n" in after


def test_a_mapping_for_a_list() -> None:
    value = {"trusted_ca": {"filename": "/etc/ca.pem"}, "names": ["a", "b"]}
    after = apply(ENVOY_FILTER, edit(key="validation_context", value=value))
    assert "        validation_context:\n          trusted_ca:\n            filename: /etc/ca.pem\n" in after


def test_remove_a_key() -> None:
    after = apply(ENVOY_FILTER, edit(operation="remove", key="connect_timeout"))
    assert after == ENVOY_FILTER.replace("        connect_timeout: 10s\n", "")


def test_remove_the_key_behind_a_dash() -> None:
    after = apply(ENVOY_FILTER, edit(operation="remove", path="spec.configPatches[1]", key="applyTo"))
    assert "  - patch: {operation: INSERT_FIRST}\n" in after


def test_replace_a_scalar() -> None:
    after = apply(ENVOY_FILTER, edit(operation="replace", path="spec.configPatches[1].patch.operation", value="ADD"))
    assert after == ENVOY_FILTER.replace("INSERT_FIRST", "ADD")


def test_append_to_a_list() -> None:
    item = {"applyTo": "CLUSTER", "patch": {"operation": "REMOVE"}}
    after = apply(ENVOY_FILTER, edit(operation="append", path="spec.configPatches", value=item))
    assert after == ENVOY_FILTER + "  - applyTo: CLUSTER\n    patch:\n      operation: REMOVE\n"


def test_the_second_document() -> None:
    text = "a: 1\n---\nb: {c: 2}\n---\n"
    assert apply(text, edit(document=1, path="b", key="d", value=True)) == "a: 1\n---\nb: {c: 2, d: true}\n---\n"


def test_json_stays_json() -> None:
    text = '{\n  "name": "oauth",\n  "type": "LOGICAL_DNS"\n}\n'
    after = apply(text, edit(path="", key="dns_lookup_family", value="ALL", comment="why"))
    assert after == '{\n  "name": "oauth",\n  "type": "LOGICAL_DNS",\n  "dns_lookup_family": "ALL"\n}\n'


@pytest.mark.parametrize("text", ["name: oauth", "name: oauth\n\n\n# the end\n", "# a\n\nname: oauth # b\n"])
def test_the_end_of_a_file(text: str) -> None:
    after = apply(text, edit(path="", key="type", value="STATIC"))
    assert yaml.safe_load(after) == {"name": "oauth", "type": "STATIC"}
    assert [line for line in after.split("\n") if "type" not in line] == text.split("\n")


def test_line_ends_of_windows() -> None:
    assert apply("a:\r\n  name: x\r\nb: 1\r\n", edit(path="a", key="type", value="y")) == (
        "a:\r\n  name: x\r\n  type: y\r\nb: 1\r\n"
    )


@pytest.mark.parametrize(
    "text", ["\ufeffa: 1\nb: {c: 2}\n", "a:\t1  # \tone\nb: {c: 2}\n"], ids=["byte order mark", "tabs"]
)
def test_what_stands_before_a_value_stays(text: str) -> None:
    edit = Edit(file="f", path="b", key="c", value=3)
    assert apply(text, edit) == text.replace("2", "3")


def test_a_block_of_text_before_it() -> None:
    after = apply("a:\n  name: |\n    one\n    two\nb: 1\n", edit(path="a", key="type", value="y"))
    assert yaml.safe_load(after) == {"a": {"name": "one\ntwo\n", "type": "y"}, "b": 1}


@pytest.mark.parametrize(
    ("text", "change"),
    [
        ("a: 1\n", {"path": "b.c[0]", "key": "d", "value": 1}),
        ("a: [1]\n", {"path": "a", "key": "d", "value": 1}),
        ("a: 1\n", {"path": "b", "operation": "replace", "value": 1}),
        ("a: 1\n", {"document": 1, "path": "", "key": "b", "value": 1}),
        ("a: &x {b: 1}\nc: *x\n", {"path": "c", "key": "b", "value": 2}),
    ],
)
def test_what_a_program_can_t_change_safely_is_refused(text: str, change: dict[str, Any]) -> None:
    with pytest.raises(EditRefused):
        apply(text, edit(**change))


_KEYS = st.text("abcxyz_-", min_size=1, max_size=6).filter(lambda k: yaml.safe_load(k) == k)
_LEAVES = st.one_of(st.integers(), st.booleans(), st.none(), st.text(max_size=12))
_TREES = st.recursive(_LEAVES, lambda below: st.one_of(
    st.lists(below, max_size=3), st.dictionaries(_KEYS, below, max_size=4)), max_leaves=12)  # fmt: skip


@given(st.dictionaries(_KEYS, _TREES, min_size=1, max_size=4), _KEYS, _TREES, st.booleans())
def test_any_key_of_any_document(tree: dict[str, Any], key: str, value: Any, flow: bool) -> None:
    text = yaml.safe_dump(tree, default_flow_style=flow or None, allow_unicode=True)
    try:
        after = apply(text, edit(path="", key=key, value=value))
    except EditRefused:
        return
    assert yaml.safe_load(after) == {**yaml.safe_load(text), key: value}
