"""Requests to the token endpoint, and what becomes of its answers."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.core.decision import Fetched
from ostiary.core.oauth2.client_auth import ClientAuth
from ostiary.core.oauth2.failures import FAILURES, SignInError
from ostiary.core.oauth2.token import (
    Tokens,
    authorization_url,
    clean,
    code_request,
    parse_tokens,
    provider_error,
    refresh_request,
    revocation_request,
    with_query,
)
from ostiary.core.oidc import ProviderMetadata
from ostiary.model.headers import Headers
from ostiary.model.signin import ProviderConfig

METADATA = ProviderMetadata(
    issuer="https://idp.example",
    authorization_endpoint="https://idp.example/authorize?tenant=a%20b",
    token_endpoint="https://idp.example/token",
)
CONFIG = ProviderConfig(
    client_id="app & co",
    authorization_params={"audience": "api", "prompt": "login", "state": "evil", "nonce": "evil"},
    token_params={"resource": "r", "grant_type": "evil"},
)
AUTH = ClientAuth(headers=(("authorization", "Basic x"),), params=(("client_id", "app"),))


def answer(body: bytes | dict[str, Any], status: int = 200, kind: str = "application/json") -> Fetched:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Fetched(status=status, headers=Headers([("content-type", kind)]), body=raw, now=1.0)


def code_of(body: bytes | dict[str, Any], status: int = 200, kind: str = "application/json") -> str:
    with pytest.raises(SignInError) as caught:
        parse_tokens(answer(body, status, kind))
    assert caught.value.code in FAILURES
    return caught.value.code


def test_the_authorization_url() -> None:
    url = authorization_url(
        METADATA,
        CONFIG,
        redirect_uri="https://a/cb",
        state="s",
        nonce="n",
        code_challenge="c",
        extra={"prompt": "none"},
    )
    query = parse_qs(urlsplit(url).query, strict_parsing=True)
    assert query == {
        "tenant": ["a b"],
        "response_type": ["code"],
        "client_id": ["app & co"],
        "redirect_uri": ["https://a/cb"],
        "scope": ["openid profile email"],
        "state": ["s"],
        "nonce": ["n"],
        "code_challenge": ["c"],
        "code_challenge_method": ["S256"],
        "audience": ["api"],
        "prompt": ["none"],
    }


@pytest.mark.parametrize(
    ("url", "expected"),
    [("https://a", "https://a?x=1"), ("https://a?", "https://a?x=1"), ("https://a?b=c", "https://a?b=c&x=1")],
)
def test_a_query_is_extended(url: str, expected: str) -> None:
    assert with_query(url, {"x": "1"}) == expected


def test_the_code_request() -> None:
    request = code_request(METADATA, CONFIG, AUTH, code="a+b/c", redirect_uri="https://a/cb", verifier="v")
    assert (request.method, request.url, request.retries, request.purpose) == (
        "POST",
        METADATA.token_endpoint,
        0,
        "token",
    )
    assert dict(request.headers)["authorization"] == "Basic x"
    assert dict(parse_qsl(request.body.decode())) == {
        "resource": "r",
        "grant_type": "authorization_code",
        "code": "a+b/c",
        "redirect_uri": "https://a/cb",
        "code_verifier": "v",
        "client_id": "app",
    }
    assert "a%2Bb" not in repr(request) and "Basic" not in repr(request)


def test_the_refresh_and_the_revocation_request() -> None:
    refresh = refresh_request(METADATA, CONFIG, AUTH, "r")
    assert (refresh.retries, dict(parse_qsl(refresh.body.decode()))["refresh_token"]) == (0, "r")
    revocation = revocation_request("https://idp.example/revoke", CONFIG, AUTH, "r", "refresh_token")
    assert dict(parse_qsl(revocation.body.decode())) == {
        "token": "r",
        "token_type_hint": "refresh_token",
        "client_id": "app",
    }


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, Tokens(access_token="a")),
        ({"expires_in": 3600}, Tokens(access_token="a", expires_in=3600.0)),
        ({"expires_in": "3600"}, Tokens(access_token="a", expires_in=3600.0)),
        ({"expires_in": 3599.5}, Tokens(access_token="a", expires_in=3599.5)),
        ({"expires_in": None}, Tokens(access_token="a")),
        ({"expires_in": "soon"}, Tokens(access_token="a")),
        ({"expires_in": -1}, Tokens(access_token="a")),
        ({"expires_in": True}, Tokens(access_token="a")),
        ({"token_type": "bearer"}, Tokens(access_token="a")),
        ({"refresh_token": "r", "id_token": "i"}, Tokens(access_token="a", refresh_token="r", id_token="i")),
        ({"refresh_token": None, "id_token": ""}, Tokens(access_token="a")),
    ],
)
def test_answers_as_providers_write_them(changes: dict[str, Any], expected: Tokens) -> None:
    assert parse_tokens(answer({"access_token": "a", **changes})) == expected


@pytest.mark.parametrize(
    ("body", "status", "kind", "code"),
    [
        (b"", 200, "", "token-response-invalid"),
        (b"", 401, "", "client-rejected"),
        (b"<html>", 200, "text/html", "idp-not-oauth"),
        (b"  <!doctype html>", 200, "application/json", "idp-not-oauth"),
        (b"", 302, "", "idp-not-oauth"),
        (b"nope", 404, "text/plain", "idp-not-oauth"),
        (b"access_token=a", 200, "application/x-www-form-urlencoded", "token-response-invalid"),
        (b"[]", 200, "application/json", "token-response-invalid"),
        (b"{", 200, "application/json", "token-response-invalid"),
        (b'{"a":' * 4000, 200, "application/json", "token-response-invalid"),
        (b'{"access_token":"\xff"}', 200, "application/json", "token-response-invalid"),
        (b"<html>", 503, "text/html", "idp-server-error"),
        (b"{}", 429, "application/json", "idp-server-error"),
    ],
)
def test_answers_that_are_none(body: bytes, status: int, kind: str, code: str) -> None:
    assert code_of(body, status, kind) == code


@pytest.mark.parametrize(
    "changes",
    [
        {"access_token": ""},
        {"access_token": None},
        {"access_token": 7},
        {"access_token": "a b"},
        {"access_token": "a\r\nx-evil: 1"},
        {"access_token": "ä"},
        {"token_type": "DPoP"},
        {"token_type": 7},
        {"id_token": {}},
        {"refresh_token": ["r"]},
    ],
)
def test_answers_that_lack_what_is_required(changes: dict[str, Any]) -> None:
    assert code_of({"access_token": "a", **changes}) == "token-response-invalid"


@pytest.mark.parametrize(
    ("error", "description", "status", "code"),
    [
        ("invalid_client", "", 401, "client-rejected"),
        ("invalid_grant", "", 400, "grant-rejected"),
        ("invalid_grant", "redirect_uri does not match", 400, "redirect-uri-mismatch"),
        ("invalid_grant", "PKCE verification failed", 400, "code-verifier-invalid"),
        ("invalid_request", "missing code_verifier", 400, "code-verifier-invalid"),
        ("invalid_request", "", 400, "idp-error"),
        ("invalid_scope", "", 400, "scope-rejected"),
        ("access_denied", "", 400, "sign-in-declined"),
        ("temporarily_unavailable", "", 400, "idp-server-error"),
        ("bad_verification_code", "GitHub says so with 200", 200, "grant-rejected"),
        ("something_new", "", 400, "idp-error"),
        (None, None, 400, "idp-error"),
        (None, None, 401, "client-rejected"),
        ({"a": 1}, ["b"], 403, "idp-error"),
    ],
)
def test_errors_of_the_provider(error: Any, description: Any, status: int, code: str) -> None:
    assert code_of({"error": error, "error_description": description}, status) == code


def test_a_description_is_kept_clean_and_short() -> None:
    error = provider_error("invalid_grant", "x\r\ny\u202e" + "z" * 1000)
    assert "\n" not in error.reason and len(error.reason) < 300 and error.reason.isascii()


@given(st.text())
def test_clean_is_printable_ascii(text: str) -> None:
    assert clean(text).isascii() and (clean(text) == "" or clean(text).isprintable()) and len(clean(text)) <= 200


@given(st.binary(max_size=200), st.sampled_from([200, 301, 400, 401, 403, 500]))
def test_no_answer_raises_anything_else(body: bytes, status: int) -> None:
    with pytest.raises(SignInError):
        parse_tokens(answer(body, status))


def test_nothing_secret_is_shown() -> None:
    assert "zzz" not in repr(Tokens(access_token="zzz", refresh_token="zzz", id_token="zzz"))
    assert "Basic" not in repr(AUTH)


NAMES = st.text(min_size=1, max_size=8) | st.sampled_from(
    ["state", "nonce", "client_id", "scope", "prompt", "redirect_uri"]
)


@given(st.text(max_size=20), st.dictionaries(NAMES, st.text(max_size=8), max_size=4))
def test_every_parameter_arrives_and_none_of_ours_is_replaced(state: str, extra: dict[str, str]) -> None:
    url = authorization_url(
        METADATA, CONFIG, redirect_uri=state, state=state, nonce=state, code_challenge=state, extra=extra
    )
    assert url.isascii() and url.startswith("https://idp.example/authorize?tenant=a%20b&")
    found = parse_qsl(urlsplit(url).query, keep_blank_values=True)
    params = dict(found)
    assert len(found) == len(params)
    ours = {"redirect_uri": state, "state": state, "nonce": state, "client_id": "app & co", "code_challenge": state}
    assert {name: params[name] for name in ours} == ours
    theirs = {name: value for name, value in extra.items() if name not in ours}
    assert {name: params[name] for name in theirs if name != "scope" and name != "tenant"} == {
        name: value for name, value in theirs.items() if name != "scope" and name != "tenant"
    }


@given(st.text(max_size=20), st.text(max_size=20))
def test_every_value_of_a_token_request_arrives(code: str, verifier: str) -> None:
    fetch = code_request(METADATA, CONFIG, AUTH, code=code, redirect_uri=verifier, verifier=verifier)
    params = dict(parse_qsl(fetch.body.decode("ascii"), keep_blank_values=True))
    assert (params["code"], params["redirect_uri"], params["code_verifier"]) == (code, verifier, verifier)
    assert params["grant_type"] == "authorization_code"
