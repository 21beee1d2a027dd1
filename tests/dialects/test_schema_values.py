from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.dialects.schema import Field, schema
from ostiary.dialects.schema_values import Unfit, duration, plain, scalar
from ostiary.dialects.yaml_nodes import Node, parse

POLICY = "envoy.config.cluster.v3.Cluster.LbPolicy"


def node(text: str) -> Node:
    return parse(f"[{text}]".encode(), "f").items[0]  # type: ignore[union-attr]


def value(text: str, kind: str) -> object:
    field = Field("f", 1, kind, POLICY if kind == "enum" else "", "", "", "", {}, 0, False)
    return scalar(node(text), field, kind, schema())


@pytest.mark.parametrize(
    ("text", "kind", "result"),
    [
        ("abc", "string", "abc"), ("1.5", "string", "1.5"), ("99999999999", "string", "99999999999"),
        ("'10'", "string", "10"), ("true", "bool", True), ("'false'", "bool", False), ("off", "bool", False),
        ("5", "uint32", 5), ("'5'", "uint32", 5), ("1e3", "int32", 1000), ("10.0", "int64", 10), ("0x10", "int32", 16),
        ("-9223372036854775808", "int64", -(2**63)), ("18446744073709551615", "uint64", 2**64 - 1),
        ("1", "double", 1.0), ("'1.5'", "double", 1.5), ("Infinity", "double", float("inf")),
        ("YWI=", "bytes", b"ab"), ("YWI", "bytes", b"ab"), ("-_8=", "bytes", b"\xfb\xff"),
        ("RANDOM", "enum", "RANDOM"), ("random", "enum", "RANDOM"), ("1", "enum", "LEAST_REQUEST"),
        ("'1'", "enum", "LEAST_REQUEST"),
    ],
)  # fmt: skip
def test_scalars(text: str, kind: str, result: object) -> None:
    assert value(text, kind) == result


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("10", "string"), ("yes", "string"), ("[a]", "string"), ("{a: b}", "bool"), ("1", "bool"), ("TrUe", "bool"),
        ("-1", "uint32"), ("4294967296", "uint32"), ("1.5", "int32"), ("' 5'", "int32"), ("five", "int32"),
        ("true", "int32"), ("1e999", "int64"), ("9223372036854775808", "int64"), ("NaN", "int32"), ("a!", "bytes"),
        ("RONDOM", "enum"), ("77", "enum"), ("true", "enum"), ("'99999999999999'", "enum"),
    ],
)  # fmt: skip
def test_what_is_no_such_scalar(text: str, kind: str) -> None:
    with pytest.raises(Unfit):
        value(text, kind)


@pytest.mark.parametrize(
    ("text", "seconds"), [("10s", 10.0), ("0.25s", 0.25), ("0s", 0.0), ("1.000000001s", 1.000000001)]
)
def test_durations(text: str, seconds: float) -> None:
    assert duration(node(text)) == seconds


@pytest.mark.parametrize(
    ("text", "mend"),
    [("10", "write `10s`"), ("250ms", "write `0.25s`"), (".5s", ""), ("5.s", ""), ("-1s", ""), ("1.0000000001s", ""),
     ("315576000001s", ""), ("[1s]", "")],
)  # fmt: skip
def test_what_is_no_duration(text: str, mend: str) -> None:
    with pytest.raises(Unfit) as caught:
        duration(node(text))
    assert mend in caught.value.mend


@given(st.integers(0, 10**11), st.integers(0, 999_999_999))
def test_every_duration_that_protobuf_writes_is_read(seconds: int, nanos: int) -> None:
    text = f"{seconds}.{nanos:09}s"
    assert duration(node(f"'{text}'")) == float(text[:-1])


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=12))
def test_any_text_is_text_and_nothing_else_raises_anything_but_unfit(text: str) -> None:
    assert value(json.dumps(text), "string") == text
    for kind in ("bytes", "bool", "int32", "uint64", "double", "enum"):
        with contextlib.suppress(Unfit):
            value(json.dumps(text), kind)


def test_structures_without_a_schema() -> None:
    assert plain(node("{a: [1, yes, x, null], b: {c: 1.5}}")) == {"a": [1, True, "x", None], "b": {"c": "1.5"}}
