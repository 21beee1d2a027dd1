"""Scalars of protobuf's JSON form, as Envoy's parser takes them.

https://protobuf.dev/programming-guides/json/ and, where it is silent, measured with Envoy 1.39.3: numbers may be
quoted, booleans may be quoted, enums are read without regard to case, a plain number is no text (but `1.5` is,
because YAML hands it over as text), a duration is seconds with an `s` and at most nine decimals, never negative.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Mapping
from typing import Any, Final

from ostiary.dialects.schema import Field, Schema, nearest
from ostiary.dialects.yaml_nodes import Mapping as MappingNode
from ostiary.dialects.yaml_nodes import Node, Scalar, Sequence, kind

_DURATION: Final = re.compile(r"([0-9]{1,12})(?:\.([0-9]{1,9}))?s", re.ASCII)
_NUMBER: Final = re.compile(r"-?[0-9]{1,30}(?:\.[0-9]{1,30})?(?:[eE][-+]?[0-9]{1,3})?", re.ASCII)
_MAX_DURATION: Final = 315_576_000_000
"""google.protobuf.Duration: 10,000 years, in seconds."""
_RANGES: Final = {
    "int32": (-(1 << 31), (1 << 31) - 1), "sint32": (-(1 << 31), (1 << 31) - 1),
    "sfixed32": (-(1 << 31), (1 << 31) - 1), "uint32": (0, (1 << 32) - 1), "fixed32": (0, (1 << 32) - 1),
    "int64": (-(1 << 63), (1 << 63) - 1), "sint64": (-(1 << 63), (1 << 63) - 1),
    "sfixed64": (-(1 << 63), (1 << 63) - 1), "uint64": (0, (1 << 64) - 1), "fixed64": (0, (1 << 64) - 1),
}  # fmt: skip
WRAPPERS: Final = {
    "google.protobuf.BoolValue": "bool", "google.protobuf.StringValue": "string", "google.protobuf.BytesValue": "bytes",
    "google.protobuf.Int32Value": "int32", "google.protobuf.UInt32Value": "uint32",
    "google.protobuf.Int64Value": "int64", "google.protobuf.UInt64Value": "uint64",
    "google.protobuf.FloatValue": "float", "google.protobuf.DoubleValue": "double",
}  # fmt: skip


class Unfit(Exception):
    """A node that is no value of the wanted type: what is wrong, and the mend."""

    def __init__(self, message: str, mend: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.mend = mend


def scalar(node: Node, field: Field, wanted: str, schema: Schema) -> Any:
    """The value of `node` as protobuf type `wanted` of `field`. Raises Unfit."""
    if not isinstance(node, Scalar):
        raise Unfit(f"{_article(wanted)} is expected here, not {kind(node)}")
    if wanted == "string":
        return _string(node)
    if wanted == "bytes":
        return _bytes(_string(node))
    if wanted == "bool":
        return _boolean(node)
    if wanted == "enum":
        return _enum(node, schema.enum(field.reference))
    number = _number(node.text if isinstance(node.value, str) else node.value, wanted)
    if wanted in ("double", "float"):
        return float(number)
    if number != int(number):
        raise Unfit("a whole number is expected here")
    low, high = _RANGES[wanted]
    if not low <= number <= high:
        raise Unfit(f"the number is out of range ({low} to {high})")
    return int(number)


def duration(node: Node) -> float:
    """google.protobuf.Duration in seconds. Raises Unfit."""
    if not isinstance(node, Scalar):
        raise Unfit(f"a duration is expected here, not {kind(node)}", "write seconds, as in `10s` or `0.25s`")
    found = _DURATION.fullmatch(node.text)
    if found is None:
        mend = "write seconds with an `s`, as in `10s` or `0.25s`"
        if re.fullmatch(r"[0-9]{1,12}", node.text):
            mend = f"write `{node.text}s`"
        elif re.fullmatch(r"[0-9]{1,12}ms", node.text):
            mend = f"write `{int(node.text[:-2]) / 1000:g}s`"
        elif node.text.startswith("-"):
            raise Unfit("a duration can't be negative")
        raise Unfit("not a duration", mend)
    if int(found[1]) > _MAX_DURATION:
        raise Unfit("the duration is out of range")
    return float(f"{found[1]}.{found[2] or 0}")


def plain(node: Node) -> Any:
    """google.protobuf.Value and Struct: the node as Python's own types."""
    if isinstance(node, MappingNode):
        return {key.text: plain(value) for key, value in node}
    if isinstance(node, Sequence):
        return [plain(item) for item in node]
    return node.value


def _string(node: Scalar) -> str:
    value = node.value
    if isinstance(value, bool):
        raise Unfit("text is expected here, and YAML reads this as true or false", "put it in quotes")
    if isinstance(value, int) and -(1 << 31) <= value < 1 << 31:
        raise Unfit("text is expected here, not a number", "put it in quotes")
    return node.text


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise Unfit("not base64") from None


def _boolean(node: Scalar) -> bool:
    value = node.value
    if isinstance(value, bool):
        return value
    if node.text in ("true", "false"):
        return node.text == "true"
    raise Unfit(f"true or false is expected here, not {kind(node)}")


def _number(value: str | int | bool | None, wanted: str) -> int | float:
    if isinstance(value, bool) or value is None:
        raise Unfit("a number is expected here, and YAML reads this as true or false")
    if isinstance(value, int):
        return value
    if wanted in ("double", "float") and value in ("NaN", "Infinity", "-Infinity"):
        return float(value)
    if _NUMBER.fullmatch(value) is None:
        raise Unfit("a number is expected here, not text")
    number = float(value)
    if math.isinf(number):
        raise Unfit("the number is out of range")
    return int(value) if value.lstrip("-").isdigit() else number


def _enum(node: Scalar, values: Mapping[str, int]) -> str:
    value = node.value
    if isinstance(value, str):
        if value.upper() in values:
            return value.upper()
        if not value.lstrip("-").isdecimal():
            return _enum_by_case(value, values)
        value = int(value) if len(value) < 12 else None
    if isinstance(value, int) and not isinstance(value, bool):
        for name, number in values.items():
            if number == value:
                return name
    raise Unfit("no such value", f"one of {', '.join(values)}")


def _enum_by_case(text: str, values: Mapping[str, int]) -> str:
    for name in values:
        if name.upper() == text.upper():
            return name
    close = nearest(text.upper(), values)
    raise Unfit("no such value", f"did you mean {close}?" if close else f"one of {', '.join(values)}")


def _article(wanted: str) -> str:
    words = {"string": "text", "bytes": "base64 text", "bool": "true or false", "enum": "a name"}
    return words.get(wanted, "a number")
