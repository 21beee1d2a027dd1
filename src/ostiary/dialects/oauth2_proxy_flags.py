"""oauth2-proxy's command line and environment to settings: words and variables with the place where they are written.

Flags are pflag's: `--flag=value`, `--flag value`, and `--flag` alone for true. So `--cookie-secure false` is true, and
`false` is a word that nobody reads; one dash begins a cluster of letters, of which there are none. An unknown flag ends
oauth2-proxy; an unknown variable is passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from ostiary.dialects.oauth2_proxy_options import (
    BY_FLAG,
    BY_KEY,
    BY_VARIABLE,
    COMMAND,
    DEPRECATED,
    PREFIX,
    Option,
    nearest_flag,
    nearest_key,
)  # fmt: skip
from ostiary.dialects.oauth2_proxy_toml import beside_structured
from ostiary.dialects.oauth2_proxy_values import Mistake, Refused, Setting, Source, is_filled_in, parse
from ostiary.model.errors import Diagnostic

_BOOLEAN: Final = frozenset({"true", "false", "1", "0", "t", "f", "yes", "no", "on", "off"})
_WITH_VALUE: Final = frozenset({"config", "alpha-config"})
_SPACE: Final = " \t"
_LEFT_BY_KUBERNETES: Final = re.compile(r"OAUTH2_PROXY_(?:SERVICE_|PORT)")
"""What Kubernetes sets in each pod beside a Service named oauth2-proxy."""
_NOT_READ: Final = {PREFIX + name.replace("-", "_").upper(): name for name in _WITH_VALUE}


@dataclass(frozen=True, slots=True, repr=False)
class Word:
    """One word of a command line, or the value of a variable. Its repr does not show it."""

    text: str
    file: str
    line: int
    column: int = 1
    known: bool = True
    """False: it comes from elsewhere (a Secret, another file); only its name is known."""

    def __repr__(self) -> str:
        return f"<Word {self.file}:{self.line}>"


@dataclass(slots=True)
class Read:
    """What command line and environment say."""

    settings: list[Setting] = field(default_factory=list)
    mistakes: list[Mistake] = field(default_factory=list)
    config: Word | None = None
    """The file that `--config` names."""
    structured: Word | None = None
    """The file that `--alpha-config` names."""


def read_flags(words: Sequence[Word], read: Read) -> None:
    """Read a command line, without the program's name, into `read`."""
    beside = any(word.text.partition("=")[0] == "--alpha-config" for word in words)
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        if word.text == "--":
            return
        if not word.text.startswith("-") or word.text == "-" or is_filled_in(word.text.partition("=")[0]):
            continue
        name, equals, text = word.text.partition("=")
        if not name.startswith("--"):
            read.mistakes.append(_one_dash(word, name))
            continue
        flag = name[2:]
        option = BY_FLAG.get(flag)
        if option is None and flag not in COMMAND:
            read.mistakes.append(_unknown_flag(word, flag))
            continue
        value = Word(text, word.file, word.line, word.column, word.known)
        if not equals and (flag in _WITH_VALUE or (option is not None and not option.stands_alone)):
            if at >= len(words):
                read.mistakes.append(_mistake(word, name, "a value is needed", f"write {name}=VALUE"))
                continue
            value = words[at]
            at += 1
        elif not equals and option is not None:
            value = Word("true", word.file, word.line, word.column, word.known)
            if at < len(words) and words[at].text.lower() in _BOOLEAN:
                read.mistakes.append(_passed_over(word, words[at], name))
                at += 1
        if flag == "config":
            read.config = value
        elif flag == "alpha-config":
            read.structured = value
        elif option is not None:
            _set(option, value, "flag", name, read)
            if beside and not option.core:
                read.mistakes.append(beside_structured(word.file, word.line, word.column, name))


def read_environment(variables: Iterable[tuple[Word, Word]], read: Read, *, structured: bool = False) -> None:
    """Read variables (name, value) into `read`. `structured`: there is an `--alpha-config`, and half are nothing."""
    for name, value in variables:
        if not name.text.startswith(PREFIX) or (value.known and not value.text):
            continue
        option = BY_VARIABLE.get(name.text)
        if option is None:
            read.mistakes += _unknown_variable(name)
        elif not structured or option.core:
            _set(option, value, "environment", name.text, read)


