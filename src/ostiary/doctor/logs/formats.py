"""Lines to records: the formats of Envoy, Istio, Ostiary, oauth2-proxy, nginx and Go, behind any prefix.

Prefixes (kubectl, stern, docker compose, CRI, journald, syslog) are not listed: what marks a record, such as a time
with a level and Envoy's logger behind it, is looked for anywhere near the start of a line, and whatever stands before
it is its place. Runs of blanks are as good as tabs, because pasted logs have lost theirs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from ostiary.doctor.logs.access import parse_access, standard_names
from ostiary.doctor.logs.record import Record

_ANSI: Final = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|[@-_])|\r")
_LEVELS: Final = "trace|debug|info|warning|warn|error|critical|fatal"
_PREFIX: Final = 300
"""A record begins within this many characters of its line: longer prefixes than any tool writes."""
_TIME: Final = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?"

_ENVOY: Final = re.compile(
    rf"\[(?P<when>\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?)\]\s?\[(?P<thread>\d+)\]\s?\[(?P<level>{_LEVELS})\]\s?"
    r"\[(?P<logger>[\w.]+)\]\s+(?:\[[^\]\s]+:\d+\]\s*)?"
)
_BRACKETS: Final = re.compile(
    r"\[(?P<when>\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?)\]\s*"
    rf"(?:\[(?:thread[=:]?\s?)?(?P<thread>\d+)\]\s*)?\[(?P<level>{_LEVELS})\]\s*"
    r"(?:\[thread[=:]?\s?(?P<thread2>\d+)\]\s*)?\[(?P<logger>[a-z]\w*)\]\s*(?:\[[^\]\s]+:\d+\]\s*)?"
)
"""Envoy with a --log-format of one's own, of the same parts in about the same order."""
_ISTIO: Final = re.compile(rf"(?P<when>{_TIME})\s+(?P<level>{_LEVELS})\s+envoy\s+(?P<logger>[\w.]+)\s+(?:\S+:\d+\s+)?")
_AGENT: Final = re.compile(rf"(?P<when>{_TIME})\s+(?P<level>{_LEVELS})\s+(?:(?P<logger>[a-zA-Z][\w-]*)\t)?")
_TOOL: Final = re.compile(
    rf"(?:\[pod/[^\]\s]+\]\s+|(?:\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d )?[\w.-]+\s*\|\s|{_TIME}\s+(?:stdout|stderr)\s[FP]\s"
    rf"|[A-Z][a-z]{{2}} +\d+ [\d:]{{8}} \S+ [^\s:]+: |(?={_TIME} ))(?:{_TIME} )?"
)
"""What kubectl, docker compose, journald and CRI put before a line, for lines that have no mark of their own."""
_THREAD: Final = re.compile(r"\s+thread=(\d+)\s*$")
_TAGS: Final = re.compile(r'^\[Tags:\s*((?:"\w+":"[^"]*",?\s*)+)\]\s*')
_USUAL_TAGS: Final = re.compile(r'\[Tags: "ConnectionId":"(\d+)"(?:,"StreamId":"(\d+)")?\]\s*')
_TAG: Final = re.compile(r'"(\w+)":"([^"]*)"')
_OLD_TAGS: Final = re.compile(r"^\[C(\d+)\](?:\s?\[S(\d+)\])?\s*")
_OAUTH2_PROXY: Final = re.compile(r"\[(?P<when>\d{4}/\d\d/\d\d \d\d:\d\d:\d\d)\]\s+\[[\w./-]+\.go:\d+\]\s*")
_AUTH_LINE: Final = re.compile(r"\[(?P<when>\d{4}/\d\d/\d\d \d\d:\d\d:\d\d)\]\s+\[Auth(?:Success|Failure|Error)\]\s*")
_NGINX: Final = re.compile(r"(?P<when>\d{4}/\d\d/\d\d \d\d:\d\d:\d\d)\s+\[(?P<level>\w+)\]\s+\d+#\d+:\s*(?:\*\d+\s+)?")
_GO: Final = re.compile(r"(?P<when>\d{4}/\d\d/\d\d \d\d:\d\d:\d\d(?:\.\d+)?)\s+(?:[\w./-]+\.go:\d+:\s+)?")
_ANY_TIME: Final = re.compile(rf"{_TIME}|\d{{4}}[-/]\d\d[-/]\d\d[ T]\d\d:\d\d:\d\d(?:[.,]\d+)?|\d\d:\d\d:\d\d")
_STARTS: Final = re.compile(
    rf"{_TIME}\s|\[\d{{4}}[-/]\d\d[-/]\d\d[ T]|\d{{4}}/\d\d/\d\d \d\d:\d\d:\d\d\s|(?:^|[\]|] |[FP] )\{{\"(?!\w+\": ?\[)"
    r"|[A-Z][a-z]{2}\s+\d+\s+\d\d:\d\d:\d\d\s"
)
_HEADS: Final = (_ISTIO, _ENVOY, _BRACKETS, _OAUTH2_PROXY, _AUTH_LINE, _NGINX, _GO)
_SYSLOG: Final = re.compile(r"[A-Z][a-z]{2} +\d+ [\d:]+ \S+ [^\s:]+: $")
_JSON_STRING: Final = re.compile(r'"(\w+)"\s*:\s*"((?:[^"\\]|\\.)*)"?')
_MESSAGES: Final = ("msg", "message", "log", "line", "textpayload", "error", "err")


