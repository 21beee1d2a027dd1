"""The real Envoy and this filter under one secret: what one begins the other ends, and both answer alike.

`CASES` are requests that both must answer the same; `DIFFERENCES` are those where Envoy is wrong, with what each says:
the list behind docs/envoy-differences.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from envoy_real import (
    FLOW,
    FLOW_COOKIES,
    LATER,
    NONCE,
    REFRESHABLE,
    SESSION,
    SETUPS,
    SIGNED_IN,
    VERIFIER,
    Case,
    RealEnvoy,
    ask_ours,
    callback,
    cbc,
    gcm,
    our_world,
    plain,
    running,
    session,
    token_members,
)
from envoy_signin import World, set_cookies
from ostiary.core.decision import Respond
from peers.rawhttp import exchange, request
from peers.recorders import Answer
from peers.same_yaml import HOST, TOKEN_SECRET

pytestmark = pytest.mark.peer


@pytest.fixture(scope="module", params=["as usual", "gcm"])
def envoy(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealEnvoy]:
    yield from running(SETUPS[request.param], tmp_path_factory.mktemp("envoy"))


@pytest.fixture(scope="module", params=SETUPS)
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[RealEnvoy, Callable[[], World]]]:
    """An Envoy, and how to make a filter of ours with the same configuration."""
    setup = SETUPS[request.param]
    for real in running(setup, tmp_path_factory.mktemp("envoy")):
        yield real, lambda: our_world(setup.ours, **dict.fromkeys(setup.flags, True))


CASES: dict[str, Case] = {
    "no cookies": Case("/page?a=1"),
    "an odd path": Case("/p<>'|^`{}%20\"\\?q='<>&x=1"),
    "a denied redirect": Case("/deny?q=1"),
    "an allowed failure": Case("/open?q=1", "a=1; BearerToken=x; OauthNonce.f=1; IdToken=y"),
    "an allowed failure with our cookies only": Case("/open", "OauthHMAC=x"),
    "an allowed failure without cookies": Case("/open", headers=(("authorization", "Bearer mine"),)),
    "pass-through": Case("/public", "BearerToken=x; a=1", headers=(("authorization", "Bearer mine"),)),
    "a session, CBC": Case("/", SESSION + "; a=1", headers=(("authorization", "Bearer mine"),)),
    "a session, GCM": Case("/", session(seal=gcm)),
    "a session, plain": Case("/", session(seal=plain)),
    "a session with a refresh token": Case("/", session(seal=cbc, refresh="rt")),
    "a session without tokens": Case("/", session(seal=plain, access="", id_token="")),
    "a session of another host": Case("/", SESSION, host="other.example.com"),
    "a session of another port": Case("/", SESSION, host=f"{HOST}:443"),
    "a session with an ID token too many": Case("/", session(seal=cbc, id_token="") + "; IdToken=x"),
    "a session with a bad MAC": Case("/", SESSION.replace("OauthHMAC=", "OauthHMAC=A")),
    "an expired session": Case("/", session(seal=cbc, expires="1000")),
    "an expiry with a plus": Case("/", session(seal=cbc, expires=f"+{LATER}")),
    "an expiry with letters": Case("/", session(seal=cbc, expires=f"{LATER}x")),
    "an expiry that overflows": Case("/", session(seal=cbc, expires=str(2**64))),
    "an expiry beyond 63 bits": Case("/", session(seal=cbc, expires=str(2**63))),
    "quoted session cookies": Case("/", re.sub("=([^;]*)", r'="\1"', SESSION)),
    "sign-out": Case("/signout?x=1", f"OauthNonce.{FLOW}=1; OauthNonceX=1"),
    "sign-out of a session": Case("/signout", session(seal=plain)),
    "callback, nothing": Case("/callback"),
    "callback, no state": Case("/callback?z=2&z=1&code=&flag"),
    "callback, an error": Case("/callback?error=denied&b=%20&a"),
    "callback, an error of a flow": Case(callback(query="&error"), FLOW_COOKIES),
    "callback, a bad state": Case("/callback?code=c&state=e30%3D", FLOW_COOKIES),
    "callback, an empty state": Case("/callback?code=c&state=e30", FLOW_COOKIES),
    "callback, no nonce": Case(callback()),
    "callback, a wrong nonce": Case(callback(), f"OauthNonce.{FLOW}=x; OauthNonce={NONCE}"),
    "callback, a forged nonce": Case(callback(csrf=f"{FLOW}.x"), f"OauthNonce={FLOW}.x"),
    "callback, a relative way back": Case(callback("/relative"), FLOW_COOKIES),
    "callback, a way back to a script": Case(callback("javascript:alert(1)"), FLOW_COOKIES),
    "callback, a way back without a port": Case(callback("https://x:/"), FLOW_COOKIES),
    "callback, no verifier": Case(callback(), f"OauthNonce={NONCE}"),
    "callback, signed in": Case(callback(), f"{FLOW_COOKIES}; {SESSION}"),
    "callback, signed in, to the callback": Case(callback(f"https://{HOST}/callback?x"), f"{FLOW_COOKIES}; {SESSION}"),
    "callback, an older flow": Case(
        callback(flow_id=""), f"OauthNonce={NONCE}; CodeVerifier={cbc(VERIFIER)}", token_members()
    ),
    "login": Case(callback(), FLOW_COOKIES, token_members()),
    "login elsewhere": Case(callback("ftp://u:p@x?y"), FLOW_COOKIES, token_members()),
    "login without an ID token": Case(callback(), f"{FLOW_COOKIES}; IdToken=old", token_members(id_token=...)),
    "login without a refresh token": Case(callback(), FLOW_COOKIES, token_members(refresh_token=None)),
    "login with an empty access token": Case(callback(), FLOW_COOKIES, token_members(access_token="")),
    "login with a lifetime in quotes": Case(callback(), FLOW_COOKIES, token_members(expires_in="3600")),
    "login with a lifetime of 1e3": Case(callback(), FLOW_COOKIES, Answer(body=b'{"accessToken":"a","expiresIn":1e3}')),
    "login, invalid_client": Case(
        callback(), FLOW_COOKIES, Answer(401, body=b'{"error": "invalid_client", "error_description": "no"}')
    ),
    "refresh": Case("/p?x", f"a=1; {REFRESHABLE}", token_members()),
    "refresh, rotated": Case("/", REFRESHABLE, token_members(refresh_token="rt2")),
    "refresh, not rotated": Case("/", REFRESHABLE, token_members(refresh_token=...)),
    "refresh of an expired session": Case("/", session(seal=cbc, expires="9", refresh="rt"), token_members()),
    "refresh denied": Case("/", REFRESHABLE, Answer(400, body=b"{}")),
    "refresh denied, no redirect": Case("/deny", REFRESHABLE, Answer(400, body=b"{}")),
    "refresh denied, allowed": Case("/open", f"a=1; {REFRESHABLE}", Answer(400, body=b"{}")),
}


@pytest.mark.parametrize("name", CASES)
def test_both_answer_alike(pair: tuple[RealEnvoy, Callable[[], World]], name: str) -> None:
    envoy, ours_of_that_kind = pair
    theirs, _ = envoy.ask(CASES[name])
    envoy.provider.script.clear()
    ours, _ = ask_ours(ours_of_that_kind(), CASES[name])
    assert ours == theirs


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"access_token":1}', b'{"access_token":"a"}'])
@pytest.mark.parametrize("status", [200, 201, 500])
def test_both_refuse_the_same_answers_of_a_provider(envoy: RealEnvoy, body: bytes, status: int) -> None:
    case = Case(callback(), FLOW_COOKIES, Answer(status, body=body))
    (theirs, _), (ours, _) = envoy.ask(case), ask_ours(our_world(), case)
    assert (ours.status, ours.body, ours.set_cookies) == (theirs.status, theirs.body, theirs.set_cookies)
    ours_up_to_the_body, theirs_up_to_the_body = (each.details.partition("body:")[0] for each in (ours, theirs))
    assert ours_up_to_the_body == theirs_up_to_the_body


LIFETIMES = ["0", "1", "3600.0", "3600.5", "-5", "true", '"abc"', '"60"', "null", str(2**63), str(2**64 - 1)]


@pytest.mark.parametrize("lifetime", LIFETIMES)
def test_both_read_the_same_lifetimes(envoy: RealEnvoy, lifetime: str) -> None:
    body = f'{{"access_token":"a","expires_in":{lifetime}}}'.encode()
    case = Case(callback(), FLOW_COOKIES, Answer(body=body))
    (theirs, _), (ours, _) = envoy.ask(case), ask_ours(our_world(), case)
    assert (ours.status, ours.set_cookies) == (theirs.status, theirs.set_cookies)


def kept(lines: list[str]) -> str:
    """The Cookie header of a browser that got these lines."""
    pairs = [line.partition(";")[0] for line in lines]
    return "; ".join(pair for pair in pairs if not pair.endswith("=deleted"))


def test_a_session_made_by_envoy_opens_here(envoy: RealEnvoy) -> None:
    _, lines = envoy.ask(CASES["login"])
    case = Case("/", kept(lines))
    assert ask_ours(our_world(), case)[0] == envoy.ask(case)[0]
    assert ask_ours(our_world(), case)[0].upstream == SIGNED_IN


@pytest.mark.parametrize("ours_is_gcm", [False, True])
def test_a_session_made_here_opens_there(envoy: RealEnvoy, ours_is_gcm: bool) -> None:
    _, lines = ask_ours(our_world(oauth2_use_gcm_encryption=ours_is_gcm), CASES["login"])
    theirs, _ = envoy.ask(Case("/", kept(lines)))
    assert theirs.upstream == SIGNED_IN


def way_back(location: str) -> str:
    state = re.search(r"state=([A-Za-z0-9_\-]+)", location)
    assert state is not None
    return f"/callback?code=c&state={state[1]}"


def test_a_sign_in_begun_by_envoy_ends_here(envoy: RealEnvoy) -> None:
    response = exchange(envoy.proxy.ports[0], request("GET", "/deep?x=1", (("x-forwarded-proto", "https"),), host=HOST))
    case = Case(way_back(response.get("location") or ""), kept(response.get_all("set-cookie")), token_members())
    ours, lines = ask_ours(our_world(), case)
    assert (ours.details, ours.location) == ("oauth.logged_in", f"https://{HOST}/deep?x=1")
    assert envoy.ask(Case("/", kept(lines)))[0].details == "via_upstream"


@pytest.mark.parametrize("ours_is_gcm", [False, True])
def test_a_sign_in_begun_here_ends_there(envoy: RealEnvoy, ours_is_gcm: bool) -> None:
    world = our_world(oauth2_use_gcm_encryption=ours_is_gcm)
    answer = world.decide(world.request("/deep?x=1", host=HOST))
    assert isinstance(answer, Respond)
    case = Case(way_back(dict(answer.headers)["location"]), kept(set_cookies(answer)), token_members())
    theirs, lines = envoy.ask(case)
    assert (theirs.details, theirs.location) == ("oauth.logged_in", f"https://{HOST}/deep?x=1")
    assert ask_ours(our_world(), Case("/", kept(lines)))[0].details == "via_upstream"


def test_a_refresh_token_kept_by_envoy_is_redeemed_here(envoy: RealEnvoy) -> None:
    _, lines = envoy.ask(CASES["login"])
    case = Case("/", kept([line for line in lines if line.startswith("RefreshToken=")]), token_members())
    ours, renewed = ask_ours(our_world(), case)
    assert ours == envoy.ask(case)[0]
    assert envoy.ask(Case("/", kept(renewed)))[0].details == "via_upstream"


@dataclass(frozen=True, slots=True)
class Difference:
    """What each says about one request: only the named fields of Outcome."""

    case: Case
    envoys: dict[str, Any]
    ours: dict[str, Any]


CLIENT = b"&client_id=client-1&client_secret=" + TOKEN_SECRET.encode()
FOREIGN_STATE = callback(flow_id="../x")
SIGNED_OUT = (
    "https://idp.example.com/end?id_token_hint={}&client_id=client-1&post_logout_redirect_uri=https%3A%2F%2F{}%2F"
)
DIFFERENCES: dict[str, Difference] = {
    "a refresh token that nobody sealed is not sent to the provider": Difference(
        Case("/", "RefreshToken=anything", token_members()),
        {"details": "via_upstream"},
        {"details": "oauth.missing_credentials", "token_requests": ()},
    ),
    "a malformed refresh answer is a new sign-in": Difference(
        Case("/", REFRESHABLE, Answer(200, body=b"<html>")), {"status": 401}, {"status": 302}
    ),
    "a malformed refresh answer is a failed refresh": Difference(
        Case("/open", REFRESHABLE, Answer(200, body=b"{}")),
        {"counters": {"oauth_allow_failed_passthrough": 1, "oauth_legacy_cbc_decrypt": 1}},
        {
            "counters": {
                "oauth_allow_failed_passthrough": 1,
                "oauth_legacy_cbc_decrypt": 1,
                "oauth_refreshtoken_failure": 1,
            }
        },
    ),
    "a stale ID token does not reach the application": Difference(
        Case("/", session(seal=cbc, expires="9", refresh="rt"), token_members(id_token=...)),
        {"upstream": SIGNED_IN},
        {"upstream": {"authorization": "Bearer at", "cookie": "BearerToken=at"}},
    ),
    "an ID token that nobody signed is no hint": Difference(
        Case("/signout", "IdToken=plain&x=y"),
        {"location": SIGNED_OUT.format("plain&x=y", HOST)},
        {"location": SIGNED_OUT.format("", HOST)},
    ),
    "an ID token that nobody signed is not decrypted for whoever asks": Difference(
        Case("/signout", f"IdToken={cbc('stolen')}"),
        {"location": SIGNED_OUT.format("stolen", HOST)},
        {"location": SIGNED_OUT.format("", HOST)},
    ),
    "a flow has the name of its nonce": Difference(
        Case(FOREIGN_STATE, f"OauthNonce={NONCE}; CodeVerifier={cbc(VERIFIER)}", token_members()),
        {"details": "oauth.logged_in"},
        {"details": "CSRF_token_validation_failed"},
    ),
    "a verifier is a verifier": Difference(
        Case(callback(), f"OauthNonce={NONCE}; CodeVerifier={cbc('not a verifier')}", token_members()),
        {"details": "oauth.logged_in"},
        {"details": "Failed_to_decrypt_code_verifier:_(43_bytes,_not_shown),_error:_failed_to_finalize_decryption"},
    ),
    "no token in the details": Difference(
        Case(callback(), FLOW_COOKIES, Answer(201, body=b'{"access_token":"s3cret"}')),
        {"details": 'Failed_to_get_access_token:_response_code:_201,_response_body:_{"access_token":"s3cret"}'},
        {
            "details": "Failed_to_get_access_token:_response_code:_201,_response_body:"
            "_(25_bytes_of_unknown_type,_not_shown)"
        },
    ),
    "a refresh token arrives in one piece": Difference(
        Case("/", f"RefreshToken={cbc('a b%41')}", token_members()),
        {"token_requests": (("", b"grant_type=refresh_token&refresh_token=a b%41" + CLIENT),)},
        {"token_requests": (("", b"grant_type=refresh_token&refresh_token=a%20b%2541" + CLIENT),)},
    ),
    "the application's cookies stay as they are": Difference(
        Case("/", f'{SESSION}; q="a b"; flag; d=1; d=2'),
        {"upstream": {"authorization": "Bearer at", "cookie": "BearerToken=at; IdToken=it; d=1; q=a b"}},
        {"upstream": {"authorization": "Bearer at", "cookie": 'BearerToken=at; IdToken=it; d=1; d=2; flag; q="a b"'}},
    ),
    "a second opinion about the token is dropped": Difference(
        Case("/", f"BearerToken =evil; {SESSION}"),
        {"upstream": {"authorization": "Bearer at", "cookie": "BearerToken =evil; BearerToken=at; IdToken=it"}},
        {"upstream": SIGNED_IN},
    ),
    "old flows make room": Difference(
        Case("/", "; ".join(f"OauthNonce.{number:016x}=1" for number in range(5))),
        {"status": 302},
        {"status": 302},
    ),
}


@pytest.mark.parametrize("name", DIFFERENCES)
def test_where_we_differ_on_purpose(envoy: RealEnvoy, name: str) -> None:
    difference = DIFFERENCES[name]
    theirs, _ = envoy.ask(difference.case)
    ours, _ = ask_ours(our_world(), difference.case)
    envoy.provider.script.clear()
    assert {key: getattr(theirs, key) for key in difference.envoys} == difference.envoys
    assert {key: getattr(ours, key) for key in difference.ours} == difference.ours
    assert ours != theirs
