"""What decisions tell the flight recorder, beside what tests/peers/test_flights.py sees of it."""

from __future__ import annotations

import pytest

from envoy_signin import World as EnvoyWorld
from envoy_signin import config as envoy_config
from ostiary.core.decision import Allow, Respond
from ostiary.core.flights.note import Note, flight_of
from signin_world import Browser, World

EXPIRED = ("OauthHMAC", "OauthExpires", "BearerToken", "IdToken")


def note(answer: Allow | Respond) -> Note:
    assert answer.note is not None
    return answer.note


def signed_in() -> tuple[World, Browser]:
    world = World()
    browser = Browser(world)
    assert note(browser.sign_in("/page?x=1")).outcome == "signed-in"
    return world, browser


def test_an_ordinary_request_tells_nothing() -> None:
    _, browser = signed_in()
    assert browser.get("/page").note is None


def test_a_renewal_is_told_once() -> None:
    world, browser = signed_in()
    world.now += 299
    told = note(browser.get("/page"))
    assert (told.kind, told.outcome, told.user) == ("refresh", "renewed", "ada@example.com")
    assert browser.get("/page").note is None


@pytest.mark.parametrize(("token_error", "outcome"), [("server_error", "failed"), ("invalid_grant", "away")])
def test_why_a_renewal_failed_is_told(token_error: str, outcome: str) -> None:
    world, browser = signed_in()
    world.now += 299
    world.provider.faults.token_error = token_error
    told = note(browser.get("/page"))
    assert told.outcome == outcome and token_error in told.reason


def test_a_sign_out_is_told() -> None:
    _, browser = signed_in()
    told = note(browser.get("/.ostiary/sign_out"))
    assert (told.kind, told.user) == ("sign-out", "ada@example.com")


def test_both_halves_of_a_sign_in_have_the_flight_of_its_key() -> None:
    world = World()
    browser = Browser(world)
    away = browser.get("/page")
    assert isinstance(away, Respond)
    key = next(name for name in browser.cookies if ".s" in name).partition(".")[2]
    back = browser.get(browser.follow(dict(away.headers)["location"]))
    assert note(away).flight == note(back).flight == flight_of(key)


def test_a_second_tab_is_told_as_such() -> None:
    world, browser = signed_in()
    other = Browser(world)
    away = other.get("/other")
    assert isinstance(away, Respond)
    browser.provider_cookies = {}
    told = note(browser.get(other.follow(dict(away.headers)["location"], "ada")))
    assert (told.outcome, told.flight) == ("already-signed-in", note(away).flight)


def envoy_expired() -> EnvoyWorld:
    world = EnvoyWorld(envoy_config())
    world.sign_in()
    world.now += 3600
    for name in EXPIRED:
        world.cookies.pop(name, None)
    return world


def test_envoy_s_filter_tells_of_renewals_and_sign_outs() -> None:
    world = envoy_expired()
    renewed = world.decide(world.request("/"), world.token_answer())
    assert isinstance(renewed, Allow) and (note(renewed).kind, note(renewed).outcome) == ("refresh", "renewed")
    out = world.decide(world.request("/signout"))
    assert isinstance(out, Respond) and note(out).outcome == "signed-out"


def test_envoy_s_filter_tells_why_it_sends_somebody_to_the_provider() -> None:
    world = envoy_expired()
    away = world.decide(world.request("/"), world.token_answer(400, b'{"error": "invalid_grant"}'))
    assert isinstance(away, Respond) and note(away).outcome == "away" and "invalid_grant" in note(away).reason


def test_the_queries_that_envoy_s_details_show_are_not_told() -> None:
    world = EnvoyWorld(envoy_config())
    for query in (
        "error=access_denied&state=S3CRET&code=S3CRET",
        "code=S3CRET",
        "code=S3CRET&state=eyJ0b2tlbiI6ImEifQ",
    ):
        answer = world.decide(world.request(f"/callback?{query}"))
        assert isinstance(answer, Respond) and answer.body == b"OAuth flow failed."
        assert "S3CRET" not in note(answer).reason and note(answer).code
