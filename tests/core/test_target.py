from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.core.target import Target, parse_nameserver, parse_target


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://login.example/a?b=c", Target("login.example", 443, True)),
        ("HTTP://Login.Example:8080", Target("login.example", 8080, False)),
        ("wss://x.test", Target("x.test", 443, True)),
        ("https://[2001:db8::1]:8443/", Target("2001:db8::1", 8443, True)),
        ("https://user@x.test/", Target("x.test", 443, True)),
        ("login.example:443", Target("login.example", 443, None)),
        ("[::1]:80", Target("::1", 80, None)),
        ("127.0.0.1:65535", Target("127.0.0.1", 65535, None)),
        ("x.test.:443", Target("x.test.", 443, None)),
    ],
)
def test_targets(text: str, expected: Target) -> None:
    assert parse_target(text) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("login.example", "has no port"),
        ("", "has no port"),
        (":443", "names no host"),
        ("::1:443", "brackets"),
        ("[::1]443", r"not \[IPV6\]:PORT"),
        ("[::1", r"not \[IPV6\]:PORT"),
        ("x:0", "not a port"),
        ("x:65536", "not a port"),
        ("x:99999999999999999999", "not a port"),
        ("x:\u0664", "not a port"),
        ("x:", "not a port"),
        ("ftp://x.test", "'ftp' is not a scheme"),
        ("https://", "names no host"),
        ("https://x:99999/", "not a URL"),
        ("a b:1", "names no host"),
        ("a/b:1", "write https://a/b:1"),
        ("login.example/path", "write https://login.example/path"),
        ("https:/login.example", "write https://login.example$"),
        ("http//login.example:80", "write https://login.example:80"),
        ("//login.example", "write https://login.example$"),
    ],
)
def test_what_is_no_target_says_why(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_target(text)


@pytest.mark.parametrize(
    "text", ["https://ada:hunter2@:443", "https://ada:hunter2@x:99999/", "//ada:hunter2@x", "ada:hunter2@x:1"]
)
def test_an_error_does_not_repeat_a_password(text: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - what it says is below
        parse_target(text)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.0.0.1", ("10.0.0.1", 53)),
        ("10.0.0.1:5353", ("10.0.0.1", 5353)),
        ("::1", ("::1", 53)),
        ("[::1]:5353", ("::1", 5353)),
    ],
)
def test_nameservers(text: str, expected: tuple[str, int]) -> None:
    assert parse_nameserver(text) == expected


@pytest.mark.parametrize("text", ["dns.example", "10.0.0.1:x", "10.0.0.256", "", "[::1", "::1:x"])
def test_what_is_no_nameserver_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_nameserver(text)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    for read in (parse_target, parse_nameserver):
        with suppress(ValueError):
            read(text)
