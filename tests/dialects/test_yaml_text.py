"""What is written as YAML is read as the same by every reader that it may meet, comments or not."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ostiary.dialects.yaml_nodes import Mapping, Node, Scalar, Sequence, parse_all
from ostiary.dialects.yaml_text import Block, Noted, dump, plain

WORDS = st.sampled_from(
    ["on", "off", "y", "N", "yes", "~", "null", "0x10", "010", "0o10", "1e3", ".5", "12:30:45", "1_000", "=", "<<", "",
     "- a", "a: b", "a #b", "# a", "%REQ(x)%", "*", "&a", "!a", "@a", "`a", "{a}", "[a]", "'", '"', "a\n", "\ta", " a",
     "5s", "1.5s", "1.2.3", "2026-01-01", "true", "NaN", ".inf", "é", "\x7f", "\u2028", "a:", ":path", "---", "..."]
)  # fmt: skip
TEXTS = WORDS | st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), max_size=8)
SCALARS = TEXTS | st.integers(-9, 9) | st.booleans()
TREES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=8
)
COMMENTS = st.text("ab \n#:-é", max_size=6)


@st.composite
def noted(draw: st.DrawFn, tree: Any) -> Any:
    """The tree with comments wherever chance puts one."""
    if isinstance(tree, dict):
        tree = {key: draw(noted(value)) for key, value in tree.items()}
    elif isinstance(tree, list):
        tree = [draw(noted(value)) for value in tree]
    return Noted(tree, draw(COMMENTS)) if draw(st.booleans()) else tree


def ours(node: Node) -> Any:
    if isinstance(node, Mapping):
        return {key.text: ours(value) for key, value in node}
    if isinstance(node, Sequence):
        return [ours(item) for item in node]
    assert isinstance(node, Scalar)
    return node.text


def texts(tree: Any) -> Any:
    """As our reader has scalars: text."""
    if isinstance(tree, dict):
        return {key: texts(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [texts(value) for value in tree]
    return str(tree).lower() if isinstance(tree, bool) else str(tree)


@given(st.dictionaries(TEXTS, TREES, max_size=3).flatmap(noted))
def test_every_reader_reads_what_was_meant(tree: Any) -> None:
    text = dump([tree, {"second": 1}])
    assert list(yaml.safe_load_all(text)) == [plain(tree), {"second": 1}]
    first, _ = parse_all(text.encode(), "x.yaml", merge=False)
    assert ours(first) == texts(plain(tree))


def test_a_comment_stands_before_what_it_is_about() -> None:
    tree = {"list": Noted([Noted({"a": 1, "b": Noted(2, "why\ntwo")}, "an item")], "the list")}
    assert dump([Noted(tree, "all")]) == ("# all\n# the list\nlist:\n# an item\n- a: 1\n  # why\n  # two\n  b: 2\n")


@pytest.mark.parametrize("word", ["on", "y", "0x10", "010", "1e3", "12:30", "~", "null"])
def test_text_that_some_reader_takes_for_something_else_is_quoted(word: str) -> None:
    assert dump([{"key": word}]) == f"key: '{word}'\n"


def test_a_block_keeps_its_lines() -> None:
    assert dump([{"file": Block("a: 1\n# b\n")}]) == "file: |\n  a: 1\n  # b\n"
