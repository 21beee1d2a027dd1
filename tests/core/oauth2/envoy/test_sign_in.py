from __future__ import annotations

import hashlib
import json
from typing import Any
from urllib.parse import parse_qs

import pytest

from envoy_signin import World, config, cookie_names, location, set_cookies
from ostiary.core.decision import FetchFailed, Respond, Start
from ostiary.core.oauth2.envoy.codec import TokenCipher, base64url, csrf_token, decode_base64url, session_mac
from ostiary.model import limits
from ostiary.model.matchers import StringMatcher
from ostiary.model.oauth2 import HttpUri

SECRET = b"asdf_token_secret_fdsa"
FLOW = "0123456789abcdef"
NONCE = csrf_token(SECRET, FLOW)
VERIFIER = "v" * 43
HIDDEN = "(%d bytes of application/json, not shown)"
NO_LIFETIME = "No default or explicit access token expiration found in the token exchange response"
DISCONNECTED = "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure"


def refused(world: World, *args: Any, **kwargs: Any) -> Respond:
    answer = world.decide(world.request(*args, **kwargs))
    assert isinstance(answer, Respond)
    return answer


def state(url: str = "https://app.example/page", *, csrf: str = NONCE, flow_id: str = FLOW) -> str:
    return base64url(json.dumps({"url": url, "csrf_token": csrf, "flow_id": flow_id}).encode())


def flow_cookies(nonce: str = NONCE, verifier: str = VERIFIER) -> str:
    sealed = TokenCipher(SECRET, gcm=False, cbc_compat=True).encrypt(verifier, bytes)
    return f"OauthNonce.{FLOW}={nonce}; CodeVerifier.{FLOW}={sealed}"


def test_the_redirect_is_envoys() -> None:
    world = World(config(csrf_token_expires_in=200.9, resources=("https://r/",)))
    answer = refused(world, "/page?a=1")
    assert (answer.status, answer.body, answer.details) == (302, b"", "oauth.missing_credentials")
    lines = set_cookies(answer)
    flow_id = cookie_names(answer)[0].partition(".")[2]
    nonce = csrf_token(SECRET, flow_id)
    assert [line.partition(";")[0] for line in lines[:2]] == [f"OauthNonce.{flow_id}={nonce}", f"OauthNonce={nonce}"]
    assert [line.partition(";")[2] for line in lines] == [
        "path=/;Max-Age=200;secure;HttpOnly",
        "path=/;Max-Age=200;secure;HttpOnly",
        "path=/;Max-Age=600;secure;HttpOnly",
        "path=/;Max-Age=600;secure;HttpOnly",
    ]
    assert answer.headers[-1][0] == "location"
    sealed = world.cookies["CodeVerifier"]
    assert sealed == world.cookies[f"CodeVerifier.{flow_id}"]
    verifier = TokenCipher(SECRET, gcm=False, cbc_compat=True).decrypt(sealed)
    challenge = base64url(hashlib.sha256(verifier.encode()).digest())
    sent = base64url(f'{{"url":"https://app.example/page?a=1","csrf_token":"{nonce}","flow_id":"{flow_id}"}}'.encode())
    assert location(answer) == (
        f"https://idp.example/authorize?client_id=my%20client&code_challenge={challenge}&code_challenge_method=S256"
        "&prompt=login&redirect_uri=https%3A%2F%2Fapp.example%2Fcallback&response_type=code&scope=openid%20email"
        f"&state={sent}&resource=https%3A%2F%2Fr%2F"
    )


@pytest.mark.parametrize(
    ("scheme", "base"), [("http", "http"), ("HTTP", "http"), ("https", "https"), ("ftp", "https"), ("", "https")]
)
def test_the_way_back_has_the_requests_scheme(scheme: str, base: str) -> None:
    asked = World().begin("/p", scheme=scheme)
    assert decoded(asked["state"])["url"] == f"{base}://app.example/p"


def test_the_way_back_can_be_configured() -> None:
    world = World(config(original_request_uri="https://%REQ(x-forwarded-host)%"))
    asked = world.begin('/p"\\?é', headers=[("x-forwarded-host", "public.example")])
    assert decoded(asked["state"])["url"] == 'https://public.example/p"\\?%E9'


