from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

import pytest

from envoy_signin import World, config, cookie_names, location, set_cookies
from ostiary.core.decision import Allow, Decision, Fetched, FetchFailed, Respond, Start
from ostiary.core.oauth2.envoy.codec import TokenCipher
from ostiary.model import limits
from ostiary.model.matchers import HeaderMatcher, StringMatcher

SECRET = b"asdf_token_secret_fdsa"
OPEN = HeaderMatcher(name=":path", string_match=StringMatcher("exact", "/x"))


def expired(world: World, *, browser_dropped: bool = True, **tokens: Any) -> World:
    """Sign in and wait until the access token is over."""
    world.sign_in(**tokens)
    world.now += 3600
    if browser_dropped:
        for name in ("OauthHMAC", "OauthExpires", "BearerToken", "IdToken"):
            world.cookies.pop(name, None)
    world.cookies["app"] = "1"
    for counter in world.counters.values():
        counter.value = 0
    return world


def rotated(world: World, **members: Any) -> Fetched:
    new = {"access_token": "access-2", "id_token": "id-2", "refresh_token": "refresh-2", **members}
    return world.token_answer(**new)


def refresh(world: World, *answers: Fetched | FetchFailed, target: str = "/x", **changes: Any) -> Decision:
    return world.decide(world.request(target, **changes), *answers)


@pytest.mark.parametrize("browser_dropped", [False, True])
def test_an_expired_session_goes_on_with_new_tokens(browser_dropped: bool) -> None:
    world = expired(World(config(forward_bearer_token=True)), browser_dropped=browser_dropped)
    answer = refresh(world, rotated(world))
    assert isinstance(answer, Allow)
    (fetch,) = world.asked
    assert parse_qs(fetch.body.decode())["refresh_token"] == ["the-refresh-token"]
    assert fetch.purpose == "refresh"
    assert dict(answer.set) == {"authorization": "Bearer access-2"}
    assert answer.cookie is not None
    assert set(answer.cookie.split("; ")) == {"BearerToken=access-2", "IdToken=id-2", "app=1"}
    assert cookie_names(answer) == ["OauthHMAC", "OauthExpires", "BearerToken", "IdToken", "RefreshToken"]
    assert answer.valid_until == 0
    counts = world.counts()
    assert (counts["oauth_refreshtoken_success"], counts["oauth_success"]) == (1, 1)
    again = world.decide(world.request())
    assert isinstance(again, Allow)
    assert again.via == "session"


def test_a_valid_session_is_not_refreshed() -> None:
    world = World()
    world.sign_in()
    world.now += 3599
    assert isinstance(world.filter.decide(world.request(), world.now), Allow)


def test_without_a_new_refresh_token_the_old_one_lives_on() -> None:
    world = expired(World())
    before = world.cookies["RefreshToken"]
    answer = refresh(world, rotated(world, refresh_token=None))
    assert isinstance(answer, Allow)
    assert "Max-Age=604800" in set_cookies(answer)[-1]
    cipher = TokenCipher(SECRET, gcm=False, cbc_compat=True)
    assert cipher.decrypt(world.cookies["RefreshToken"]) == cipher.decrypt(before) == "the-refresh-token"
    assert isinstance(world.decide(world.request()), Allow)


def test_without_a_new_id_token_the_stale_one_goes_nowhere() -> None:
    world = expired(World(config(forward_id_token_header="x-id")), browser_dropped=False)
    answer = refresh(world, rotated(world, id_token=None))
    assert isinstance(answer, Allow)
    assert "the-id-token" not in (answer.cookie or "")
    assert answer.set == ()
    assert "x-id" in answer.remove
    assert "IdToken" in world.deleted
    assert isinstance(world.decide(world.request()), Allow)


def test_an_access_token_that_is_not_kept_leaves_no_stale_one() -> None:
    world = expired(World(config(disable_access_token_set_cookie=True, forward_bearer_token=True)))
    world.cookies["BearerToken"] = TokenCipher(SECRET, gcm=False, cbc_compat=True).encrypt("stale", bytes)
    answer = refresh(world, rotated(world))
    assert isinstance(answer, Allow)
    assert "stale" not in (answer.cookie or "")
    assert "BearerToken" in world.deleted
    assert answer.set == ()


