"""Formats, and what stands before, behind and between the lines: none of it changes what a log says."""

# ruff: noqa: E501 - log lines as programs print them

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from collections.abc import Callable
from io import BytesIO

import pytest

from doctor.logs.reading import captured, facts, reading, told
from ostiary.doctor.logs import read
from ostiary.doctor.logs.formats import parse
from ostiary.model import limits

MESSAGE = "Responding with 401 Unauthorized. Cause: CSRF token validation failed"
SAYS = {"SignInFailed csrf-mismatch 401 envoy"}
TAGS = '[Tags: "ConnectionId":"8","StreamId":"110"] '
JSON = {
    "level": "warning", "time": "2026-11-23T09:05:05.828945Z", "scope": "envoy oauth2", "msg": MESSAGE,
    "caller": "external/envoy/source/extensions/filters/http/oauth2/filter.cc:1769", "thread": "27",
    "ConnectionId": "8", "StreamId": "110",
}  # fmt: skip
PLACE = "external/envoy/source/extensions/filters/http/oauth2/filter.cc:1769"
FORMATS = {
    "istio": f"2026-11-23T09:05:05.828945Z\twarning\tenvoy oauth2 {PLACE}\t{TAGS}{MESSAGE}\tthread=27",
    "istio, blanks for tabs": f"2026-11-23T09:05:05.828945Z     warning envoy oauth2 {PLACE}     {TAGS}{MESSAGE}     thread=27",
    "istio, old tags": f"2026-11-23T09:05:05.828945Z\twarning\tenvoy oauth2\t[C8][S110] {MESSAGE}\tthread=27",
    "envoy": f"[2026-11-23 09:05:05.828][27][warning][oauth2] [{PLACE}] {TAGS}{MESSAGE}",
    "envoy, old": f"[2026-11-23 09:05:05.828][27][warning][oauth2] [{PLACE}] [C8][S110] {MESSAGE}",
    "istio json": json.dumps(JSON),
    "istio json, other order": json.dumps(dict(sorted(JSON.items()))),
    "istio json, cut off": json.dumps(JSON)[:-40],
    "envoy json": json.dumps({"level": "warning", "time": "2026-11-23T09:05:05.828Z", "message": MESSAGE}),
    "ostiary json": json.dumps({"time": "2026-11-23T09:05:05.828Z", "level": "warning", "component": "oauth2", "message": MESSAGE}),
    "access log": (
        '[2026-11-23T09:05:05.825Z] "GET /oauth2/callback?code=abc&state=x HTTP/1.1" 401 - CSRF_token_validation_failed - "-" '
        '0 18 3 - "10.0.0.7" "-" "edb551b3" "app.example.com" "-" backend - 127.0.0.1:21101 10.0.0.7:0 - default'
    ),
    "a format of one's own": (
        "[2026-11-23T09:05:05.828] [warning] [thread=27456] [oauth2] [source/extensions/filters/http/oauth2/filter.cc:1769] "
        '[Tags: "ConnectionId":"8","StreamId":"110072"] Responding with 401 Unauthorized. Cause: CSRF token validation failed'
    ),
    "access log, cut off": (
        '[2026-11-23T09:05:05.825Z] "GET /oauth2/callback?code=abc&state=x HTTP/1.1" 401 - CSRF_token_validation_fa'
        'iled - "-" 0 18'
    ),
    "access log json": json.dumps(
        {"start_time": "2026-11-23T09:05:05.825Z", "method": "GET", "path": "/oauth2/callback?code=abc", "response_code": 401,
         "response_flags": "-", "response_code_details": "CSRF_token_validation_failed", "upstream_cluster": None}
    ),
}  # fmt: skip
PREFIXES = {
    "none": "",
    "kubectl --prefix": "[pod/httpbin-86869b794c-5h7xv/istio-proxy] ",
    "kubectl --timestamps": "2026-11-23T09:05:05.829012345Z ",
    "kubectl --prefix --timestamps": "[pod/httpbin-86869b794c-5h7xv/istio-proxy] 2026-11-23T09:05:05.829012345Z ",
    "stern": "httpbin-86869b794c-5h7xv istio-proxy ",
    "docker compose": "envoy-1  | ",
    "docker compose, old": "envoy_1       | ",
    "cri": "2026-11-23T09:05:05.829012345Z stdout F ",
    "journald": "Nov 23 09:05:05 edge-1 envoy[812]: ",
    "syslog 5424": "<28>1 2026-11-23T09:05:05.829Z edge-1 envoy 812 - - ",
    "colours": "\x1b[33mhttpbin\x1b[0m ",
}


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("form", FORMATS)
def test_a_line_says_the_same_in_every_format_behind_every_prefix(form: str, prefix: str) -> None:
    assert told(f"something else\n{PREFIXES[prefix]}{FORMATS[form]}\nmore\n") == SAYS


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    "encode",
    [
        lambda text: text.encode("utf-16"),
        lambda text: text.encode("utf-16-le"),
        lambda text: text.encode("utf-16-be"),
        lambda text: text.encode("utf-8-sig"),
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: gzip.compress(text.encode()),
        lambda text: bz2.compress(text.encode()),
        lambda text: lzma.compress(text.encode()),
        lambda text: lzma.compress(b"first\n") + lzma.compress(text.encode()),
        lambda text: ("Gr\xfc\xdfe aus der Kantine \xff\xfe\n" + text).encode("latin-1"),
        lambda text: b"\x00\x01\xfe\xed\x80\n" + text.encode() + b"\x00\n",
        lambda text: text.replace("\n", "\x1b[0m\n\x1b[31m").encode(),
    ],
    ids=[
        "utf-16",
        "utf-16-le",
        "utf-16-be",
        "bom",
        "crlf",
        "gzip",
        "bzip2",
        "xz",
        "two xz in one",
        "latin-1",
        "binary",
        "ansi",
    ],
)
def test_an_encoding_changes_nothing(form: str, encode: object) -> None:
    assert told(encode(f"{FORMATS[form]}\nmore\n")) == SAYS  # type: ignore[operator]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    "wrap",
    [
        lambda line: {"log": f"{line}\n", "stream": "stdout", "time": "2026-11-23T09:05:05.829Z"},
        lambda line: {"message": line, "nodeName": "n1", "namespace": "default", "podName": "httpbin-1"},
        lambda line: {"textPayload": line, "severity": "WARNING", "insertId": "x"},
        lambda line: {"MESSAGE": line, "_PID": "812"},
        lambda line: {"jsonPayload": json.loads(line)} if line.endswith("}") else {"line": line},
    ],
    ids=["docker's file", "stern", "google", "journald", "payload"],
)
def test_what_a_collector_wrapped_is_unwrapped(form: str, wrap: Callable[[str], dict[str, object]]) -> None:
    assert told(json.dumps(wrap(FORMATS[form]))) == SAYS