def test_a_missing_header_in_the_redirect_uri_is_a_dash() -> None:
    asked = World(config(redirect_uri="https://%REQ(x-nope)%/callback")).begin()
    assert asked["redirect_uri"] == "https://-/callback"


def decoded(text: str) -> dict[str, str]:
    document: dict[str, str] = json.loads(decode_base64url(text) or b"")
    return document


def test_the_allow_list_stops_a_redirect_to_a_stranger() -> None:
    world = World(config(allowed_redirect_domains=("app.example",)))
    assert refused(world, "/").status == 302
    answer = refused(world, "/", host="evil")
    assert answer.status == 401
    assert answer.details == "authority or original_request_uri failed domain allow-list validation: https://evil"
    world = World(config(allowed_redirect_domains=("app.example",), redirect_uri="https://cb.example/callback"))
    assert refused(world, "/").details == (
        "redirect_uri failed domain allow-list validation: https://cb.example/callback"
    )


def test_signing_in_ends_with_envoys_cookies_and_the_page() -> None:
    world = World()
    answer = world.sign_in()
    assert (answer.status, answer.body, answer.details) == (302, b"", "oauth.logged_in")
    assert location(answer) == "https://app.example/page?a=1"
    assert answer.headers[-1][0] == "location"
    flow = world.deleted[0].partition(".")[2]
    assert cookie_names(answer) == [
        "OauthHMAC",
        "OauthExpires",
        "BearerToken",
        "IdToken",
        "RefreshToken",
        f"OauthNonce.{flow}",
        "OauthNonce",
        f"CodeVerifier.{flow}",
        "CodeVerifier",
    ]
    ages = [line.partition("Max-Age=")[2].partition(";")[0] for line in set_cookies(answer)[:5]]
    assert ages == ["3600", "3600", "3600", "3600", "604800"]
    expires = str(int(world.now) + 3600)
    assert world.cookies["OauthExpires"] == expires
    assert world.cookies["OauthHMAC"] == session_mac(
        SECRET,
        domain="app.example",
        expires=expires,
        access="the-access-token",
        id_token="the-id-token",
        refresh="the-refresh-token",
    )
    assert world.counts() == {"oauth_unauthorized_rq": 1, "oauth_success": 1, "oauth_legacy_cbc_decrypt": 1}


def test_the_code_is_redeemed_with_the_verifier_of_its_flow() -> None:
    world = World()
    first, second = world.begin("/one"), world.begin("/two")
    for asked, page in ((first, "/one"), (second, "/two")):
        answer = world.decide(world.request(f"/callback?code=a%2Bb&state={asked['state']}"), world.token_answer())
        assert location(answer) == f"https://app.example{page}"
        body = parse_qs(world.asked[0].body.decode())
        assert body["code"] == ["a+b"]
        assert body["redirect_uri"] == ["https://app.example/callback"]
        challenge = base64url(hashlib.sha256(body["code_verifier"][0].encode()).digest())
        assert challenge == asked["code_challenge"]
        for name in ("OauthHMAC", "BearerToken"):
            del world.cookies[name]
        world.cookies.pop("RefreshToken")


@pytest.mark.parametrize(
    ("query", "cause"),
    [
        ("", "Code or state query param does not exist: "),
        ("code=c", "Code or state query param does not exist: ?code=c"),
        ("z=2&z=1&code=&flag", "Code or state query param does not exist: ?code=&flag=&z=2&z=1"),
        ("state=s", "Code or state query param does not exist: ?state=s"),
        ("error", "OAuth server returned an error: ?error="),
        ("state=x&error=access_denied&a=%20b", "OAuth server returned an error: ?a=%20b&error=access_denied&state=x"),
        ("code=c&state=e30%3D", "State query param is not a valid JSON: "),
        ("code=c&state=e30", "State query param does not contain url or CSRF token: {}"),
        (f"code=c&state={state(csrf=FLOW + '.x')}", "CSRF token validation failed"),
        (f"code=c&state={state(flow_id='')}", "CSRF token validation failed"),
        (f"code=c&state={state(flow_id='../x')}", "CSRF token validation failed"),
        (f"code=c&state={state(flow_id='f' * 16)}", "CSRF token validation failed"),
    ],
)
def test_a_callback_that_belongs_to_nobody_is_refused(query: str, cause: str) -> None:
    world = World()
    answer = refused(world, f"/callback?{query}", cookie=flow_cookies())
    assert (answer.status, answer.body, answer.details) == (401, b"OAuth flow failed.", cause)
    assert answer.headers == (("content-type", "text/plain"),)
    assert world.counts() == {"oauth_failure": 1}