def begins_record(line: str) -> bool:
    """Whether this line begins a record of its own, rather than going on with the one before."""
    return _STARTS.search(line[:_PREFIX]) is not None


def without_prefix_of(first: str) -> Callable[[str], str]:
    """What takes from lines that follow `first` what a tool put before all of them (`kubectl logs --timestamps`)."""
    head = first[:_PREFIX]
    if _json(first) is not None:
        return _inner_text
    found = next((each for sign in _HEADS if (each := sign.search(head)) is not None), None)
    tool = _TOOL.match(head) if found is None else None
    end = found.start() if found is not None else tool.end() if tool is not None else 0
    if end == 0:
        return lambda line: line
    prefix = re.compile(f"(?:{_ANY_TIME.pattern})".join(map(re.escape, _ANY_TIME.split(head[:end]))))
    return lambda line: line[same.end() :] if (same := prefix.match(line)) is not None else line


def _inner_text(line: str) -> str:
    """A line of a collector that wraps each line in JSON."""
    inner = _json(line)
    return inner.message if inner is not None and not inner.access else line


def parse(line: str, number: int = 0) -> Record:
    """The record of one line. Never raises; a line of no known format is a record of format `text`."""
    if "\x1b" in line or "\r" in line:
        line = _ANSI.sub("", line)
    record = _json(line) or _envoy(line) or parse_access(line) or _others(line)
    record.line = number
    return record


def _envoy(line: str) -> Record | None:
    head = line[:_PREFIX]
    if (found := _ISTIO.search(head)) is not None:
        kind: Any = "istio"
    elif (found := _ENVOY.search(head) or _BRACKETS.search(head)) is not None:
        kind = "envoy"
    else:
        return None
    message = line[found.end() :]
    groups = found.groupdict()
    thread = groups.get("thread") or groups.get("thread2") or ""
    if (ending := _THREAD.search(message)) is not None:
        thread, message = ending[1], message[: ending.start()]
    connection, stream, message = _tags(message)
    return Record(
        message=message, format=kind, when=found["when"], level=found["level"], logger=found["logger"],
        program="envoy", place=_place(line[: found.start()]), thread=thread, connection=connection, stream=stream,
    )  # fmt: skip


def _tags(message: str) -> tuple[str, str, str]:
    """ConnectionId, StreamId, and the message behind them."""
    if not message.startswith("["):
        return "", "", message
    if (usual := _USUAL_TAGS.match(message)) is not None:
        return usual[1], usual[2] or "", message[usual.end() :]
    if (found := _TAGS.match(message)) is not None:
        tags = dict(_TAG.findall(found[1]))
        return tags.get("ConnectionId", ""), tags.get("StreamId", ""), message[found.end() :]
    if (old := _OLD_TAGS.match(message)) is not None:
        return old[1], old[2] or "", message[old.end() :]
    return "", "", message


