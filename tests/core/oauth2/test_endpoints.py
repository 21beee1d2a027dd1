"""Our own addresses: the way in, and everything that can go wrong on it."""

from __future__ import annotations

from typing import Any

import pytest

from ostiary.core.decision import Allow
from ostiary.model import limits
from signin_world import Browser, World, location, page, query, respond


def test_the_redirect_to_the_provider() -> None:
    world = World()
    answer = respond(Browser(world).get("/x"))
    assert answer.status == 302
    assert dict(answer.headers)["cache-control"] == "no-store"
    params = query(location(answer))
    assert location(answer).startswith("https://idp.example/authorize?")
    assert params["redirect_uri"] == ["https://app.example/.ostiary/callback"]
    assert params["code_challenge_method"] == ["S256"] and params["nonce"] != params["state"]
    assert world.fetched == ["discovery"]
    assert respond(Browser(world).get("/x")).status == 302
    assert world.fetched == ["discovery"]


def test_start_leads_back_to_rd() -> None:
    browser = Browser(World())
    assert location(browser.sign_in("/.ostiary/start?rd=%2Freports%3Fa%3Db")) == "/reports?a=b"


@pytest.mark.parametrize("rd", ["https://evil.example/", "//evil.example", "/.ostiary/sign_out", ""])
def test_start_leads_nowhere_else(rd: str) -> None:
    assert location(Browser(World()).sign_in(f"/.ostiary/start?rd={rd}")) == "/"


def test_start_passes_a_known_prompt_on_and_no_other() -> None:
    browser = Browser(World())
    assert query(location(browser.get("/.ostiary/start?prompt=login")))["prompt"] == ["login"]
    assert "prompt" not in query(location(browser.get("/.ostiary/start?prompt=x&login_hint=y")))


def test_parallel_tabs_all_finish() -> None:
    world = World()
    browser = Browser(world)
    tabs = [location(browser.get(f"/tab{number}")) for number in range(limits.MAX_PENDING_FLOWS)]
    targets = [browser.follow(url) for url in tabs]
    for number in (2, 0, 4, 1, 3):
        assert location(browser.get(targets[number])) == f"/tab{number}"
    assert list(browser.cookies) == ["__Host-ostiary"]


def test_pending_sign_ins_do_not_pile_up_and_the_oldest_goes() -> None:
    world = World()
    browser = Browser(world)
    first = location(browser.get("/first"))
    for number in range(20):
        world.now += 1
        last = location(browser.get(f"/{number}"))
        assert len(browser.cookies) <= limits.MAX_PENDING_FLOWS
    assert location(browser.get(browser.follow(last))) == "/19"
    assert location(browser.get(browser.follow(first))) == "/"


def test_a_new_session_has_a_new_id() -> None:
    world = World()
    browser = Browser(world)
    browser.sign_in()
    first = browser.cookies["__Host-ostiary"]
    before = world.filter._gate.keeper.load(list(browser.cookies.items()), _policy(world), world.now)
    browser.sign_in("/.ostiary/start")
    after = world.filter._gate.keeper.load(list(browser.cookies.items()), _policy(world), world.now)
    assert browser.cookies["__Host-ostiary"] != first
    assert before is not None and after is not None and before.id != after.id


def _policy(world: World) -> Any:
    return world.filter._gate.visit(Browser(world).request("/"), world.now).policy


def test_an_expired_attempt_restarts_and_still_knows_the_way_back() -> None:
    world = World()
    browser = Browser(world)
    target = browser.follow(location(browser.get("/reports")))
    world.now += limits.FLOW_LIFETIME + 1
    again = respond(browser.get(target))
    assert again.status == 302
    assert location(browser.get(browser.follow(location(again), user=""))) == "/reports"


def test_an_attempt_whose_cookie_was_lost_restarts_once_then_shows_a_page() -> None:
    browser = Browser(World())
    target = browser.follow(location(browser.get("/reports")))
    browser.cookies.clear()
    again = respond(browser.get(target))
    assert again.status == 302
    target = browser.follow(location(again), user="")
    browser.cookies.clear()
    text = page(browser.get(target), "csrf-cookie-missing")
    assert "Allow cookies" in text and "/.ostiary/start?rd=%2F" in text


