"""Who is let in: navigation and programs, lifetimes, refreshes, rules about people, answers that are used again."""

from __future__ import annotations

import json
import random
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from ostiary.core.decision import Allow, Respond, Start
from ostiary.core.oauth2.session import KeyRing
from ostiary.model import limits
from ostiary.model.secret import Secret
from ostiary.model.signin import AccessRule, SignIn
from signin_world import FETCH, START, Browser, World, location, respond, sent, sign_in_config

PROGRAM = {name.replace("-", "_"): value for name, value in FETCH.items()}


def allow(answer: Allow | Respond) -> Allow:
    assert isinstance(answer, Allow), answer
    return answer


def signed_in(config: SignIn | None = None, user: str = "ada", **provider: Any) -> tuple[World, Browser]:
    world = World(config, **provider)
    browser = Browser(world)
    browser.sign_in(user=user)
    return world, browser


# --- who is asked to sign in, and how


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"sec_fetch_mode": "", "sec_fetch_site": ""},
        {"sec_fetch_mode": "", "accept": "*/*"},
        {"sec_fetch_mode": "", "accept": ""},
        {"sec_fetch_site": "cross-site"},
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_navigation_is_redirected(headers: dict[str, str], method: str) -> None:
    assert respond(Browser(World()).get("/", method, **headers)).status == 302


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("GET", PROGRAM),
        ("GET", {"sec_fetch_mode": "no-cors", "accept": "text/html"}),
        ("GET", {"sec_fetch_mode": "websocket"}),
        ("GET", {"sec_fetch_mode": "", "accept": "application/json"}),
        ("GET", {"sec_fetch_mode": "", "accept": "application/json;charset=utf-8, */*"}),
        ("GET", {"sec_fetch_mode": "", "accept": "*/*", "x_requested_with": "XMLHttpRequest"}),
        ("GET", {"sec_purpose": "prefetch;prerender"}),
        ("POST", PROGRAM),
        ("OPTIONS", {"sec_fetch_mode": "cors", "accept": "*/*"}),
        ("DELETE", {"sec_fetch_mode": "", "accept": "*/*"} | {"x_requested_with": "x"}),
        *((method, {"sec_fetch_mode": "", "accept": "*/*"}) for method in ("POST", "PUT", "DELETE", "OPTIONS")),
        ("POST", {"sec_fetch_mode": "", "accept": ""}),
    ],
)
def test_programs_are_told_and_nothing_is_begun(method: str, headers: dict[str, str]) -> None:
    answer = respond(Browser(World()).get("/data", method, **headers))
    fields = dict(answer.headers)
    assert answer.status == 401 and "set-cookie" not in fields and "location" not in fields
    assert fields["www-authenticate"] == 'Bearer realm="ostiary"'
    document = json.loads(answer.body)
    assert document["error"] == "unauthenticated" and document["login_url"].startswith("/.ostiary/start?rd=")


def test_a_program_s_login_url_leads_back_to_its_page() -> None:
    answer = respond(Browser(World()).get("/data", **PROGRAM, referer="https://app.example/page?x=1"))
    assert json.loads(answer.body)["login_url"] == "/.ostiary/start?rd=%2Fpage%3Fx%3D1"
    answer = respond(Browser(World()).get("/data", **PROGRAM, referer="https://evil.example/page"))
    assert json.loads(answer.body)["login_url"] == "/.ostiary/start?rd=%2F"


def test_a_websocket_is_told() -> None:
    request = Browser(World()).request("/socket")
    request.upgrade = True
    assert respond(World().ask(request)).status == 401


@pytest.mark.parametrize("headers", [{}, {"sec_fetch_mode": ""}])
def test_a_form_sent_after_the_session_ended_gets_a_page(headers: dict[str, str]) -> None:
    answer = respond(Browser(World()).get("/form", "POST", referer="https://app.example/edit", **headers))
    assert answer.status == 401 and b"session has ended" in answer.body and b"rd=%2Fedit" in answer.body
    assert dict(answer.headers)["www-authenticate"] == 'Bearer realm="ostiary"'
    assert not any(name == "set-cookie" for name, _ in answer.headers)


# --- what the application gets