def _set(option: Option, word: Word, source: Source, path: str, read: Read) -> None:
    value = None
    if word.known and not is_filled_in(word.text):
        try:
            value = parse(option, word.text, strict=source == "flag")
        except Refused as error:
            read.mistakes.append(_mistake(word, path, str(error)))
    lines = (word.line,) * len(value) if isinstance(value, tuple) else ()
    read.settings.append(
        Setting(option=option, value=value, source=source, file=word.file, line=word.line, column=word.column,
                path=path, lines=lines)
    )  # fmt: skip
    if option.key in DEPRECATED:
        instead = DEPRECATED[option.key]
        better = "leave it out"
        if instead in BY_KEY:
            better = f"use {'--' + BY_KEY[instead].flag if source == 'flag' else BY_KEY[instead].variable}"
        found = Diagnostic(file=word.file, line=word.line, column=word.column, severity="info", path=path,
                           message=f"'{path}' is deprecated", mend=better)  # fmt: skip
        read.mistakes.append(Mistake(diagnostic=found, kind="deprecated"))


def _mistake(word: Word, path: str, message: str, mend: str = "", *, old: str = "", new: str = "",
             unknown: bool = False) -> Mistake:  # fmt: skip
    found = Diagnostic(file=word.file, line=word.line, column=word.column, path=path, message=message, mend=mend)
    return Mistake(diagnostic=found, kind="unknown" if unknown else "invalid", old=old, new=new)


def _one_dash(word: Word, name: str) -> Mistake:
    flag = name.lstrip("-")
    near = flag if flag in BY_FLAG or flag in COMMAND else nearest_flag(flag)
    mend = f"write --{near}" if near else "flags begin with two dashes"
    return _mistake(word, name, f"there is no flag '{name}': one dash begins a flag of one letter", mend,
                    old=name if near else "", new=f"--{near}", unknown=True)  # fmt: skip


def _unknown_flag(word: Word, flag: str) -> Mistake:
    near = nearest_flag(flag)
    mend = f"write --{near}" if near else "remove it: oauth2-proxy does not start with a flag that it doesn't know"
    return _mistake(word, f"--{flag}", f"there is no flag '--{flag}'", mend,
                    old=f"--{flag}" if near else "", new=f"--{near}", unknown=True)  # fmt: skip


def _passed_over(word: Word, value: Word, name: str) -> Mistake:
    message = f"{name} alone means true, and '{value.text}' after it is not read"
    together = word.line == value.line
    return _mistake(word, name, message, f"write {name}={value.text}",
                    old=f"{name} {value.text}" if together else "", new=f"{name}={value.text}")  # fmt: skip


def _unknown_variable(name: Word) -> list[Mistake]:
    """Only what is nearly the name of an option, or of a file: others are anybody's."""
    if name.text in _NOT_READ:
        message = f"there is no variable '{name.text}': which file to read, only a flag says"
        return [_mistake(name, name.text, message, f"name the file with --{_NOT_READ[name.text]}", unknown=True)]
    near = nearest_key(name.text.removeprefix(PREFIX))
    if not near or _LEFT_BY_KUBERNETES.match(name.text):
        return []
    message = f"there is no variable '{name.text}', and oauth2-proxy passes over it"
    right = BY_KEY[near].variable
    return [_mistake(name, name.text, message, f"write {right}", old=name.text, new=right, unknown=True)]


def split_words(text: str, file: str, line: int = 1) -> list[Word]:
    """A shell's line (or a whole script) as words: quotes, escapes and lines that go on in the next; no expansion.

    A line's end outside quotes is the word "\\n", a comment is left out.
    """
    words: list[Word] = []
    at, here, start, first = 0, "", -1, line
    while at < len(text):
        character = text[at]
        if character == "\\" and at + 1 < len(text):
            if text[at + 1] == "\n":
                line += 1
            else:
                here, start = here + text[at + 1], at if start < 0 else start
            at += 2
            continue
        if character in "\"'":
            start = at if start < 0 else start
            end = _quote_end(text, at)
            inner = text[at + 1 : end]
            here += re.sub(r'\\(["\\$`])', r"\1", inner) if character == '"' else inner
            line += inner.count("\n")
            at = end + 1
            continue
        ends = character in _SPACE or character == "\n"
        if ends and start >= 0:
            words.append(Word(here, file, first))
            here, start = "", -1
        if character == "\n":
            words.append(Word("\n", file, line))
            line += 1
        elif character == "#" and start < 0:
            at = text.find("\n", at) if "\n" in text[at:] else len(text)
            continue
        elif not ends:
            if start < 0:
                start, first = at, line
            here += character
        at += 1
        first = line if start < 0 else first
    if start >= 0:
        words.append(Word(here, file, first))
    return words


def _quote_end(text: str, at: int) -> int:
    quote = text[at]
    at += 1
    while at < len(text) and text[at] != quote:
        at += 2 if text[at] == "\\" and quote == '"' else 1
    return min(at, len(text))
