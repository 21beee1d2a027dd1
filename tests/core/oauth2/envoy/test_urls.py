from __future__ import annotations

from urllib.parse import parse_qs, unquote_to_bytes, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.core.oauth2.envoy.urls import (
    AllowedDomains,
    ascii_target,
    form_encode,
    host_of,
    path_of,
    query_encode,
    split_http_uri,
    target_of,
    url_encode,
)

WIRE = st.text(st.characters(max_codepoint=255))


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://x", "x"),
        ("https://u:p@x:8443/a?b", "x"),
        ("https://[::1]:1/a", "::1"),
        ("ftp://x/", "x"),
        ("HTTPS://X.example/", "X.example"),
        ("https://x?y", "x"),
        ("https://x/\\y", "x"),
        ("https://x./", "x."),
    ],
)
def test_urls_that_envoy_takes(url: str, host: str) -> None:
    assert host_of(url) == host


@pytest.mark.parametrize(
    "url",
    [
        "/relative",
        "//host/",
        "https:x",
        "https:/x",
        "javascript:alert(1)",
        "https:///",
        "https://x:/",
        "https://x:99999/",
        "https://a_b/",
        "https://x%41/",
        "https://x\\y/",
        "https://good\\@evil/",
        "https://a@b@c/",
        "https://x/ y",
        "https://x/\r\nset-cookie: a",
        "https://x/\n",
        "https://é/",
        "https://x/é",
        "http://x#f",
        "https://x'/",
        "https://*.x/",
        "",
    ],
)
def test_urls_that_envoy_refuses(url: str) -> None:
    assert host_of(url) is None
    assert not AllowedDomains(("*.x", "x")).allow(url)


@given(url=st.one_of(WIRE, WIRE.map("https://".__add__)))
def test_a_host_is_what_the_standard_parser_finds(url: str) -> None:
    host = host_of(url)
    if host is not None:
        assert urlsplit(url).hostname == host.lower()


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("app.example.com", True),
        ("APP.example.com", True),
        ("a.pub.example.com", True),
        ("A.PUB.Example.com", True),
        ("b.a.pub.example.com", True),
        ("pub.example.com", False),
        (".pub.example.com", False),
        ("xpub.example.com", False),
        ("app.example.com.", False),
        ("app.example.com.evil", False),
        ("evil", False),
    ],
)
def test_allowed_redirect_domains(host: str, allowed: bool) -> None:
    domains = AllowedDomains(("App.example.com", "*.Pub.example.com"))
    assert domains.allow(f"https://{host}:8443/x") == allowed
    assert AllowedDomains(()).allow(host)


@pytest.mark.parametrize(
    ("uri", "authority", "path"),
    [
        ("oauth.com/token", "oauth.com", "/token"),
        ("https://h/p?q", "h", "/p?q"),
        ("h", "h", "/"),
        ("http://h:8080/t/", "h:8080", "/t/"),
    ],
)
def test_http_uri(uri: str, authority: str, path: str) -> None:
    assert split_http_uri(uri) == (authority, path)


def test_url_encode_is_envoys() -> None:
    assert url_encode("aZ9*-._ ~!/:é") == "aZ9*-._%20%7E%21%2F%3A%E9"


def test_form_encode_keeps_what_envoy_keeps_and_is_a_form() -> None:
    kept = "!$'()*,-.<>@[\\]^_`{|}aZ9"
    assert form_encode(kept) == kept
    assert form_encode("&+/:=?") == "%26%2B%2F%3A%3D%3F"
    assert form_encode('% "#;~\n') == "%25%20%22%23%3B%7E%0A"


@given(value=WIRE)
def test_every_form_value_arrives(value: str) -> None:
    assert parse_qs(f"v={form_encode(value)}", keep_blank_values=True, encoding="latin-1") == {"v": [value]}
    assert unquote_to_bytes(url_encode(value)) == value.encode("latin-1")
    assert parse_qs(f"v={query_encode(value)}", keep_blank_values=True, encoding="latin-1") == {"v": [value]}


@given(target=WIRE)
def test_a_target_becomes_part_of_a_url(target: str) -> None:
    encoded = ascii_target("/" + target)
    assert host_of("https://x" + encoded) == "x"
    assert "%" in target or unquote_to_bytes(encoded) == b"/" + target.encode("latin-1")


@pytest.mark.parametrize(
    ("url", "target", "path"),
    [
        ("https://x", "/", "/"),
        ("https://x?y", "/?y", "/"),
        ("https://x/a/b?c#d", "/a/b?c#d", "/a/b"),
        ("https://x/#d", "/#d", "/"),
    ],
)
def test_what_a_url_asks_for(url: str, target: str, path: str) -> None:
    assert target_of(url) == target
    assert path_of(target) == path
