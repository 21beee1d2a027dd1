"""oauth2-proxy's file (TOML) to settings, each with its line.

tomllib says what the file means, and not where it stands; so the text is walked once more for the places of keys and
values. It has no tables: whatever opens one is an unknown key, as it is for oauth2-proxy.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from ostiary.dialects.oauth2_proxy_options import BY_KEY, DEPRECATED, Option, Value, nearest_key
from ostiary.dialects.oauth2_proxy_values import (
    Mistake,
    Refused,
    Setting,
    boolean,
    duration,
    is_filled_in,
    parse,
    split,
)  # fmt: skip
from ostiary.model.errors import Diagnostic

_KEY: Final = re.compile(r"""[ \t]*([A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')(?:[ \t]*\.[^=\n]*)?[ \t]*=[ \t]*""")
_TABLE: Final = re.compile(r"""[ \t]*\[{1,2}[ \t]*["']?([A-Za-z0-9_-]+)""")
_PLACE: Final = re.compile(r" \(at line (\d+), column (\d+)\)$| \(at end of document\)$")
_STRINGS: Final = ('"""', "'''", '"', "'")
_TWICE: Final = "Cannot overwrite a value"
_SMALL: Final = 1e-9
"""Seconds of the unit of a duration that is written as a number."""


@dataclass(frozen=True, slots=True)
class Statement:
    """`key = value` at the top of a file."""

    key: str
    line: int
    column: int
    items: tuple[int, ...]
    """The line of each thing within the value: one, or those of a list."""


def read_file(text: str, file: str, *, line: int = 1, structured: bool = False) -> tuple[list[Setting], list[Mistake]]:
    """The settings of a file, and what is wrong with it.

    `line` is where it begins within `file` (a ConfigMap). `structured`: there is an `--alpha-config` beside it.
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    try:
        values = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        return [], [_syntax(str(error), text, file, line - 1)]
    settings: list[Setting] = []
    mistakes: list[Mistake] = []
    for statement in statements(text):
        option = BY_KEY.get(statement.key.lower())
        at = statement.line + line - 1
        if option is None or statement.key not in values:
            mistakes.append(_unknown(statement.key, file, at, statement.column))
            continue
        if structured and not option.core:
            mistakes.append(beside_structured(file, at, statement.column, statement.key))
        if option.key in DEPRECATED or statement.key.lower() in DEPRECATED:
            mistakes.append(_deprecated(statement.key, file, at, statement.column))
        value, wrong = _value(option, values[statement.key])
        if wrong:
            found = Diagnostic(file=file, line=at, column=statement.column, path=statement.key, message=wrong)
            mistakes.append(Mistake(diagnostic=found, kind="invalid"))
        items = tuple(each + line - 1 for each in statement.items)
        settings.append(
            Setting(option=option, value=value, source="file", file=file, line=at, column=statement.column,
                    path=statement.key, lines=_lines(value, items, at))
        )  # fmt: skip
    return settings, mistakes


def statements(text: str) -> Iterator[Statement]:
    """The assignments of a text that is TOML, down to its first table; that one as an assignment of its own."""
    at = 0
    while at < len(text):
        end = text.find("\n", at)
        end = end if end >= 0 else len(text)
        line = text.count("\n", 0, at) + 1
        table = _TABLE.match(text, at, end)
        if table is not None:
            yield Statement(table[1], line, table.start(1) - at + 1, (line,))
            return
        found = _KEY.match(text, at, end)
        if found is None:
            at = end + 1
            continue
        items, value_end = _walk(text, found.end())
        places = tuple(text.count("\n", 0, item) + 1 for item in items) or (line,)
        yield Statement(found[1].strip("\"'"), line, found.start(1) - at + 1, places)
        end = text.find("\n", value_end)
        at = end + 1 if end >= 0 else len(text)


def _walk(text: str, at: int) -> tuple[list[int], int]:
    """Where each thing of a value begins, and where the value ends."""
    depth, items, fresh = 0, list[int](), True
    while at < len(text):
        mark = next((each for each in _STRINGS if text.startswith(each, at)), "")
        here = text[at]
        if mark:
            items.append(at)
            at = _string_end(text, at, mark)
            fresh = False
        elif here == "#":
            at = text.find("\n", at) if "\n" in text[at:] else len(text)
        elif here == "\n" and depth == 0:
            break
        else:
            if here in "[{":
                depth += 1
            elif here in "]}":
                depth -= 1
            if fresh and here not in "[{]}, \t\n":
                items.append(at)
                fresh = False
            elif here in ",[{":
                fresh = True
            at += 1
    return items, at


def _string_end(text: str, at: int, mark: str) -> int:
    at += len(mark)
    while at < len(text) and not text.startswith(mark, at):
        at += 2 if text[at] == "\\" and mark[0] == '"' else 1
    return at + len(mark)


def _lines(value: Value | None, items: tuple[int, ...], line: int) -> tuple[int, ...]:
    if not isinstance(value, tuple):
        return ()
    return items if len(items) == len(value) else (items[0] if items else line,) * len(value)


def _value(option: Option, written: Any) -> tuple[Value | None, str]:
    """The value, and why there is none."""
    if isinstance(written, str) and is_filled_in(written):
        return None, ""
    try:
        return _typed(option, written), ""
    except Refused as error:
        return None, str(error)


def _typed(option: Option, written: Any) -> Value:
    if isinstance(written, dict):
        raise Refused("a table has no meaning here")
    if option.kind == "list":
        if isinstance(written, list):
            return tuple(_text(item) for item in written)
        return split(written) if isinstance(written, str) else (_text(written),)
    if isinstance(written, list):
        raise Refused("one value is needed, not a list")
    if option.kind == "text":
        return _text(written)
    if option.kind == "bool":
        return boolean(written, strict=False) if isinstance(written, str) else bool(written)
    if option.kind == "duration":
        return duration(written) if isinstance(written, str) else float(written) * _SMALL
    return parse(option, written) if isinstance(written, str) else int(written)


def _text(written: Any) -> str:
    if isinstance(written, bool):
        return "1" if written else "0"
    if not isinstance(written, str | int | float):
        raise Refused("text is needed")
    return str(written)


def _unknown(key: str, file: str, line: int, column: int) -> Mistake:
    near = nearest_key(key)
    mend = f"write {near}" if near else "remove it: oauth2-proxy does not start with a key that it doesn't know"
    message = f"there is no key '{key}'"
    found = Diagnostic(file=file, line=line, column=column, path=key, message=message, mend=mend)
    return Mistake(diagnostic=found, kind="unknown", old=key if near else "", new=near)


def beside_structured(file: str, line: int, column: int, path: str) -> Mistake:
    """An option that is gone where there is an `--alpha-config`."""
    message = f"there is no key '{path}' beside --alpha-config"
    mend = "say it in the structured configuration alone, and remove it here"
    found = Diagnostic(file=file, line=line, column=column, path=path, message=message, mend=mend)
    return Mistake(diagnostic=found, kind="unknown")


def _deprecated(key: str, file: str, line: int, column: int) -> Mistake:
    instead = DEPRECATED.get(key.lower(), "")
    mend = f"use {instead}" if instead else "leave it out"
    found = Diagnostic(
        file=file, line=line, column=column, severity="info", path=key, message=f"'{key}' is deprecated", mend=mend
    )
    return Mistake(diagnostic=found, kind="deprecated", old=key if instead in BY_KEY else "", new=instead)


def _syntax(error: str, text: str, file: str, before: int) -> Mistake:
    found = _PLACE.search(error)
    line, column = (int(found[1]), int(found[2])) if found is not None and found[1] else (text.count("\n") + 1, 1)
    reason = _PLACE.sub("", error)
    if reason.startswith(_TWICE):
        reason = "a key is written twice"
        line = text.rfind("=", 0, sum(map(len, text.split("\n")[: line - 1])) + line - 1 + column)
        line = text.count("\n", 0, max(line, 0)) + 1
        column = 1
    mend = 'text needs quotes, and a list brackets and commas: email_domains = ["example.com"]'
    message = f"not TOML: {reason[:1].lower()}{reason[1:]}"
    place = Diagnostic(file=file, line=line + before, column=column, path="", message=message, mend=mend)
    return Mistake(diagnostic=place, kind="invalid")
