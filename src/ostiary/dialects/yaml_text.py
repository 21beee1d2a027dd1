"""Trees of plain values as YAML, with comments that say why.

A writer makes dicts, lists and scalars; where a reader of the file should be told something, a value is wrapped into
`Noted`. Text is quoted wherever any of the readers it may meet (yaml-cpp in Envoy, Go's in Kubernetes, YAML 1.2) could
take it for something else: `on`, `0x10`, `1e3`, `12:30`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from ruamel.yaml.comments import CommentedMap, CommentedSeq

Tree = Any
"""dict, list, str, int, float, bool, or `Noted` around one of them."""

_SAFE: Final = re.compile(
    r"[A-Za-z_/][A-Za-z0-9_./:@+,-]*(?<!:)(?: [A-Za-z0-9_./@+-]+)*|[0-9]+(?:\.[0-9]+)?s", re.ASCII
)
"""Text that is text without quotes for everyone, unless it is one of these words."""
_WORDS: Final = frozenset(("y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"))


@dataclass(frozen=True, slots=True)
class Noted:
    """A value with the comment that stands before it."""

    value: Tree
    comment: str


@dataclass(frozen=True, slots=True)
class Block:
    """Text over several lines, written as a literal block (`|`)."""

    text: str


def plain(tree: Tree) -> Any:
    """The tree without its comments, as JSON has it."""
    if isinstance(tree, Noted):
        return plain(tree.value)
    if isinstance(tree, Block):
        return tree.text
    if isinstance(tree, Mapping):
        return {key: plain(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [plain(value) for value in tree]
    return tree


def dump(documents: Iterable[Tree]) -> str:
    """The documents as one YAML stream, each after a `---` if there are several."""
    return "---\n".join(_dump(document) for document in documents)


def _dump(document: Tree) -> str:
    from io import StringIO

    from ruamel.yaml import YAML

    writer = YAML(typ="rt")
    writer.width = 1 << 20  # a folded line is hard to search for
    out = StringIO()
    writer.dump(_styled(document.value if isinstance(document, Noted) else document, 0), out)
    text = out.getvalue()
    return "".join(f"{_line(line)}\n" for line in _lines(document)) + text


def _lines(tree: Tree) -> list[str]:
    return tree.comment.splitlines() if isinstance(tree, Noted) else []


def _line(text: str) -> str:
    return f"# {text}".rstrip()


def _styled(tree: Tree, column: int) -> Any:
    """The tree in ruamel's own types, which carry comments and quotes; `column` is where its keys stand."""
    from ruamel.yaml.comments import CommentedMap, CommentedSeq

    if isinstance(tree, Mapping):
        mapping = CommentedMap()
        for key, value in tree.items():
            inner = value.value if isinstance(value, Noted) else value
            # a list's dashes stand where the key stands, a mapping's keys two columns on
            mapping[_text(key)] = _styled(inner, column if isinstance(inner, list | tuple) else column + 2)
            _note(mapping, key, value, column)
        return mapping
    if isinstance(tree, list | tuple):
        sequence = CommentedSeq()
        for index, value in enumerate(tree):
            inner = value.value if isinstance(value, Noted) else value
            sequence.append(_styled(inner, column + 2))
            _note(sequence, index, value, column)
        return sequence
    if isinstance(tree, Block):
        from ruamel.yaml.scalarstring import LiteralScalarString

        return LiteralScalarString(tree.text)
    return _text(tree) if isinstance(tree, str) else tree


def _note(holder: CommentedMap | CommentedSeq, key: str | int, value: Tree, column: int) -> None:
    if lines := _lines(value):
        holder.yaml_set_comment_before_after_key(key, before="\n".join(lines), indent=column)


def _text(text: str) -> str:
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString, SingleQuotedScalarString

    if _SAFE.fullmatch(text) and text.lower() not in _WORDS:
        return text
    quoted: str = SingleQuotedScalarString(text) if text.isprintable() else DoubleQuotedScalarString(text)
    return quoted