@pytest.mark.parametrize(
    "cookie",
    [
        "",
        f"OauthNonce.{FLOW}=wrong; OauthNonce={NONCE}",
        f"OauthNonce.{FLOW}={NONCE}x",
        f"OauthNonce.{FLOW}=a; OauthNonce.{FLOW}={NONCE}",
        f"OauthNonce={FLOW}.{NONCE}",
    ],
)
def test_the_browser_must_have_the_nonce(cookie: str) -> None:
    answer = refused(World(), f"/callback?code=c&state={state()}", cookie=cookie)
    assert answer.details == "CSRF token validation failed"


def test_a_nonce_under_another_secret_is_refused() -> None:
    forged = csrf_token(b"another", FLOW)
    answer = refused(World(), f"/callback?code=c&state={state(csrf=forged)}", cookie=flow_cookies(forged))
    assert answer.details == "CSRF token validation failed"


DELETIONS = [f"OauthNonce.{FLOW}", "OauthNonce", f"CodeVerifier.{FLOW}", "CodeVerifier"]


@pytest.mark.parametrize(
    ("url", "cause"),
    [
        ("/relative", "State url can not be initialized: /relative"),
        ("//evil/", "State url can not be initialized: //evil/"),
        ("javascript:alert(1)", "State url can not be initialized: javascript:alert(1)"),
        ("https://x/\r\nset-cookie: a", "State url can not be initialized: https://x/\\x0d\\x0aset-cookie: a"),
        ("https://evil.example/", "State url host is not in the allowed redirect domains: https://evil.example/"),
        ("https://app.example\\@evil/", "State url can not be initialized: https://app.example\\@evil/"),
    ],
)
def test_a_way_back_that_leads_elsewhere_is_refused_and_the_flow_ends(url: str, cause: str) -> None:
    world = World(config(allowed_redirect_domains=("app.example",)))
    answer = refused(world, f"/callback?code=c&state={state(url)}", cookie=flow_cookies())
    assert (answer.status, answer.details) == (401, cause)
    assert cookie_names(answer) == DELETIONS
    assert answer.headers[-1] == ("content-type", "text/plain")


def test_an_error_of_the_provider_ends_the_flow_it_belongs_to() -> None:
    answer = refused(World(), f"/callback?error=access_denied&state={state()}", cookie=flow_cookies())
    assert cookie_names(answer) == DELETIONS


@pytest.mark.parametrize(
    ("cookie", "cause"),
    [
        (f"OauthNonce.{FLOW}={NONCE}", "Code verifier cookie is missing in the request"),
        (
            f"OauthNonce.{FLOW}={NONCE}; CodeVerifier=short",
            "Failed to decrypt code verifier: (5 bytes, not shown), error: Invalid encrypted data",
        ),
        (
            f"OauthNonce.{FLOW}={NONCE}; CodeVerifier.{FLOW}={base64url(bytes(48))}; CodeVerifier=x",
            "Failed to decrypt code verifier: (64 bytes, not shown), error: failed to finalize decryption",
        ),
        (
            flow_cookies(verifier="not a verifier & more of that" * 3),
            "Failed to decrypt code verifier: (150 bytes, not shown), error: failed to finalize decryption",
        ),
    ],
)
def test_a_code_needs_its_verifier(cookie: str, cause: str) -> None:
    answer = refused(World(), f"/callback?code=c&state={state()}", cookie=cookie)
    assert (answer.status, answer.details) == (401, cause)
    assert cookie_names(answer) == DELETIONS


def exchange(world: World, *answers: Any) -> Respond:
    answer = world.decide(world.request(f"/callback?code=c&state={state()}", cookie=flow_cookies()), *answers)
    assert isinstance(answer, Respond)
    return answer


