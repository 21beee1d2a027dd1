"""Values of oauth2-proxy's options as it reads them, each with the place where it is written.

It reads loosely (viper, mapstructure): `"false"` and `0` are false, one text is a list of one, a text with commas is a
list. What it can't read, it refuses to start with. A duration without a unit is a number of *nanoseconds*, which nobody
means. A value that something else fills in first (`${VAR}` of a template, `$(VAR)` of Kubernetes, `{{ }}` of Helm) is
not known here, and nothing is said of it.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from typing import Final, Literal

from ostiary.dialects.oauth2_proxy_options import Option, Value
from ostiary.model.errors import Diagnostic

Source = Literal["file", "structured", "environment", "flag"]
PRECEDENCE: Final[tuple[Source, ...]] = ("file", "structured", "environment", "flag")
"""The later wins. The structured configuration shares no option with the others."""
_TRUE: Final = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE: Final = frozenset({"0", "f", "F", "false", "FALSE", "False"})
"""What Go's strconv.ParseBool takes; in a file also nothing at all is false."""
_UNITS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION: Final = re.compile(r"[-+]?(?:0|(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+)", re.ASCII)
_PART: Final = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_INTEGER: Final = re.compile(r"[-+]?[0-9]{1,18}")
_FILLED_IN: Final = re.compile(r"\$[{(]?[A-Za-z_]|\{\{|^<.*>$")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Setting:
    """One option that is set somewhere. Its repr shows no value: it may be a secret."""

    option: Option
    value: Value | None
    """None: set, to something that is not known here."""
    source: Source
    file: str
    line: int
    """1-based; of the value, or of the key where that is all."""
    column: int = 1
    path: str = ""
    """The key's path in the file, as people write it: `cookie_secure`, `--cookie-secure`, `providers[0].clientID`."""
    lines: tuple[int, ...] = ()
    """Of a list, the line of each item."""

    def __repr__(self) -> str:
        return f"<Setting {self.path} {self.file}:{self.line}>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """Something that oauth2-proxy refuses, passes over, or warns of when it reads its configuration."""

    diagnostic: Diagnostic
    kind: Literal["unknown", "invalid", "deprecated"]
    old: str = ""
    """What stands in that line and should be replaced by `new`; empty where a program can't mend it."""
    new: str = ""


class Refused(ValueError):
    """A value that oauth2-proxy can't read; str() says what it should be. It never holds the value."""


def is_filled_in(text: str) -> bool:
    """Whether something else puts the value there before oauth2-proxy sees it."""
    return _FILLED_IN.search(text) is not None


def parse(option: Option, text: str, *, strict: bool = True) -> Value:
    """A flag's or a variable's text, as the option's type. `strict`: of a flag. Raises Refused."""
    if option.kind == "text":
        return text
    if option.kind == "list":
        return split(text)
    if option.kind == "bool":
        return boolean(text, strict=strict)
    if option.kind == "duration":
        return duration(text)
    if _INTEGER.fullmatch(text) is None:
        raise Refused("a whole number is needed")
    return int(text)


def boolean(text: str, *, strict: bool = True) -> bool:
    """As Go's strconv.ParseBool. Raises Refused."""
    if text in _TRUE:
        return True
    if text in _FALSE or (not text and not strict):
        return False
    raise Refused("true or false is needed")


def duration(text: str) -> float:
    """Seconds of a Go duration (`1h30m`). Raises Refused."""
    if _DURATION.fullmatch(text) is None:
        days = re.fullmatch(r"([0-9]{1,6})d", text)
        hint = f": days are no unit, write {int(days[1]) * 24}h" if days is not None else ", as in 168h or 1h30m"
        raise Refused(f"a duration is needed{hint}")
    total = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    return -total if text.startswith("-") else total


def split(text: str) -> tuple[str, ...]:
    """One record of comma separated values, as flags and variables have lists."""
    if not text:
        return ()
    try:
        return tuple(next(csv.reader([text], strict=True), ()))
    except (csv.Error, StopIteration):
        return tuple(text.split(","))