def test_the_application_keeps_its_cookies_and_sees_none_of_ours() -> None:
    _, browser = signed_in()
    browser.extra_cookies = 'theme="dark"; x=y'
    assert allow(browser.get("/")).cookie == 'theme="dark"; x=y'
    browser.extra_cookies = ""
    assert allow(browser.get("/")).cookie == ""


def test_identity_headers_are_ours_alone() -> None:
    config = sign_in_config(claim_headers={"X-Dept": "dept"}, pass_authorization=True)
    strip = World(config).filter.request_headers_to_strip()
    assert strip == {
        "x-forwarded-user",
        "x-forwarded-email",
        "x-forwarded-preferred-username",
        "x-forwarded-groups",
        "x-forwarded-access-token",
        "x-ostiary-assertion",
        "x-dept",
        "authorization",
    }
    assert "authorization" not in World().filter.request_headers_to_strip()


def test_tokens_and_claims_go_where_configured() -> None:
    config = sign_in_config(pass_access_token=True, pass_authorization=True, claim_headers={"X-Full-Name": "name"})
    _, browser = signed_in(config)
    headers = sent(browser.get("/"))
    token = headers["x-forwarded-access-token"]
    assert headers["authorization"] == f"Bearer {token}" and len(token) > 20
    assert headers["x-full-name"] == "Ada Lovelace"


# --- rules


def test_a_public_place_needs_no_session_but_says_who_comes() -> None:
    config = sign_in_config(rules=(AccessRule(paths=("/open",), public=True), AccessRule()))
    world, browser = signed_in(config)
    assert sent(Browser(world).get("/open/x", **PROGRAM)) == {}
    answer = allow(browser.get("/open"))
    assert answer.valid_until == 0 and answer.via == "public" and dict(answer.set)["x-forwarded-user"] == "ada"
    assert respond(Browser(world).get("/opener")).status == 302


@pytest.mark.parametrize("target", ["/open/%2e%2e/secret", "/open/../secret", "//open/x", "/open;x", "/open%2fx"])
def test_a_path_that_may_be_read_otherwise_is_not_public(target: str) -> None:
    config = sign_in_config(rules=(AccessRule(paths=("/open",), public=True), AccessRule()))
    assert respond(Browser(World(config)).get(target, **PROGRAM)).status == 401


def test_a_method_in_lower_case_gets_past_no_rule() -> None:
    """Some applications (Werkzeug's) serve `delete` as DELETE."""
    public = AccessRule(paths=("/open",), methods=("GET",), public=True)
    browser = Browser(World(sign_in_config(rules=(public, AccessRule(methods=("DELETE",), deny=True), AccessRule()))))
    assert respond(browser.get("/open", method="get", **PROGRAM)).status == 401
    browser.sign_in()
    assert respond(browser.get("/x", method="delete", **PROGRAM)).status == 403
    assert isinstance(browser.get("/x", method="post", **PROGRAM), Allow)


@pytest.mark.parametrize(
    "target", ["/open/%00", "/open/%2", "/open/%0a", "/open/%zz", "/open//../x", "/open/..%2fx", "/open/..;/x"]
)
def test_a_path_without_a_safe_reading_is_refused(target: str) -> None:
    config = sign_in_config(rules=(AccessRule(paths=("/open",), public=True), AccessRule()))
    answer = respond(Browser(World(config)).get(target, **PROGRAM))
    assert (answer.status, answer.details.partition(":")[0]) == (400, "path-invalid")


def test_someone_without_access_sees_who_they_are_and_how_to_change_that() -> None:
    world, browser = signed_in(sign_in_config(rules=(AccessRule(groups=("staff",)),)), user="bob")
    answer = respond(browser.get("/reports?x=1"))
    text = answer.body.decode()
    assert answer.status == 403 and "bob@example.org" in text and answer.flight in text
    assert "/.ostiary/sign_out" in text and "prompt=login&amp;rd=%2Freports%3Fx%3D1" in text
    assert answer.details == "access-denied: rule 1 asks for one of its groups"
    assert world.count("oauth_access_denied") == 1
    document = json.loads(respond(browser.get("/reports", **PROGRAM)).body)
    assert document["error"] == "access-denied" and "bob" not in json.dumps(document)


