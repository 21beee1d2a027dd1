"""Typed reading of a `Section`: every getter takes a key, reports what is wrong with it, and returns a usable default.

Reading never stops at the first error, so that one run of `ostiary check` names all of them.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from ostiary.dialects.native_schema import KEYS, MAY_BE_EMPTY
from ostiary.dialects.native_values import Value
from ostiary.model.errors import Diagnostic
from ostiary.model.secret import Secret
from ostiary.model.tls import DataSource

_DURATION: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)(ms|s|m|h|d|)", re.ASCII)
_UNITS: Final = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_INTEGER: Final = re.compile(r"[0-9]{1,12}", re.ASCII)
_TRUE: Final = ("true", "yes", "on")
_FALSE: Final = ("false", "no", "off")

Read = Callable[[str], bytes]
"""Path -> a file's bytes; raises OSError."""


@dataclass(slots=True)
class Report:
    """Collects diagnostics; `read`, where given, lets the reader look at the files a configuration names."""

    read: Read | None = None
    diagnostics: list[Diagnostic] = field(default_factory=list)

    def error(self, value: Value, path: str, message: str, mend: str = "") -> None:
        """One more error."""
        self._add(value.error(path, message, mend))

    def warning(self, value: Value, path: str, message: str, mend: str = "") -> None:
        """One more warning."""
        self._add(value.warning(path, message, mend))

    def _add(self, diagnostic: Diagnostic) -> None:
        # A section that several readers share would tell its unknown keys to each of them.
        if diagnostic not in self.diagnostics:
            self.diagnostics.append(diagnostic)

    def failed(self) -> bool:
        """True if anything is an error."""
        return any(d.severity == "error" for d in self.diagnostics)


def nearest(name: str, known: tuple[str, ...]) -> str:
    """A hint with the nearest of the known names, or with all of them."""
    close = difflib.get_close_matches(name[:64], known, n=1, cutoff=0.6)
    return f"did you mean {close[0]}?" if close else f"one of {', '.join(known)}"


