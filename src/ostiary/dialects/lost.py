"""What one dialect says and another can't: told with its place, so that a person can carry it over by hand."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ostiary.dialects.schema import camel_case
from ostiary.dialects.yaml_nodes import Mapping, Node, Scalar, Sequence
from ostiary.model.errors import Diagnostic


def lost(path: str, message: str, mend: str = "") -> Diagnostic:
    """Something at `path` of the source that is not carried over; its place is found by `placed`."""
    return Diagnostic(file="", line=0, column=0, severity="warning", path=path, message=message, mend=mend)


def placed(diagnostic: Diagnostic, file: str, root: Node | None) -> Diagnostic:
    """The diagnostic with the line of whatever its path leads to, as far as that is written in `file`."""
    node = _along(root, diagnostic.path) if root is not None else None
    if node is None or node.file != file:
        return replace(diagnostic, file=file)
    return replace(diagnostic, file=file, line=node.line, column=node.column)


def _along(root: Node, path: str) -> Node | None:
    """The deepest node that the path leads to, None if that is the root."""
    found: Node | None = None
    here = root
    for step in path.replace("[", ".[").split("."):
        place: Node | None = None
        if step.startswith("[") and isinstance(here, Sequence) and int(step[1:-1]) < len(here.items):
            place = inner = here.items[int(step[1:-1])]
        elif isinstance(here, Mapping):
            entry = next((each for each in here.entries if each[0].text in (step, camel_case(step))), None)
            if entry is not None:
                place, inner = entry
        if place is None:
            break
        found, here = place, inner
    return found


def with_text(nodes: Iterable[Node], text: str) -> Node | None:
    """The first value that is `text`."""
    for node in nodes:
        if isinstance(node, Mapping):
            found = with_text((value for _, value in node), text)
        elif isinstance(node, Sequence):
            found = with_text(node.items, text)
        else:
            found = node if isinstance(node, Scalar) and node.text == text else None
        if found is not None:
            return found
    return None
