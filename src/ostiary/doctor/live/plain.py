"""JSON documents as plain data: cheap to look through, and turned into nodes only where something is of interest.

A dump of a large mesh has a hundred thousand values, of which a dozen matter. So it is read by the JSON library and
walked as dictionaries; the parts that matter become the nodes that `doctor.configuration` knows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from ostiary.dialects.yaml_nodes import Mapping, Node, Scalar, Sequence

_OAUTH2: Final = b"oauth2.v3.OAuth2"


def load(body: bytes | None) -> Any:
    """The document; None if there is none, or it is no JSON."""
    if not body:
        return None
    try:
        return msgspec.json.decode(body)
    except (ValueError, RecursionError):
        return None


def has_sign_in(body: bytes | None) -> bool:
    """Whether the text names an OAuth2 filter at all."""
    return body is not None and _OAUTH2 in body


def items(data: Any, *names: str) -> Iterator[dict[str, Any]]:
    """The dictionaries of a list, however deep it is named: `configs`, `dynamic_listeners`."""
    for name in names:
        data = data.get(name) if isinstance(data, dict) else None
    yield from (item for item in data if isinstance(item, dict)) if isinstance(data, list) else ()


def text(data: Any, *names: str) -> str:
    """A value as text; empty if it is not there."""
    for name in names:
        data = data.get(name) if isinstance(data, dict) else None
    return data if isinstance(data, str) else "" if data is None or isinstance(data, dict | list) else str(data)


def number(value: Any) -> int:
    """A count, which Envoy writes as text or leaves out where it is 0."""
    try:
        return int(value or 0)
    except (TypeError, ValueError):
        return 0


def node(data: Any, source: str) -> Node:
    """Plain data as nodes without places. Deep data is no danger: JSON's own reader has a bound."""
    if isinstance(data, dict):
        entries = ((Scalar(source, 0, 0, str(key), False), node(value, source)) for key, value in data.items())
        return Mapping(source, 0, 0, tuple(entries))
    if isinstance(data, list):
        return Sequence(source, 0, 0, tuple(node(item, source) for item in data))
    if isinstance(data, bool):
        return Scalar(source, 0, 0, str(data).lower(), True)
    return Scalar(source, 0, 0, "" if data is None else str(data), not isinstance(data, str))