@pytest.mark.parametrize("width", [80, 100, 120, 132])
@pytest.mark.parametrize("form", ["istio", "envoy", "istio json"])
def test_a_line_that_a_terminal_wrapped_is_put_together(form: str, width: int) -> None:
    line = FORMATS[form]
    hard = "\n".join(line[at : at + width] for at in range(0, len(line), width))
    assert told(f"{line[:30]}\n{hard}\n{FORMATS[form][:40]}") >= SAYS


def test_a_line_that_a_mail_wrapped_at_blanks_is_put_together() -> None:
    import textwrap

    soft = "\n".join(textwrap.wrap(FORMATS["istio, blanks for tabs"], 76, break_long_words=False))
    assert told(soft) == SAYS


@pytest.mark.parametrize("prefix", PREFIXES)
def test_an_answer_on_the_next_line_is_read_behind_every_prefix(prefix: str) -> None:
    failed = "Error redeeming code during OAuth2 callback: token exchange failed: oauth2: cannot fetch token: 400 Bad Request"
    first = f"[2024/10/04 13:37:05] [oauthproxy.go:928] {failed}"
    lines = (first, 'Response: {"error":"invalid_grant","error_description":"Code not valid"}')
    before = PREFIXES[prefix]
    second = before.replace("05.829", "05.830")
    assert "Answered token 400 invalid_grant oauth2-proxy" in told(f"{before}{lines[0]}\n{second}{lines[1]}\n")
    wrapped = [json.dumps({"log": f"{line}\n", "time": "2024-10-04T13:37:05.1Z"}) for line in lines]
    assert "Answered token 400 invalid_grant oauth2-proxy" in told("\n".join(wrapped))