def test_a_callback_loaded_twice_goes_on_to_the_application() -> None:
    browser = Browser(World())
    target = browser.follow(location(browser.get("/reports")))
    browser.get(target)
    assert location(browser.get(target)) == "/"


def test_another_browser_s_callback_does_not_sign_in() -> None:
    world = World()
    attacker, victim = Browser(world), Browser(world)
    target = attacker.follow(location(attacker.get("/")), user="bob")
    answer = respond(victim.get(target))
    assert answer.status == 302 and location(answer).startswith("https://idp.example/authorize?")
    assert not any(name == "__Host-ostiary" for name in victim.cookies)
    assert "token" not in world.fetched


@pytest.mark.parametrize("state", ["", "state=", "state=x", "state=%00", "state=s" + "a" * 5000])
def test_a_callback_without_a_state_of_ours(state: str) -> None:
    page(Browser(World()).get(f"/.ostiary/callback?code=x&{state}"), "state-invalid")


def test_a_callback_with_a_parameter_twice() -> None:
    browser = Browser(World())
    target = browser.follow(location(browser.get("/")))
    page(browser.get(f"{target}&code=other"), "callback-invalid")
    page(browser.get("/.ostiary/callback?" + "a=b&" * 100), "callback-invalid")


def test_a_callback_without_code() -> None:
    browser = Browser(World())
    state = query(location(browser.get("/")))["state"][0]
    page(browser.get(f"/.ostiary/callback?state={state}"), "callback-invalid")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ("access_denied", "sign-in-declined"),
        ("login_required", "login-required"),
        ("consent_required", "consent-required"),
        ("server_error", "idp-server-error"),
        ("invalid_scope", "scope-rejected"),
        ("<script>alert(1)</script>", "idp-error"),
    ],
)
def test_the_provider_says_no(error: str, code: str) -> None:
    world = World()
    browser = Browser(world)
    world.provider.faults.authorize_error = error
    text = page(browser.get(browser.follow(location(browser.get("/x")))), code)
    assert "<script>" not in text and "as asked" not in text
    assert "/.ostiary/start?rd=%2Fx" in text
    assert browser.cookies == {}


def test_a_mix_up_of_providers_is_noticed() -> None:
    world = World()
    browser = Browser(world)
    world.provider.faults.iss_parameter = "https://evil.example"
    page(browser.get(browser.follow(location(browser.get("/")))), "issuer-mismatch")
    world.provider.faults.iss_parameter, world.provider.faults.no_iss_parameter = "", True
    page(browser.get(browser.follow(location(browser.get("/")))), "issuer-mismatch")
    assert "token" not in world.fetched


FAULTS = [
    ("html_token", True, "idp-not-oauth"),
    ("empty_token", True, "token-response-invalid"),
    ("no_access_token", True, "token-response-invalid"),
    ("token_status", 500, "idp-server-error"),
    ("token_error", "invalid_client", "client-rejected"),
    ("token_error", "invalid_grant", "grant-rejected"),
    ("no_id_token", True, "jwt-missing"),
    ("wrong_nonce", True, "jwt-nonce"),
    ("no_nonce", True, "jwt-nonce"),
    ("wrong_issuer", True, "jwt-issuer"),
    ("wrong_audience", True, "jwt-audience"),
    ("foreign_party", True, "jwt-audience"),
    ("wrong_at_hash", True, "jwt-access-token"),
    ("wrong_signature", True, "jwt-signature"),
    ("unknown_key", True, "jwt-key"),
    ("expired", True, "jwt-expired"),
    ("from_the_future", True, "clock-skew"),
    ("alg_none", True, "jwt-algorithm"),
    ("hmac_with_public_key", True, "jwt-algorithm"),
    ("email_unverified", True, "email-unverified"),
    ("jwks_status", 500, "jwks-fetch-failed"),
    ("empty_jwks", True, "jwks-fetch-failed"),
    ("extra_claim_bytes", 40_000, "headers-too-large"),
]