@pytest.mark.parametrize(
    ("status", "body", "cause"),
    [
        (
            400,
            b'{"error":"invalid_grant"}',
            'Failed to get access token: response code: 400, response body: {"error":"invalid_grant"}',
        ),
        (
            201,
            b'{"access_token":"s3cret","expires_in":1}',
            f"Failed to get access token: response code: 201, response body: {HIDDEN % 40}",
        ),
        (
            200,
            b"<html>",
            f"Failed to parse oauth response body: response body: {HIDDEN % 6}, exception: not JSON",
        ),
        (
            200,
            b'{"id_token":"s3cret"}',
            f"No access token found in the token exchange response: response body: {HIDDEN % 21}",
        ),
        (
            200,
            b'{"access_token":"s3cret"}',
            f"{NO_LIFETIME}: response body: {HIDDEN % 25}",
        ),
    ],
)
def test_an_answer_without_a_token_is_a_401_that_shows_no_token(status: int, body: bytes, cause: str) -> None:
    world = World()
    answer = exchange(world, world.token_answer(status, body))
    assert (answer.status, answer.body, answer.details) == (401, b"OAuth flow failed.", cause)
    assert cookie_names(answer) == DELETIONS
    assert world.counts() == {"oauth_failure": 1, "oauth_legacy_cbc_decrypt": 1}


@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        ("timeout", "Failed to get access token: response code: 504, response body: upstream request timeout, "),
        (
            "connect",
            f"Failed to get access token: response code: 503, response body: {DISCONNECTED}, ",
        ),
    ],
)
def test_a_provider_that_does_not_answer_is_a_401_that_says_why(kind: str, cause: str) -> None:
    answer = exchange(World(), FetchFailed(kind, "no route to 2001:db8::1", 0.0))
    assert answer.status == 401
    assert answer.details == cause + "transport failure reason: no route to 2001:db8::1"


def test_a_cluster_that_is_not_there() -> None:
    assert exchange(World(), FetchFailed("no_cluster", "idp", 0.0)).details == "Token endpoint cluster not found"
    answer = exchange(World(config(token_endpoint=None)))
    assert (answer.status, answer.details) == (401, "Token endpoint cluster not found")
    assert cookie_names(answer) == DELETIONS
    unknown = HttpUri(uri="idp/token", cluster="nowhere", timeout=1.0)
    assert exchange(World(config(token_endpoint=unknown))).details == "Token endpoint cluster not found"


def test_a_key_that_cannot_sign_is_a_401() -> None:
    answer = exchange(World(config(auth_type="PRIVATE_KEY_JWT")))
    assert answer.details == ("Failed to obtain client credential: Failed to parse private key PEM for JWT signing")


def test_a_second_tab_that_comes_back_signed_in_goes_on_without_a_token_call() -> None:
    world = World()
    first, second = world.begin("/one"), world.begin("/two")
    world.decide(world.request(f"/callback?code=c&state={first['state']}"), world.token_answer())
    answer = refused(world, f"/callback?code=c&state={second['state']}")
    assert (answer.status, answer.details) == (302, "oauth.race_redirect")
    assert answer.headers[0] == ("location", "https://app.example/two")
    assert len(set_cookies(answer)) == 4
    again = f"/callback?code=c&state={state('https://app.example/callback?x')}"
    world.cookies[f"OauthNonce.{FLOW}"] = NONCE
    answer = refused(world, again)
    assert (answer.status, answer.details) == (
        401,
        "State url query params matches the redirect path matcher: /callback?x",
    )


def test_two_tabs_may_wait_for_the_provider_at_once() -> None:
    world = World()
    tabs = [world.begin(page) for page in ("/one", "/two")]
    starts = [
        world.filter.decide(world.request(f"/callback?code=c&state={asked['state']}"), world.now) for asked in tabs
    ]
    assert len({start.single_flight for start in starts if isinstance(start, Start)} - {b""}) == 2
    for start, page in zip(starts, ("/one", "/two"), strict=True):
        assert isinstance(start, Start)
        assert location(world.drive(start, world.token_answer())) == f"https://app.example{page}"


def test_too_many_pending_sign_ins_end_the_oldest() -> None:
    world = World()
    flows = [cookie_names(refused(world))[0].partition(".")[2] for _ in range(limits.MAX_PENDING_FLOWS + 1)]
    pending = {name.partition(".")[2] for name in world.cookies if "." in name}
    assert pending == set(flows[1:])


def test_a_callback_is_where_the_matcher_says() -> None:
    world = World(config(redirect_path_matcher=StringMatcher("prefix", "/cb/")))
    assert refused(world, "/cb/anything").status == 401
    assert refused(world, "/callback").status == 302
