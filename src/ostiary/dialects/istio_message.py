"""Envoy's messages as Istio holds them while it patches: by field, mergeable, and still knowing where they stand.

istiod works on protobuf messages, and what a patch does follows from that: a field that has no presence is not there
when it is zero, an unknown field is not there at all, a list is appended to. So a tree of nodes is read into messages
by Envoy's schema (`read`), patched, and written back as nodes (`Message.node`), each with the place it came from.

A configuration that is to be patched is read as it is, whatever it holds. The value of a patch (`read_patch`) is read
as istiod reads it (github.com/golang/protobuf/jsonpb, unknown fields allowed): what that refuses, the admission webhook
refuses; what it drops is reported.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from ostiary.dialects.schema import Field, MessageType, schema
from ostiary.dialects.schema_values import WRAPPERS, Unfit, duration, scalar
from ostiary.dialects.yaml_nodes import Mapping, Node, Scalar, Sequence, kind

ANY: Final = "google.protobuf.Any"
DURATION: Final = "google.protobuf.Duration"
OPAQUE: Final = frozenset({"google.protobuf.Struct", "google.protobuf.Value", "google.protobuf.ListValue"})
_LEAVES: Final = frozenset({DURATION, "google.protobuf.Timestamp", "google.protobuf.FieldMask", *WRAPPERS})
ISTIO_TYPES: Final = ("istio.", "stats.", "io.istio.", "google.protobuf.", "opentelemetry.", "cel.", "wasm.")
"""Packages outside Envoy's API that istiod resolves as well."""

Value: TypeAlias = "Node | Message | list[Value] | dict[str, tuple[Scalar, Value]]"
"""A leaf or a Struct; a message; a repeated field; a map, with its keys' places."""


class Message:
    """One message. `fields` has the names of the API (snake case); leaves and Structs stay nodes."""

    __slots__ = ("extra", "fields", "keys", "place", "type", "url", "zeros")

    def __init__(self, kind_of: MessageType | None, place: Node, url: Scalar | None = None) -> None:
        self.type = kind_of
        """None for a type that isn't in Envoy's API: all it holds is in `extra`."""
        self.place = place
        self.url = url
        """The `@type` of a message that stands in an Any."""
        self.fields: dict[str, Value] = {}
        self.keys: dict[str, Scalar] = {}
        self.extra: list[tuple[Scalar, Node]] = []
        """What the schema doesn't know; only in a configuration, never in a patch."""
        self.zeros: set[str] = set()
        """Fields of a patch that are written and, to protobuf, not set: a merge doesn't see them. They are kept,
        because a written AUTO is more than none to whoever reads the result."""

    @property
    def type_name(self) -> str:
        """The full name of the type; of an Any's, as its URL says it."""
        return self.url.text.rpartition("/")[2] if self.url is not None else self.type.name if self.type else ""

    def text(self, name: str) -> str:
        """A scalar's text, empty if it isn't there."""
        found = self.fields.get(name)
        return found.text if isinstance(found, Scalar) else ""

    def number(self, name: str) -> int:
        """An integer or its wrapper, 0 if it isn't there."""
        text = self.text(name)
        return int(text) if text.isascii() and text.isdigit() else 0

    def message(self, name: str) -> Message | None:
        """A message, None if it isn't there."""
        found = self.fields.get(name)
        return found if isinstance(found, Message) else None

    def messages(self, name: str) -> list[Message]:
        """A repeated message. The list is the message's own once there is something in it."""
        found = self.fields.get(name)
        return [item for item in found if isinstance(item, Message)] if isinstance(found, list) else []

    def texts(self, name: str) -> list[str]:
        """A repeated string."""
        found = self.fields.get(name)
        return [item.text for item in found if isinstance(item, Scalar)] if isinstance(found, list) else []

    def put(self, name: str, value: Value, key: Scalar | None = None) -> None:
        """Set a field, and clear the other members of its oneof."""
        known = self.type.fields.get(name) if self.type else None
        if known is not None and known.oneof:
            for other in [o for o in self.fields if self.type and self.type.fields[o].oneof == known.oneof]:
                if other != name:
                    self.clear(other)
        if key is not None or name not in self.keys:
            self.keys[name] = key or _key(self.place, name)
        self.fields[name] = value

    def put_messages(self, name: str, value: list[Message]) -> None:
        """Set a repeated message; an empty list is the same as none."""
        if value:
            self.put(name, list(value))
        else:
            self.clear(name)

    def clear(self, name: str) -> None:
        """Remove a field."""
        self.fields.pop(name, None)
        self.keys.pop(name, None)

    def clone(self) -> Message:
        """A copy that shares nothing that can change."""
        twin = Message(self.type, self.place, self.url)
        twin.fields = {name: clone(value) for name, value in self.fields.items()}
        twin.keys, twin.extra, twin.zeros = dict(self.keys), list(self.extra), set(self.zeros)
        return twin

    @property
    def empty(self) -> bool:
        """True if it would be no bytes on the wire."""
        return not self.fields.keys() - self.zeros and not self.extra

    def node(self) -> Mapping:
        """The message as nodes again."""
        entries: list[tuple[Scalar, Node]] = [] if self.url is None else [(_key(self.url, "@type"), self.url)]
        entries += [(self.keys[name], to_node(value, self.place)) for name, value in self.fields.items()]
        place = self.place
        return Mapping(place.file, place.line, place.column, (*entries, *self.extra))

    def __repr__(self) -> str:
        return f"<Message {self.type_name} {' '.join(self.fields)}>"