class Section:
    """A mapping whose keys are those of `KEYS[schema]`; anything else in it is reported at once."""

    def __init__(self, value: Value, path: str, schema: str, report: Report) -> None:
        self.value = value
        self.path = path
        self.report = report
        self._keys = KEYS[schema]
        self._items: dict[str, Value] = {}
        if isinstance(value.content, Mapping):
            for key, item in value.content.items():
                if key in self._keys:
                    self._items[key] = item
                    if item.content is None and key not in MAY_BE_EMPTY:
                        report.error(item.at_key(), self.at(key), "no value", "write one, or remove the key")
                else:
                    report.error(item.at_key(), self.at(key), "unknown key", nearest(key, self._keys))
        elif value.content is not None:
            report.error(value, path, f"a mapping is needed, not {value.kind}", f"keys: {', '.join(self._keys)}")

    def at(self, key: str) -> str:
        """The path of a key."""
        return f"{self.path}.{key}" if self.path else key

    def has(self, key: str) -> bool:
        """True if the key is written, with a value."""
        value = self.get(key)
        return value is not None and value.content is not None

    def get(self, key: str) -> Value | None:
        """The raw value."""
        assert key in self._keys, key
        return self._items.get(key)

    def place(self, key: str) -> Value:
        """The key's value, or the section itself: where to point when something about it is wrong."""
        return self.get(key) or self.value

    def error(self, key: str, message: str, mend: str = "") -> None:
        """Report an error about a key."""
        self.report.error(self.place(key), self.at(key), message, mend)

    def warning(self, key: str, message: str, mend: str = "") -> None:
        """Report a warning about a key."""
        self.report.warning(self.place(key), self.at(key), message, mend)

    def section(self, key: str, schema: str) -> Section:
        """A nested mapping; an absent one reads as empty, placed at this section."""
        value = self.get(key) or Value(None, self.value.file, self.value.line, self.value.column)
        return Section(value, self.at(key), schema, self.report)

    def items(self, key: str) -> list[tuple[str, Value]]:
        """The members of a list with their paths; a single value is a list of one."""
        value = self.get(key)
        if value is None or value.content is None:
            return []
        if isinstance(value.content, tuple):
            return [(f"{self.at(key)}[{i}]", item) for i, item in enumerate(value.content)]
        return [(self.at(key), value)]

    def text(self, key: str, default: str = "") -> str:
        """A text without control characters."""
        value = self.get(key)
        return default if value is None else scalar(value, self.at(key), self.report, default)

    def texts(self, key: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
        """A list of texts, or one text."""
        if not self.has(key):
            return default
        for path, item in self.items(key):
            if item.content in (None, ""):
                self.report.error(item, path, "an empty entry", "write a value, or remove it")
        return tuple(text for path, item in self.items(key) if (text := scalar(item, path, self.report)))

    def required(self, key: str, mend: str) -> str:
        """A text that must be there; `mend` says what to write."""
        text = self.text(key)
        if not text and not self._reported(key):
            self.report.error(self.value, self.at(key), "missing", mend)
        return text

    def _reported(self, key: str) -> bool:
        value = self.get(key)
        content = value.content if value is not None else None
        return content is not None and not (isinstance(content, str) and _is_one_line(content))

    def choice(self, key: str, choices: tuple[str, ...], default: str) -> str:
        """One of a few words, without case."""
        text = self.text(key, default)
        for choice in choices:
            if text.lower() == choice.lower():
                return choice
        if not self._reported(key):
            close = nearest(text, choices)
            mend = close if close.startswith("did you mean") else ""  # the message lists them all
            self.error(key, f"{text!r} is not one of {', '.join(choices)}", mend)
        return default

    def flag(self, key: str, default: bool) -> bool:
        """true or false."""
        text = self.text(key).lower()
        if text in _TRUE:
            return True
        if text in _FALSE:
            return False
        if self.has(key) and not self._reported(key):
            self.error(key, f"{text!r} is neither true nor false")
        return default

    def integer(self, key: str, default: int, *, low: int = 0, high: int) -> int:
        """A whole number within bounds."""
        text = self.text(key)
        if not self.has(key) or self._reported(key):
            return default
        if _INTEGER.fullmatch(text) and low <= int(text) <= high:
            return int(text)
        self.error(key, f"{text!r} is not a whole number from {low} to {high}")
        return default

    def duration(self, key: str, default: float, *, low: float = 0.0, off: bool = False) -> float:
        """Seconds, written `30s`, `500ms`, `5m`, `8h`, `7d` or a bare number; `off` is 0 where that means "never"."""
        text = self.text(key).lower()
        if not self.has(key) or self._reported(key):
            return default
        if off and text in ("off", "never"):
            return 0.0
        if match := _DURATION.fullmatch(text):
            seconds = float(match[1]) * _UNITS[match[2]]
            if seconds >= low and (seconds > 0 or off or low == 0.0):
                return seconds
            self.error(key, f"{text!r} is too short", f"at least {low:g}s")
            return default
        self.error(key, f"{text!r} is not a duration", "write 30s, 500ms, 5m, 8h or 7d" + (", or off" if off else ""))
        return default

    def mapping(self, key: str) -> dict[str, str]:
        """A mapping of texts whose names are the user's."""
        return {name: texts[0] for name, texts in self.mapping_of_lists(key, single=True).items() if texts}

    def mapping_of_lists(self, key: str, *, single: bool = False) -> dict[str, tuple[str, ...]]:
        """A mapping of lists of texts whose names are the user's; one text is a list of one."""
        value = self.get(key)
        if value is None or value.content is None:
            return {}
        if not isinstance(value.content, Mapping):
            self.error(key, f"a mapping is needed, not {value.kind}")
            return {}
        result: dict[str, tuple[str, ...]] = {}
        for name, item in value.content.items():
            path = f"{self.at(key)}.{name}"
            members = item.content if isinstance(item.content, tuple) and not single else (item,)
            result[name] = tuple(text for member in members if (text := scalar(member, path, self.report)))
            if not members or any(member.content in (None, "") for member in members):
                self.report.error(item, path, "a value is needed")
        return result

    def source(self, key: str) -> DataSource | None:
        """`KEY` (the value itself) or `KEY_file` (a file with it), for a text that is secret."""
        inline, file_key = self.text(key), f"{key}_file"
        filename = self.text(file_key)
        if inline and filename:
            self.error(key, f"both {key} and {file_key} are given", "keep one of them")
        if filename:
            return self.file(file_key)
        return DataSource(inline=Secret(inline)) if inline else None

    def file(self, key: str) -> DataSource | None:
        """A file that must be readable, where the report may look."""
        filename = self.text(key)
        if not filename:
            return None
        self.bytes_of(key, filename)
        return DataSource(filename=filename)

    def bytes_of(self, key: str, filename: str) -> bytes | None:
        """The file's bytes, or None if it can't or mayn't be read."""
        if self.report.read is None:
            return None
        try:
            return self.report.read(filename)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            mend = "put it there" if filename.startswith("/") else "relative paths start at the working directory"
            self.error(key, f"can't read {filename!r}: {reason}", mend)
            return None


def scalar(value: Value, path: str, report: Report, default: str = "") -> str:
    """The text of a scalar; reports anything else."""
    if value.content is None:
        return default
    if not isinstance(value.content, str):
        report.error(value, path, f"a single value is needed, not {value.kind}")
        return default
    if not _is_one_line(value.content):
        report.error(value, path, "holds a line break or another control character", "quote it on one line")
        return default
    return value.content


def _is_one_line(text: str) -> bool:
    return not any(ord(c) < 0x20 or ord(c) == 0x7F for c in text)
