"""The order in which a request is judged, and what each way out answers, as in Envoy 1.39."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envoy_signin import World, config, cookie_names, location
from ostiary.core.decision import FOREVER, Allow, Respond
from ostiary.core.oauth2.envoy import NoConfigFilter
from ostiary.model.matchers import HeaderMatcher, StringMatcher, StringMatchKind

STATUS = {"x-envoy-oauth-status", "x-envoy-oauth-failure-reason"}


def path_is(kind: StringMatchKind, value: str, **changes: Any) -> HeaderMatcher:
    return HeaderMatcher(name=":path", string_match=StringMatcher(kind, value), **changes)


def header_is(name: str, value: str) -> HeaderMatcher:
    return HeaderMatcher(name=name, string_match=StringMatcher("exact", value))


OPTIONS = header_is(":method", "OPTIONS")
XHR = header_is("x-requested-with", "XMLHttpRequest")


def allowed(world: World, *args: Any, **kwargs: Any) -> Allow:
    answer = world.decide(world.request(*args, **kwargs))
    assert isinstance(answer, Allow)
    return answer


def refused(world: World, *args: Any, **kwargs: Any) -> Respond:
    answer = world.decide(world.request(*args, **kwargs))
    assert isinstance(answer, Respond)
    return answer


def test_without_a_configuration_only_our_own_headers_are_kept_from_clients() -> None:
    nothing = NoConfigFilter()
    answer = nothing.decide(World().request(), 0.0)
    assert isinstance(answer, Allow)
    assert answer.remove == STATUS == nothing.request_headers_to_strip()
    assert nothing.is_ordinary("/callback")


@pytest.mark.parametrize("target", ["/", "/callback?code=1", "/signout"])
def test_pass_through_comes_before_everything(target: str) -> None:
    world = World(config(pass_through_matcher=(OPTIONS,), forward_id_token_header="X-Id"))
    world.secrets.hmac = None
    answer = allowed(world, target, method="OPTIONS", cookie="BearerToken=x; OauthHMAC=y")
    assert answer.remove == STATUS | {"x-id"}
    assert (answer.cookie, answer.set) == (None, ())
    assert world.counts() == {"oauth_passthrough": 1}


@pytest.mark.parametrize("missing", ["hmac", "token"])
@pytest.mark.parametrize("value", [None, b""])
@pytest.mark.parametrize("target", ["/", "/callback", "/signout"])
def test_without_its_secrets_the_filter_says_503(missing: str, value: bytes | None, target: str) -> None:
    world = World()
    setattr(world.secrets, missing, value)
    answer = refused(world, target)
    assert (answer.status, answer.body) == (503, b"Service Unavailable")
    assert answer.headers == (("content-type", "text/plain"),)
    assert answer.details == "OAuth2 secrets are not ready"
    assert answer.local_reply
    assert world.counts() == {"oauth_failure": 1}


def test_tls_client_authentication_needs_no_client_secret() -> None:
    world = World(config(auth_type="TLS_CLIENT_AUTH"))
    world.secrets.token = None
    assert refused(world, "/").status == 302


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "OPTIONS"])
def test_nobody_is_sent_to_the_provider_whatever_the_method(method: str) -> None:
    world = World()
    assert refused(world, "/", method=method).details == "oauth.missing_credentials"
    assert world.counts() == {"oauth_unauthorized_rq": 1}


def test_deny_redirect_is_a_401() -> None:
    world = World(config(deny_redirect_matcher=(XHR,)))
    answer = refused(world, "/api?x=1", headers=[("x-requested-with", "XMLHttpRequest")])
    assert (answer.status, answer.body, answer.local_reply) == (401, b"OAuth flow failed.", True)
    assert answer.headers == (("content-type", "text/plain"),)
    assert answer.details == "Unauthorized, and redirecting to OAuth server is not allowed: /api?x=1"
    assert world.counts() == {"oauth_failure": 1}


def test_allow_failed_goes_on_without_a_user_and_wins_over_deny_redirect() -> None:
    world = World(config(allow_failed_matcher=(path_is("prefix", "/open"),), deny_redirect_matcher=(XHR,)))
    sent = 'a="1"; BearerToken=x; OauthHMAC=m; OauthNonce.f=1; CodeVerifier=2; IdToken=y; OauthExpires=1; b'
    answer = allowed(world, "/open?q", cookie=sent, headers=[("x-requested-with", "XMLHttpRequest")])
    assert answer.cookie == 'a="1"; b'
    assert answer.remove == {"authorization"}
    assert dict(answer.set) == {
        "x-envoy-oauth-status": "failed",
        "x-envoy-oauth-failure-reason": (
            "Unauthorized, and forwarding as unauthorized because OAuth failure is allowed: /open?q"
        ),
    }
    assert answer.valid_until == 0
    assert world.counts() == {"oauth_allow_failed_passthrough": 1}
    assert allowed(world, "/open").cookie is None
    assert (allowed(world, "/open", cookie="OauthHMAC=x").cookie, answer.keep_empty_cookie) == ("", True)


def test_allow_failed_is_never_for_the_callback() -> None:
    world = World(config(allow_failed_matcher=(path_is("prefix", "/"),)))
    assert refused(world, "/callback").status == 401


def test_a_valid_session_goes_on_with_its_tokens() -> None:
    world = World(config(forward_bearer_token=True, forward_id_token_header="X-Id-Token"))
    world.sign_in()
    world.cookies["app"] = "1"
    before = world.counts()
    answer = allowed(world)
    assert dict(answer.set) == {"authorization": "Bearer the-access-token", "x-id-token": "the-id-token"}
    assert answer.remove == STATUS
    assert answer.cookie == "BearerToken=the-access-token; IdToken=the-id-token; app=1"
    assert answer.valid_until == int(world.now) + 3600
    assert answer.via == "session"
    assert world.counts()["oauth_success"] == before["oauth_success"] + 1
    assert world.counts()["oauth_legacy_cbc_decrypt"] == before["oauth_legacy_cbc_decrypt"] + 3


@pytest.mark.parametrize(
    ("changes", "set_headers", "removed"),
    [
        ({}, {}, {"authorization"}),
        ({"preserve_authorization_header": True}, {}, set()),
        ({"forward_id_token_header": "Authorization"}, {"authorization": "Bearer the-id-token"}, set()),
        ({"forward_id_token_header": "x-id"}, {"x-id": "the-id-token"}, {"authorization"}),
    ],
)
def test_which_tokens_are_forwarded(changes: dict[str, Any], set_headers: dict[str, str], removed: set[str]) -> None:
    world = World(config(**changes))
    world.sign_in()
    answer = allowed(world)
    assert dict(answer.set) == set_headers
    assert answer.remove == STATUS | removed


def test_an_id_token_header_of_the_clients_is_dropped_when_there_is_no_id_token() -> None:
    world = World(config(forward_id_token_header="x-id"))
    world.sign_in(id_token=None)
    answer = allowed(world)
    assert "x-id" in answer.remove
    assert "x-id" in world.filter.request_headers_to_strip()


@pytest.mark.parametrize("header", ["Cookie", "host", ":path", "X-Envoy-OAuth-Status"])
def test_an_id_token_header_that_would_break_the_filter_is_refused(header: str) -> None:
    with pytest.raises(ValueError, match="can not be used to forward the ID token"):
        World(config(forward_id_token_header=header))


@pytest.mark.parametrize("field", ["redirect_uri", "original_request_uri", "post_logout_redirect_uri"])
def test_a_bad_format_string_is_refused_at_once(field: str) -> None:
    with pytest.raises(ValueError, match="NOPE"):
        World(config(**{field: "https://%NOPE%/"}))


def test_without_cleanup_every_cookie_goes_on_and_tokens_are_plain() -> None:
    world = World(oauth2_cleanup_cookies=False)
    world.sign_in()
    cookie = allowed(world).cookie
    assert cookie is not None
    parts = dict(part.split("=", 1) for part in cookie.split("; "))
    assert parts["RefreshToken"] == "the-refresh-token"
    assert parts["OauthHMAC"] == world.cookies["OauthHMAC"]


def test_with_nothing_but_our_cookies_an_empty_cookie_header_is_left() -> None:
    world = World(config(disable_access_token_set_cookie=True, disable_id_token_set_cookie=True))
    world.sign_in()
    answer = allowed(world)
    assert (answer.cookie, answer.keep_empty_cookie) == ("", True)


def test_a_session_is_answered_the_same_while_it_lasts_and_not_after() -> None:
    world = World(config(use_refresh_token=False))
    world.sign_in()
    first = allowed(world)
    assert allowed(world) is first
    world.now = first.valid_until - 0.001
    assert allowed(world) is first
    world.now = first.valid_until
    assert refused(world).details == "oauth.missing_credentials"


def test_a_remembered_session_is_bound_to_its_host_and_its_keys() -> None:
    world = World(config(use_refresh_token=False))
    world.sign_in()
    allowed(world)
    assert refused(world, host="other.example").status == 302
    assert refused(world, host="APP.example").status == 302
    allowed(world)
    world.secrets.hmac = b"rotated"
    assert refused(world).status == 302
    world.secrets.hmac = b"asdf_token_secret_fdsa"
    allowed(world)


def test_a_session_is_bound_to_the_cookie_domain_where_there_is_one() -> None:
    world = World(config(credentials_cookie_domain="example.com"))
    world.sign_in(host="a.example.com")
    assert allowed(world, host="b.example.com").via == "session"


@pytest.mark.parametrize(
    ("matchers", "ordinary", "not_ordinary"),
    [
        ((), ["/", "/page"], ["/callback", "/signout"]),
        ((XHR,), ["/", "/page"], ["/callback"]),
        ((path_is("prefix", "/public"),), ["/", "/page"], ["/public", "/publicly/x"]),
        ((path_is("exact", "/x?y=1"),), ["/", "/x/"], ["/x"]),
        ((path_is("prefix", "/x?y"),), [], ["/", "/x"]),
        ((path_is("suffix", ".css"),), [], ["/", "/a"]),
        ((path_is("prefix", "/public", invert_match=True),), [], ["/", "/a"]),
        ((OPTIONS,), ["/"], []),
        ((header_is(":authority", "x"),), ["/"], []),
    ],
)
def test_which_paths_are_ordinary(
    matchers: tuple[HeaderMatcher, ...], ordinary: list[str], not_ordinary: list[str]
) -> None:
    world = World(config(pass_through_matcher=matchers))
    assert [path for path in ordinary + not_ordinary if world.filter.is_ordinary(path)] == ordinary


def test_a_pass_through_by_path_is_judged_anew_each_time() -> None:
    by_path = World(config(pass_through_matcher=(path_is("prefix", "/public"),)))
    assert allowed(by_path, "/public/x").valid_until == 0
    by_method = World(config(pass_through_matcher=(OPTIONS,)))
    assert allowed(by_method, method="OPTIONS").valid_until == FOREVER
    by_header = World(config(pass_through_matcher=(XHR,)))
    assert allowed(by_header, headers=[("x-requested-with", "XMLHttpRequest")]).valid_until == FOREVER


def test_a_callback_path_needs_no_session_to_be_a_callback() -> None:
    world = World()
    world.sign_in()
    answer = refused(world, "/callback")
    assert answer.details == "Code or state query param does not exist: "
    assert world.counts()["oauth_success"] == 2, "the valid session was counted although the callback failed"


def test_nothing_of_the_session_is_printed() -> None:
    world = World(config(forward_bearer_token=True))
    shown = repr(world.sign_in()) + repr(allowed(world))
    assert "the-access-token" not in shown
    assert world.cookies["OauthHMAC"] not in shown


FIELD = st.text(st.characters(max_codepoint=255, blacklist_characters="\r\n\x00"), max_size=60)


@settings(max_examples=150)
@given(target=FIELD, cookie=FIELD, host=FIELD, path=st.sampled_from(["/", "/callback", "/signout", "/open"]))
def test_nothing_a_client_sends_raises(target: str, cookie: str, host: str, path: str) -> None:
    world = World(config(allow_failed_matcher=(path_is("prefix", "/open"),), end_session_endpoint="https://idp/end"))
    for sent in (cookie, f"OauthNonce={cookie}; CodeVerifier={cookie}; RefreshToken={cookie}; OauthExpires={cookie}"):
        decision = world.filter.decide(world.request(f"{path}?{target}", cookie=sent, host=host), world.now)
        assert isinstance(decision, (Allow, Respond))
        if isinstance(decision, Respond):
            for name, value in decision.headers:
                assert "\n" not in name + value
                assert "\r" not in name + value
                value.encode("latin-1")


def test_every_redirect_begins_a_new_sign_in() -> None:
    world = World()
    first = refused(world)
    second = refused(world)
    assert cookie_names(first)[0] != cookie_names(second)[0]
    assert location(first) != location(second)