def test_using_another_account_replaces_the_session() -> None:
    _, browser = signed_in(sign_in_config(rules=(AccessRule(groups=("staff",)),)), user="bob")
    browser.sign_in("/.ostiary/start?prompt=login&rd=/reports", user="ada")
    assert sent(browser.get("/reports"))["x-forwarded-user"] == "ada"


def test_a_denied_place_starts_no_sign_in() -> None:
    world = World(sign_in_config(rules=(AccessRule(deny=True),)))
    assert respond(Browser(world).get("/")).status == 403
    assert world.fetched == []


# --- time


def test_a_session_ends_idle() -> None:
    world, browser = signed_in(sign_in_config(session_idle_lifetime=100.0))
    world.now += 99
    assert isinstance(browser.get("/"), Allow)
    world.now += 99
    assert isinstance(browser.get("/"), Allow)
    world.now += 100
    answer = respond(browser.get("/"))
    assert answer.status == 302 and "__Host-ostiary" not in browser.cookies


def test_a_session_ends_absolutely_however_busy() -> None:
    world, browser = signed_in(sign_in_config(session_absolute_lifetime=1000.0, session_idle_lifetime=100.0))
    for _ in range(19):
        world.now += 50
        assert isinstance(browser.get("/"), Allow)
    world.now += 50
    assert respond(browser.get("/")).status == 302


def test_the_idle_clock_is_written_rarely() -> None:
    world, browser = signed_in(sign_in_config(session_idle_lifetime=1000.0, provider_scopes=("openid",)))
    world.now += 99
    assert allow(browser.get("/")).response_set == ()
    world.now += 1
    answer = allow(browser.get("/"))
    assert [name for name, _ in answer.response_set] == ["set-cookie"] and answer.valid_until == 0
    assert allow(browser.get("/")).response_set == ()


def test_a_session_from_the_future_is_none() -> None:
    world, browser = signed_in()
    world.now -= limits.CLOCK_LEEWAY + 1
    assert respond(browser.get("/")).status == 302


def test_an_answer_is_used_again_until_something_has_to_happen() -> None:
    _, browser = signed_in()
    refresh_at = START + 300 - limits.REFRESH_MARGIN
    assert allow(browser.get("/")).valid_until == refresh_at
    _, browser = signed_in(sign_in_config(session_idle_lifetime=1000.0))
    assert allow(browser.get("/")).valid_until == START + 100
    _, browser = signed_in(sign_in_config(session_absolute_lifetime=50.0))
    assert allow(browser.get("/")).valid_until == START + 50


def test_what_is_ordinary() -> None:
    plain = World().filter
    assert plain.is_ordinary("/x") and not plain.is_ordinary("/.ostiarys")
    assert not plain.is_ordinary("/.ostiary/auth") and not plain.is_ordinary("/.ostiary")
    ruled = World(sign_in_config(rules=(AccessRule(paths=("/a",), public=True), AccessRule()))).filter
    assert ruled.is_ordinary("/x")
    assert not any(ruled.is_ordinary(path) for path in ("/a", "/a/b", "/x/%2e%2e/a", "//a", "/x/../a"))
    assert not any(
        some.is_ordinary(path) for some in (plain, ruled) for path in ("/x;a", "/x\\a", "/x%20", "/x/.a", "/x//a")
    )
    for rule in (AccessRule(methods=("GET",)), AccessRule(hosts=("h",))):
        assert not World(sign_in_config(rules=(rule,))).filter.is_ordinary("/x")


def test_an_answer_made_where_a_rule_singles_out_the_path_is_not_used_elsewhere() -> None:
    rules = (AccessRule(paths=("/a",)), AccessRule(groups=("nobody",)))
    _, browser = signed_in(sign_in_config(rules=rules))
    assert allow(browser.get("/a")).valid_until == 0


def test_keys_rotate_without_signing_anybody_out() -> None:
    world, browser = signed_in()
    assert isinstance(browser.get("/"), Allow)
    old = Secret(b"0123456789abcdef0123456789abcdef!")
    world.ring = KeyRing([Secret(b"n" * 32), old])
    assert isinstance(browser.get("/"), Allow)
    world.ring = KeyRing([Secret(b"n" * 32)])
    assert respond(browser.get("/")).status == 302


