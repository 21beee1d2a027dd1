"""Istio's merge of two messages (istio: pkg/proto/merge/merge.go), and of two Any.

Protobuf's own rules: what the patch sets wins; a message is merged field by field; a list is appended to; of a map each
key is replaced as a whole; a oneof's new member replaces the old one. Istio differs in one thing: a Duration is
replaced, not merged by seconds and nanoseconds. MERGE_AND_REPLACE_LIST replaces lists, at any depth, but not inside an
Any. What follows from the rules and surprises people is logged: lists that grew, values that could not be written.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from ostiary.dialects.istio_message import ANY, Message, Value, clone, is_unset, is_zero
from ostiary.dialects.schema import Field
from ostiary.dialects.schema_values import WRAPPERS
from ostiary.dialects.yaml_nodes import Mapping, Node, Scalar, Sequence

_PLAIN: Final = frozenset({"google.protobuf.Struct", "google.protobuf.Value", "google.protobuf.ListValue"})


class Panic(Exception):
    """istiod would panic here: its message."""


@dataclass(slots=True)
class Log:
    """What a merge did that people don't expect: (place in the patch, path of the field)."""

    appended: list[tuple[Node, str]] = field(default_factory=list)
    """Lists that had something in them already, and kept it."""
    unwritten: list[tuple[Node, str]] = field(default_factory=list)
    """Fields that stay as they were: the patch's value means "not set" (false, 0, "", an empty list), in wrappers
    too."""
    replaced: list[tuple[Node, str, str]] = field(default_factory=list)
    """Entries of maps that were there, and lose the fields that are named last."""


def merge(target: Message, patch: Message, log: Log, *, replace_lists: bool = False, path: str = "") -> None:
    """Merge `patch` into `target`. Raises Panic if they are of two types."""
    if target.type_name != patch.type_name:
        raise Panic(f"descriptor mismatch: {target.type_name} != {patch.type_name}")
    described_by = target.type.fields if target.type else {}
    for name, value in patch.fields.items() if described_by else ():
        described, at = described_by[name], f"{path}.{name}" if path else name
        if name not in patch.zeros:
            _field(target, patch, described, value, log, replace_lists, at)
        elif name in target.fields and not is_unset(described, target.fields[name]):
            log.unwritten.append((patch.keys[name], at))
    if target.type is None:  # a type that isn't Envoy's: Istio's own, whose fields nobody knows here
        target.extra = list({key.text: (key, value) for key, value in (*target.extra, *patch.extra)}.values())


def merge_any(target: Message, patch: Message, log: Log, path: str = "") -> Message:
    """The content of two Any merged, always appending to lists. Raises Panic if they hold two types."""
    merged = target.clone()
    merge(merged, patch, log, path=path)
    return merged


def _field(
    target: Message, patch: Message, described: Field, value: Value, log: Log, replace_lists: bool, path: str
) -> None:
    name, key, old = described.name, patch.keys[described.name], target.fields.get(described.name)
    if isinstance(value, list):
        if isinstance(old, list) and old and not replace_lists:
            log.appended.append((key, path))
            target.fields[name] = [*old, *(clone(item) for item in value)]
        else:
            target.put(name, clone(value), key)
    elif isinstance(value, dict):
        before = old if isinstance(old, dict) else {}
        for each, (where, item) in value.items():
            if each in before and (lost := _keys(before[each][1]) - _keys(item)):
                log.replaced.append((where, f'{path}["{each}"]', ", ".join(sorted(lost))))
        copied = {each: (where, clone(item)) for each, (where, item) in value.items()}
        target.put(name, {**before, **copied}, key)
    elif isinstance(value, Message) and isinstance(old, Message):
        if described.reference != ANY:
            merge(old, value, log, replace_lists=replace_lists, path=path)
        elif not value.empty or value.type_name != old.type_name:  # an Any is two scalars: its URL and its bytes
            target.put(name, value.clone(), key)
    elif described.reference in _PLAIN and old is not None and not isinstance(value, Message):
        target.fields[name] = _plain(old, value, replace_lists)
    elif described.reference in WRAPPERS and old is not None and is_zero(_leaf(value), described.reference):
        if not is_zero(_leaf(old), described.reference):
            log.unwritten.append((key, path))
    else:
        target.put(name, clone(value), key)


def _keys(value: Value) -> set[str]:
    """The fields of a message, or of a Struct."""
    if isinstance(value, Mapping):
        return {key.text for key, _ in value}
    return set(value.fields) if isinstance(value, Message) else set()


def _leaf(value: Value) -> Node:
    assert isinstance(value, Scalar | Mapping | Sequence)
    return value


def _plain(old: Value, new: Node, replace_lists: bool) -> Value:
    """Struct: a map, so each key is replaced; ListValue: a list; Value: a oneof of those and of scalars."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        entries = {key.text: (key, value) for key, value in (*old.entries, *new.entries)}
        return Mapping(old.file, old.line, old.column, tuple(entries.values()))
    if isinstance(old, Sequence) and isinstance(new, Sequence) and not replace_lists:
        return Sequence(old.file, old.line, old.column, (*old.items, *new.items))
    return new
