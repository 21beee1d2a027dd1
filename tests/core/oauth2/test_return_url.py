"""Where a sign-in may lead back to: a corpus of redirects that must go nowhere."""

from __future__ import annotations

from urllib.parse import urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.core.oauth2.return_url import (
    Origin,
    parse_external_url,
    parse_origin,
    return_url,
    return_url_of_target,
)
from ostiary.model import limits

HERE = Origin("https", "app.example", 443)
ALLOWED = ("other.example", "*.team.example", "dev.example:8443")
PREFIX = "/.ostiary"


def back(wanted: str, origin: Origin = HERE) -> str | None:
    return return_url(wanted, origin, ALLOWED, PREFIX)


@pytest.mark.parametrize(
    "wanted",
    [
        "/",
        "/a/b?c=d&e=f#g",
        "/redirect/https://x.example/",
        "/a//b",
        "/a/../b",
        "/%20x",
        "/%E4%BD%A0",
        "/?next=//evil.example",
        "/search?q=a%2Fb%5Cc",
        "/.ostiarys",
        "/~user;v=1/@x:y",
    ],
)
def test_paths_of_this_origin_are_kept_as_they_are(wanted: str) -> None:
    assert back(wanted) == wanted


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("https://app.example/x?y#z", "/x?y#z"),
        ("https://APP.example:443", "/"),
        ("https://app.example?x=1", "/?x=1"),
        ("https://other.example/x", "https://other.example/x"),
        ("https://a.b.team.example/", "https://a.b.team.example/"),
        ("https://dev.example:8443/x", "https://dev.example:8443/x"),
        ("/ä/ö?ü", "/%C3%A4/%C3%B6?%C3%BC"),
    ],
)
def test_absolute_addresses_of_allowed_hosts(wanted: str, expected: str) -> None:
    assert back(wanted) == expected


HOSTILE = [
    "", " ", "//", "//evil.example", "///evil.example", "////evil.example/%2f..", "/\\evil.example",
    "\\/evil.example", "\\\\evil.example", "/\\/evil.example", "/\t/evil.example", "/\n/evil.example",
    "/\r/evil.example", "/ /evil.example", "\t//evil.example", " //evil.example", "/%09/evil.example",
    "/%0a/evil.example", "/%0d%0aLocation:%20//evil.example", "/%2f/evil.example", "/%2Fevil.example",
    "//%2fevil.example", "/%5cevil.example", "/%5C%5Cevil.example", "/%252fevil.example", "/%255cevil.example",
    "/.//evil.example", "/./\\evil.example", "/..//evil.example", "/../..//evil.example", "/.%2f/evil.example",
    "/%2e%2e//evil.example", "/%2e/%2fevil.example", "/%20/evil.example", "/x\x00", "/x\x7f",
    "/x\r\nset-cookie: a=b", "/x y", '/x"y', "/a\\b", "http:evil.example", "https:evil.example",
    "https:/evil.example", "https:///evil.example", "http://evil.example", "https://evil.example",
    "HTTPS://evil.example", "https:\\\\evil.example", "https://app.example.evil.example",
    "https://evil.example/app.example", "https://app.example@evil.example", "https://user:pass@app.example/",
    "https://app.example:443@evil.example", "https://app.example%2eevil.example",
    "https://app.example%00.evil.example", "https://app.example\\.evil.example",
    "https://app.example\\@evil.example", "https://evil.example#app.example", "https://evil.example?app.example",
    "https://[::1]evil.example/", "https://app.example:99999/", "https://app.example:0/",
    "https://app.example:8443/", "http://app.example/", "http://other.example/", "https://other.example:8443/",
    "https://dev.example/", "https://team.example/", "https://xteam.example/", "https://.team.example/",
    "https://other.example.evil.example", "https://evil.example/.team.example", "javascript:alert(1)",
    "JavaScript:alert(1)", "data:text/html,x", "vbscript:x", "file:///etc/passwd", "blob:https://app.example/x",
    "ftp://app.example/", "mailto:a@b", "evil.example", "evil.example/x", "@evil.example", ".evil.example", "?x",
    "#x", "x:y", "://evil.example", "/.ostiary", "/.ostiary/sign_out", "/x/../.ostiary/sign_out",
    "/%2eostiary/sign_out", "/.%6fstiary/start?rd=/", "/%252eostiary/sign_out", "/./.ostiary/",
    "/x/..%2f.ostiary/start", "https://app.example//evil.example", "https://app.example/.ostiary/callback",
    "https://app.example/\\evil.example", "h\u0442tps://evil.example", "https://evil\u3002example",
    "//\u2100.evil.example", "\u2028//evil.example", "/" + "a" * limits.MAX_RETURN_URL_BYTES,
]  # fmt: skip


@pytest.mark.parametrize("wanted", HOSTILE)
def test_everything_else_is_refused(wanted: str) -> None:
    assert back(wanted) is None


@given(st.text(st.sampled_from("/\\.:@%2fFcC5eE?#\t\r\n hts-evilappxm[]0189"), max_size=30) | st.text(max_size=40))
def test_whatever_is_accepted_stays_on_an_allowed_host(wanted: str) -> None:
    accepted = back(wanted)
    if accepted is None:
        return
    assert accepted.isascii() and accepted.isprintable() and "\\" not in accepted and " " not in accepted
    landing = urlsplit(urljoin("https://app.example/.ostiary/callback", accepted))
    assert landing.scheme == "https" and landing.username is None
    host = landing.hostname or ""
    assert host in ("app.example", "other.example", "dev.example") or host.endswith(".team.example")
    assert not accepted.startswith("//")


def test_plain_http_may_lead_to_http_but_https_never() -> None:
    local = Origin("http", "127.0.0.1", 8080)
    assert back("http://127.0.0.1:8080/x", local) == "/x"
    assert back("http://other.example/", local) == "http://other.example/"


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/a?b", "/a?b"),
        ("//evil.example", "/"),
        ("/\xe4", "/%E4"),
        ("http://evil.example/", "/"),
        ("*", "/"),
        ("/.ostiary/callback?x", "/"),
    ],
)
def test_the_interrupted_request(target: str, expected: str) -> None:
    assert return_url_of_target(target, HERE, PREFIX) == expected


@pytest.mark.parametrize(
    ("scheme", "authority", "expected"),
    [
        ("https", "App.Example", "https://app.example"),
        ("https", "app.example:443", "https://app.example"),
        ("http", "127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http", "[::1]:8080", "http://[::1]:8080"),
        ("https", "", None),
        ("https", "a b", None),
        ("https", "a/b", None),
        ("https", "a@b", None),
        ("https", "a:0", None),
        ("https", "a:x", None),
        ("ftp", "a", None),
        ("https", "a\r\nb", None),
    ],
)
def test_origins(scheme: str, authority: str, expected: str | None) -> None:
    origin = parse_origin(scheme, authority)
    assert (None if origin is None else str(origin)) == expected


@pytest.mark.parametrize("url", ["https://a.example", "https://a.example/", "http://localhost:8080"])
def test_external_urls(url: str) -> None:
    assert str(parse_external_url(url)) == url.rstrip("/")


@pytest.mark.parametrize("url", ["", "a.example", "https://a.example/x", "https://a.example?x", "https://a.example#x"])
def test_external_urls_are_origins(url: str) -> None:
    assert parse_external_url(url) is None
