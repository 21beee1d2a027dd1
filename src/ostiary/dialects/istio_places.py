"""What Envoy's dialect says about a patched proxy, said about the EnvoyFilter that a part of it comes from.

Nodes keep their place while they are patched, so a finding has the line of whoever wrote it. Its path leads through a
bootstrap that nobody wrote: here it becomes the path in the object.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from ostiary.dialects.istio_objects import EnvoyFilter
from ostiary.dialects.yaml_nodes import Mapping, Node
from ostiary.dialects.yaml_nodes import Sequence as SequenceNode
from ostiary.model.errors import Diagnostic

_GENERATED: Final = "static_resources."
_KEY_OF_MAP: Final = re.compile(r'\["([^"]*)"\]')
_CAPITAL: Final = re.compile(r"(?<=[a-z0-9])[A-Z]")
_MISSING: Final = 2
"""How many keys at the end of a path may not be written: those that are required."""


def in_objects(diagnostics: Sequence[Diagnostic], filters: Sequence[EnvoyFilter]) -> list[Diagnostic]:
    """The same findings; those about a patch's value with their path in its object."""
    if not any(each.path.startswith(_GENERATED) for each in diagnostics):
        return list(diagnostics)
    places: dict[tuple[str, int, int], list[str]] = {}
    for owner in filters:
        for patch in owner.patches:
            places.setdefault((patch.place.file, patch.place.line, patch.place.column), []).append(patch.path)
            if patch.value is not None:
                for node, path in _nodes(patch.value, f"{patch.path}.patch.value"):
                    places.setdefault((node.file, node.line, node.column), []).append(path)
    return [
        replace(each, path=_path(each.path, places.get((each.file, each.line, each.column), [])))
        if each.path.startswith(_GENERATED)
        else each
        for each in diagnostics
    ]


def _nodes(node: Node, path: str) -> Iterator[tuple[Node, str]]:
    """Every key and value below a node."""
    yield node, path
    if isinstance(node, Mapping):
        for key, value in node:
            yield key, f"{path}.{key.text}"
            yield from _nodes(value, f"{path}.{key.text}")
    elif isinstance(node, SequenceNode):
        for index, item in enumerate(node.items):
            yield from _nodes(item, f"{path}[{index}]")


def _path(generated: str, candidates: Sequence[str]) -> str:
    """Of the paths of one place the one that ends as the generated path does, keys that are missing apart."""
    steps = _steps(generated)
    best, score = generated, 0
    for path in candidates:
        own = _steps(path)
        for missing in range(_MISSING + 1):
            rest = steps[: len(steps) - missing]
            common = 0
            while common < min(len(rest), len(own)) and rest[-1 - common] == own[-1 - common]:
                common += 1
            if common * (_MISSING + 1) - missing > score:
                best, score = ".".join((path, *steps[len(rest) :])), common * (_MISSING + 1) - missing
    if score or not candidates:
        return best
    whole = min(candidates, key=len)  # a patch's value, which has another name there: `http_filters[1]`
    return whole if whole.endswith("]") or steps[-1].endswith("]") else f"{whole}.{steps[-1]}"


def _steps(path: str) -> list[str]:
    """The keys of a path, as Envoy's API spells them."""
    plain = _KEY_OF_MAP.sub(r".\1", path)
    return _CAPITAL.sub(lambda found: f"_{found[0].lower()}", plain).split(".")