def clone(value: Value) -> Value:
    """A copy of any value; nodes can't change and are shared."""
    if isinstance(value, Message):
        return value.clone()
    if isinstance(value, list):
        return [clone(item) for item in value]
    if isinstance(value, dict):
        return {key: (name, clone(item)) for key, (name, item) in value.items()}
    return value


def to_node(value: Value, place: Node) -> Node:
    """Any value as a node; what has no place of its own stands at `place`."""
    if isinstance(value, Message):
        return value.node()
    if isinstance(value, list):
        items = tuple(to_node(item, place) for item in value)
        at = items[0] if items else place
        return Sequence(at.file, at.line, at.column, items)
    if isinstance(value, dict):
        entries = tuple((key, to_node(item, key)) for key, item in value.values())
        at = entries[0][0] if entries else place
        return Mapping(at.file, at.line, at.column, entries)
    return value


@dataclass(slots=True)
class Findings:
    """What istiod refuses or drops in one patch's value: (place, path, message, mend)."""

    refused: list[tuple[Node, str, str, str]] = field(default_factory=list)
    unknown: list[tuple[Node, str, str, str]] = field(default_factory=list)


def read(node: Node, name: str, url: Scalar | None = None) -> Message:
    """The message called `name` of a configuration that is to be patched, kept as it is. `url`: its `@type`, if any."""
    return _Reader(None).message(node, name, "", url)


def read_patch(node: Node, name: str) -> tuple[Message, Findings]:
    """The message called `name` of a patch, as istiod reads it, and what it refused or dropped."""
    found = Findings()
    return _Reader(found).message(node, name, ""), found


class _Reader:
    """One reading. Without findings nothing is judged and nothing is lost."""

    def __init__(self, findings: Findings | None) -> None:
        self.findings = findings

    def message(self, node: Node, name: str, path: str, url: Scalar | None = None) -> Message:
        known = MessageType(name, {}, ()) if name == "google.protobuf.Empty" else schema().message(name)
        found = Message(known, node, url)
        if not isinstance(node, Mapping):
            self._refuse(node, path, f"a mapping is expected here ({name}), not {kind(node)}")
            return found
        for key, value in node:
            if url is not None and key.text == "@type":
                continue
            if known is None:
                found.extra.append((key, value))
                continue
            self._entry(found, known, key, value, f"{path}.{key.text}" if path else key.text)
        return found

    def _entry(self, owner: Message, known: MessageType, key: Scalar, node: Node, path: str) -> None:
        described = known.fields.get(key.text)
        if described is None or described.name in owner.fields:
            self._unknown(owner, known, key, node, path)
            return
        if isinstance(node, Scalar) and node.is_null and described.reference != "google.protobuf.Value":
            return
        if self.findings is not None and described.oneof:
            other = next((o for o in owner.fields if known.fields[o].oneof == described.oneof), None)
            if other is not None:
                self._refuse(key, path, f"'{other}' is set already, and only one of them may be")
                return
        value = self._value(described, node, path)
        if value is None:
            if self.findings is None:
                owner.extra.append((key, node))
            return
        if self.findings is not None and is_unset(described, value):
            owner.zeros.add(described.name)
        owner.put(described.name, value, Scalar(key.file, key.line, key.column, described.name, True))

    def _value(self, described: Field, node: Node, path: str) -> Value | None:
        """None if it is not what the field takes."""
        if described.cardinality == "map":
            if not isinstance(node, Mapping):
                self._refuse(node, path, f"a mapping is expected here, not {kind(node)}")
                return None
            read_map: dict[str, tuple[Scalar, Value]] = {}
            for key, item in node:
                value = self._single(described, item, f'{path}["{key.text}"]')
                if value is not None:
                    read_map[key.text] = (key, value)
            return read_map
        if described.cardinality == "repeated":
            if not isinstance(node, Sequence) and self.findings is not None:
                self._refuse(node, path, f"a list is expected here, not {kind(node)}", "write it as a list: `- ...`")
                return None
            items = node.items if isinstance(node, Sequence) else (node,)
            values = [self._single(described, item, f"{path}[{index}]") for index, item in enumerate(items)]
            return [value for value in values if value is not None]
        return self._single(described, node, path)

    def _single(self, described: Field, node: Node, path: str) -> Value | None:
        reference = described.reference
        if reference == ANY:
            return self._any(node, path)
        if reference in OPAQUE:
            return node
        if described.type == "message" and reference not in _LEAVES:
            if self.findings is None and not isinstance(node, Mapping):
                return None
            return self.message(node, reference, path)
        if self.findings is None:
            return node if isinstance(node, Scalar) else None
        try:
            return _checked(node, described)
        except Unfit as unfit:
            self._refuse(node, path, unfit.message, unfit.mend)
            return None

    def _any(self, node: Node, path: str) -> Message | None:
        url = node.get("@type") if isinstance(node, Mapping) else None
        if not isinstance(url, Scalar):
            if self.findings is None:
                return Message(None, node) if isinstance(node, Mapping) and not len(node) else None
            self._refuse(node, path, "'@type' is missing", "add '@type: type.googleapis.com/envoy....'")
            return None
        name = url.text.rpartition("/")[2]
        if self.findings is not None and schema().message(name) is None and not name.startswith(ISTIO_TYPES):
            near = schema().nearest_message(name)
            mend = f"did you mean type.googleapis.com/{near}?" if near else ""
            text = f"istiod knows no such type: could not resolve Any message type {name}"
            self._refuse(url, f"{path}.@type", text, mend)
            return None
        return self.message(node, name, path, url)

    def _refuse(self, node: Node, path: str, message: str, mend: str = "") -> None:
        if self.findings is not None:
            self.findings.refused.append((node, path, message, mend))

    def _unknown(self, owner: Message, known: MessageType, key: Scalar, node: Node, path: str) -> None:
        if self.findings is None:
            owner.extra.append((key, node))
            return
        short, near = known.name.rpartition(".")[2], known.nearest(key.text)
        message = f"{short} has no field '{key.text}': istiod drops it without a word"
        if key.text in known.fields:
            message, near = f"'{key.text}' is written in both spellings: istiod takes one of them", None
        mend = f"did you mean '{near}'?" if near else "remove it"
        if key.text == "config" and "typed_config" in known.fields:  # so it was until Envoy's API v3
            mend = "write it under typed_config, with an '@type'"
        self.findings.unknown.append((key, path, message, mend))


