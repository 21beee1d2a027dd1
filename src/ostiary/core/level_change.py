"""What a person asks about log levels, made into requests to an admin API: names checked, nothing wiped.

A bare level comes first, single loggers after it, in whatever order they are written; as with `istioctl proxy-config
log`, `:` and `=` both separate, `ns::logger:level` names a namespace in front, and `warn` is `warning`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ostiary.model.process import LOG_LEVELS

Levels = Mapping[str, str]
"""Logger -> level, as the proxy lists them."""
_LINE: Final = re.compile(r"  ([^\s:]+): (\w+)")
_ALIASES: Final = {"warn": "warning", "err": "error", "none": "off", "fatal": "critical"}
_EACH: Final = f"one of {', '.join(LOG_LEVELS)}"
_SHOWN: Final = 3


class LevelError(ValueError):
    """What was asked makes no sense; the text says why, and what to write instead."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was asked."""

    every: str | None
    """The level of all loggers that are not named."""
    single: Levels


def parse_wanted(texts: Iterable[str]) -> Wanted:
    """Read `--level` options: `debug`, `oauth2:debug,router=info`, ... Raises LevelError."""
    every: str | None = None
    single: dict[str, str] = {}
    for item in (part.strip() for text in texts for part in text.split(",")):
        if not item:
            continue
        name, separator, level = re.sub(r"^[^:=]*::", "", item).replace("=", ":").partition(":")
        if separator:
            if not name or not level:
                raise LevelError(f"{item!r} names no {'level' if name else 'logger'}: write logger:level")
            if single.setdefault(name, _level(level)) != _level(level):
                raise LevelError(f"{name!r} is given two levels: {single[name]} and {_level(level)}")
        elif every not in (None, _level(name)):
            raise LevelError(f"two levels for all loggers: {every} and {_level(name)}")
        else:
            every = _level(name)
    if every is None and not single:
        raise LevelError(f"no level is given: write {_EACH}, or logger:level")
    return Wanted(every, single)


def _level(word: str) -> str:
    level = _ALIASES.get(word.lower(), word.lower())
    if level not in LOG_LEVELS:
        close = difflib.get_close_matches(level[:64], LOG_LEVELS, 1, 0.6)
        raise LevelError(f"{word!r} is not a level" + (f": did you mean {close[0]}?" if close else f": {_EACH}"))
    return level


def parse_listing(text: str) -> dict[str, str]:
    """The levels that `/logging` answers with. Raises ValueError if it is something else."""
    found: dict[str, str] = {}
    for line in text.partition("active loggers:\n")[2].splitlines():
        if (matched := _LINE.fullmatch(line)) is not None:
            found[matched[1]] = matched[2]
    if not found:
        raise ValueError("no list of loggers")
    return found


def changes(wanted: Wanted, current: Levels) -> dict[str, str]:
    """The loggers whose level changes, and to what. Raises LevelError for one that this proxy doesn't have."""
    for name in wanted.single:
        if name not in current:
            close = _alike(name[:64].lower(), current)
            mend = f"did you mean {' or '.join(close)}?" if close else "without --level its loggers are listed"
            raise LevelError(f"this proxy has no logger {name!r}: {mend}")
    target = dict.fromkeys(current, wanted.every) if wanted.every is not None else {}
    target.update(wanted.single)
    return {name: level for name, level in target.items() if level is not None and level != current[name]}


def _alike(name: str, known: Iterable[str]) -> list[str]:
    """Loggers with a similar name, or one of whose words is similar: `happyeyeballs`, `eyeball`."""
    known = list(known)
    parts = {part: each for each in known for part in (each.replace("_", ""), *each.split("_"))}
    close = difflib.get_close_matches(name, known, _SHOWN, 0.75)
    close = close or [parts[part] for part in difflib.get_close_matches(name.replace("_", ""), parts, _SHOWN, 0.7)]
    close = close or [each for each in known if len(name) > 2 and name in each]
    return list(dict.fromkeys(close))[:_SHOWN]


def together(asked: Levels, current: Levels) -> str:
    """One request for all of it: the path of a POST."""
    levels = set(asked.values())
    if len(levels) == 1 and asked.keys() == current.keys():
        return f"logging?level={levels.pop()}"
    return "logging?paths=" + ",".join(f"{name}:{level}" for name, level in asked.items())


def one_by_one(asked: Levels) -> Sequence[str]:
    """The same for an Envoy that doesn't know `paths`."""
    return [f"logging?{name}={level}" for name, level in asked.items()]


def knows_paths(answer: str) -> bool:
    """Whether an error that `/logging` answers is that of an Envoy that knows `paths`."""
    return "paths=" in answer


def started_with(options: Mapping[str, object], current: Levels) -> dict[str, str]:
    """The levels that a proxy was started with, from `command_line_options` of its `/server_info`."""
    every = str(options.get("log_level") or "info")
    levels = dict.fromkeys(current, _ALIASES.get(every, every))
    for item in str(options.get("component_log_level") or "").split(","):
        name, _, level = item.partition(":")
        if name in levels and level:
            levels[name] = _ALIASES.get(level, level)
    return levels
