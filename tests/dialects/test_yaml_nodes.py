from __future__ import annotations

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ostiary.dialects import yaml_nodes
from ostiary.dialects.yaml_nodes import Mapping, Node, Scalar, Sequence, parse, parse_all
from ostiary.model import limits
from ostiary.model.errors import ConfigError, Diagnostic


def mapping(text: str, *, merge: bool = True) -> Mapping:
    found = parse(text.encode(), "f", merge=merge)
    assert isinstance(found, Mapping)
    return found


def scalar(node: Node | None) -> Scalar:
    assert isinstance(node, Scalar)
    return node


def refused(text: str | bytes, *, merge: bool = True) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text.encode() if isinstance(text, str) else text, "f", merge=merge)
    return [str(found) for found in caught.value.diagnostics]


def test_every_node_knows_its_line_and_column() -> None:
    root = mapping("a: 1\nb:\n  - x\n  - {k: v}\n")
    items = root.get("b")
    assert isinstance(items, Sequence)
    inner = items.items[1]
    assert isinstance(inner, Mapping)
    places = [(node.line, node.column) for node in (root, items, items.items[0], inner, scalar(inner.get("k")))]
    assert places == [(1, 1), (3, 3), (3, 5), (4, 5), (4, 9)]
    assert (scalar(root.key("b")).line, scalar(root.key("b")).column) == (2, 1)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", True), ("y", True), ("Off", False), ("TRUE", True), ("tRue", "tRue"), ("'yes'", "yes"),
        ("10", 10), ("-3", -3), ("0x1F", 31), ("010", 8), ("'10'", "10"), ("1.5", "1.5"), ("10s", "10s"),
        ("1_000", "1_000"), ("", None), ("~", None), ("null", None), ("'null'", "null"), ("2026-01-01", "2026-01-01"),
    ],
)  # fmt: skip
def test_plain_scalars_have_the_types_that_envoy_gives_them(text: str, value: object) -> None:
    assert scalar(mapping(f"k: {text}").get("k")).value == value


def test_a_key_written_twice_is_an_error_and_all_of_them_are_reported() -> None:
    found = refused("a: 1\na: 2\nb: {c: 1, c: 2}\n")
    assert [line.split(":")[1:3] for line in found] == [["3", "11"], ["2", "1"]]
    assert "the key 'a' is written twice; the first is in line 1" in found[1]


def test_anchors_and_merge_keys() -> None:
    root = mapping("base: &b {x: 1, y: 2}\nderived: {<<: *b, y: 3}\n")
    derived = root.get("derived")
    assert isinstance(derived, Mapping)
    assert {key.text: scalar(value).value for key, value in derived} == {"y": 3, "x": 1}


def test_merge_keys_are_ordinary_where_they_are_not_wanted() -> None:
    root = mapping("derived: {<<: {x: 1}}\n", merge=False)
    derived = root.get("derived")
    assert isinstance(derived, Mapping)
    assert "<<" in derived


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("a: 1\n---\nb: 2\n", "f:3:1: error: a second document starts here"),
        ("a: [", "not YAML"),
        ("a:\n\tb: c", "indent with spaces: YAML takes no tabs"),
        ("? [x]\n: y\n", "a key must be text, not a list"),
        ("a: !!python/object x", "f:1:4: error: YAML tags have no meaning here"),
        ("a: &x [*x]", "stands inside what it names"),
        ("a: *nobody", "names no anchor"),
        ("a: &x 1\n<<: *x", "<< takes a mapping"),
        (b"a: \xff", "f:1:4: error: not UTF-8"),
        (b"\xff\xfea\0:\0", "f:1:1: error: not UTF-8 (save it as UTF-8: it is UTF-16)"),
        (b"a: \x00", "not YAML"),
        ("[" * 500, "nested more than 128 deep"),
        ("[" * 5000, "nested more than 128 deep"),
    ],
)
def test_what_is_refused(text: str | bytes, message: str) -> None:
    assert any(message in line for line in refused(text))


def test_aliases_count_as_often_as_they_are_used() -> None:
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert "nodes, aliases expanded" in refused("\n".join(lines))[0]


def test_aliases_do_not_hide_depth() -> None:
    lines = ["a0: &a0 [1]"] + [f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, limits.MAX_CONFIG_DEPTH + 2)]
    assert "deep, aliases expanded" in refused("\n".join(lines))[0]


def test_a_large_file_is_refused_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_CONFIG_BYTES", 10)
    assert "the limit is 10" in refused("a: " + "x" * 20)[0]


def test_json_indented_with_tabs() -> None:
    assert scalar(mapping('{\n\t"a":\t"b"\n}').get("a")).value == "b"


def test_documents_without_content_are_left_out() -> None:
    assert len(parse_all(b"---\na: 1\n---\n---\nb: 2\n", "f")) == 2


def test_a_repr_shows_no_text() -> None:
    assert "hunter2" not in repr(mapping("password: hunter2")) + repr(mapping("password: hunter2").get("password"))


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**40), 2**40)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('abc<é"\\', max_size=5), inner, max_size=4),
    max_leaves=20,
)


def plain(node: Node) -> object:
    if isinstance(node, Mapping):
        return {key.text: plain(value) for key, value in node}
    if isinstance(node, Sequence):
        return [plain(item) for item in node]
    return node.value


@pytest.mark.parametrize("loader", [yaml.SafeLoader, getattr(yaml, "CSafeLoader", yaml.SafeLoader)])
@given(value=JSON)
def test_json_survives_with_and_without_libyaml(loader: type, value: object) -> None:
    text = json.dumps({"value": value}, ensure_ascii=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yaml_nodes, "_Loader", loader)
        assert plain(parse(text.encode(), "f", merge=False)) == {"value": value}


@pytest.mark.parametrize("loader", [yaml.SafeLoader, getattr(yaml, "CSafeLoader", yaml.SafeLoader)])
def test_half_a_surrogate_pair_is_refused(loader: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml_nodes, "_Loader", loader)
    assert len(refused('{"a": "\\ud83d"}')) == 1


@given(st.binary(max_size=200) | st.text(":-[]{}&*!<'\"#|>%@ \n\tab0", max_size=60).map(str.encode))
def test_no_bytes_raise_anything_but_a_config_error(text: bytes) -> None:
    found: tuple[Diagnostic, ...] = ()
    try:
        parse_all(text, "f")
    except ConfigError as error:
        found = error.diagnostics
    assert all(item.line >= 1 and item.column >= 1 for item in found)