def _checked(node: Node, described: Field) -> Node:
    """The node, or what istiod sends for it. Raises Unfit for what is no value of the field."""
    if described.reference == DURATION:
        return _duration(node)
    if described.reference in _LEAVES and described.reference not in WRAPPERS:
        if not isinstance(node, Scalar):
            raise Unfit(f"text is expected here, not {kind(node)}")
        return node
    value = scalar(node, described, WRAPPERS.get(described.reference, described.type), schema())
    if described.type == "enum" and isinstance(node, Scalar) and isinstance(node.value, str) and node.text != value:
        raise Unfit(f"istiod knows no value '{node.text}'", f"write {value}")
    return node


_UNITS: Final = {"h": 3_600_000_000_000, "m": 60_000_000_000, "s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
_GO_DURATION: Final = re.compile(r"[-+]?(?:[0-9]{1,12}(?:\.[0-9]{0,9})?(?:h|ms|m|s|us|ns))+", re.ASCII)
_GO_PART: Final = re.compile(r"([0-9]+)(?:\.([0-9]*))?(h|ms|m|s|us|ns)", re.ASCII)


def _duration(node: Node) -> Node:
    """A duration as Go's time.ParseDuration reads it (`500ms`, `1m30s`), spelt as Envoy does. Raises Unfit."""
    if not isinstance(node, Scalar) or _GO_DURATION.fullmatch(node.text) is None or node.text.startswith("-"):
        duration(node)  # says what is wrong, and takes what is only longer
        return node
    nanoseconds = sum(
        int(whole) * _UNITS[unit] + int((fraction or "0").ljust(9, "0")) * _UNITS[unit] // 1_000_000_000
        for whole, fraction, unit in _GO_PART.findall(node.text)
    )
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    text = f"{seconds}.{rest:09d}".rstrip("0").rstrip(".") + "s"
    return Scalar(node.file, node.line, node.column, text, node.plain)


def is_zero(node: Node, wanted: str) -> bool:
    """True if a scalar of protobuf type `wanted` (or its wrapper) has its default: false, 0, nothing."""
    if not isinstance(node, Scalar):
        return False
    wanted = WRAPPERS.get(wanted, wanted)
    if wanted in ("string", "bytes"):
        return node.text == ""
    if wanted == "bool":
        return node.value is False or node.text == "false"
    try:
        return float(node.text) == 0
    except ValueError:
        return node.value == 0


def is_unset(described: Field, value: Value) -> bool:
    """True for what protobuf does not carry: a default without presence."""
    if described.cardinality:
        return isinstance(value, list | dict) and not value
    if described.oneof or described.type == "message" or not isinstance(value, Scalar):
        return False
    if described.type == "enum":
        names = schema().enum(described.reference)
        return names.get(value.text, value.value) == 0
    return is_zero(value, described.type)


def _key(place: Node, name: str) -> Scalar:
    """A key that nobody wrote, at the place of its message."""
    return Scalar(place.file, place.line, place.column, name, True)
