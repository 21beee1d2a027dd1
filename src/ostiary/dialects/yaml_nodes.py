"""YAML, and so JSON, as a tree that knows where everything stands.

A configuration is read for two purposes: to be run, and to be pointed at ("line 41, column 7"). PyYAML's loaders lose
the place, its composers recurse in C and can be made to overflow the stack, so the tree is built here from the parser's
*events*, with an explicit stack. That also makes the bounds simple: depth, and the number of nodes with every alias
counted as often as it is used (`&a [*b, *b]` ten times over is a gigabyte otherwise).

Scalars are typed as yaml-cpp types them for Envoy, because "accepted here, refused there" starts with `y`: plain `y`,
`yes`, `on`, `true` are booleans, `0x10` and `010` are integers, floats stay text until a field says otherwise, quoted
text is text. Tags are refused: none has a meaning in any configuration this reads. A key written twice is an error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import yaml

from ostiary.model import limits
from ostiary.model.errors import ConfigError, Diagnostic

_BOOLEANS: Final = {
    spelling: value
    for words, value in ((("y", "yes", "true", "on"), True), (("n", "no", "false", "off"), False))
    for word in words
    for spelling in (word, word.capitalize(), word.upper())
}
_UTF16: Final = b"\xff\xfe", b"\xfe\xff"
_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
_INTEGER: Final = re.compile(r"[-+]?(?:0[xX][0-9a-fA-F]{1,16}|0[0-7]{0,22}|[1-9][0-9]{0,18})", re.ASCII)
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_MERGE: Final = "<<"
_ESCAPES: Final = re.compile(r"\\u(d[89ab][0-9a-f]{2})\\u(d[c-f][0-9a-f]{2})|\\.", re.IGNORECASE)
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True, eq=False)
class _Place:
    file: str
    line: int
    """1-based."""
    column: int
    """1-based."""

    def problem(self, path: str, message: str, mend: str = "") -> Diagnostic:
        """An error at this place."""
        return Diagnostic(file=self.file, line=self.line, column=self.column, path=path, message=message, mend=mend)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Scalar(_Place):
    """A leaf. Its repr does not show the text: it may be a secret."""

    text: str
    plain: bool
    """Written without quotes, so that `true`, `10` and nothing at all have a type of their own."""

    @property
    def value(self) -> str | int | bool | None:
        """The text as yaml-cpp would type it; floats stay text."""
        if not self.plain:
            return self.text
        if self.text in _NULLS:
            return None
        if self.text in _BOOLEANS:
            return _BOOLEANS[self.text]
        if _INTEGER.fullmatch(self.text):
            digits = self.text.lstrip("+-")
            base = 16 if digits[:2] in ("0x", "0X") else 8 if digits[0] == "0" else 10
            return int(digits, base) * (-1 if self.text[0] == "-" else 1)
        return self.text

    @property
    def is_null(self) -> bool:
        """`null`, `~` or nothing."""
        return self.plain and self.text in _NULLS

    def __repr__(self) -> str:
        return f"<Scalar {self.line}:{self.column}>"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Sequence(_Place):
    """A list."""

    items: tuple[Node, ...]

    def __iter__(self) -> Iterator[Node]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __repr__(self) -> str:
        return f"<Sequence {self.line}:{self.column} of {len(self.items)}>"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Mapping(_Place):
    """Keys and values in the order in which they are written; no key twice."""

    entries: tuple[tuple[Scalar, Node], ...]

    def get(self, key: str) -> Node | None:
        """The value of `key`, or None."""
        return next((value for name, value in self.entries if name.text == key), None)

    def key(self, key: str) -> Scalar | None:
        """The key itself, for its place, or None."""
        return next((name for name, _ in self.entries if name.text == key), None)

    def __iter__(self) -> Iterator[tuple[Scalar, Node]]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __contains__(self, key: object) -> bool:
        return any(name.text == key for name, _ in self.entries)

    def __repr__(self) -> str:
        return f"<Mapping {self.line}:{self.column} of {len(self.entries)}>"


Node = Scalar | Sequence | Mapping


def kind(node: Node) -> str:
    """What a node is, in words for an error."""
    if isinstance(node, Mapping):
        return "a mapping"
    if isinstance(node, Sequence):
        return "a list"
    value = node.value
    if value is None:
        return "nothing"
    return "true or false" if isinstance(value, bool) else "a number" if isinstance(value, int) else "text"


def parse(text: bytes, file: str, *, merge: bool = True) -> Node:
    """The one document of `text`.

    `file` is its name in diagnostics. With `merge`, a plain `<<` key merges the mappings it names; without, it is a key
    like any other (as for Envoy). Raises ConfigError with every problem found: text that is not UTF-8 or not YAML,
    no document or several, duplicate keys, tags, unknown or recursive aliases, too deep or too large.
    """
    documents = parse_all(text, file, merge=merge)
    if len(documents) == 1:
        return documents[0]
    if not documents:
        raise ConfigError([Diagnostic(file=file, line=1, column=1, path="", message="the file is empty")])
    second = documents[1]
    raise ConfigError([second.problem("", "a second document starts here; only one is expected", "split the file")])


def parse_all(text: bytes, file: str, *, merge: bool = True) -> list[Node]:
    """Every document of `text`, empty ones left out; otherwise as `parse`."""
    if len(text) > limits.MAX_CONFIG_BYTES:
        message = f"the file has {len(text)} bytes; the limit is {limits.MAX_CONFIG_BYTES}"
        raise ConfigError([Diagnostic(file=file, line=1, column=1, path="", message=message)])
    builder = _Builder(file, merge)
    try:
        for event in yaml.parse(_decode(text, file), Loader=_Loader):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        builder.problems.append(_syntax_problem(error, file, text))
    except yaml.YAMLError as error:
        at = getattr(error, "position", 0)
        line, column = _position(text.decode(errors="replace"), at if isinstance(at, int) else 0)
        message = f"not YAML: {getattr(error, 'reason', 'unreadable text')}"
        builder.problems.append(Diagnostic(file=file, line=line, column=column, path="", message=message))
    if builder.problems:
        raise ConfigError(builder.problems)
    return [document for document in builder.documents if not (isinstance(document, Scalar) and document.is_null)]


def _decode(text: bytes, file: str) -> str:
    try:
        decoded = text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, column = _position(text[: error.start].decode(errors="replace"), error.start)
        mend = "save it as UTF-8" + (": it is UTF-16" if text.startswith(_UTF16) else "")
        problem = Diagnostic(file=file, line=line, column=column, path="", message="not UTF-8", mend=mend)
        raise ConfigError([problem]) from None
    return _json_as_yaml(decoded) if decoded.lstrip()[:1] in ("{", "[") else decoded


def _json_as_yaml(text: str) -> str:
    """JSON where it is not YAML: tabs between tokens (strings have none), characters written as two surrogates."""
    if "\t" not in text and "\\u" not in text:
        return text
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return text
    return _ESCAPES.sub(_join_surrogates, text.replace("\t", " "))


def _join_surrogates(found: re.Match[str]) -> str:
    if found[1] is None:
        return found[0]
    return f"\\U{0x10000 + ((int(found[1], 16) - 0xD800) << 10) + int(found[2], 16) - 0xDC00:08x}"


def _position(text: str, at: int) -> tuple[int, int]:
    before = text[:at]
    return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1


def _syntax_problem(error: yaml.MarkedYAMLError, file: str, text: bytes) -> Diagnostic:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    message = ", ".join(part for part in (error.context, error.problem) if part)
    if "nesting depth" in message:  # newer libyaml has a bound of its own, beyond ours
        message = f"nested more than {limits.MAX_CONFIG_DEPTH} deep"
        return Diagnostic(file=file, line=line, column=column, path="", message=message)
    here = text.decode(errors="replace").splitlines()[line - 1 : line]
    mend = "indent with spaces: YAML takes no tabs" if here and here[0][column - 1 : column] == "\t" else ""
    return Diagnostic(file=file, line=line, column=column, path="", message=f"not YAML: {message}", mend=mend)


class _Open:
    """A collection whose end has not come yet."""

    __slots__ = ("anchor", "items", "mapping", "place", "start")

    def __init__(self, event: yaml.CollectionStartEvent, place: _Place, start: int) -> None:
        self.mapping = isinstance(event, yaml.MappingStartEvent)
        self.place = place
        self.anchor: str | None = event.anchor
        self.items: list[Node] = []
        self.start = start
        """How many nodes there were before it: the difference at its end is its size."""


class _Builder:
    """Events in, documents out."""

    def __init__(self, file: str, merge: bool) -> None:
        self.file = file
        self.merge = merge
        self.documents: list[Node] = []
        self.problems: list[Diagnostic] = []
        self._open: list[_Open] = []
        self._anchors: dict[str, tuple[Node, int, int] | None] = {}
        """Name -> node, its size, its height; None while it is being read."""
        self._heights: dict[int, int] = {}
        self._count = 0

    def take(self, event: yaml.Event) -> None:
        """One more event. Raises ConfigError where going on would be unbounded or senseless."""
        if isinstance(event, yaml.ScalarEvent):
            self._check_tag(event)
            place = self._place(event)
            self._count += 1
            if not event.value.isascii() and _SURROGATE.search(event.value):  # only PyYAML without libyaml lets it by
                self.problems.append(place.problem("", "half of a surrogate pair is no character"))
            self._add(Scalar(self.file, place.line, place.column, event.value, not event.style), event.anchor, 1)
        elif isinstance(event, yaml.CollectionStartEvent):
            self._check_tag(event)
            if len(self._open) >= limits.MAX_CONFIG_DEPTH:
                self._give_up(event, f"nested more than {limits.MAX_CONFIG_DEPTH} deep")
            if event.anchor is not None:
                self._anchors[event.anchor] = None
            self._open.append(_Open(event, self._place(event), self._count))
            self._count += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            self._close(self._open.pop())
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event)
        elif isinstance(event, yaml.DocumentStartEvent):
            self._anchors.clear()
        if self._count > limits.MAX_CONFIG_NODES:
            self._give_up(event, f"more than {limits.MAX_CONFIG_NODES} nodes, aliases expanded")

    def _give_up(self, event: yaml.Event, message: str, mend: str = "") -> NoReturn:
        raise ConfigError([*self.problems, self._place(event).problem("", message, mend)])

    def _place(self, event: yaml.Event) -> _Place:
        mark = event.start_mark
        return _Place(self.file, mark.line + 1, mark.column + 1) if mark else _Place(self.file, 1, 1)

    def _check_tag(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent) -> None:
        if event.tag is not None and event.tag != "!":
            self.problems.append(
                self._place(event).problem("", "YAML tags have no meaning here", "remove the tag; quote text")
            )

    def _alias(self, event: yaml.AliasEvent) -> None:
        name = event.anchor or ""
        found = self._anchors.get(name)
        if found is None:
            what = "stands inside what it names" if name in self._anchors else "names no anchor"
            self._give_up(event, f"the alias *{name} {what}")
        node, size, height = found
        if len(self._open) + height > limits.MAX_CONFIG_DEPTH + 1:
            self._give_up(event, f"nested more than {limits.MAX_CONFIG_DEPTH} deep, aliases expanded")
        self._count += size
        self._add(node, None, size, height)

    def _add(self, node: Node, anchor: str | None, size: int, height: int = 1) -> None:
        if anchor is not None:
            self._anchors[anchor] = (node, size, height)
        if self._open:
            self._open[-1].items.append(node)
            depth = len(self._open)
            self._heights[depth] = max(self._heights.get(depth, 1), height + 1)
        else:
            self.documents.append(node)

    def _close(self, opened: _Open) -> None:
        height = self._heights.pop(len(self._open) + 1, 1)
        line, column = opened.place.line, opened.place.column
        node: Node
        if opened.mapping:
            node = Mapping(self.file, line, column, self._entries(opened.items))
        else:
            node = Sequence(self.file, line, column, tuple(opened.items))
        self._add(node, opened.anchor, self._count - opened.start, height)

    def _entries(self, flat: list[Node]) -> tuple[tuple[Scalar, Node], ...]:
        entries: dict[str, tuple[Scalar, Node]] = {}
        merged: list[Mapping] = []
        for key, value in zip(flat[::2], flat[1::2], strict=True):
            if not isinstance(key, Scalar):
                self.problems.append(key.problem("", f"a key must be text, not {kind(key)}"))
            elif self.merge and key.plain and key.text == _MERGE:
                merged += self._merged(value)
            elif key.text in entries:
                first = entries[key.text][0].line
                message = f"the key '{key.text}' is written twice; the first is in line {first}"
                self.problems.append(key.problem("", message, "remove one of them"))
            else:
                entries[key.text] = (key, value)
        for mapping in merged:
            for key, value in mapping:
                self._count += 1  # merging copies: bounded like any other expansion
                entries.setdefault(key.text, (key, value))
        return tuple(entries.values())

    def _merged(self, value: Node) -> list[Mapping]:
        items = value.items if isinstance(value, Sequence) else (value,)
        mappings = [item for item in items if isinstance(item, Mapping)]
        if len(mappings) != len(items):
            self.problems.append(value.problem("", "<< takes a mapping or a list of mappings"))
        return mappings