def test_a_refresh_token_that_may_not_be_kept_is_not() -> None:
    kept = expired(World())
    world = World(config(disable_refresh_token_set_cookie=True))
    world.cookies, world.now = kept.cookies, kept.now
    answer = refresh(world, rotated(world))
    assert isinstance(answer, Allow)
    assert "RefreshToken" in world.deleted
    assert isinstance(world.decide(world.request()), Allow)


def test_without_cleanup_the_application_sees_the_whole_new_session() -> None:
    world = expired(World(oauth2_cleanup_cookies=False))
    answer = refresh(world, rotated(world))
    assert isinstance(answer, Allow)
    assert answer.cookie is not None
    seen = dict(part.split("=", 1) for part in answer.cookie.split("; "))
    assert seen["RefreshToken"] == "refresh-2"
    assert seen["OauthHMAC"] == world.cookies["OauthHMAC"]
    assert seen["OauthExpires"] == world.cookies["OauthExpires"]


@pytest.mark.parametrize("token", ["plain", "é", "", "gcm.AAAA", "QUJD" * 12])
def test_a_refresh_token_that_we_did_not_write_is_never_sent(token: str) -> None:
    world = World()
    answer = refresh(world, cookie=f"RefreshToken={token}")
    assert isinstance(answer, Respond)
    assert answer.details == "oauth.missing_credentials"


def test_without_encryption_a_refresh_token_is_taken_as_it_is() -> None:
    world = World(config(disable_token_encryption=True))
    answer = refresh(world, rotated(world), cookie="RefreshToken=plain")
    assert isinstance(answer, Allow)
    assert parse_qs(world.asked[0].body.decode())["refresh_token"] == ["plain"]
    assert isinstance(refresh(world, cookie="RefreshToken=pl\x01ain"), Respond)


def test_refreshing_can_be_switched_off() -> None:
    kept = expired(World())
    world = World(config(use_refresh_token=False))
    world.now = kept.now
    answer = refresh(world, cookie=f"RefreshToken={kept.cookies['RefreshToken']}")
    assert isinstance(answer, Respond)
    assert answer.details == "oauth.missing_credentials"


FAILURES = [
    lambda world: world.token_answer(400, b'{"error":"invalid_grant"}'),
    lambda world: world.token_answer(200, b"<html>"),
    lambda world: world.token_answer(access_token=None),
    lambda world: world.token_answer(expires_in=0),
    lambda world: FetchFailed("connect", "refused", world.now),
]


@pytest.mark.parametrize("failure", FAILURES)
def test_a_refresh_that_fails_is_a_new_sign_in(failure: Any) -> None:
    world = expired(World())
    answer = refresh(world, failure(world), target="/deep?x=1")
    assert isinstance(answer, Respond)
    assert answer.details == "oauth.missing_credentials"
    assert location(answer).startswith("https://idp.example/authorize?")
    counts = world.counts()
    assert (counts["oauth_refreshtoken_failure"], counts["oauth_unauthorized_rq"]) == (1, 1)
    assert "oauth_failure" not in counts


