"""Lines of other programs' logs, as they print credentials: none is left, and what helps to find a fault stays."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.core.log_redaction import redacted

SECRET = "s3cr3t-Value.9"
JWT = "eyJhbGciOiJSUzI1NiIsImtpZCI6IjEifQ.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJl"
LINES = {
    "query": "GET /oauth2/callback?code={}&state={} HTTP/1.1",
    "query with an error": "?error=access_denied&state={}&error_description=AADSTS65004",
    "form": "grant_type=authorization_code&code={}&client_id=httpbin&client_secret={}&code_verifier={}",
    "form of a refresh": "grant_type=refresh_token&refresh_token={}&client_id=httpbin",
    "encoded once more": "redirect_uri=https%3A%2F%2Fapp%2Fcb%3Fcode%3D{}%26state%3D{}",
    "fragment": "https://app/#?access_token={}&id_token={}",
    "logout": "https://idp/logout?id_token_hint={}&post_logout_redirect_uri=https%3A%2F%2Fapp",
    "json": '{{"access_token": "{}", "refresh_token":"{}", "expires_in": 300}}',
    "json with _": '{{"access_token":_"{}",_"id_token":_"{}"}}',
    "json in json": '{{"msg":"body: {{\\"access_token\\":\\"{}\\",\\"client_secret\\": \\"{}\\"}}"}}',
    "json, cut off": 'response body: {{"access_token": "{}',
    "python's dict": "{{'access_token': '{}', 'client_secret': '{}'}}",
    "dump": "'cookie', 'OauthHMAC={}; BearerToken={}'",
    "dump of authorization": "'authorization', 'Basic {}'",
    "dump of a header": "'x-forwarded-access-token', '{}'",
    "dump of set-cookie": "'set-cookie', 'BearerToken={}; path=/; Max-Age=300; secure; HttpOnly'",
    "http": "> Authorization: Bearer {}",
    "curl": "< set-cookie: _oauth2_proxy={}; Path=/; HttpOnly; SameSite=Lax",
    "curl's cookie": "> Cookie: a=1; _oauth2_proxy={}",
    "envoy's decryption": "failed to decrypt token: {}, error: Invalid encrypted data",
    "envoy's verifier": "Failed_to_decrypt_code_verifier:_{},_error:_failed_to_decrypt_data",
    "envoy's state": 'State query param does not contain url or CSRF token: {{"url":"x","csrf_token":"{}"}}',
    "state that is none": "State_query_param_is_not_a_valid_JSON:_{}",
    "password in a URL": "proxyconnect tcp: dial http://user:{}@proxy.example:3128",
    "cookies alone": "OauthNonce.72750fd0fca0656c={}; CodeVerifier={}; JSESSIONID={}; session={}",
    "assertion": "client_assertion_type=urn&client_assertion={}&x=1",
    "saml": "SAMLResponse={}&RelayState=x",
}


@pytest.mark.parametrize("kind", LINES)
def test_no_secret_is_left(kind: str) -> None:
    line = LINES[kind].format(*[SECRET] * 4)
    assert SECRET not in redacted(line)
    assert "[secret]" in redacted(line)


def test_values_that_look_like_credentials_go_wherever_they_stand() -> None:
    for line in (f"token is {JWT} and invalid", f"got {JWT[:60]}", f'"{JWT}"', f"authz=Bearer {SECRET}xyz"):
        shown = redacted(line)
        assert JWT[:20] not in shown
        assert SECRET not in shown


@pytest.mark.parametrize(
    "line",
    [
        "Oauth response code: 503",
        "rpc error: code = Unavailable desc = connection error",
        "status code=503 error=none",
        'oauth2: "invalid_client" "AADSTS7000215: Invalid client secret provided."',
        '{"error": "invalid_client", "error_description": "Client authentication failed"}',
        "immediate connect error: Network is unreachable|remote address:[2606:4700::6810:a016]:443",
        "Code verifier cookie is missing in the request",
        "Cookie “sid” has been rejected because it is in a cross-site context and its “SameSite” is “Lax” or “Strict”.",
        "cluster 'outbound|443||login.microsoftonline.com' match for URL '/contoso/oauth2/v2.0/token'",
        "jwt_authn_access_denied{Jwt_issuer_is_not_configured}",
        "https://login.example/authorize?client_id=a&scope=openid%20profile&redirect_uri=https%3A%2F%2Fapp%2Fcallback",
        "token_endpoint=https://idp.example/token",
    ],
)
def test_what_tells_the_fault_stays(line: str) -> None:
    assert redacted(line) == line


@given(st.text(st.characters(codec="utf-8"), max_size=200))
def test_any_text_is_taken_and_masked_once(text: str) -> None:
    once = redacted(text)
    assert redacted(once) == once


@given(st.text(st.characters(codec="utf-8"), max_size=30))
def test_json_of_any_writer_is_masked(value: str) -> None:
    for ascii_only in (True, False):
        text = json.dumps({"a": 1, "access_token": f"begin{value}end", "z": 2}, ensure_ascii=ascii_only)
        assert redacted(text) == '{"a": 1, "access_token": "[secret]", "z": 2}'


@given(st.text(st.characters(codec="utf-8", exclude_characters='"'), max_size=30))
def test_json_in_a_string_of_json_is_masked(value: str) -> None:
    text = json.dumps({"msg": json.dumps({"access_token": f"begin{value}end", "z": 2})})
    shown = redacted(text)
    assert "begin" not in shown
    assert "end" not in shown
    assert json.loads(json.loads(shown)["msg"])["z"] == 2
