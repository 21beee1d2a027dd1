"""Access log lines: a text or JSON format compiled to one function of a `Record`.

A line can't be forged by what a client sends: in a text format quotes, backslashes, control and non-ASCII characters
of values become `\\xNN` (Envoy writes quotes as they are: a listed difference); JSON is escaped by JSON's rules. In a
JSON format a string that is one operator and nothing else keeps the type of its value; what is missing is null there,
also with omit_empty_values, which only empties the missing parts of longer strings. Credentials (`%REQ(COOKIE)%`)
become `[secret]`: another listed difference.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from ostiary.core.decision import Request
from ostiary.core.formatter import Format, compile_format
from ostiary.core.matching import header_matcher
from ostiary.core.record import Record
from ostiary.model.access_log import AccessLog, AccessLogFilter, JsonFormat
from ostiary.model.headers import Headers

Line = Callable[[Record], bytes]
JsonValue = Callable[[Record], object]

__all__ = ["Line", "Record", "access_log_line", "record_filter"]


def access_log_line(log: AccessLog) -> Line:
    """The writer of one logger: a finished line, or empty bytes for a record that its filter leaves out.

    Raises ValueError for a bad format string or matcher, or if not exactly one format is given.
    """
    if log.json_format is not None:
        line = _json_line(log.json_format, log.omit_empty_values)
    elif log.text_format is not None:
        line = _text_line(compile_format(log.text_format, omit_empty=log.omit_empty_values, redact=True))
    else:
        raise ValueError("an access log needs a text_format or a json_format")
    if log.filter is None:
        return line
    holds = record_filter(log.filter)
    return lambda record: line(record) if holds(record) else b""


def record_filter(wanted: AccessLogFilter) -> Callable[[Record], bool]:
    """A predicate: all the conditions that are given hold. Raises ValueError for a bad header matcher."""
    conditions: list[Callable[[Record], bool]] = []
    if (status := wanted.status_code_at_least) is not None:
        conditions.append(lambda record: record.response_code >= status)
    if (duration := wanted.duration_at_least_ms) is not None:
        conditions.append(lambda record: record.duration is not None and record.duration >= duration)
    if wanted.not_health_check:
        conditions.append(lambda record: not record.health_check)
    if wanted.header is not None:
        matches = header_matcher(wanted.header)
        conditions.append(lambda record: matches(_request_of(record)))
    return lambda record: all(condition(record) for condition in conditions)


def _request_of(record: Record) -> Request:
    headers = Headers.of(list(record.request_headers))
    for name, value in record.request_set.items():
        headers.set(name, value)
    path, _, query = record.path.partition("?")
    return Request(
        method=record.method,
        target=record.path,
        path=path,
        query=query,
        scheme=record.scheme,
        authority=record.authority,
        headers=headers,
    )


def _text_line(template: Format) -> Line:
    return template.render_line


def _json_line(fields: JsonFormat, omit_empty: bool) -> Line:
    value_of = _json_object(fields, omit_empty)
    encode = json.JSONEncoder(separators=(",", ":")).encode
    return lambda record: encode(value_of(record)).encode("ascii") + b"\n"


def _json_object(fields: JsonFormat, omit_empty: bool) -> JsonValue:
    members = tuple(
        (name, _json_value(fields[name], omit_empty))
        for name in sorted(fields)  # Envoy writes the members in this order
    )

    return lambda record: {name: member(record) for name, member in members}


def _json_value(template: str | JsonFormat, omit_empty: bool) -> JsonValue:
    if isinstance(template, Mapping):
        return _json_object(template, omit_empty)
    compiled = compile_format(template, omit_empty=omit_empty, redact=True)
    if compiled.single is not None:
        single = compiled.single

        def typed(record: Record) -> object:
            value = single(record)
            return _readable(value) if isinstance(value, str) else value

        return typed
    render = compiled.render
    return lambda record: _readable(render(record))


def _readable(text: str) -> str:
    """Wire text as people wrote it: UTF-8 where it is UTF-8, one character per byte where it isn't."""
    if text.isascii():
        return text
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text