def test_a_refresh_that_fails_is_a_401_where_redirects_are_denied() -> None:
    deny = HeaderMatcher(name=":path", string_match=StringMatcher("prefix", "/api"))
    world = expired(World(config(deny_redirect_matcher=(deny,))))
    answer = refresh(world, world.token_answer(400, b""), target="/api")
    assert isinstance(answer, Respond)
    assert (answer.status, answer.details) == (
        401,
        "Failed to refresh the access token, and redirecting to OAuth server is not allowed",
    )
    assert world.counts()["oauth_failure"] == 1


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (
            b"",
            "Failed to refresh the access token, and forwarding as unauthorized because OAuth failure is allowed",
        ),
        (b"<html>", "Failed to parse oauth response body"),
        (b"{}", "No access token found in the token exchange response"),
    ],
)
def test_a_refresh_that_fails_goes_on_where_failure_is_allowed(body: bytes, reason: str) -> None:
    world = expired(World(config(allow_failed_matcher=(OPEN,))))
    answer = refresh(world, world.token_answer(200 if body else 500, body))
    assert isinstance(answer, Allow)
    assert dict(answer.set)["x-envoy-oauth-failure-reason"] == reason
    assert answer.cookie == "app=1"
    assert answer.response_set == ()


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"token_endpoint": None}, "Token endpoint cluster not found"),
        ({"auth_type": "PRIVATE_KEY_JWT"}, "Failed to obtain client credential: Failed to parse private key PEM"),
    ],
)
def test_a_client_that_cannot_ask_says_so(changes: dict[str, Any], cause: str) -> None:
    kept = expired(World())
    world = World(config(**changes))
    world.now = kept.now
    sent = f"RefreshToken={kept.cookies['RefreshToken']}"
    answer = refresh(world, cookie=sent)
    assert isinstance(answer, Respond)
    assert answer.status == 401
    assert answer.details.startswith(cause)
    world = World(config(allow_failed_matcher=(OPEN,), **changes))
    answer = refresh(world, cookie=sent)
    assert isinstance(answer, Allow)
    assert cause.startswith(dict(answer.set)["x-envoy-oauth-failure-reason"])


def start(world: World, target: str, **changes: Any) -> Start:
    decision = world.filter.decide(world.request(target, **changes), world.now)
    assert isinstance(decision, Start)
    return decision


def test_requests_that_come_together_redeem_the_token_once_and_get_answers_of_their_own() -> None:
    world = expired(World())
    leader = start(world, "/one")
    cookie = "; ".join(f"{name}={value}" for name, value in world.cookies.items())
    follower = start(world, "/two", cookie=f"{cookie}; mine=1")
    assert leader.single_flight == follower.single_flight != b""
    result = world.drive(leader, rotated(world))
    assert follower.follow is not None
    answer = follower.follow(result)
    assert isinstance(result, Allow)
    assert isinstance(answer, Allow)
    assert "mine=1" not in (result.cookie or "")
    assert "mine=1" in (answer.cookie or "")
    assert "BearerToken=access-2" in (answer.cookie or "")
    assert cookie_names(answer) == cookie_names(result)


def test_those_who_waited_for_a_refresh_that_failed_sign_in_to_their_own_page() -> None:
    world = expired(World())
    leader, follower = start(world, "/one"), start(world, "/two")
    result = world.drive(leader, world.token_answer(400, b""))
    assert follower.follow is not None
    answer = follower.follow(result)
    assert isinstance(result, Respond)
    assert isinstance(answer, Respond)
    assert location(answer) != location(result)
    assert cookie_names(answer)[0] != cookie_names(result)[0]


def test_whoever_comes_a_little_late_with_the_old_token_gets_the_new_ones() -> None:
    world = expired(World())
    old = "; ".join(f"{name}={value}" for name, value in world.cookies.items())
    refresh(world, rotated(world))
    world.now += limits.REFRESH_GRACE - 1
    late = world.filter.decide(world.request(cookie=old), world.now)
    assert isinstance(late, Allow)
    assert late.via == "refreshed"
    world.now += 1
    assert isinstance(world.filter.decide(world.request(cookie=old), world.now), Start)


def test_a_refresh_that_failed_is_tried_again() -> None:
    world = expired(World())
    old = "; ".join(f"{name}={value}" for name, value in world.cookies.items())
    refresh(world, FetchFailed("connect", "refused", world.now), cookie=old)
    assert isinstance(world.filter.decide(world.request(cookie=old), world.now), Start)


def test_flights_are_apart_for_other_tokens_and_other_secrets() -> None:
    first, second = expired(World()), expired(World(), refresh_token="another")
    keys = {start(first, "/").single_flight, start(second, "/").single_flight}
    other = World()
    other.secrets.hmac = b"another"
    keys.add(start(expired(other), "/").single_flight)
    assert len(keys) == 3
    assert all(b"refresh" not in key for key in keys)
