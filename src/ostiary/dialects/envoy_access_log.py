"""Access loggers: files and standard streams, text and JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from msgspec.structs import replace

from ostiary.dialects.envoy_common import Context, content, header_matcher, template
from ostiary.dialects.schema_tree import Message
from ostiary.model.access_log import DEFAULT_FORMAT, AccessLog, AccessLogFilter, JsonFormat

FILE: Final = "envoy.extensions.access_loggers.file.v3.FileAccessLog"
STREAMS: Final[Mapping[str, Literal["stdout", "stderr"]]] = {
    "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog": "stdout",
    "envoy.extensions.access_loggers.stream.v3.StderrAccessLog": "stderr",
}
_DEVICES: Final[Mapping[str, Literal["stdout", "stderr"]]] = {"/dev/stdout": "stdout", "/dev/stderr": "stderr"}


def access_logs(message: Message, name: str, context: Context) -> tuple[AccessLog, ...]:
    """A list of config.accesslog.v3.AccessLog."""
    found = [_access_log(item, context) for item in message.messages(name)]
    return tuple(log for log in found if log is not None)


def _access_log(message: Message, context: Context) -> AccessLog | None:
    message.take("name")
    written = message.message("filter")
    log_filter = _filter(written) if written is not None else None
    typed = message.message("typed_config")
    if typed is None or not typed.name:
        message.problem("typed_config", "is required", f"add '@type: type.googleapis.com/{FILE}'")
        return None
    if typed.name in STREAMS:
        return _formatted(typed, AccessLog(sink=STREAMS[typed.name], filter=log_filter), context)
    if typed.name != FILE:
        typed.unsupported(None, "log to a file, stdout or stderr and collect from there")
        return None
    path = typed.text("path")
    sink = _DEVICES.get(path)
    log = AccessLog(sink=sink or "file", path="" if sink else path, filter=log_filter)
    if typed.has("format"):
        text = typed.text("format")
        template(typed, "format", text)
        return replace(log, text_format=text or DEFAULT_FORMAT)
    for old in ("json_format", "typed_json_format"):
        if typed.has(old):
            return replace(log, text_format=None, json_format=_json_format(typed, old, typed.take(old)))
    return _formatted(typed, log, context)


def _formatted(message: Message, log: AccessLog, context: Context) -> AccessLog:
    """core.v3.SubstitutionFormatString, if there is one."""
    form = message.message("log_format")
    if form is None:
        return log
    form.ignore("content_type", "json_format_options")  # neither changes a line's meaning
    omit = form.boolean("omit_empty_values")
    if form.has("json_format"):
        json_format = _json_format(form, "json_format", form.take("json_format"))
        return replace(log, text_format=None, json_format=json_format, omit_empty_values=omit)
    text = form.text("text_format")
    if (source := form.message("text_format_source")) is not None:
        text = (content(source, context) or b"").decode(errors="replace")
    template(form, "text_format_source" if form.has("text_format_source") else "text_format", text)
    return replace(log, text_format=text, omit_empty_values=omit)


def _json_format(message: Message, name: str, written: Any) -> JsonFormat:
    """A Struct of templates."""
    result: dict[str, str | JsonFormat] = {}
    for key, value in written.items() if isinstance(written, dict) else ():
        if isinstance(value, str):
            template(message, name, value)
            result[key] = value
        elif isinstance(value, dict):
            result[key] = _json_format(message, name, value)
        else:
            message.problem(name, f"'{key}': only text and mappings of text are implemented", "put the value in quotes")
    return result


def _filter(message: Message) -> AccessLogFilter:
    """AccessLogFilter, as far as "all that are given must hold" goes."""
    merged = AccessLogFilter()
    if (both := message.message("and_filter")) is not None:
        for part in both.messages("filters"):
            one = _filter(part)
            merged = AccessLogFilter(
                status_code_at_least=_largest(merged.status_code_at_least, one.status_code_at_least),
                duration_at_least_ms=_largest(merged.duration_at_least_ms, one.duration_at_least_ms),
                not_health_check=merged.not_health_check or one.not_health_check,
                header=_only(part, merged, one),
            )
        return merged
    if (status := message.message("status_code_filter")) is not None:
        return AccessLogFilter(status_code_at_least=_at_least(status))
    if (duration := message.message("duration_filter")) is not None:
        return AccessLogFilter(duration_at_least_ms=_at_least(duration))
    if (header := message.message("header_filter")) is not None:
        return AccessLogFilter(header=header_matcher(header.required("header")))
    return AccessLogFilter(not_health_check=message.message("not_health_check_filter") is not None)


def _only(part: Message, merged: AccessLogFilter, one: AccessLogFilter) -> Any:
    if merged.header is not None and one.header is not None:
        part.unsupported("header_filter", "keep one header_filter in an and_filter")
    return merged.header or one.header


def _at_least(message: Message) -> int:
    comparison = message.required("comparison")
    comparison.choice("op", ("GE",), "use GE")
    if not comparison.has("op"):
        comparison.problem("op", "EQ (the default) is not implemented", "use GE")
    value = comparison.required("value")
    value.ignore("runtime_key")  # there is no runtime: the default always holds
    return value.integer("default_value")


def _largest(one: int | None, other: int | None) -> int | None:
    return max((value for value in (one, other) if value is not None), default=None)
