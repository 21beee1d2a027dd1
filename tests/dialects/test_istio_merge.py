"""The merge rules, held to protobuf's own MergeFrom, and to where Istio's differ from it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory, struct_pb2, wrappers_pb2
from hypothesis import given
from hypothesis import strategies as st

from ostiary.dialects.istio_merge import Log, Panic, merge, merge_any
from ostiary.dialects.istio_message import OPAQUE, Message, read, read_patch
from ostiary.dialects.schema import Field, schema
from ostiary.dialects.schema_values import WRAPPERS, plain
from ostiary.dialects.yaml_nodes import parse

ROOTS = (
    "envoy.config.listener.v3.FilterChainMatch",
    "envoy.config.cluster.v3.OutlierDetection",
    "envoy.config.endpoint.v3.ClusterLoadAssignment",
    "envoy.config.route.v3.VirtualHost",
    "envoy.config.core.v3.Metadata",
)
OTHERWISE = frozenset({"google.protobuf.Duration", "google.protobuf.Timestamp", "google.protobuf.Any"})
"""Left out: a Duration is replaced by Istio, an Any's bytes hang on how they are written."""
DEPTH = 3
_Proto = descriptor_pb2.FieldDescriptorProto
_POOL = descriptor_pool.DescriptorPool()
for _known in (wrappers_pb2, struct_pb2):
    _POOL.AddSerializedFile(_known.DESCRIPTOR.serialized_pb)


def fields_of(name: str) -> dict[str, Field]:
    """The fields that the comparison has."""
    found = schema().message(name)
    assert found is not None
    return {field.name: field for field in found.fields.values() if _is_compared(field)}


def _is_compared(field: Field) -> bool:
    known = field.reference in WRAPPERS or field.reference in OPAQUE or schema().message(field.reference) is not None
    return field.reference not in OTHERWISE and (field.type != "message" or known)


class Classes:
    """Envoy's messages as protobuf's, made from the schema."""

    def __init__(self) -> None:
        self.file = descriptor_pb2.FileDescriptorProto(name="x.proto", package="x", syntax="proto3")
        self.file.dependency.extend(["google/protobuf/wrappers.proto", "google/protobuf/struct.proto"])
        self.done: set[str] = set()
        for name in ROOTS:
            self._message(name)
        _POOL.Add(self.file)

    def new(self, name: str) -> Any:
        return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"x.{_flat(name)}"))()

    def _message(self, name: str) -> None:
        if name in self.done:
            return
        self.done.add(name)
        made = descriptor_pb2.DescriptorProto(name=_flat(name))
        oneofs: list[str] = []
        for field in fields_of(name).values():
            one = made.field.add(name=field.name, number=field.number, label=3 if field.cardinality else 1)
            if field.oneof:
                if field.oneof not in oneofs:
                    oneofs.append(field.oneof)
                    made.oneof_decl.add(name=field.oneof)
                one.oneof_index = oneofs.index(field.oneof)
            if field.cardinality == "map":
                entry = made.nested_type.add(name=_entry(field.name))
                entry.options.map_entry = True
                entry.field.add(name="key", number=1, label=1, type=getattr(_Proto, f"TYPE_{field.key.upper()}"))
                self._type(entry.field.add(name="value", number=2, label=1), field)
                one.type, one.type_name = _Proto.TYPE_MESSAGE, f".x.{_flat(name)}.{entry.name}"
            else:
                self._type(one, field)
        self.file.message_type.append(made)

    def _type(self, one: Any, field: Field) -> None:
        one.type = getattr(_Proto, f"TYPE_{field.type.upper()}")
        if field.type == "message":
            known = field.reference in WRAPPERS or field.reference in OPAQUE
            one.type_name = f".{field.reference}" if known else f".x.{_flat(field.reference)}"
            if not known:
                self._message(field.reference)
        elif field.type == "enum":
            one.type_name = f".x.E_{_flat(field.reference)}.E"
            self._enum(field.reference)

    def _enum(self, name: str) -> None:
        if name in self.done:
            return
        self.done.add(name)
        made = self.file.message_type.add(name=f"E_{_flat(name)}").enum_type.add(name="E")
        made.options.allow_alias = len(set(schema().enum(name).values())) < len(schema().enum(name))
        for text, number in sorted(schema().enum(name).items(), key=lambda item: (item[1] != 0, item[1])):
            made.value.add(name=text, number=number)


def _flat(name: str) -> str:
    return name.replace(".", "_")


