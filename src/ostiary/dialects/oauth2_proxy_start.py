"""How oauth2-proxy is started: the words and variables that a Pod, a container, a unit or a script gives it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from collections.abc import Sequence as Several
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Final

from ostiary.dialects.oauth2_proxy_flags import Word, split_words
from ostiary.dialects.oauth2_proxy_options import BY_FLAG, PREFIX
from ostiary.dialects.yaml_nodes import Mapping, Node, Scalar, Sequence

_PROGRAM: Final = re.compile(r"(?:^|[/\s])oauth2[-_]proxy(?:$|[:@\s])")
_ASSIGNMENT: Final = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
_VERSION: Final = re.compile(r":v?(\d+)\.")
_LISTED: Final = 7
"""The major version whose options are listed; an older one has other names."""
_OPENSHIFT: Final = ("--openshift-", "--provider=openshift")
_OURS_AT_LEAST: Final = 2
"""So many of its flags make a container oauth2-proxy's, whatever its image is called."""


@dataclass(frozen=True, slots=True, repr=False)
class Blob:
    """A text within a file, or a whole one. Its repr does not show it."""

    text: str
    file: str
    line: int = 1
    known: bool = True
    exact: bool = True
    """False: its lines are not lines of the file (base64, quotes): everything is at the first."""

    def __repr__(self) -> str:
        return f"<Blob {self.file}:{self.line}>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrance:
    """A host that users see, served by an Ingress."""

    host: str
    tls: bool
    file: str
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarded:
    """An Ingress that asks oauth2-proxy (nginx's auth_request), and the headers that it takes over from its answer."""

    headers: tuple[str, ...]
    file: str
    line: int


@dataclass(slots=True, kw_only=True)
class Start:
    """One oauth2-proxy, as something starts it."""

    name: str
    file: str
    line: int
    words: list[Word] = field(default_factory=list)
    """Without the program's name."""
    variables: list[tuple[Word, Word]] = field(default_factory=list)
    mounted: dict[str, Blob] = field(default_factory=dict)
    """Files by the path or the last part of it under which it sees them."""
    preset: dict[str, str] = field(default_factory=dict)
    """Options that a variable sets although these values say nothing of them, and the value that would say it."""
    unseen: list[str] = field(default_factory=list)
    """What may set more, and is not at hand."""
    entrances: tuple[Entrance, ...] = ()
    guarded: tuple[Guarded, ...] = ()
    older: bool = False
    """Of a version whose options had other names."""


def base(path: str) -> str:
    """The last part of a path."""
    return PurePosixPath(path).name


def is_program(text: str) -> bool:
    """Whether a word names oauth2-proxy: a path, or an image with its tag."""
    return _PROGRAM.search(text) is not None


def is_older(image: str) -> bool:
    """Whether an image's tag says that it is of a version whose options had other names."""
    found = _VERSION.search(image)
    return found is not None and int(found[1]) < _LISTED


def speaks_of_it(words: Several[Word], variables: Several[tuple[Word, Word]]) -> bool:
    """Whether flags and variables are oauth2-proxy's, whatever the program is called. OpenShift's oauth-proxy, which
    grew out of it, has many of its flags."""
    if any(word.text.startswith(_OPENSHIFT) for word in words):
        return False
    flags = {word.text.partition("=")[0].removeprefix("--") for word in words if word.text.startswith("--")}
    names = {name.text for name, _ in variables if name.text.startswith(PREFIX)}
    return len(flags.intersection(BY_FLAG)) >= _OURS_AT_LEAST or bool(names)


def after_program(words: Several[Word]) -> list[Word]:
    """What follows the program's name on its line; all of it where nothing is its name."""
    for index, word in enumerate(words):
        if is_program(word.text) and not word.text.startswith("-"):
            rest = list(words[index + 1 :])
            end = next(
                (place for place, each in enumerate(rest) if each.text in ("\n", "&&", "||", ";", "|", "&")), None
            )
            return rest[:end]
    return [word for word in words if word.text != "\n"]


def assignment(word: Word) -> tuple[Word, Word] | None:
    """`NAME=value` as name and value, or None."""
    found = _ASSIGNMENT.fullmatch(word.text)
    if found is None:
        return None
    name = Word(found[1], word.file, word.line, word.column)
    return name, Word(found[2], word.file, word.line, word.column, word.known)


def words_of(node: Node | None) -> list[Word]:
    """A list of words, or one text of several (a shell's line)."""
    if isinstance(node, Sequence):
        words = [Word(item.text, item.file, item.line, item.column) for item in node if isinstance(item, Scalar)]
        if any(word.text in ("-c", "-ec", "-lc") for word in words[:3]):  # ["/bin/sh", "-c", "exec oauth2-proxy ..."]
            return [each for word in words[1:] for each in split_words(word.text, word.file, word.line)]
        return words
    if isinstance(node, Scalar) and not node.is_null:
        return split_words(node.text, node.file, node.line)
    return []


def get(node: Node | None, *path: str) -> Node | None:
    """What a path of keys leads to, or None."""
    for key in path:
        node = node.get(key) if isinstance(node, Mapping) else None
    return node


def text(node: Node | None, *path: str) -> str:
    """The same, as text; "" for anything else."""
    found = get(node, *path)
    return found.text if isinstance(found, Scalar) and not found.is_null else ""


def items(node: Node | None, *path: str) -> Iterator[Node]:
    """The items of the list there."""
    found = get(node, *path)
    return iter(found) if isinstance(found, Sequence) else iter(())


def pairs(node: Node | None, *path: str) -> Iterator[tuple[Scalar, Node]]:
    """The entries of the mapping there."""
    found = get(node, *path)
    return iter(found) if isinstance(found, Mapping) else iter(())


def blob(node: Scalar, lines: Several[str]) -> Blob:
    """A text within a YAML file, with the line where it begins. `lines`: those of the file."""
    source = lines[node.line - 1] if node.line <= len(lines) else ""
    block = source[node.column - 1 : node.column] == "|"
    return Blob(node.text, node.file, node.line + 1 if block else node.line, exact=block)
