"""Nodes as text again: YAML or JSON that reads back as the same nodes, comments and layout aside."""

from __future__ import annotations

import json
import re
from typing import Any, Final

import yaml
import yaml.resolver

from ostiary.dialects.yaml_nodes import Mapping, Node, Scalar, Sequence

_TEXT: Final = "tag:yaml.org,2002:str"
_FLOAT: Final = re.compile(r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+)(?:[eE][-+]?[0-9]+)?", re.ASCII)


_RESOLVER: Final[Any] = yaml.resolver.Resolver()


class _Dumper(yaml.SafeDumper):
    """Lists stand indented below their key, and nothing is an alias of anything."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002 - PyYAML's
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


def to_yaml(node: Node) -> str:
    """The node as one YAML document."""
    return str(yaml.serialize(_yaml(node), Dumper=_Dumper, width=116, allow_unicode=True))


def to_json(node: Node) -> str:
    """The node as JSON, indented."""
    return json.dumps(value(node), indent=2, ensure_ascii=False) + "\n"


def value(node: Node) -> Any:
    """The node as Python's own types; what is written like a float is one."""
    if isinstance(node, Mapping):
        return {key.text: value(item) for key, item in node}
    if isinstance(node, Sequence):
        return [value(item) for item in node]
    if node.plain and isinstance(node.value, str) and _FLOAT.fullmatch(node.text):
        return float(node.text)
    return node.value


def _yaml(node: Node) -> yaml.Node:
    empty = not isinstance(node, Scalar) and not len(node)
    if isinstance(node, Mapping):
        entries = [(_scalar(key), _yaml(item)) for key, item in node]
        return yaml.MappingNode("tag:yaml.org,2002:map", entries, flow_style=empty)
    if isinstance(node, Sequence):
        return yaml.SequenceNode("tag:yaml.org,2002:seq", [_yaml(item) for item in node], flow_style=empty)
    return _scalar(node)


def _scalar(node: Scalar) -> yaml.ScalarNode:
    """Written plain: plain. Else text, in quotes wherever it would read as something else without."""
    if node.plain and (not isinstance(node.value, str) or _FLOAT.fullmatch(node.text)):
        return yaml.ScalarNode(_RESOLVER.resolve(yaml.ScalarNode, node.text, (True, False)), node.text)
    bare = Scalar(node.file, node.line, node.column, node.text, True)
    style = "|" if "\n" in node.text else None
    if not isinstance(bare.value, str) or _FLOAT.fullmatch(node.text):
        style = "'"
    return yaml.ScalarNode(_TEXT, node.text, style=style)