def _entry(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_")) + "Entry"


CLASSES = Classes()


def values(name: str, depth: int = DEPTH) -> st.SearchStrategy[dict[str, Any]]:
    """Messages of a type, as JSON; of a oneof no more than one member."""
    leaves = [field for field in fields_of(name).values() if field.type != "message" or field.reference in WRAPPERS]
    fields = list(fields_of(name).values()) if depth else leaves
    if not fields:
        return st.just({})

    @st.composite
    def made(draw: st.DrawFn) -> dict[str, Any]:
        found: dict[str, Any] = {}
        oneofs: set[str] = set()
        for field in draw(st.lists(st.sampled_from(fields), max_size=4, unique_by=lambda field: field.name)):
            if not field.oneof or field.oneof not in oneofs:
                oneofs.add(field.oneof)
                found[field.name] = draw(_value(field, depth))
        return found

    return made()


def _value(field: Field, depth: int) -> st.SearchStrategy[Any]:
    one = _single(field, depth)
    if field.cardinality == "repeated":
        return st.lists(one, max_size=2)
    return st.dictionaries(st.sampled_from("ab"), one, max_size=2) if field.cardinality else one


def _single(field: Field, depth: int) -> st.SearchStrategy[Any]:
    if field.reference in OPAQUE:
        leaf = st.sampled_from(["x", "y", True])
        structs = st.dictionaries(st.sampled_from("ab"), st.one_of(leaf, st.lists(leaf, max_size=2)), max_size=2)
        return {"google.protobuf.Struct": structs, "google.protobuf.ListValue": st.lists(leaf)}.get(
            field.reference, leaf
        )
    wanted = WRAPPERS.get(field.reference, field.type)
    if wanted == "message":
        return values(field.reference, depth - 1)
    if wanted == "enum":
        return st.sampled_from(sorted(schema().enum(field.reference)))
    return {
        "string": st.sampled_from(["", "a", "b"]),
        "bytes": st.sampled_from(["", "YQ=="]),
        "bool": st.booleans(),
    }.get(wanted, st.integers(0, 2))


def as_message(written: dict[str, Any], name: str, *, patch: bool = False) -> Message:
    node = parse(json.dumps(written).encode(), "x.json")
    if not patch:
        return read(node, name)
    found, findings = read_patch(node, name)
    assert not findings.refused and not findings.unknown
    return found


def merged(target: dict[str, Any], patch: dict[str, Any], name: str, **options: bool) -> Any:
    found = as_message(target, name)
    merge(found, as_message(patch, name, patch=True), Log(), **options)
    return plain(found.node())


@given(st.sampled_from(ROOTS).flatmap(lambda name: st.tuples(st.just(name), values(name), values(name))))
def test_merge_is_protobufs(case: tuple[str, dict[str, Any], dict[str, Any]]) -> None:
    name, target, patch = case
    expected = json_format.ParseDict(target, CLASSES.new(name))
    expected.MergeFrom(json_format.ParseDict(patch, CLASSES.new(name)))
    assert json_format.ParseDict(merged(target, patch, name), CLASSES.new(name)) == expected


LISTENER = "envoy.config.listener.v3.Listener"


@pytest.mark.parametrize(
    ("target", "patch", "replace", "expected"),
    [
        # pkg/proto/merge/merge_test.go
        ({"listener_filters_timeout": "789.000000999s"}, {"listener_filters_timeout": "123s"}, False,
         {"listener_filters_timeout": "123s"}),
        ({"listener_filters": [{"name": "a"}, {"name": "b"}]}, {"listener_filters": [{"name": "c"}]}, False,
         {"listener_filters": [{"name": "a"}, {"name": "b"}, {"name": "c"}]}),
        ({"name": "keep-me", "listener_filters": [{"name": "a"}, {"name": "b"}]}, {"listener_filters": [{"name": "c"}]},
         True, {"name": "keep-me", "listener_filters": [{"name": "c"}]}),
        ({"listener_filters": [{"name": "a"}]}, {"name": "set-name"}, True,
         {"listener_filters": [{"name": "a"}], "name": "set-name"}),
        ({"filter_chains": [{"filters": [{"name": "f1"}, {"name": "f2"}]}]},
         {"filter_chains": [{"filters": [{"name": "f3"}]}]}, True,
         {"filter_chains": [{"filters": [{"name": "f3"}]}]}),
        # merge.go itself, run on these
        ({"listener_filters_timeout": "5s"}, {"listener_filters_timeout": "0s"}, False,
         {"listener_filters_timeout": "0s"}),
        ({"per_connection_buffer_limit_bytes": 5}, {"per_connection_buffer_limit_bytes": 0}, False,
         {"per_connection_buffer_limit_bytes": 5}),
        ({}, {"per_connection_buffer_limit_bytes": 0}, False, {"per_connection_buffer_limit_bytes": 0}),
    ],
)  # fmt: skip
def test_merge_as_istio_does_it(target: Any, patch: Any, replace: bool, expected: Any) -> None:
    assert merged(target, patch, LISTENER, replace_lists=replace) == expected


def test_an_any_is_replaced_where_a_message_is_merged_and_merged_where_a_filter_is() -> None:
    name = "envoy.config.listener.v3.Filter"
    echo = {"@type": "type.googleapis.com/envoy.extensions.filters.network.redis_proxy.v3.RedisProxy"}
    old, new = {"typed_config": {**echo, "stat_prefix": "a"}}, {"typed_config": {**echo, "latency_in_micros": True}}
    assert merged(old, new, name) == new
    first, second = (as_message(each, name).message("typed_config") for each in (old, new))
    assert first is not None and second is not None
    both = {**echo, "stat_prefix": "a", "latency_in_micros": True}
    assert plain(merge_any(first, second, Log()).node()) == both


def test_two_types_panic() -> None:
    with pytest.raises(Panic, match=r"descriptor mismatch: envoy\.config\.listener\.v3\.Listener != "):
        merge(as_message({}, LISTENER), as_message({}, ROOTS[0], patch=True), Log())
