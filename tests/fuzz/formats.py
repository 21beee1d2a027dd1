"""Format strings, time formats and substitutions: what a client sent can't forge a line, nor a credential get into one.

The input is a format string, and after a line break the value that every header has.
"""

from __future__ import annotations

import json

from ostiary.core.access_log import access_log_line
from ostiary.core.formatter import compile_format
from ostiary.core.record import Record
from ostiary.core.regex import Regex, Substitution, wire_text
from ostiary.core.timestamps import time_formatter
from ostiary.model import limits
from ostiary.model.access_log import AccessLog
from ostiary.model.headers import Headers

SEEDS = (
    b'[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE%\nvalue " \\',
    b"%REQ(COOKIE)% %RESP(SET-COOKIE)% %REQ(AUTHORIZATION?X-A):3%\n\r\x7f",
    b"%START_TIME(%Y-%m-%dT%H:%M:%E3S%Ez %s.%3f)% %%\n\xc3\xa9",
    b"%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% %UPSTREAM_REMOTE_PORT% %DURATION%\n",
    b"%PATH(NQ:ORIG)% %QUERY_PARAM(a)% %QUERY_PARAMS%\n%0a%22",
    b"%UNKNOWN%\n", b"%REQ(\n", b"100%\n", b"%REQ(X-A):2%\n\xff\xfe\xfd",
    b"%H:%M:%S\n", b"(a*)(b)?\nab\xffaab", b"\xc3\xa9|^\n\xc3\xa9\xc3", b"[\n",
)  # fmt: skip
WORDS = (
    b"%REQ(", b"%RESP(", b"%TRAILER(", b"%START_TIME(", b"%PATH(", b"%QUERY_PARAM(", b")%", b"):3%", b"?", b":METHOD",
    b":PATH", b"COOKIE", b"AUTHORIZATION", b"SET-COOKIE", b"%RESPONSE_CODE%", b"%UPSTREAM_HOST%", b"%Y", b"%E3S",
    b"%3f", b"%s", b"%Ez", b"%%", b"(?i)", b"\\0", b"\\1", b"[^a]", b"{1,3}", b"\n",
)  # fmt: skip
SECRET = "Bearer s3cr3t"
_CREDENTIALS = ("authorization", "cookie", "set-cookie", "proxy-authorization")
MOMENTS = (0.0, 1_800_000_000.25, 1_800_000_000.999_999_9, 1_800_000_001.0)


def one(data: bytes) -> None:
    first, _, value = data.partition(b"\n")
    source = first.decode("utf-8", "replace")
    text = value.decode("latin-1")
    _formats(source, text)
    _logs(source, text)
    _times(source)
    _regexes(source, text)


def _record(value: str) -> Record:
    record = Record()
    items = [("x-a", value), ("x-envoy-original-path", value), *((name, SECRET) for name in _CREDENTIALS)]
    record.request_headers = record.response_headers = record.response_trailers = Headers(items)
    record.path = record.method = record.authority = record.upstream_host = value
    record.start_time = MOMENTS[1]
    return record


def _formats(source: str, value: str) -> None:
    record = _record(value)
    for redact in (True, False):
        try:
            compiled = compile_format(source, redact=redact)
        except ValueError as error:
            assert str(error)
            return
        if "%" not in source:
            assert compiled.constant == wire_text(source)
        rendered = compiled.render(record)
        if compiled.constant is None:
            assert not any(ord(character) < 0x20 or character == "\x7f" for character in rendered)
        line = compiled.render_line(record).decode("latin-1")
        own = wire_text(source)
        assert line.count('"') <= own.count('"') and line.count("\\") <= own.count("\\") + line.count("\\x")
        assert all(" " <= character <= "~" or character in own for character in line)
        assert not redact or "s3cr3t" not in rendered or "s3cr3t" in source + value
        assert len(rendered) <= (len(source) + 1) * (len(value) * 4 + 100)


def _logs(source: str, value: str) -> None:
    record = _record(value)
    for log in (
        AccessLog(sink="stdout", text_format=source + "\n"),
        AccessLog(sink="stdout", json_format={"a": source, "b": {"c": f"x{source}"}}),
        AccessLog(sink="stdout", json_format={source: "%REQ(x-a)%"}, omit_empty_values=True),
    ):
        try:
            line = access_log_line(log)(record)
        except ValueError:
            continue
        assert line.endswith(b"\n") and line.count(b"\n") == 1
        assert b"s3cr3t" not in line or "s3cr3t" in source + value
        if log.json_format is not None:
            assert isinstance(json.loads(line), dict)


def _times(pattern: str) -> None:
    try:
        reused = time_formatter(pattern)
    except ValueError:
        return
    for moment in (*MOMENTS, MOMENTS[1]):
        assert reused(moment) == time_formatter(pattern)(moment)


def _regexes(pattern: str, text: str) -> None:
    try:
        regex = Regex(pattern)
    except ValueError:
        return
    assert len(pattern) <= limits.MAX_REGEX_LENGTH
    assert Substitution(pattern, "\\0").replace_all(text) == text
    regex.fullmatch(text)
    try:
        Substitution(pattern, text).replace_all(text)
    except ValueError as error:
        assert "substitution" in str(error)
