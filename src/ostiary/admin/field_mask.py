"""Parts of a config dump: google.protobuf.FieldMask over trees of plain values, as far as `/config_dump` needs it."""

from __future__ import annotations

from typing import Any, Final

from ostiary.dialects.schema import schema

_ANY: Final = "google.protobuf.Any"


def is_valid(path: str, tree: dict[str, Any], fields: dict[str, str]) -> bool:
    """Whether a path names a field of `tree`, written or not. `fields`: name -> type of its own fields (empty: a list).

    Paths lead through messages, not through lists, except at their end.
    """
    first, dot, rest = path.partition(".")
    kind = fields.get(first)
    if kind is None:
        return False
    return not dot or (kind != "" and _leads_on(rest, kind, tree.get(first)))


def _leads_on(path: str, kind: str, node: Any) -> bool:
    if kind == _ANY:
        kind = node["@type"].rpartition("/")[2] if isinstance(node, dict) and "@type" in node else ""
    message = schema().message(kind)
    first, dot, rest = path.partition(".")
    field = message.fields.get(first) if message is not None else None
    if field is None:
        return False
    if not dot:
        return True
    inner = node.get(first) if isinstance(node, dict) else None
    return field.type == "message" and not field.cardinality and _leads_on(rest, field.reference, inner)


def trimmed(tree: dict[str, Any], paths: list[str]) -> dict[str, Any]:
    """What of a tree the paths name; types stay."""
    found: dict[str, Any] = {"@type": tree["@type"]} if "@type" in tree else {}
    below: dict[str, list[str]] = {}
    for path in paths:
        first, _, rest = path.partition(".")
        below.setdefault(first, []).append(rest)
    for first, rests in below.items():
        if first in tree and "" in rests:
            found[first] = tree[first]
        elif isinstance(tree.get(first), dict):
            found[first] = trimmed(tree[first], rests)
    return found
