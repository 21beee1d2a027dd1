"""Nodes as text again: YAML or JSON that reads back as the same values, comments and layout aside."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from ostiary.dialects.yaml_nodes import Mapping, Node, Sequence
from ostiary.dialects.yaml_text import Block, dump

_FLOAT: Final = re.compile(r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+)(?:[eE][-+]?[0-9]+)?", re.ASCII)


def to_yaml(node: Node) -> str:
    """The node as one YAML document."""
    return dump([_blocks(value(node))])


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


def _blocks(tree: Any) -> Any:
    """Code over several lines (Lua, bodies) stays readable."""
    if isinstance(tree, dict):
        return {key: _blocks(item) for key, item in tree.items()}
    if isinstance(tree, list):
        return [_blocks(item) for item in tree]
    lines = tree.split("\n") if isinstance(tree, str) else []
    simple = len(lines) > 2 and all(line.isprintable() and not line.endswith(" ") for line in lines)
    return Block(tree) if simple and lines[0].strip() and not lines[0].startswith(" ") else tree