@pytest.mark.parametrize(("fault", "value", "code"), FAULTS)
def test_a_provider_that_is_wrong_signs_nobody_in(fault: str, value: Any, code: str) -> None:
    world = World()
    browser = Browser(world)
    setattr(world.provider.faults, fault, value)
    target = browser.follow(location(browser.get("/x")))
    text = page(browser.get(target), code)
    assert "eyJ" not in text and "/.ostiary/start?rd=%2Fx" in text
    assert browser.cookies == {}
    assert world.count("oauth_failure") == 1
    assert respond(browser.get("/x")).status == 302


@pytest.mark.parametrize("fault", ["no_kid", "float_times", "no_expires_in", "string_expires_in", "no_refresh_token"])
def test_a_provider_that_is_only_odd_still_works(fault: str) -> None:
    world = World()
    setattr(world.provider.faults, fault, True)
    browser = Browser(world)
    browser.sign_in()
    assert isinstance(browser.get("/"), Allow)


@pytest.mark.parametrize(("down", "code"), [("connect", "idp-unreachable"), ("timeout", "idp-timeout")])
def test_the_provider_is_gone_when_the_code_is_to_be_exchanged(down: str, code: str) -> None:
    world = World()
    browser = Browser(world)
    target = browser.follow(location(browser.get("/")))
    world.down = down
    page(browser.get(target), code)


@pytest.mark.parametrize(
    ("fault", "value", "down", "code"),
    [
        ("discovery_status", 500, "", "discovery-failed"),
        ("wrong_discovery_issuer", True, "", "discovery-failed"),
        ("delay", 0.0, "connect", "discovery-failed"),
        ("delay", 0.0, "timeout", "idp-timeout"),
    ],
)
def test_without_discovery_nobody_is_sent_anywhere(fault: str, value: Any, down: str, code: str) -> None:
    world = World()
    setattr(world.provider.faults, fault, value)
    world.down = down
    answer = respond(Browser(world).get("/"))
    page(answer, code)
    assert dict(answer.headers)["retry-after"]
    Browser(world).get("/")
    assert world.fetched == ["discovery"]
    world.now += limits.PROVIDER_RETRY_DELAY
    world.down = ""
    setattr(world.provider.faults, fault, type(value)() if fault != "discovery_status" else 200)
    assert respond(Browser(world).get("/")).status == 302


def test_keys_that_rotated_are_fetched_again() -> None:
    world = World()
    Browser(world).sign_in()
    world.provider.rotate_keys()
    browser = Browser(world)
    browser.sign_in()
    assert isinstance(browser.get("/"), Allow)
    assert world.fetched.count("jwks") == 2


def test_forged_key_ids_do_not_make_us_hammer_the_provider() -> None:
    world = World()
    world.provider.faults.unknown_key = True
    for _ in range(5):
        browser = Browser(world)
        page(browser.get(browser.follow(location(browser.get("/")))), "jwt-key")
    assert world.fetched.count("jwks") <= 2


def test_the_secret_that_is_not_there() -> None:
    world = World()
    browser = Browser(world)
    target = browser.follow(location(browser.get("/")))
    world.secret = None
    page(browser.get(target), "secret-not-delivered")


def test_a_redirect_uri_that_is_not_registered_is_named_to_the_operator_only() -> None:
    world = World()
    browser = Browser(world)
    target = browser.follow(location(browser.get("/")))
    original = world.provider.handle

    def handle(method: str, url: str, headers: Any, body: bytes = b"") -> Any:
        return original(method, url, headers, body.replace(b"callback", b"elsewhere"))

    world.provider.handle = handle  # type: ignore[method-assign]
    answer = respond(browser.get(target))
    page(answer, "redirect-uri-mismatch")
    assert "redirect_uri=https://app.example/.ostiary/callback" in answer.details


def test_on_plain_http_cookies_have_no_prefix() -> None:
    browser = Browser(World(), "http://127.0.0.1:8080")
    browser.sign_in()
    assert list(browser.cookies) == ["ostiary"]
    assert isinstance(browser.get("/"), Allow)
