"""Providers without ID tokens, and claims that only userinfo knows."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ostiary.core.decision import Fetch, Fetched, FetchFailed, Respond
from ostiary.core.oauth2.filter import SignInFilter
from ostiary.model.headers import Headers
from ostiary.model.signin import AccessRule
from signin_world import START, Browser, World, location, sent, sign_in_config


class GitHub:
    """Its three answers."""

    def __init__(self) -> None:
        self.user: dict[str, Any] = {
            "id": 583231,
            "login": "octocat",
            "name": "Octo",
            "email": "spoofed@x.example",
        }
        self.emails: Any = [{"email": "octo@example.com", "primary": True, "verified": True}]
        self.token: dict[str, Any] = {"access_token": "gho_x", "token_type": "bearer", "scope": "user:email"}
        self.asked: list[tuple[str, str]] = []

    def fetch(self, fetch: Fetch) -> Fetched:
        self.asked.append((fetch.method, fetch.url))
        bodies = {
            "https://github.com/login/oauth/access_token": self.token,
            "https://api.github.com/user": self.user,
            "https://api.github.com/user/emails": self.emails,
        }
        headers = dict(fetch.headers)
        assert headers["accept"] == "application/json"
        assert "api." not in fetch.url or headers["authorization"] == "Bearer gho_x"
        return Fetched(status=200, headers=Headers(), body=json.dumps(bodies[fetch.url]).encode(), now=START)


def github_world() -> tuple[World, GitHub, Browser]:
    config = sign_in_config(
        provider_kind="oauth2",
        provider_preset="github",
        provider_issuer="",
        provider_scopes=("read:user", "user:email"),
        provider_user_claim="id",
        provider_authorization_endpoint="https://github.com/login/oauth/authorize",
        provider_token_endpoint="https://github.com/login/oauth/access_token",
        provider_userinfo_endpoint="https://api.github.com/user",
        rules=(AccessRule(domains=("example.com",)),),
    )
    world, site = World(config), GitHub()
    world.fetch = site.fetch  # type: ignore[method-assign]
    return world, site, Browser(world)


def callback(browser: Browser) -> Any:
    answer = browser.get("/")
    state = location(answer).partition("state=")[2].partition("&")[0]
    assert "nonce=" not in location(answer) and "code_challenge=" in location(answer)
    return browser.get(f"/.ostiary/callback?code=x&state={state}")


def test_github_signs_in_with_its_verified_address() -> None:
    _, site, browser = github_world()
    assert callback(browser).status == 302
    assert sent(browser.get("/")) == {
        "x-forwarded-user": "583231",
        "x-forwarded-email": "octo@example.com",
        "x-forwarded-preferred-username": "octocat",
    }
    assert [url.rpartition("/")[2] for _, url in site.asked] == ["access_token", "user", "emails"]


def test_github_s_unverified_address_opens_nothing() -> None:
    _, site, browser = github_world()
    site.emails = [{"email": "octo@example.com", "primary": True, "verified": False}]
    assert callback(browser).status == 302
    answer = browser.get("/")
    assert isinstance(answer, Respond) and answer.status == 403


def test_github_s_errors_come_with_200() -> None:
    _, site, browser = github_world()
    site.token = {"error": "bad_verification_code", "error_description": "The code passed is incorrect or expired."}
    answer = callback(browser)
    assert (answer.status, answer.details.partition(":")[0]) == (400, "grant-rejected")


@pytest.mark.parametrize("user", [{}, {"id": None}, {"message": "Bad credentials"}])
def test_a_userinfo_answer_without_a_user_signs_nobody_in(user: dict[str, Any]) -> None:
    _, site, browser = github_world()
    site.user = user
    answer = callback(browser)
    assert (answer.status, answer.details.partition(":")[0]) == (502, "userinfo-invalid")


def test_claims_that_the_id_token_lacks_are_asked_for() -> None:
    world = World(sign_in_config(rules=(AccessRule(claims={"dept": ("math",)}),)))
    original = world.fetch

    def fetch(request: Fetch) -> Fetched:
        answer = original(request)
        if request.purpose != "userinfo":
            return answer
        body = json.dumps({**json.loads(answer.body), "dept": "math"}).encode()
        return Fetched(status=200, headers=answer.headers, body=body, now=answer.now)

    world.fetch = fetch  # type: ignore[method-assign]
    browser = Browser(world)
    browser.sign_in()
    assert sent(browser.get("/"))["x-forwarded-user"] == "ada"
    assert world.fetched == ["discovery", "token", "jwks", "userinfo"]


def test_userinfo_that_can_not_be_asked_fails_the_sign_in_rather_than_the_rules() -> None:
    world = World(sign_in_config(rules=(AccessRule(claims={"dept": ("math",)}),)))
    original = world.fetch

    def fetch(request: Fetch) -> Fetched:
        if request.purpose == "userinfo":
            raise FetchFailed("connect", "scripted", world.now)
        return original(request)

    world.fetch = fetch  # type: ignore[method-assign]
    browser = Browser(world)
    answer = browser.get(browser.follow(location(browser.get("/"))))
    assert isinstance(answer, Respond) and answer.details.startswith("idp-unreachable: userinfo")


def test_a_filter_needs_nothing_at_start() -> None:
    world = World()
    assert isinstance(world.filter, SignInFilter) and world.fetched == []
