"""Access loggers, from the model to Envoy's fields."""

from __future__ import annotations

from typing import Any

from ostiary.dialects.envoy_access_log import FILE, STREAMS
from ostiary.dialects.envoy_text_values import Tree, extension, given, header_matcher, some, typed
from ostiary.model.access_log import DEFAULT_FORMAT, AccessLog, AccessLogFilter


def access_log(model: AccessLog) -> Tree:
    """config.accesslog.v3.AccessLog."""
    form = given(
        json_format=model.json_format,
        text_format_source={"inline_string": model.text_format}
        if model.text_format is not None and (model.text_format != DEFAULT_FORMAT or model.omit_empty_values)
        else None,
        omit_empty_values=some(model.omit_empty_values),
    )
    if model.sink == "file":
        log = extension("envoy.access_loggers.file", typed(FILE, path=model.path, log_format=some(form)))
    else:
        kind = next(name for name, sink in STREAMS.items() if sink == model.sink)
        log = extension(f"envoy.access_loggers.{model.sink}", typed(kind, log_format=some(form)))
    return log | ({"filter": _filter(model.filter)} if model.filter is not None else {})


def _filter(model: AccessLogFilter) -> Tree:
    parts: list[Tree] = []
    for name, value in (
        ("status_code_filter", model.status_code_at_least),
        ("duration_filter", model.duration_at_least_ms),
    ):
        if value is not None:
            parts.append({name: {"comparison": _at_least(value)}})
    if model.not_health_check:
        parts.append({"not_health_check_filter": {}})
    if model.header is not None:
        parts.append({"header_filter": {"header": header_matcher(model.header)}})
    return parts[0] if len(parts) == 1 else {"and_filter": {"filters": parts}}


def _at_least(value: int) -> dict[str, Any]:
    return {"op": "GE", "value": {"default_value": value, "runtime_key": "unused"}}