def test_a_session_is_worth_nothing_elsewhere() -> None:
    _, browser = signed_in()
    other = World(sign_in_config(session_cookie_name="other"))
    stranger = Browser(other)
    stranger.cookies["__Host-other"] = browser.cookies["__Host-ostiary"]
    assert respond(stranger.get("/")).status == 302


# --- refresh


def test_a_session_is_refreshed_ahead_of_time() -> None:
    world, browser = signed_in()
    world.now = START + 300 - limits.REFRESH_MARGIN
    answer = allow(browser.get("/"))
    assert answer.via == "refreshed" and [name for name, _ in answer.response_set] == ["set-cookie"]
    assert world.provider.token_requests[-1]["grant_type"] == "refresh_token"
    assert allow(browser.get("/")).via == "session"
    assert world.count("oauth_refreshtoken_success") == 1


def test_a_refresh_is_one_flight_and_each_waiter_keeps_its_own_cookies() -> None:
    world, browser = signed_in()
    world.now = START + 299
    browser.extra_cookies = "a=1"
    first = world.filter.decide(browser.request("/"), world.now)
    browser.extra_cookies = "a=2"
    second = world.filter.decide(browser.request("/"), world.now)
    assert isinstance(first, Start) and isinstance(second, Start)
    assert first.single_flight == second.single_flight != b""
    result = world.drive(first.flow)
    assert second.follow is not None
    followed = second.follow(result)
    assert (allow(result).cookie, allow(followed).cookie) == ("a=1", "a=2")
    assert followed.response_set and world.fetched.count("refresh") == 1


def test_the_old_cookie_is_answered_for_a_while_after_it_was_used_up() -> None:
    world, browser = signed_in()
    old = dict(browser.cookies)
    world.now = START + 299
    browser.get("/")
    world.now += limits.REFRESH_GRACE - 1
    browser.cookies = dict(old)
    answer = allow(browser.get("/"))
    assert answer.via == "refreshed" and answer.response_set
    assert world.fetched.count("refresh") == 1
    world.now += 2
    browser.cookies = dict(old)
    assert respond(browser.get("/")).status == 302


def test_new_groups_count_from_the_refresh_on() -> None:
    world, browser = signed_in(sign_in_config(rules=(AccessRule(groups=("staff",)),)))
    assert isinstance(browser.get("/"), Allow)
    ada = world.provider.users["ada"]
    for stored in world.provider._refresh_tokens.values():
        stored[0].user = type(ada)(username="ada", name="Ada", email="ada@example.com", groups=("guests",))
    world.now = START + 299
    old = browser.cookies["__Host-ostiary"]
    assert respond(browser.get("/")).status == 403
    assert browser.cookies["__Host-ostiary"] != old
    world.now += limits.REFRESH_GRACE
    assert respond(browser.get("/")).status == 403


@pytest.mark.parametrize(
    ("fault", "value"),
    [("token_status", 503), ("html_token", True), ("empty_token", True), ("token_error", "invalid_client"), ("", "")],
)
def test_a_refresh_without_a_useful_answer_ends_nothing(fault: str, value: Any) -> None:
    world, browser = signed_in()
    world.now = START + 290
    if fault:
        setattr(world.provider.faults, fault, value)
    else:
        world.down = "timeout"
    answer = allow(browser.get("/"))
    assert answer.via == "unrefreshed" and answer.valid_until == world.now + limits.REFRESH_RETRY_DELAY
    asked = world.fetched.count("refresh")
    assert allow(browser.get("/")).via == "unrefreshed"
    assert world.fetched.count("refresh") == asked == 1
    world.down, world.provider.faults = "", type(world.provider.faults)()
    world.now += limits.REFRESH_RETRY_DELAY
    assert allow(browser.get("/")).via == "refreshed"


def test_a_provider_that_stays_away_is_borne_for_an_hour() -> None:
    world, browser = signed_in()
    world.down = "connect"
    world.now = START + 300 + limits.REFRESH_FAILURE_TOLERANCE - 1
    assert allow(browser.get("/")).via == "unrefreshed"
    world.now += limits.REFRESH_RETRY_DELAY
    answer = respond(browser.get("/"))
    assert answer.status == 503 and "__Host-ostiary" in browser.cookies
    world.down = ""
    world.now += limits.REFRESH_RETRY_DELAY
    assert allow(browser.get("/")).via == "refreshed"


