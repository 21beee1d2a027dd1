"""Logs: no bytes make the doctor's reader fail, and how they are delivered changes nothing of what they say."""

from __future__ import annotations

from dataclasses import fields
from io import BytesIO
from typing import Final

from ostiary.doctor.facts.origin import Fact
from ostiary.doctor.logs import read
from ostiary.model import limits

_LOG: Final = r"""
2026-11-23T09:05:05.8Z\twarning\tenvoy oauth2 f.cc:1\t[C8][S1] Responding with 401 Unauthorized. Cause: Failed to get access token: response code: 401, response body: {"error": "invalid_client", "error_description": "x"}\tthread=27
[2026-11-23 09:05:05.828][27][debug][connection] [a.cc:1] [C8] connecting to [2001:db8::1]:443\n[2026-11-23 09:05:05.829][27][debug][connection] [a.cc:1] [C8] immediate connect error: 101
{"scope":"envoy router","msg":"upstream reset: reset reason: remote connection failure, transport failure reason: TLS_error:|268435703:SSL routines:OPENSSL_internal:WRONG_VERSION_NUMBER","thread":"5","ConnectionId":"0"}
[2026-11-23T09:05:05.002Z] "GET /cb?code=abc HTTP/1.1" 401 - CSRF_token_validation_failed - "-" 0 18 3 - "10.0.0.7" "-" "6f" "app.example.com" "-" backend - 127.0.0.1:21100 10.0.0.7:0 - default
[2024/10/04 13:37:05] [p.go:9] Error redeeming code during OAuth2 callback: Post "https://a.b/token": dial tcp: lookup a.b on 10.0.0.1:53: no such host
error initializing configuration 'v.yaml': goo.gle/debugonly\nconfig {\n}\n: field: "timeout", reason: is required
C[985] address=[2606:4700::6810:a016]:443\nOauth response code: 503\nOauth response body: no healthy upstream
"""  # noqa: E501 - lines as they are
SEEDS: Final = (
    *(line.replace("\\t", "\t").replace("\\n", "\n").encode() + b"\n" for line in _LOG.strip().splitlines()),
    "Cookie “a” has been rejected for invalid domain.\n".encode(),
    "Oauth response code: 401\r\nOauth response body: {}".encode("utf-16"),
)
WORDS: Final = (
    b"\n", b"\r\n", b"\t", b"\x1b[0m", b"\x00", b"\xff", b"\x1f\x8b", b"\xff\xfe", b'{"', b'\\"', b"_", b": ",
    b"response body: ", b"TLS_error:", b"c-ares status 0x000c", b"dns resolution for a.b failed with ",
    b"upstream connect error or disconnect/reset before headers. reset reason: ", b"dial tcp 1.2.3.4:99999: connect: ",
    b"oauth.logged_in", b"http1.headers_too_large", b"jwt_authn_access_denied{", b"AADSTS50011:", b"thread=",
    b"Can't connect to a:1: IPv4 failed: x, ECONNREFUSED (1.2.3.4:5)", b"config rejected: ", b"client_secret=",
)  # fmt: skip
_SHORT: Final = (1, 7, 64)


class _Slow(BytesIO):
    """A pipe that gives a few bytes at a time."""

    def __init__(self, data: bytes, most: int) -> None:
        super().__init__(data)
        self._most = most

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(self._most, size if size is not None and size >= 0 else self._most))


def _said(fact: Fact) -> tuple[object, ...]:
    return (type(fact).__name__, *(getattr(fact, each.name) for each in fields(fact)))


def one(data: bytes) -> None:
    """Judge one log."""
    whole = read(BytesIO(data), "log")
    assert len(whole.facts) <= 40 * limits.MAX_LOG_FACTS
    for fact in whole.facts:
        origin = fact.origin
        assert len(origin.quote) <= limits.MAX_QUOTE
        assert "\n" not in origin.quote
        assert origin.count >= 1
        assert origin.line >= 1
        port = getattr(fact, "port", 0)
        assert 0 <= port <= 0xFFFF
    for most in _SHORT if len(data) < 2000 else ():
        again = read(_Slow(data, most), "log")
        assert again.lines == whole.lines
        assert [_said(fact) for fact in again.facts] == [_said(fact) for fact in whole.facts]
