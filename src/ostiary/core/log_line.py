"""A line of Envoy's log, of Istio's or of ours, taken apart: the three formats of app/log_formats.py.

What is none of them (access-log lines, pilot-agent's own, the continuation of a record) is None.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final, Literal

_LEVEL: Final = "(?P<level>trace|debug|info|warning|error|critical)"
_ENVOY: Final = re.compile(
    r"\[(?P<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3})\]\[(?P<thread>\d+)\]"
    rf"\[{_LEVEL}\]\[(?P<component>\w+)\] \[(?P<place>[^\]]*)\] (?P<message>.*)",
    re.DOTALL,
)
_ISTIO: Final = re.compile(
    rf"(?P<time>\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{{6}}Z)\t{_LEVEL}\t"
    r"envoy (?P<component>\w+) (?P<place>[^\t]*)\t(?P<message>.*)\tthread=(?P<thread>\d+)",
    re.DOTALL,
)
_TAGS: Final = re.compile(r'\[Tags: ((?:"\w+":"[^"]*",?)+)\] ?')
_TAG: Final = re.compile(r'"(\w+)":"([^"]*)"')


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One record."""

    style: Literal["envoy", "istio", "json"]
    time: str
    """As written: milliseconds in Envoy's format, microseconds in Istio's."""
    thread: str
    level: str
    component: str
    place: str
    message: str
    """Without its tags."""
    tags: dict[str, str]
    """`ConnectionId`, `StreamId` and whatever else it is tagged with."""


def parse(line: str) -> LogLine | None:
    """A record, or None."""
    line = line.rstrip("\r\n")
    if line.startswith("{"):
        return _from_json(line)
    style: Literal["envoy", "istio"] = "envoy" if line.startswith("[") else "istio"
    found = (_ENVOY if style == "envoy" else _ISTIO).fullmatch(line)
    if found is None:
        return None
    parts = found.groupdict()
    tagged = _TAGS.match(parts["message"])
    tags = dict(_TAG.findall(tagged[1])) if tagged else {}
    if tagged:
        parts["message"] = parts["message"][tagged.end() :]
    return LogLine(style=style, tags=tags, **parts)


def _from_json(line: str) -> LogLine | None:
    try:
        entry: Any = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(entry, dict) or not all(isinstance(value, str) for value in entry.values()):
        return None
    known = {"time", "level", "scope", "msg", "caller", "thread"}
    scope = entry.get("scope", "")
    if not known <= entry.keys() or not scope.startswith("envoy "):
        return None
    return LogLine(
        style="json",
        time=entry["time"],
        thread=entry["thread"],
        level=entry["level"],
        component=scope.removeprefix("envoy "),
        place=entry["caller"],
        message=entry["msg"],
        tags={name: value for name, value in entry.items() if name not in known},
    )
