from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.core.decision import Fetched
from ostiary.core.oauth2.envoy.codec import base64url
from ostiary.core.oauth2.envoy.token_response import (
    TokenResponseError,
    jwt_expiry,
    parse_token_response,
    seconds_left,
    shown,
)
from ostiary.model import limits
from ostiary.model.headers import Headers


def answer(body: bytes, content_type: str = "text/html") -> Fetched:
    return Fetched(status=200, headers=Headers([("content-type", content_type)]), body=body, now=1000.0)


def parse(body: bytes, default: float = 0.0, *, plain_cookies: bool = False) -> tuple[str, str, str, int]:
    found = parse_token_response(answer(body), default, plain_cookies=plain_cookies)
    return found.access_token, found.id_token, found.refresh_token, found.expires_in


@pytest.mark.parametrize(
    ("body", "tokens"),
    [
        (b'{"access_token":"a","expires_in":60,"id_token":"i","refresh_token":"r","more":[1]}', ("a", "i", "r", 60)),
        (b'{"accessToken":"a","expiresIn":60,"idToken":"i","refreshToken":"r"}', ("a", "i", "r", 60)),
        (b'{"access_token":"x","access_token":"a","expires_in":60}', ("a", "", "", 60)),
        (b'{"access_token":"","expires_in":60,"id_token":null}', ("", "", "", 60)),
        (' {"access_token":"é","expires_in":60} '.encode(), ("Ã©", "", "", 60)),
    ],
)
def test_answers_that_envoy_takes(body: bytes, tokens: tuple[str, str, str, int]) -> None:
    assert parse(body) == tokens


@pytest.mark.parametrize(
    ("lifetime", "seconds"),
    [
        ("3600", 3600),
        ('"3600"', 3600),
        ("3600.0", 3600),
        ("1e3", 1000),
        ("null", 77),
        (str(2**63 - 1), limits.MAX_ACCESS_TOKEN_LIFETIME),
    ],
)
def test_lifetimes_that_envoy_takes(lifetime: str, seconds: int) -> None:
    assert parse(b'{"access_token":"a","expires_in":%s}' % lifetime.encode(), 77.9)[3] == seconds


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"null",
        b'"x"',
        b"\xff",
        b"[" * 200_000,
        b'{"access_token":1,"expires_in":60}',
        b'{"access_token":["a"],"expires_in":60}',
        b'{"access_token":"a\\nb","expires_in":60}',
        b'{"access_token":"a\\ud800","expires_in":60}',
        b'{"access_token":"a","expires_in":60,"refresh_token":"\\u0000"}',
        *(
            b'{"access_token":"a","expires_in":%s}' % value
            for value in (b"3600.5", b"-5", b"true", b'"abc"', b"NaN", b"Infinity", b"1e999", b"[1]", b'" 1"', b'"+1"')
        ),
        b'{"access_token":"a","expires_in":%d}' % 2**64,
        b'{"access_token":"a","expires_in":%s}' % (b"9" * 5000),
    ],
)
def test_answers_that_are_none(body: bytes) -> None:
    with pytest.raises(TokenResponseError, match=r"^Failed to parse oauth response body: response body: ") as caught:
        parse(body, 60.0)
    assert caught.value.reason == "Failed to parse oauth response body"


@pytest.mark.parametrize("body", [b"{}", b'{"access_token":null,"expires_in":60}'])
def test_no_access_token(body: bytes) -> None:
    with pytest.raises(TokenResponseError) as caught:
        parse(body)
    assert caught.value.reason == "No access token found in the token exchange response"


@pytest.mark.parametrize("lifetime", [b"0", b"null", b"%d" % 2**63, b"%d" % (2**64 - 1)])
def test_no_lifetime(lifetime: bytes) -> None:
    with pytest.raises(TokenResponseError) as caught:
        parse(b'{"access_token":"a","expires_in":%s}' % lifetime)
    assert caught.value.reason.startswith("No default or explicit access token expiration found")


@pytest.mark.parametrize("token", ["a;domain=evil", " a", '"a"'])
def test_without_encryption_a_token_must_fit_a_cookie(token: str) -> None:
    body = json.dumps({"access_token": "a", "refresh_token": token, "expires_in": 60}).encode()
    assert parse(body)[2] == token
    with pytest.raises(TokenResponseError, match="refresh_token holds characters that no cookie may hold"):
        parse(body, plain_cookies=True)


@given(body=st.one_of(st.binary(), st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps)))
def test_any_body_is_tokens_or_an_error(body: bytes | str) -> None:
    with pytest.raises(TokenResponseError):
        parse(body.encode() if isinstance(body, str) else body)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (
            b'{"error": "invalid_client","error_description":"who?"}',
            '{"error": "invalid_client","error_description":"who?"}',
        ),
        (b'{"error":"e","access_token":"s3cret"}', '{"error": "e"}'),
        (b'{"access_token":"s3cret"}', "(25 bytes of text/html, not shown)"),
        (b"<html>s3cret", "(12 bytes of text/html, not shown)"),
        (b'["s3cret"]', "(10 bytes of text/html, not shown)"),
        (b'{"error":{"token":"s3cret"}}', "(28 bytes of text/html, not shown)"),
    ],
)
def test_only_what_is_made_for_people_is_shown(body: bytes, text: str) -> None:
    assert shown(answer(body)) == text


def jwt(payload: Any, header: Any = None) -> str:
    parts = [json.dumps(part).encode() for part in ({"alg": "RS256"} if header is None else header, payload)]
    return ".".join(base64url(part) for part in (*parts, b"signature"))


@pytest.mark.parametrize(
    ("token", "expiry"),
    [
        (jwt({"exp": 5000}), 5000),
        (jwt({"exp": 5000.9}), 5000),
        (jwt({"exp": "5000"}), None),
        (jwt({"exp": True}), None),
        (jwt({"exp": None}), None),
        (jwt({"exp": 1e300}), None),
        (jwt({}), None),
        (jwt([]), None),
        (jwt({"exp": 1}, header=[]), None),
        (jwt({"exp": 5000}) + ".x", None),
        (jwt({"exp": 5000}).rpartition(".")[0], None),
        (jwt({"exp": 5000}) + "=", None),
        ("opaque", None),
        ("..", None),
        ("", None),
    ],
)
def test_jwt_expiry(token: str, expiry: int | None) -> None:
    assert jwt_expiry(token) == expiry


def test_seconds_left() -> None:
    assert seconds_left(jwt({"exp": 5000}), 4000.9, 7) == 1000
    assert seconds_left(jwt({"exp": 5000}), 6000.0, 7) == 0
    assert seconds_left(jwt({"exp": 2**70}), 0.0, 7) == limits.MAX_ACCESS_TOKEN_LIFETIME
    assert seconds_left("opaque", 0.0, 7) == 7


@given(token=st.text())
def test_any_token_has_an_expiry_or_none(token: str) -> None:
    assert jwt_expiry(token) is None
