"""What one dialect says and another can't: told with its place, so that a person can carry it over by hand."""

from __future__ import annotations

from dataclasses import replace

from ostiary.dialects.schema import camel_case
from ostiary.dialects.yaml_nodes import Mapping, Node, Sequence
from ostiary.model.errors import Diagnostic


def lost(path: str, message: str, mend: str = "") -> Diagnostic:
    """Something at `path` of the source that is not carried over; its place is found by `placed`."""
    return Diagnostic(file="", line=0, column=0, severity="warning", path=path, message=message, mend=mend)


def placed(diagnostic: Diagnostic, file: str, root: Node | None) -> Diagnostic:
    """The diagnostic with the line of whatever its path leads to, as far as that is written."""
    node = _along(root, diagnostic.path) if root is not None else None
    if node is None:
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
