"""Envoy's API as data: messages, fields, enums and rules of the version that Ostiary follows.

The data file is made by `tools/envoy_schema.py` from the pinned Envoy's own descriptors. It is read on first use, and a
message's description is unpacked when the first configuration names it.
"""

from __future__ import annotations

import difflib
import functools
import lzma
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final

import msgspec

ENVOY_VERSION: Final = "1.39.3"
DEPRECATED, DISALLOWED = 1, 2


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message (google.protobuf.FieldDescriptorProto, what of it matters in JSON)."""

    name: str
    number: int
    type: str
    """`message`, `enum` or a scalar type of protobuf."""
    reference: str
    """The full name of the message or enum."""
    cardinality: str
    """empty, `repeated` or `map`."""
    key: str
    """A map's key type."""
    oneof: str
    rules: Mapping[str, Any]
    """protoc-gen-validate's, made flat; `items`, `keys` and `values` hold those of the elements."""
    deprecated: int
    """0, DEPRECATED (Envoy warns) or DISALLOWED (Envoy refuses)."""
    sensitive: bool
    """Envoy redacts it in dumps; no diagnostic shows its value."""


@dataclass(frozen=True, slots=True)
class MessageType:
    """One message of the API."""

    name: str
    fields: Mapping[str, Field]
    """By name and by camelCase JSON name: protobuf's JSON form takes both."""
    required_oneofs: tuple[str, ...]

    def nearest(self, name: str) -> str | None:
        """The field most like `name`, in the spelling the files use."""
        return nearest(name, (field.name for field in self.fields.values()))


class Schema:
    """Messages and enums by their full names."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self._messages: Mapping[str, Any] = raw["messages"]
        self._enums: Mapping[str, Mapping[str, int]] = raw["enums"]
        self._unpacked: dict[str, MessageType] = {}

    def message(self, name: str) -> MessageType | None:
        """The message of that full name, or None."""
        if name not in self._unpacked:
            if name not in self._messages:
                return None
            self._unpacked[name] = _unpack(name, self._messages[name])
        return self._unpacked[name]

    def enum(self, name: str) -> Mapping[str, int]:
        """Value names and numbers. Raises KeyError for a name that is no enum."""
        return self._enums[name]

    def names(self) -> Iterable[str]:
        """The full names of all messages."""
        return self._messages

    def nearest_message(self, name: str) -> str | None:
        """The message most like `name`: the same last word first, then the nearest spelling."""
        last = name.rpartition(".")[2]
        same = [known for known in self._messages if known.rpartition(".")[2] == last]
        return nearest(name, same) or nearest(name, self._messages)


@functools.cache
def schema() -> Schema:
    """The schema of Envoy ENVOY_VERSION."""
    packed = resources.files("ostiary.dialects").joinpath("data", f"envoy-{ENVOY_VERSION}.json.xz").read_bytes()
    return Schema(msgspec.json.decode(lzma.decompress(packed)))


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word most like `word`, or None if none is."""
    found = difflib.get_close_matches(word, list(dict.fromkeys(known)), n=1, cutoff=0.7)
    return found[0] if found else None


def camel_case(name: str) -> str:
    """The JSON name that protobuf derives from a field's name."""
    return re.sub(r"_+([a-zA-Z0-9]?)", lambda found: found[1].upper(), name)


def _unpack(name: str, raw: Mapping[str, Any]) -> MessageType:
    fields: dict[str, Field] = {}
    for field_name, entry in raw["f"].items():
        fields[field_name] = Field(
            name=field_name,
            number=entry["n"],
            type=entry["t"],
            reference=entry.get("r", ""),
            cardinality=entry.get("c", ""),
            key=entry.get("k", ""),
            oneof=entry.get("o", ""),
            rules=entry.get("v", {}),
            deprecated=entry.get("d", 0),
            sensitive=bool(entry.get("s")),
        )
    fields |= {camel_case(key): field for key, field in fields.items()}
    return MessageType(name, fields, tuple(raw.get("o", ())))
