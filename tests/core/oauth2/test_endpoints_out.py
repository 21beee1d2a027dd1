"""Our own addresses: the way out, what is told of a session, and what another proxy asks."""

from __future__ import annotations

import json

import pytest

from ostiary.core.decision import Allow
from ostiary.model import limits
from ostiary.model.signin import AccessRule
from signin_world import FETCH, START, Browser, World, location, page, query, respond, sign_in_config

# --- out


def test_sign_out_ends_it_here_and_at_the_provider_and_revokes() -> None:
    world = World()
    browser = Browser(world)
    browser.sign_in()
    answer = browser.get("/.ostiary/sign_out", sec_fetch_site="same-origin")
    params = query(location(answer))
    assert location(answer).startswith("https://idp.example/end_session?")
    assert params["post_logout_redirect_uri"] == ["https://app.example/"] and len(params["id_token_hint"][0]) > 100
    assert browser.cookies == {} and world.provider.revoked == 1
    assert respond(browser.get("/")).status == 302


@pytest.mark.parametrize(
    "headers",
    [
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"sec_fetch_site": "none", "sec_fetch_mode": "no-cors"},
        {"sec_fetch_site": "", "sec_fetch_mode": "", "referer": "https://evil.example/"},
        {"sec_fetch_site": "", "sec_fetch_mode": "", "origin": "null"},
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_another_site_can_not_sign_anybody_out(headers: dict[str, str], method: str) -> None:
    browser = Browser(World())
    browser.sign_in()
    answer = respond(browser.get("/.ostiary/sign_out", method, **headers))
    assert answer.status == 403 and not any(name == "set-cookie" for name, _ in answer.headers)
    assert isinstance(browser.get("/"), Allow)


@pytest.mark.parametrize(
    "headers",
    [
        {"sec_fetch_site": "none"},
        {"sec_fetch_site": "", "sec_fetch_mode": ""},
        {"sec_fetch_site": "", "sec_fetch_mode": "", "referer": "https://app.example/x"},
        {"sec_fetch_site": "", "sec_fetch_mode": "", "origin": "https://app.example"},
    ],
)
def test_the_user_can(headers: dict[str, str]) -> None:
    browser = Browser(World())
    browser.sign_in()
    assert respond(browser.get("/.ostiary/sign_out", **headers)).status == 302
    assert browser.cookies == {}


def test_sign_out_works_without_the_provider() -> None:
    world = World()
    browser = Browser(world)
    browser.sign_in()
    world.down = "connect"
    world.filter = world.new_filter()
    answer = respond(browser.get("/.ostiary/sign_out"))
    assert answer.status == 200 and b"You are signed out" in answer.body
    assert browser.cookies == {}


def test_a_program_signs_out_with_json() -> None:
    browser = Browser(World())
    browser.sign_in()
    answer = respond(
        browser.get("/.ostiary/sign_out?rd=/bye", "POST", **{k.replace("-", "_"): v for k, v in FETCH.items()})
    )
    document = json.loads(answer.body)
    assert document["signed_out"] is True
    assert query(document["location"])["post_logout_redirect_uri"] == ["https://app.example/bye"]


def test_signing_out_twice_shows_the_page() -> None:
    answer = respond(Browser(World()).get("/.ostiary/sign_out"))
    assert answer.status == 200 and b"/.ostiary/start?rd=%2F" in answer.body


def test_sign_out_leads_only_where_it_may() -> None:
    browser = Browser(World())
    browser.sign_in()
    params = query(location(browser.get("/.ostiary/sign_out?rd=https://evil.example/")))
    assert params["post_logout_redirect_uri"] == ["https://app.example/"]


# --- about


def test_userinfo() -> None:
    world = World(sign_in_config(rules=(AccessRule(claims={"name": ("Ada Lovelace",)}),)))
    browser = Browser(world)
    assert respond(browser.get("/.ostiary/userinfo")).status == 401
    browser.sign_in()
    document = json.loads(respond(browser.get("/.ostiary/userinfo")).body)
    assert document == {
        "user": "ada",
        "email": "ada@example.com",
        "preferred_username": "ada",
        "name": "Ada Lovelace",
        "groups": ["staff", "engineers"],
        "claims": {"name": "Ada Lovelace"},
        "signed_in": START,
        "expires": START + limits.SESSION_IDLE_LIFETIME,
    }


def test_live_and_ready() -> None:
    world = World()
    browser = Browser(world)
    world.down = "connect"
    live = respond(browser.get("/.ostiary/live"))
    assert (live.status, live.health_check) == (200, True)
    answer = respond(browser.get("/.ostiary/ready"))
    assert answer.health_check
    assert (answer.status, json.loads(answer.body)) == (503, {"ready": False, "error": "discovery-failed"})
    assert not world.filter.is_ready
    world.down = ""
    world.now += limits.PROVIDER_RETRY_DELAY
    assert respond(browser.get("/.ostiary/ready")).status == 200
    assert world.filter.is_ready and world.fetched == ["discovery", "discovery", "jwks"]
    world.down = "connect"
    assert respond(browser.get("/.ostiary/ready")).status == 200


@pytest.mark.parametrize(
    ("target", "method", "code"),
    [
        ("/.ostiary", "GET", "not-found"),
        ("/.ostiary/", "GET", "not-found"),
        ("/.ostiary/x", "GET", "not-found"),
        ("/.ostiary/callback/", "GET", "not-found"),
        ("/.ostiary/callback", "POST", "method-not-allowed"),
        ("/.ostiary/start", "POST", "method-not-allowed"),
        ("/.ostiary/sign_out", "DELETE", "method-not-allowed"),
    ],
)
def test_nothing_else_is_there(target: str, method: str, code: str) -> None:
    page(Browser(World()).get(target, method), code)


# --- forward-auth

PROXY = {"accept": "", "sec_fetch_mode": "", "sec_fetch_site": ""}


def test_forward_auth_says_who() -> None:
    browser = Browser(World())
    answer = respond(browser.get("/.ostiary/auth", **PROXY))
    assert (answer.status, json.loads(answer.body)["error"]) == (401, "unauthenticated")
    browser.sign_in()
    answer = respond(browser.get("/.ostiary/auth", **PROXY))
    assert answer.status == 202
    assert dict(answer.headers)["x-forwarded-user"] == "ada"


def test_forward_auth_judges_the_original_place() -> None:
    rules = (AccessRule(paths=("/open",), public=True), AccessRule(paths=("/admin",), groups=("admins",)), AccessRule())
    browser = Browser(World(sign_in_config(rules=rules)))
    browser.sign_in()
    anonymous = Browser(browser.world)

    def status(who: Browser, **headers: str) -> int:
        return respond(who.get("/.ostiary/auth", **PROXY, **headers)).status

    assert status(browser, x_forwarded_uri="/x?y") == 202
    assert status(browser, x_original_uri="/admin/x") == 403
    assert status(browser, x_forwarded_uri="/open/%2e%2e/admin") == 403
    assert status(browser, x_forwarded_uri="/open%2fx/admin") == 202
    assert status(browser, x_forwarded_uri="/admin;x") == 403
    assert status(browser, x_forwarded_uri="/open//../admin") == 400
    assert status(anonymous, x_forwarded_uri="/open/x") == 202
    assert status(anonymous, x_forwarded_uri="/x") == 401
    assert status(browser) == 400
    assert status(anonymous) == 401
    assert status(anonymous, x_forwarded_uri="/open", x_original_uri="/admin") == 401
    assert status(browser, x_forwarded_uri="/open", x_original_uri="/admin") == 400


def test_forward_auth_judges_the_original_method() -> None:
    """nginx's auth_request sends what the client sent: a header of its own must not stand for the proxy's."""
    rules = (AccessRule(methods=("GET",)), AccessRule(groups=("admins",)))
    browser = Browser(World(sign_in_config(rules=rules)))
    browser.sign_in()

    def status(**headers: str) -> int:
        return respond(browser.get("/.ostiary/auth", **PROXY, **headers)).status

    assert status(x_forwarded_method="GET") == 202
    assert status(x_original_method="POST") == 403
    assert status(x_original_method="POST", x_forwarded_method="GET") == 400
    assert status() == 400
