"""Whose idea it was to sign out, and where that leads."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.core.oauth2.return_url import Origin
from ostiary.core.oauth2.signout import end_session_url, is_deliberate
from ostiary.core.oidc import ProviderMetadata
from ostiary.model.signin import ProviderConfig
from signin_world import Browser, World

HERE = Origin("https", "app.example", 443)
NONE = {"accept": "", "sec_fetch_mode": "", "sec_fetch_site": ""}


@pytest.mark.parametrize(
    ("headers", "deliberate"),
    [
        ({"sec_fetch_site": "same-origin"}, True),
        ({"sec_fetch_site": "same-origin", "referer": "https://evil.example"}, True),
        ({"sec_fetch_site": "none", "sec_fetch_mode": "navigate"}, True),
        ({"sec_fetch_site": "none", "sec_fetch_mode": "no-cors"}, False),
        ({"sec_fetch_site": "same-site"}, False),
        ({"sec_fetch_site": "cross-site", "origin": "https://app.example"}, False),
        ({"sec_fetch_site": "surprise"}, False),
        ({}, True),
        ({"origin": "https://APP.example:443"}, True),
        ({"origin": "https://app.example:8443"}, False),
        ({"origin": "http://app.example"}, False),
        ({"origin": "null"}, False),
        ({"referer": "https://app.example/x?y"}, True),
        ({"referer": "https://app.example.evil.example/"}, False),
        ({"referer": "https://app.example@evil.example/"}, False),
        ({"referer": "https://evil.example/?https://app.example/"}, False),
        ({"referer": "garbage"}, False),
    ],
)
def test_who_asks(headers: dict[str, str], deliberate: bool) -> None:
    request = Browser(World()).request("/.ostiary/sign_out", **{**NONE, **headers})
    assert is_deliberate(request, HERE) is deliberate


def test_the_provider_s_address() -> None:
    assert leaving("https://idp.example/out?x=1", client_id="a b") == (
        "https://idp.example/out?x=1&id_token_hint=t&client_id=a+b&post_logout_redirect_uri=https%3A%2F%2Fapp.example%2F"
    )
    assert "id_token_hint" not in leaving("https://idp.example/out", id_token="")
    assert leaving("") == ""


def test_cognito_and_older_tenants_of_auth0_have_words_of_their_own() -> None:
    back = "https%3A%2F%2Fapp.example%2F"
    assert leaving("", preset="cognito") == f"https://idp.example/logout?client_id=a&logout_uri={back}"
    assert leaving("https://c.example/bye", preset="cognito") == f"https://c.example/bye?client_id=a&logout_uri={back}"
    auth0 = {"preset": "auth0", "issuer": "https://t.auth0.com/"}
    assert leaving("", **auth0) == f"https://t.auth0.com/v2/logout?client_id=a&returnTo={back}"
    assert "id_token_hint=t&" in leaving("https://t.auth0.com/oidc/logout", **auth0)


def leaving(endpoint: str, *, id_token: str = "t", client_id: str = "a", **provider: str) -> str:
    metadata = ProviderMetadata(
        issuer="https://idp.example",
        authorization_endpoint="https://idp.example/oauth2/authorize",
        token_endpoint="https://idp.example/token",
        end_session_endpoint=endpoint,
    )
    config = ProviderConfig(client_id=client_id, **provider)  # type: ignore[arg-type]
    return end_session_url(metadata, config, id_token=id_token, return_to="https://app.example/")


WORLD = World()


@given(
    st.text(st.characters(max_codepoint=255), max_size=30) | st.sampled_from(["https://app.example", "//app.example"])
)
def test_no_other_page_signs_anybody_out(said: str) -> None:
    request = Browser(WORLD).request("/.ostiary/sign_out", **{**NONE, "origin": said})
    if said and is_deliberate(request, HERE):
        assert urlsplit(said).scheme == "https" and urlsplit(said).hostname == "app.example"


@given(st.text(max_size=20), st.text(max_size=20))
def test_every_parameter_arrives_at_the_provider(token: str, client: str) -> None:
    url = leaving("https://idp.example/out?x=1", id_token=token, client_id=client)
    back = ("post_logout_redirect_uri", "https://app.example/")
    wanted = [("x", "1"), ("id_token_hint", token), ("client_id", client), back]
    found = parse_qsl(urlsplit(url).query, keep_blank_values=True)
    assert url.isascii() and found == [pair for pair in wanted if pair != ("id_token_hint", "")]
