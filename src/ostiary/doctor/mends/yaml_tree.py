"""A YAML document with the place of every key and value in its text, and paths through it.

A path is what diagnostics show: `spec.configPatches[0].patch.value`, `metadata.annotations["a.b/c"]`.
"""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple, TypeAlias

import yaml

from ostiary.dialects.yaml_nodes import parse_all

LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's, as everything else here is read: PyYAML's own refuses tabs that it takes."""
_STEP: Final = re.compile(r'\["([^"]*)"\]|\[(\d+)\]|\.?([^.\[]+)')
Step: TypeAlias = "str | int"


class Found(NamedTuple):
    """How far a path leads."""

    node: yaml.Node
    missing: tuple[Step, ...]
    """The rest of the path, which is not there."""


def documents(text: str, file: str) -> list[yaml.Node | None]:
    """The document nodes. Raises ConfigError for what is not YAML or beyond the limits of a configuration."""
    parse_all(text.encode(), file, merge=False)  # its bounds hold for the recursion of what follows
    return list(yaml.compose_all(text, Loader=LOADER))


def steps(path: str) -> tuple[Step, ...]:
    """A path's parts."""
    found: list[Step] = []
    for quoted, index, name in _STEP.findall(path):
        found.append(int(index) if index else name or quoted)
    return tuple(found)


def follow(root: yaml.Node, path: tuple[Step, ...]) -> Found:
    """The deepest node on the path that is there."""
    node = root
    for place, step in enumerate(path):
        below = child(node, step)
        if below is None:
            return Found(node, path[place:])
        node = below
    return Found(node, ())


def child(node: yaml.Node, step: Step) -> yaml.Node | None:
    """The value of a key or the item of an index, or None."""
    if isinstance(node, yaml.SequenceNode):
        return node.value[step] if isinstance(step, int) and step < len(node.value) else None
    if not isinstance(node, yaml.MappingNode):
        return None
    return next((value for key, value in node.value if key.value == step), None)


def last_index(node: yaml.Node) -> int:
    """Where the text of a node ends; for a block collection its own mark lies behind blank lines and comments."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        value = last[1] if isinstance(last, tuple) else last
        key_end: int = last[0].end_mark.index if isinstance(last, tuple) else 0
        return max(last_index(value), key_end)
    end: int = node.end_mark.index
    if isinstance(node, yaml.ScalarNode) and node.style in ("|", ">"):
        end -= 1  # its mark stands at the start of the next line
    return end
