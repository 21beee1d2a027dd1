from __future__ import annotations

import pytest

from envoy_example import error, manager
from ostiary.model.access_log import AccessLog, AccessLogFilter

PREFIX = "'@type': type.googleapis.com/envoy.extensions.access_loggers"
STDOUT = f"              {PREFIX}.stream.v3.StdoutAccessLog\n"
FILE = f"              {PREFIX}.file.v3.FileAccessLog\n              path: /var/log/a\n"
NAME = "          - name: envoy.access_loggers.stdout\n"


def log(written: str) -> AccessLog:
    return manager((STDOUT, written)).access_log[0]


def test_sinks() -> None:
    assert log(STDOUT) == AccessLog(sink="stdout")
    assert log(STDOUT.replace("Stdout", "Stderr")) == AccessLog(sink="stderr")
    assert log(FILE) == AccessLog(sink="file", path="/var/log/a")
    assert log(FILE.replace("/var/log/a", "/dev/stdout")) == AccessLog(sink="stdout")


def test_formats() -> None:
    text = '              log_format: {text_format_source: {inline_string: "%REQ(:PATH)%\\n"}}\n'
    assert log(STDOUT + text).text_format == "%REQ(:PATH)%\n"
    assert log(FILE + '              format: "%PROTOCOL%\\n"\n').text_format == "%PROTOCOL%\n"
    json = "              log_format: {json_format: {a: '%PROTOCOL%', b: {c: x}}, omit_empty_values: true}\n"
    assert log(STDOUT + json) == AccessLog(
        sink="stdout", text_format=None, json_format={"a": "%PROTOCOL%", "b": {"c": "x"}}, omit_empty_values=True
    )


@pytest.mark.parametrize(
    ("written", "condition"),
    [
        ("not_health_check_filter: {}", AccessLogFilter(not_health_check=True)),
        (
            "status_code_filter: {comparison: {op: GE, value: {default_value: 400, runtime_key: k}}}",
            AccessLogFilter(status_code_at_least=400),
        ),
        (
            (
                "and_filter: {filters: [{not_health_check_filter: {}}, "
                "{duration_filter: {comparison: {op: GE, value: {default_value: 9}}}}]}"
            ),
            AccessLogFilter(not_health_check=True, duration_at_least_ms=9),
        ),
    ],
)
def test_filters(written: str, condition: AccessLogFilter) -> None:
    assert manager((NAME, f"{NAME}            filter: {{{written}}}\n")).access_log[0].filter == condition


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (STDOUT + "              log_format: {text_format_source: {inline_string: '%NOPE%'}}\n", "%NOPE%"),
        (STDOUT + "              log_format: {json_format: {a: [x]}}\n", "only text and mappings of text"),
        (STDOUT.replace("StdoutAccessLog", "StdoutAccesLog"), "StdoutAccessLog"),
        (f"              {PREFIX}.wasm.v3.WasmAccessLog\n", "log to a file, stdout or stderr"),
    ],
)
def test_what_is_refused(written: str, message: str) -> None:
    assert message in error((STDOUT, written))


def test_a_filter_that_is_not_at_least_is_refused() -> None:
    for comparison in ("{op: LE, value: {default_value: 1}}", "{value: {default_value: 1}}"):
        written = f"{NAME}            filter: {{status_code_filter: {{comparison: {comparison}}}}}\n"
        assert "use GE" in error((NAME, written))
