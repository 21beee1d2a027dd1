from __future__ import annotations

from typing import Any

import pytest

from envoy_signin import World, config, cookie_names, location
from ostiary.core.decision import Respond
from ostiary.core.oauth2.envoy.codec import TokenCipher

FIVE = ["OauthHMAC", "BearerToken", "IdToken", "RefreshToken", "OauthExpires"]
END = "https://idp.example/end"
AFTER = "&post_logout_redirect_uri=https%3A%2F%2Fapp.example%2F"


def sign_out(world: World, target: str = "/signout", **changes: Any) -> Respond:
    answer = world.decide(world.request(target, **changes))
    assert isinstance(answer, Respond)
    assert (answer.status, answer.body, answer.details) == (302, b"", "oauth.sign_out")
    return answer


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_sign_out_ends_every_cookie_and_goes_home(method: str) -> None:
    world = World()
    cookie = "OauthNonce.a=1; OauthNonce=1; CodeVerifier.a=1; CodeVerifier=1; app=1; OauthNonceX=1"
    answer = sign_out(world, "/signout?x=1", cookie=cookie, method=method)
    assert cookie_names(answer) == [*FIVE, "OauthNonce.a", "OauthNonce", "CodeVerifier.a", "CodeVerifier"]
    assert location(answer) == "https://app.example/"
    assert world.counts() == {}


def test_cookies_are_ended_even_if_there_are_none() -> None:
    assert cookie_names(sign_out(World())) == FIVE


@pytest.mark.parametrize("path", ["/signout/", "/Signout", "//signout"])
def test_other_paths_are_not_sign_out(path: str) -> None:
    world = World()
    answer = world.decide(world.request(path))
    assert isinstance(answer, Respond)
    assert answer.details == "oauth.missing_credentials"


@pytest.mark.parametrize("late", [0, 7200])
def test_the_provider_is_told_who_left(late: int) -> None:
    world = World(config(end_session_endpoint=END))
    world.sign_in()
    world.now += late
    assert location(sign_out(world)) == f"{END}?id_token_hint=the-id-token&client_id=my%20client{AFTER}"


@pytest.mark.parametrize(
    ("changes", "url"),
    [
        ({}, f"{END}?id_token_hint=&client_id=my%20client{AFTER}"),
        ({"post_logout_redirect_uri_disabled": True}, f"{END}?id_token_hint=&client_id=my%20client"),
        (
            {"post_logout_redirect_uri": "https://%REQ(:authority)%/bye now"},
            f"{END}?id_token_hint=&client_id=my%20client{AFTER}bye%20now",
        ),
        ({"end_session_endpoint": END + "?a=b"}, f"{END}?a=b&id_token_hint=&client_id=my%20client{AFTER}"),
    ],
)
def test_where_the_browser_is_sent(changes: dict[str, Any], url: str) -> None:
    assert location(sign_out(World(config(**{"end_session_endpoint": END, **changes})))) == url


@pytest.mark.parametrize("sealed", [False, True])
def test_an_id_token_that_we_did_not_sign_is_no_hint(sealed: bool) -> None:
    token = "plain&post_logout_redirect_uri=https://evil"
    if sealed:
        token = TokenCipher(b"asdf_token_secret_fdsa", gcm=False, cbc_compat=True).encrypt("someone's", bytes)
    answer = sign_out(World(config(end_session_endpoint=END)), cookie=f"IdToken={token}")
    assert location(answer) == f"{END}?id_token_hint=&client_id=my%20client{AFTER}"


def test_a_hint_adds_no_parameter() -> None:
    world = World(config(end_session_endpoint=END))
    world.sign_in(id_token="a&b=c#d")
    assert "id_token_hint=a%26b=c%23d&client_id=" in location(sign_out(world))
