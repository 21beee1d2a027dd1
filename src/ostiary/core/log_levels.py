"""Envoy's `/logging`: which levels there are, and what a request changes about them.

    /logging?level=debug   /logging?oauth2=debug   /logging?paths=oauth2:debug,dns:trace

A request is carried out as a whole or not at all. Parameters without a value count as not there: the form of Envoy's
home page sends them all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from ostiary.model.process import LOG_LEVELS, LogLevel

Levels = Mapping[str, LogLevel]
_USAGE: Final = f"""
usage: /logging?<name>=<level> (change single level)
usage: /logging?paths=name1:level1,name2:level2,... (change multiple levels)
usage: /logging?level=<level> (change all levels)
usage: /logging?group=<group_name>:<level> (change group of loggers)
levels: {" ".join(LOG_LEVELS)}\x20
"""


@dataclass(frozen=True, slots=True)
class LoggingAnswer:
    """What to answer, and the levels to set first."""

    status: int
    text: str
    changes: Levels = field(default_factory=dict)
    notes: tuple[tuple[str, str], ...] = ()
    """(component, text) of what the log says about it, at info."""


class _Refused(Exception):
    """The request is not understood."""


def answer(parameters: Sequence[tuple[str, str]], levels: Levels) -> LoggingAnswer:
    """Answer a POST. `parameters` are those of the query, decoded; `levels` are the present ones, in order."""
    first: dict[str, str] = {}
    for name, value in parameters:
        first.setdefault(name, value)
    asked = {name: value for name, value in first.items() if value}
    try:
        changes = _changes(asked, levels)
    except _Refused as refused:
        return LoggingAnswer(400, f"error: {refused}\n{_USAGE}{listing(levels)}")
    if "level" in asked:
        notes: tuple[tuple[str, str], ...] = (("misc", f"change all log levels: level='{asked['level']}'"),)
    else:
        notes = tuple(("admin", f"change log level: name='{name}' level='{to}'") for name, to in changes.items())
    return LoggingAnswer(200, listing({**levels, **changes}), changes, notes)


def listing(levels: Levels) -> str:
    """The table that answers every request."""
    return "active loggers:\n" + "".join(f"  {name}: {level}\n" for name, level in levels.items()) + "\n"


def _changes(asked: Mapping[str, str], levels: Levels) -> Levels:
    if not asked:
        return {}
    if len(asked) > 1:
        raise _Refused("invalid number of parameters")
    ((name, value),) = asked.items()
    if name == "group":
        raise _Refused("group parameter requires fine-grain logging to be enabled")
    if name == "level":
        return dict.fromkeys(levels, _level(value))
    if name != "paths":
        return _known({name: _level(value)}, levels)
    changes = {}
    for item in filter(None, value.split(",")):
        component, _, level = item.partition(":")
        if not component or not level:
            raise _Refused("empty logger name or empty logger level")
        changes[component] = _level(level)
    return _known(changes, levels)


def _known(changes: Levels, levels: Levels) -> Levels:
    if not changes.keys() <= levels.keys():
        raise _Refused("unknown logger name")
    return changes


def _level(word: str) -> LogLevel:
    if word not in LOG_LEVELS:
        raise _Refused("unknown logger level")
    return word