def _place(prefix: str) -> str:
    """A prefix without its times: the same for all lines of one container."""
    return _ANY_TIME.sub("", prefix).strip()


def _json(line: str) -> Record | None:
    start = line.find("{")
    if not 0 <= start < _PREFIX or line[start + 1 : start + 40].lstrip()[:1] != '"':
        return None
    if start and not _before_json(line[:start]):
        return None
    values = _members(line[start:])
    if values is None:
        return None
    place = _place(line[:start])
    if isinstance(payload := values.get("jsonPayload"), dict):  # an export of Google's
        values = payload
    if "response_code" in values or "response_flags" in values:
        return standard_names(values, place)
    return _json_record(values, place)


def _before_json(prefix: str) -> bool:
    """A prefix of a tool, not the beginning of a message that quotes JSON."""
    if prefix.endswith(": ") and _SYSLOG.search(prefix) is None:
        return False
    return not any(found.search(prefix) for found in (_ISTIO, _ENVOY, _OAUTH2_PROXY, _AGENT, _GO))


def _members(text: str) -> Mapping[str, Any] | None:
    """The members of an object; those of a truncated one as far as they go. None: it is none."""
    try:
        values = json.loads(text)
    except ValueError:
        pairs = _JSON_STRING.findall(text)
        values = {name: _unescaped(value) for name, value in pairs}
    except RecursionError:
        return None
    return values if isinstance(values, dict) and values else None


def _unescaped(text: str) -> str:
    try:
        return str(json.loads(f'"{text}"'))
    except ValueError:
        return text.replace('\\"', '"')


def _json_record(values: Mapping[str, Any], place: str) -> Record | None:
    lower = {name.lower(): value for name, value in values.items()}
    message = next((lower[name] for name in _MESSAGES if isinstance(lower.get(name), str)), None)
    if message is None:
        return None
    if begins_record(message):  # a collector's wrapping: docker's json-file, stern, Loki, ...
        inner = parse(message.rstrip("\n"))
        inner.place = inner.place or str(lower.get("podname") or place)
        return inner
    for more in ("error", "err", "exception"):
        if isinstance(extra := values.get(more), str) and extra != message:
            message += f": {extra}"
    scope = str(values.get("scope") or values.get("component") or values.get("logger") or "")
    istio = scope.startswith("envoy ") or {"scope", "caller"} <= values.keys()
    connection, stream, message = _tags(message)
    return Record(
        message=message.rstrip("\n"),
        format="istio-json" if istio else "json",
        when=str(values.get("time") or values.get("ts") or values.get("timestamp") or ""),
        level=str(values.get("level", "")),
        logger=scope.removeprefix("envoy "),
        program="envoy" if istio and scope.startswith("envoy ") else "ostiary" if "component" in values else "",
        place=place,
        thread=str(values.get("thread", "")),
        connection=str(values.get("ConnectionId", connection)),
        stream=str(values.get("StreamId", stream)),
    )


_SIGNS: Final = (
    (_OAUTH2_PROXY, "oauth2-proxy", "oauth2-proxy"),
    (_AUTH_LINE, "oauth2-proxy", "oauth2-proxy"),
    (_NGINX, "nginx", "nginx"),
    (_AGENT, "istio-agent", "istio"),
    (_GO, "go", ""),
)


def _others(line: str) -> Record:
    head = line[:_PREFIX]
    for sign, kind, program in _SIGNS:
        if (found := sign.search(head)) is not None:
            groups = found.groupdict()
            start = found.start() if sign is _AUTH_LINE else found.end()
            return Record(
                message=line[start:], format=kind, when=groups["when"], level=groups.get("level") or "",  # type: ignore[arg-type]
                logger=groups.get("logger") or "", program=program, place=_place(line[: found.start()]),
            )  # fmt: skip
    prefix = _TOOL.match(line)
    start = prefix.end() if prefix is not None else 0
    connection, stream, message = _tags(_THREAD.sub("", line[start:]).strip())
    return Record(message=message, place=_place(line[:start]), connection=connection, stream=stream)
