"""Access log lines."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.core.access_log import access_log_line
from ostiary.core.record import Record
from ostiary.model.access_log import AccessLog, AccessLogFilter
from ostiary.model.headers import Headers
from ostiary.model.matchers import HeaderMatcher
from requests_for_tests import make_request


def record(*headers: tuple[str, str]) -> Record:
    made = Record.of(make_request("/old?q", *headers), now=1795441229.187)
    made.protocol = "HTTP/1.1"
    made.response_code = 200
    made.bytes_sent = 302
    made.duration = 42
    made.upstream_host = "127.0.0.1:8080"
    made.response_headers = Headers([("x-envoy-upstream-service-time", "3")])
    return made


def test_the_default_format_is_envoys() -> None:
    line = access_log_line(AccessLog(sink="stdout"))
    assert line(record(("user-agent", "curl"), ("x-request-id", "id"))) == (
        b'[2026-11-23T13:40:29.187Z] "GET /old?q HTTP/1.1" 200 - 0 302 42 3 '
        b'"-" "curl" "id" "app.test" "127.0.0.1:8080"\n'
    )


@pytest.mark.parametrize(
    "value",
    ['" 200 - "', "a\nb", "a\r\nGET", "\x1b[31m", "\\x22", "\x9b31m", "\x00", "café".encode().decode("latin-1")],
)
def test_no_header_forges_a_line(value: str) -> None:
    line = access_log_line(AccessLog(sink="stdout"))(record(("user-agent", value)))
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert line.count(b'"') == 12
    assert all(0x20 <= octet < 0x7F for octet in line[:-1])


JSON = {
    "z": "%RESPONSE_CODE%",
    "a": "%REQ(none)%",
    "m": "a %REQ(none)% b",
    "n": {"q": "%DURATION%"},
    "c": "const",
    "d": "%RESPONSE_CODE%ms",
}


def test_json_keeps_types_and_sorts_members() -> None:
    line = access_log_line(AccessLog(sink="stdout", text_format=None, json_format=JSON))(record())
    assert line == b'{"a":null,"c":"const","d":"200ms","m":"a - b","n":{"q":42},"z":200}\n'


def test_omitting_empty_values_in_json() -> None:
    log = AccessLog(sink="stdout", text_format=None, json_format=JSON, omit_empty_values=True)
    assert json.loads(access_log_line(log)(record()))["m"] == "a  b"
    assert json.loads(access_log_line(log)(record()))["a"] is None


@given(st.text(alphabet=st.characters(max_codepoint=255)))
def test_json_lines_stay_json(value: str) -> None:
    log = AccessLog(sink="stdout", text_format=None, json_format={"v": "%REQ(x)%", "w": "<%REQ(x)%>"})
    line = access_log_line(log)(record(("x", value)))
    assert line.count(b"\n") == 1
    assert set(json.loads(line)) == {"v", "w"}


def test_utf8_is_readable_in_json() -> None:
    log = AccessLog(sink="stdout", text_format=None, json_format={"v": "%REQ(x)%"})
    assert json.loads(access_log_line(log)(record(("x", "é".encode().decode("latin-1"))))) == {"v": "é"}
    assert json.loads(access_log_line(log)(record(("x", "\xff")))) == {"v": "\xff"}


@pytest.mark.parametrize(
    ("wanted", "logged"),
    [
        (AccessLogFilter(status_code_at_least=200), True),
        (AccessLogFilter(status_code_at_least=201), False),
        (AccessLogFilter(duration_at_least_ms=42), True),
        (AccessLogFilter(duration_at_least_ms=43), False),
        (AccessLogFilter(not_health_check=True), True),
        (AccessLogFilter(header=HeaderMatcher(name="x")), True),
        (AccessLogFilter(header=HeaderMatcher(name="set")), True),
        (AccessLogFilter(header=HeaderMatcher(name="y")), False),
        (AccessLogFilter(header=HeaderMatcher(name="x"), status_code_at_least=500), False),
        (AccessLogFilter(), True),
    ],
)
def test_filters(wanted: AccessLogFilter, logged: bool) -> None:
    made = record(("x", "1"))
    made.request_set = {"set": "1"}
    assert bool(access_log_line(AccessLog(sink="stdout", filter=wanted))(made)) is logged


@pytest.mark.parametrize(
    "name", ["Authorization", "cookie", "x-none?COOKIE", "proxy-authorization", "x-forwarded-access-token"]
)
def test_credentials_never_reach_a_log(name: str) -> None:
    made = record((name.rpartition("?")[2].lower(), "hush-hush"))
    assert access_log_line(AccessLog(sink="stdout", text_format=f"%REQ({name})%"))(made) == b"[secret]"
    as_json = AccessLog(sink="stdout", text_format=None, json_format={"v": f"%REQ({name}):40%"})
    assert json.loads(access_log_line(as_json)(made)) == {"v": "[secret]"}
    assert access_log_line(AccessLog(sink="stdout", text_format=f"%REQ({name})%"))(record()) == b"-"


@pytest.mark.parametrize("source", ["%REQ(REFERER)%", "%REQ(X-NONE?referer)%"])
def test_a_referer_shows_no_code(source: str) -> None:
    made = record(("referer", "https://app.test/.ostiary/callback?a=1&code=hush&state=hush"))
    line = access_log_line(AccessLog(sink="stdout", text_format=source))(made)
    assert line == b"https://app.test/.ostiary/callback?a=1&code=[secret]&state=[secret]"


def test_health_checks_can_be_left_out() -> None:
    made = record()
    made.health_check = True
    assert access_log_line(AccessLog(sink="stdout", filter=AccessLogFilter(not_health_check=True)))(made) == b""


def test_a_logger_needs_a_format() -> None:
    with pytest.raises(ValueError, match="format"):
        access_log_line(AccessLog(sink="stdout", text_format=None))
