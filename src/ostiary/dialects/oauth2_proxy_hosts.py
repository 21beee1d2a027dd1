"""oauth2-proxy outside Kubernetes: a compose file's service, a systemd unit, a script's line, a file of variables."""

from __future__ import annotations

import re
from collections.abc import Iterator
from collections.abc import Mapping as MappingType
from typing import Final

from ostiary.dialects.oauth2_proxy_flags import Word, split_words
from ostiary.dialects.oauth2_proxy_options import PREFIX
from ostiary.dialects.oauth2_proxy_start import (
    Blob,
    Start,
    after_program,
    assignment,
    base,
    get,
    is_older,
    is_program,
    items,
    pairs,
    speaks_of_it,
    text,
    words_of,
)  # fmt: skip
from ostiary.dialects.yaml_nodes import Mapping, Node, Scalar

Files = MappingType[str, Blob]
"""The other files at hand, by the last part of their name."""
_SECTION: Final = re.compile(r"^[ \t]*\[(?:Unit|Service|Install|Container)\][ \t]*$", re.MULTILINE)
_VARIABLE: Final = re.compile(r"[ \t]*(?:export[ \t]+)?([A-Za-z_]\w*)=(.*)")
_ENV_FLAGS: Final = ("-e", "--env")
_FILE_FLAGS: Final = ("--env-file",)


def is_unit(content: str) -> bool:
    """Whether a text is a systemd unit that starts oauth2-proxy."""
    return _SECTION.search(content) is not None and any(
        is_program(line.partition("=")[2])
        for line in content.splitlines()
        if line.lstrip().startswith(("Exec", "Image"))
    )


def unit(content: str, file: str, files: Files) -> Start:
    """A systemd unit."""
    start = Start(name=f"the unit {base(file)}", file=file, line=1)
    for line, key, value in _assignments(content):
        words = [word for word in split_words(value, file, line) if word.text != "\n"]
        if key == "ExecStart":
            start.line, start.words = line, after_program(words)
        elif key == "Environment":
            start.variables += [pair for word in words if (pair := assignment(word)) is not None]
        elif key == "EnvironmentFile" and words:
            _take_file(words[0].text.lstrip("-"), files, start)
    return start


def _assignments(content: str) -> Iterator[tuple[int, str, str]]:
    """(line, key, value) of a unit, a value over several lines as one."""
    lines = content.split("\n")
    at = 0
    while at < len(lines):
        line, first = lines[at], at + 1
        at += 1
        if line.lstrip().startswith(("#", ";")) or "=" not in line:
            continue
        while line.endswith("\\") and at < len(lines):
            line += "\n" + lines[at]
            at += 1
        key, _, value = line.partition("=")
        yield first, key.strip(), value


def compose(document: Mapping, files: Files) -> Iterator[Start]:
    """The services of a compose file that are oauth2-proxy's."""
    for name, service in pairs(document, "services"):
        entry, command = words_of(get(service, "entrypoint")), words_of(get(service, "command"))
        start = Start(
            name=f"the service {name.text}", file=name.file, line=name.line,
            words=after_program([*entry, *command]) if entry else _without_program(command),
            variables=[*_compose_variables(service)], older=is_older(text(service, "image")),
        )  # fmt: skip
        if not is_program(text(service, "image")) and not speaks_of_it(start.words, start.variables):
            continue
        if not entry and not command:
            start.unseen.append("another compose file")
        env_file = get(service, "env_file")
        named = [env_file] if isinstance(env_file, Scalar) else [*items(service, "env_file")]
        for each in named:
            _take_file(each.text if isinstance(each, Scalar) else text(each, "path"), files, start)
        for volume in items(service, "volumes"):
            source, target = text(volume, "source"), text(volume, "target")
            if isinstance(volume, Scalar):
                source, _, target = volume.text.partition(":")
                target = target.partition(":")[0]
            if base(source) in files:
                start.mounted[target] = files[base(source)]
        yield start


def _without_program(words: list[Word]) -> list[Word]:
    """Commands of older images begin with the program's name."""
    named = bool(words) and not words[0].text.startswith("-") and is_program(words[0].text)
    return [word for word in words[named:] if word.text != "\n"]


def _compose_variables(service: Node) -> Iterator[tuple[Word, Word]]:
    for key, value in pairs(service, "environment"):
        name = Word(key.text, key.file, key.line, key.column)
        if isinstance(value, Scalar):  # nothing at all: taken from the shell that runs compose
            yield name, Word(value.text, value.file, value.line, value.column, known=not value.is_null)
    for item in items(service, "environment"):
        if isinstance(item, Scalar):
            word = Word(item.text, item.file, item.line, item.column)
            yield assignment(word) or (word, Word("", word.file, word.line, word.column, known=False))


def _take_file(path: str, files: Files, start: Start) -> None:
    found = files.get(base(path))
    if found is None:
        start.unseen.append(path)
    else:
        start.variables += variables(found.text, found.file)


def variables(content: str, file: str) -> list[tuple[Word, Word]]:
    """A file of variables: `NAME=value` lines, with or without `export` and quotes."""
    found = []
    for line, written in enumerate(content.splitlines(), 1):
        match = _VARIABLE.match(written)
        if match is None:
            continue
        value = match[2].strip()
        if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        found.append((Word(match[1], file, line, match.start(1) + 1), Word(value, file, line, match.start(2) + 1)))
    return found


def is_environment(content: str) -> bool:
    """Whether a text is a file of variables, some of oauth2-proxy's among them."""
    lines = [line for line in content.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return bool(lines) and all(map(_VARIABLE.match, lines)) and any(PREFIX in line.partition("=")[0] for line in lines)


def script(content: str, file: str, files: Files) -> list[Start]:
    """The lines of a script that start oauth2-proxy, itself or in a container."""
    found: list[Start] = []
    line: list[Word] = []
    exported: list[tuple[Word, Word]] = []
    for word in [*split_words(content, file), Word("\n", file, 0)]:
        if word.text not in ("\n", ";", "&&"):
            line.append(word)
            continue
        start = _started(line, exported, files)
        if start is not None:
            found.append(start)
        elif line and line[0].text == "export":
            exported += [pair for each in line[1:] if (pair := assignment(each)) is not None]
        line = []
    return found


def _started(line: list[Word], exported: list[tuple[Word, Word]], files: Files) -> Start | None:
    place = next((i for i, word in enumerate(line) if is_program(word.text) and "=" not in word.text), None)
    if place is None:
        return None
    words = after_program(line[place:])
    if not any(word.text.startswith("-") for word in words):
        return None
    before = line[:place]
    start = Start(name="the command", file=line[place].file, line=line[0].line, words=words, variables=[*exported])
    start.unseen.append("the environment")
    for index, word in enumerate(before):
        after = before[index + 1] if index + 1 < len(before) else None
        flag, _, rest = word.text.partition("=")
        if word.text in _ENV_FLAGS and after is not None:
            continue
        if flag == "--env" and rest:
            word = Word(rest, word.file, word.line)
        if word.text in _FILE_FLAGS and after is not None:
            _take_file(after.text, files, start)
        pair = assignment(word)
        if pair is not None:
            start.variables.append(pair)
    return start


def is_script(content: str) -> bool:
    """Whether a text has a line that starts oauth2-proxy with flags."""
    return is_program(content) and bool(script(content, "", {}))