@pytest.mark.parametrize("length", range(14, 70, 8))
def test_what_is_cut_off_is_not_taken_for_the_provider_s_answer(length: int) -> None:
    body = "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure"
    line = (
        "[2024-10-04 13:37:05.541][15][warning][oauth2] Responding with 401 Unauthorized. Cause: Failed to get access "
    )
    found = told(f"{line}token: response code: 503, response body: {body[:length]}")
    assert found == {"SignInFailed token-exchange 401 envoy", "ConnectFailed True"}


def test_a_quotation_ends_with_its_fence() -> None:
    body = "upstream connect error or disconnect/reset before headers. reset reason: connection timeout"
    line = f"2024-10-04T13:37:05.541213Z\tdebug\tenvoy oauth2 a.cc:88\tOauth response body: {body}\tthread=28"
    assert told(f"```\n{line}\n```\nAny ideas?\n") == told(line)


def test_what_is_cut_off_says_what_is_left_of_it() -> None:
    lines = captured()["cases"]["invalid_client"]["warning"]
    cut = lines[0][: lines[0].index("error_description") + 3]
    (answered,) = [fact for fact in facts(cut) if type(fact).__name__ == "Answered"]
    assert answered.error == "invalid_client"  # type: ignore[attr-defined]


def test_envoy_s_own_access_log_has_no_details_and_says_nothing() -> None:
    line = (
        '[2026-11-23T09:05:05.825Z] "GET /oauth2/callback?code=abc HTTP/1.1" 401 - 0 18 3 - "10.0.0.7" "-" "id" '
        '"app.example.com" "-"'
    )
    assert parse(line).format == "access-log"
    assert told(line) == set()


def test_details_with_json_end_where_the_tail_begins() -> None:
    record = parse(captured()["cases"]["invalid_client"]["access"][0])
    assert record.message.endswith('"Client_authentication_failed"}')
    assert record.access["authority"] == "app.example.com"
    assert record.access["upstream_cluster"] == "backend"


def test_mixed_streams_are_read_line_by_line() -> None:
    text = "\n".join(
        [*FORMATS.values(), "2026-11-23T09:05:01.1Z\tinfo\tReadiness succeeded in 1.2s", "{}", "{", '{"a": 1}']
    )
    found = reading(text)
    (fact,) = found.facts
    assert fact.origin.count == len(FORMATS)
    assert set(found.formats) == {"istio", "envoy", "istio-json", "json", "access-log", "access-log-json"}


def test_a_huge_line_is_cut_and_the_rest_is_read() -> None:
    huge = "x" * (3 * limits.MAX_LOG_LINE_BYTES) + " no " + "y" * (2 * limits.LOG_BLOCK_BYTES)
    text = f"{huge}\n{FORMATS['istio']}\n{huge}\n{FORMATS['envoy']}\n"
    (fact,) = facts(text)
    assert (fact.origin.count, fact.origin.line) == (2, 2)


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_a_compressed_file_that_is_damaged_is_said_to_be(compress: Callable[[bytes], bytes]) -> None:
    data = bytearray(compress("\n".join([FORMATS["istio"], *map(str, range(100_000))]).encode()))
    data[len(data) // 2] ^= 0xFF
    assert "the compressed data is " in reading(bytes(data)).problem
    assert "cut off" in reading(bytes(compress(b"a line\n" * 9)[:-3])).problem


def test_a_gzip_file_that_is_cut_off_is_read_as_far_as_it_goes() -> None:
    data = gzip.compress("\n".join([FORMATS["istio"], *map(str, range(100_000))]).encode())
    found = reading(data[: len(data) // 2])
    assert {type(fact).__name__ for fact in found.facts} == {"SignInFailed"}
    assert "cut off" in found.problem


def test_lines_are_found_wherever_blocks_end(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [line for case in captured()["cases"].values() for line in case.get("debug", ())] * 3
    data = "\n".join(lines).encode()
    whole = [(type(fact), fact.origin.line, fact.origin.count) for fact in reading(data).facts]
    for size in (7919, 65536, 100_003):
        monkeypatch.setattr(limits, "LOG_BLOCK_BYTES", size)
        monkeypatch.setattr(limits, "MAX_LOG_LINE_BYTES", 2048)
        assert [(type(fact), fact.origin.line, fact.origin.count) for fact in reading(data).facts] == whole


def test_progress_tells_the_bytes_read() -> None:
    told: list[int] = []
    data = b"nothing\n" * 200_000
    read(BytesIO(data), "x", told.append)
    assert told[-1] == len(data)
    assert told == sorted(told)
