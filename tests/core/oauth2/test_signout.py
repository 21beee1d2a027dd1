"""Whose idea it was to sign out, and where that leads."""

from __future__ import annotations

import pytest

from ostiary.core.oauth2.return_url import Origin
from ostiary.core.oauth2.signout import end_session_url, is_deliberate
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
    url = end_session_url(
        "https://idp.example/out?x=1", client_id="a b", id_token="t", return_to="https://app.example/"
    )
    assert url == (
        "https://idp.example/out?x=1&id_token_hint=t&client_id=a+b&post_logout_redirect_uri=https%3A%2F%2Fapp.example%2F"
    )
    assert "id_token_hint" not in end_session_url("https://idp.example/out", client_id="a", id_token="", return_to="r")
