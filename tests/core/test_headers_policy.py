"""Heads that are refused, and headers that are never believed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.core.headers_policy import head_fault, is_valid_authority, without_identity_headers
from ostiary.model import limits
from ostiary.model.headers import Headers

HOST = ("host", "app.test")


@pytest.mark.parametrize(
    "headers",
    [
        [HOST],
        [("Host", "app.test"), ("Content-Length", "0")],
        [HOST, ("transfer-encoding", "chunked")],
        [HOST, ("Transfer-Encoding", "Chunked")],
        [HOST, ("x", "")],
        [HOST, ("x", "a\tb \xff")],
    ],
)
def test_sound_heads(headers: list[tuple[str, str]]) -> None:
    assert head_fault("GET", "1.1", headers) is None


@pytest.mark.parametrize(
    ("headers", "fault"),
    [
        ([], "missing host"),
        ([HOST, ("HOST", "app.test")], "duplicate host"),
        ([("host", "")], "invalid host"),
        ([("host", "a b")], "invalid host"),
        ([("host", "user@a")], "invalid host"),
        ([("host", "a/b")], "invalid host"),
        ([HOST, ("content-length", "1"), ("content-length", "1")], "duplicate content-length"),
        ([HOST, ("content-length", "1"), ("Content-Length", "2")], "duplicate content-length"),
        ([HOST, ("content-length", "1, 1")], "invalid content-length"),
        ([HOST, ("content-length", "+1")], "invalid content-length"),
        ([HOST, ("content-length", "-1")], "invalid content-length"),
        ([HOST, ("content-length", "0x1")], "invalid content-length"),
        ([HOST, ("content-length", "1_0")], "invalid content-length"),
        ([HOST, ("content-length", "²")], "invalid content-length"),
        ([HOST, ("content-length", "")], "invalid content-length"),
        ([HOST, ("content-length", "9" * 19)], "invalid content-length"),
        ([HOST, ("content-length", "1"), ("transfer-encoding", "chunked")], "content-length and transfer-encoding"),
        ([HOST, ("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")], "duplicate transfer-encoding"),
        ([HOST, ("transfer-encoding", "identity")], "unsupported transfer-encoding"),
        ([HOST, ("transfer-encoding", "gzip, chunked")], "unsupported transfer-encoding"),
        ([HOST, ("transfer-encoding", "chunked, chunked")], "unsupported transfer-encoding"),
        ([HOST, ("transfer-encoding", "xchunked")], "unsupported transfer-encoding"),
        ([HOST, ("transfer-encoding", "chunked\x0b")], "invalid header value"),
        ([HOST, ("transfer-encoding", "\x00chunked")], "invalid header value"),
        ([HOST, ("transfer-encoding ", "chunked")], "invalid header name"),
        ([HOST, ("transfer\x00encoding", "chunked")], "invalid header name"),
        ([HOST, ("", "x")], "invalid header name"),
        ([HOST, ("x:y", "x")], "invalid header name"),
        ([HOST, ("é", "x")], "invalid header name"),
        ([HOST, ("x", "a\r\nb: c")], "invalid header value"),
        ([HOST, ("x", "a\rb")], "invalid header value"),
        ([HOST, ("x", "a\nb")], "invalid header value"),
        ([HOST, ("x", " a")], "invalid header value"),
        ([HOST, ("x", "a\x7f")], "invalid header value"),
        ([HOST] * (limits.MAX_HEADERS_COUNT + 1), "too many headers"),
    ],
)
def test_smuggling(headers: list[tuple[str, str]], fault: str) -> None:
    assert head_fault("POST", "1.1", headers) == fault


def test_older_versions() -> None:
    assert head_fault("GET", "1.0", []) is None
    assert head_fault("POST", "1.0", [("transfer-encoding", "chunked")]) == "transfer-encoding before HTTP/1.1"
    assert head_fault("GET", "2.0", [HOST]) == "unsupported HTTP version"
    assert head_fault("GE T", "1.1", [HOST]) == "invalid method"
    assert head_fault("", "1.1", [HOST]) == "invalid method"


@pytest.mark.parametrize(
    "authority", ["a", "a.b:80", "[::1]", "[::1]:8080", "a_b", "xn--a", "a%41", "127.0.0.1:65535", "a:"]
)
def test_authorities(authority: str) -> None:
    assert is_valid_authority(authority)


@pytest.mark.parametrize(
    "authority",
    ["", ":80", "a:65536", "a:b", "a:8:0", "[::1", "::1", "[]:80", "[::1]x", "a[b", "a\\b", "a?b", "a#b", "é", "a:٥"],
)
def test_refused_authorities(authority: str) -> None:
    assert not is_valid_authority(authority)


@given(st.text(max_size=20), st.lists(st.tuples(st.text(max_size=20), st.text(max_size=20)), max_size=6))
def test_no_head_makes_it_raise(method: str, headers: list[tuple[str, str]]) -> None:
    fault = head_fault(method, "1.1", headers)
    assert fault is None or fault


@given(st.lists(st.booleans(), min_size=2, max_size=2))
def test_identity_headers_go_in_every_spelling(underscores: list[bool]) -> None:
    first, second = ("_" if each else "-" for each in underscores)
    name = f"x{first}forwarded{second}user"
    headers = Headers([(name, "admin"), ("x-forwarded-username", "kept")])
    assert list(without_identity_headers(headers, frozenset(("x-forwarded-user",)))) == [
        ("x-forwarded-username", "kept")
    ]