def test_an_expired_token_is_never_handed_on() -> None:
    world, browser = signed_in(sign_in_config(pass_access_token=True))
    world.down = "connect"
    world.now = START + 299
    assert "x-forwarded-access-token" in sent(browser.get("/"))
    world.now = START + 310
    assert respond(browser.get("/")).status == 503


def test_an_expired_token_that_can_not_be_refreshed_means_a_new_sign_in() -> None:
    world = World(sign_in_config(pass_access_token=True))
    world.provider.faults.no_refresh_token = True
    browser = Browser(world)
    browser.sign_in()
    assert allow(browser.get("/")).valid_until == START + 300
    world.now = START + 300
    assert respond(browser.get("/")).status == 302


def test_without_a_refresh_token_the_session_outlives_the_access_token() -> None:
    world = World()
    world.provider.faults.no_refresh_token = True
    browser = Browser(world)
    browser.sign_in()
    world.now = START + 3600
    assert isinstance(browser.get("/"), Allow)


@pytest.mark.parametrize(("headers", "status"), [({}, 302), (PROGRAM, 401)])
def test_invalid_grant_ends_the_session(headers: dict[str, str], status: int) -> None:
    world, browser = signed_in()
    world.provider.faults.token_error = "invalid_grant"
    world.now = START + 299
    answer = respond(browser.get("/x", **headers))
    assert answer.status == status and "__Host-ostiary" not in browser.cookies
    assert world.count("oauth_refreshtoken_failure") == 1
    if status == 302:
        world.provider.faults.token_error = ""
        assert location(browser.get(browser.follow(location(answer), user=""))) == "/x"


@pytest.mark.parametrize("fault", ["wrong_signature", "wrong_issuer", "wrong_audience", "expired", "email_unverified"])
def test_a_refresh_that_can_not_be_believed_ends_the_session(fault: str) -> None:
    world, browser = signed_in()
    setattr(world.provider.faults, fault, True)
    world.now = START + 299
    assert respond(browser.get("/")).status == 302


def test_rotated_tokens_are_kept_even_if_the_keys_can_not_be_fetched() -> None:
    world, browser = signed_in()
    world.provider.rotate_keys(keep_old=False)
    world.provider.faults.jwks_status = 500
    world.now = START + 299
    assert allow(browser.get("/")).via == "refreshed"
    world.provider.faults.jwks_status = 200
    world.now += 299
    assert allow(browser.get("/")).via == "refreshed"


def test_short_lived_tokens_are_not_refreshed_at_every_request() -> None:
    world, browser = signed_in(access_token_lifetime=30.0)
    for _ in range(5):
        assert allow(browser.get("/")).via == "session"
    world.now += 15
    assert allow(browser.get("/")).via == "refreshed"
    assert allow(browser.get("/")).via == "session"


def test_a_large_session_takes_several_cookies() -> None:
    config = sign_in_config(pass_access_token=True)
    world = World(config)
    noise = random.Random(7)
    world.provider.users["ada"] = type(world.provider.users["ada"])(
        username="ada",
        name="Ada",
        email="ada@example.com",
        groups=tuple("".join(noise.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=40)) for _ in range(150)),
    )
    browser = Browser(world)
    browser.sign_in()
    assert len(browser.cookies) >= 3
    assert len(sent(browser.get("/"))["x-forwarded-groups"].split(",")) == 150
    browser.get("/.ostiary/sign_out", sec_fetch_site="same-origin")
    assert browser.cookies == {}


def test_redirect_uri_follows_external_url_not_the_host() -> None:
    world = World(sign_in_config(external_url="https://app.example"))
    browser = Browser(world, "http://10.0.0.7:8080")
    answer = respond(browser.get("/"))
    params = parse_qs(urlsplit(location(answer)).query)
    assert params["redirect_uri"] == ["https://app.example/.ostiary/callback"]
    assert any(
        value.startswith("__Host-") and "Secure" in value for name, value in answer.headers if name == "set-cookie"
    )
