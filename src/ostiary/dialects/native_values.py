"""What the native dialect reads: files, environment and flags laid over each other, each value with its origin.

A later source wins key by key; lists are replaced as a whole, because half of a list of access rules from one file
and half from another is nobody's intention. A value from the command line or the environment has no line: its `file`
is the flag or the variable, so that a message about it names what to change.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from ostiary.dialects import yaml_nodes
from ostiary.model.errors import Diagnostic

MAX_LIST_INDEX: Final = 1000
"""`--set access.N.…`: beyond it is a typing error."""


@dataclass(frozen=True, slots=True)
class Value:
    """A scalar's text, a list or a mapping, and where it was written. `content` None is an empty or null value."""

    content: str | tuple[Value, ...] | Mapping[str, Value] | None
    file: str
    line: int = 0
    column: int = 0
    key: tuple[int, int] | None = None
    """Line and column of the key it belongs to, for saying that the key itself is wrong."""

    def at_key(self) -> Value:
        """The same value, placed where its key is."""
        return replace(self, line=self.key[0], column=self.key[1]) if self.key else self

    def error(self, path: str, message: str, mend: str = "") -> Diagnostic:
        """A diagnostic about this value."""
        return Diagnostic(file=self.file, line=self.line, column=self.column, path=path, message=message, mend=mend)

    def warning(self, path: str, message: str, mend: str = "") -> Diagnostic:
        """A diagnostic that stops nothing."""
        return Diagnostic(
            file=self.file,
            line=self.line,
            column=self.column,
            severity="warning",
            path=path,
            message=message,
            mend=mend,
        )

    @property
    def kind(self) -> str:
        """What it is, for messages."""
        if isinstance(self.content, str):
            return "a text"
        if isinstance(self.content, tuple):
            return "a list"
        return "nothing" if self.content is None else "a mapping"


def from_node(node: yaml_nodes.Node) -> Value:
    """A YAML node as a value. Its depth is bounded by the parser (`limits.MAX_CONFIG_DEPTH`)."""
    if isinstance(node, yaml_nodes.Mapping):
        items = {key.text: replace(from_node(item), key=(key.line, key.column)) for key, item in node}
        return Value(items, node.file, node.line, node.column)
    if isinstance(node, yaml_nodes.Sequence):
        return Value(tuple(from_node(item) for item in node), node.file, node.line, node.column)
    return Value(None if node.is_null else node.text, node.file, node.line, node.column)


def without_place(value: Value, origin: str) -> Value:
    """The same value as if written in `origin`, a flag or a variable, which has no lines."""
    content = value.content
    if isinstance(content, Mapping):
        content = {key: without_place(item, origin) for key, item in content.items()}
    elif isinstance(content, tuple):
        content = tuple(without_place(item, origin) for item in content)
    return Value(content, origin)


def empty(file: str) -> Value:
    """A document that says nothing."""
    return Value({}, file, 1, 1)


def overlay(below: Value, above: Value) -> Value:
    """`above` laid over `below`: mappings are merged, everything else is replaced."""
    if not isinstance(below.content, Mapping) or not isinstance(above.content, Mapping):
        return below if above.content is None else above
    merged = dict(below.content)
    for key, value in above.content.items():
        merged[key] = overlay(merged[key], value) if key in merged else value
    # The place of a merged mapping is the file's: it is where someone would look for a missing key.
    return replace(below, content=merged)


def overlay_all(values: Iterable[Value], file: str) -> Value:
    """All of them, the last on top."""
    result = empty(file)
    for number, value in enumerate(values):
        result = value if number == 0 else overlay(result, value)
    return result


def at_path(root: Value, path: str, value: Value) -> Value | None:
    """`root` with `value` put at the dotted `path` (`access.0.domains`), or None where the path leads nowhere.

    A number is a place in a list: an existing one, or the next.
    """
    return _put(root, path.split("."), value)


def _put(root: Value, steps: list[str], value: Value) -> Value | None:
    if not steps:
        return value
    step, rest = steps[0], steps[1:]
    if not step:
        return None
    missing = Value(None, value.file)
    content = root.content
    if step.isascii() and step.isdigit() and not isinstance(content, Mapping):
        items = content if isinstance(content, tuple) else ()
        if isinstance(content, str) or len(step) > 4 or int(step) > min(len(items), MAX_LIST_INDEX):
            return None
        index = int(step)
        inner = _put(items[index] if index < len(items) else missing, rest, value)
        return inner and Value((*items[:index], inner, *items[index + 1 :]), root.file, root.line, root.column)
    mapping = content if isinstance(content, Mapping) else {}
    if isinstance(content, tuple):
        return None
    inner = _put(mapping.get(step, missing), rest, value)
    return inner and Value({**mapping, step: inner}, root.file, root.line, root.column)
