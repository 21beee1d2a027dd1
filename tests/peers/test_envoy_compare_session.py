"""A session comes back: opened, refreshed, ended, and carried from one proxy to the other
(reference sections 3.5 to 3.7 and 5)."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from peers import sealed
from peers.client import Client
from peers.compare import Case, Pairs, compare, compare_access_logs, refused
from peers.recorders import Answer, tokens
from peers.same_yaml import HMAC_SECRET, HOST, Tree, bootstrap, header, oauth2_config, route

pytestmark = pytest.mark.peer

NEW = {"access_token": "access-2", "expires_in": 1800, "id_token": "id-2", "refresh_token": "refresh-2"}


def _config(**changes: Any) -> Callable[[], Tree]:
    return lambda: bootstrap(oauth2=oauth2_config(**changes))


def _gcm() -> Tree:
    return bootstrap(oauth2=oauth2_config(), runtime={"envoy.reloadable_features.oauth2_use_gcm_encryption": True})


def _kept_cookies() -> Tree:
    return bootstrap(oauth2=oauth2_config(), runtime={"envoy.reloadable_features.oauth2_cleanup_cookies": False})


END_SESSION = "https://idp.example.com/logout"

CONFIGS: dict[str, Callable[[], Tree]] = {
    "plain": _config(),
    "gcm": _gcm,
    "kept-cookies": _kept_cookies,
    "unencrypted": _config(disable_token_encryption=True),
    "no-bearer": _config(forward_bearer_token=False),
    "preserve": _config(forward_bearer_token=False, preserve_authorization_header=True),
    "id-header": _config(forward_id_token={"header": "X-Id-Token"}),
    "id-authorization": _config(forward_bearer_token=False, forward_id_token={"header": "Authorization"}),
    "named": _config(
        credentials={
            "cookie_domain": "example.com",
            "cookie_names": {"bearer_token": "AT", "oauth_hmac": "__Secure-MAC", "refresh_token": "RT"},
        },
        cookie_configs={"bearer_token_cookie_config": {"path": "/app", "same_site": "LAX"}},
    ),
    "rules": _config(
        deny_redirect_matcher=[header("x-requested-with", exact="XMLHttpRequest")],
        allow_failed_matcher=[header(":path", prefix="/optional")],
    ),
    "basic": _config(auth_type="BASIC_AUTH"),
    "tls-auth": _config(auth_type="TLS_CLIENT_AUTH"),
    "no-refresh": _config(use_refresh_token=False),
    "end-session": _config(end_session_endpoint=END_SESSION),
    "end-session-custom": _config(
        end_session_endpoint=END_SESSION, post_logout_redirect_uri={"uri": "https://%REQ(:authority)%/bye bye?x=1"}
    ),
    "end-session-off": _config(end_session_endpoint=END_SESSION, post_logout_redirect_uri={"disabled": True}),
    "rewritten-host": lambda: bootstrap(
        oauth2=oauth2_config(), routes=[route(host_rewrite_literal="internal.example", prefix_rewrite="/inner")]
    ),
    "direct": lambda: bootstrap(
        oauth2=oauth2_config(),
        routes=[{"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "direct"}}}],
    ),
}


def _session(
    *headers: tuple[str, str],
    target: str = "/page",
    method: str = "GET",
    body: bytes = b"",
    also: str = "",
    **session: Any,
) -> Callable[[Client], None]:
    """A request with a session made elsewhere; `also` are more cookies."""

    def script(client: Client) -> None:
        client.session(**session)
        line = "; ".join([*(f"{k}={v}" for k, v in client.jar.items()), *([also] if also else [])])
        client.send(method, target, *headers, body=body, cookie=line)

    return script


def _expires(text: str) -> Callable[[Client], None]:
    return _session(expires=text)


def _soon(seconds: int) -> Callable[[Client], None]:
    return lambda client: _session(expires=str(int(time.time()) + seconds), refresh="")(client)


def _changed(kind: str, value: str | None) -> Callable[[Client], None]:
    def script(client: Client) -> None:
        client.session()
        name = client.names[kind]
        if value is None:
            client.jar.pop(name)
        else:
            client.jar[name] = value
        client.send("GET", "/page")

    return script


def _lone_refresh_token(client: Client) -> None:
    """What is left of a session when the browser has dropped what expired."""
    client.jar["RefreshToken"] = sealed.encrypt_cbc(f"lone-{client.case}", HMAC_SECRET)
    client.send("GET", "/page")


def _two_cookie_lines(client: Client) -> None:
    client.session()
    first, *rest = [f"{k}={v}" for k, v in client.jar.items()]
    client.send("GET", "/page", ("cookie", first), ("cookie", "app=1"), cookie="; ".join(rest))


def _only_session_cookies(client: Client) -> None:
    client.session(access="", identity="")
    client.send("GET", "/page")


def _refresh(
    answer: Answer,
    *headers: tuple[str, str],
    target: str = "/page",
    method: str = "GET",
    body: bytes = b"",
    app: Answer | None = None,
    then: str = "",
    **session: Any,
) -> Callable[[Client], None]:
    """A request with an expired session and a refresh token of its own (Ostiary remembers the used ones)."""

    def script(client: Client) -> None:
        client.session(**{"refresh": f"refresh-of-{client.case}", "expires": str(int(time.time()) - 5)} | session)
        client.idp.script.append(answer)
        if app is not None:
            client.app.script.append(app)
        client.send(method, target, *headers, body=body)
        if then:
            client.send("GET", then)

    return script


def _sign_out(*names: str, target: str = "/signout", method: str = "GET") -> Callable[[Client], None]:
    def script(client: Client) -> None:
        if "session" in names:
            client.session()
        if "flow" in names:
            client.flow_cookies("https://app.example.com/")
        client.send(method, target)

    return script


XHR = ("x-requested-with", "XMLHttpRequest")

SESSION_CASES = [
    Case("opens", "plain", _session()),
    Case("opens-gcm", "plain", _session(mode="gcm")),
    Case("opens-plain-text", "plain", _session(mode="plain")),
    Case("opens-unencrypted", "unencrypted", _session(mode="plain")),
    Case("opens-legacy-hmac", "plain", _session(legacy=True)),
    Case("opens-with-refresh", "plain", _session(refresh="refresh-1")),
    Case("opens-cbc-where-gcm", "gcm", _session(mode="cbc")),
    Case("opens-named", "named", _session()),
    Case("opens-without-tokens", "plain", _only_session_cookies),
    Case("opens-post", "plain", _session(method="POST", body=b"x" * 5000)),
    Case("app-cookies-stay", "plain", _session(also="theme=dark; a=1=2")),
    Case("flow-cookies-removed", "plain", _session(also="OauthNonce.00000000075bcd15=x; CodeVerifier=y; OauthNonce=z")),
    Case("cookies-kept", "kept-cookies", _session(refresh="r", also="theme=dark")),
    Case("two-cookie-lines", "plain", _two_cookie_lines),
    Case("authorization-replaced", "plain", _session(("authorization", "Basic abc"), ("Authorization", "Basic def"))),
    Case("authorization-removed", "no-bearer", _session(("authorization", "Basic abc"))),
    Case("authorization-preserved", "preserve", _session(("authorization", "Basic abc"))),
    Case("id-token-header", "id-header", _session(("x-id-token", "spoofed"))),
    Case("id-token-header-none", "id-header", _session(("x-id-token", "spoofed"), identity="")),
    Case("id-token-authorization", "id-authorization", _session(("authorization", "Basic abc"))),
    Case(
        "status-headers-removed",
        "plain",
        _session(("x-envoy-oauth-status", "x"), ("x-envoy-oauth-failure-reason", "y")),
    ),
    Case("host-other", "plain", _session(domain="other.example.com")),
    Case("host-case", "plain", _session(domain=HOST.upper())),
    Case("host-rewritten", "rewritten-host", _session(target="/page?x=1")),
    Case("secret-other", "plain", _session(secret="another-secret-0123456789")),
    Case("hmac-missing", "plain", _changed("oauth_hmac", None)),
    Case("hmac-wrong", "plain", _changed("oauth_hmac", "A" * 43 + "=")),
    Case("hmac-not-base64", "plain", _changed("oauth_hmac", "%%%")),
    Case("expires-missing", "plain", _changed("oauth_expires", None)),
    Case("token-changed", "plain", _changed("bearer_token", "changed")),
    Case("token-missing", "plain", _changed("id_token", None)),
    Case("token-added", "plain", _changed("refresh_token", "added")),
    Case("expired", "plain", _soon(-1)),
    Case("expires-padded", "plain", _expires("0009999999999")),
    Case("expires-plus", "plain", _expires("+9999999999")),
    Case("expires-junk", "plain", _expires("9999999999x")),
    Case("expires-float", "plain", _expires("9999999999.5")),
    Case("expires-hex", "plain", _expires("0xffffffff")),
    Case("expires-negative", "plain", _expires("-1")),
    Case("expires-2-63", "plain", _expires(str(2**63))),
    Case("expires-2-64", "plain", _expires(str(2**64))),
    Case("expires-empty", "plain", _expires("")),
]

REFRESH_CASES = [
    Case("refresh", "plain", _refresh(tokens(**NEW), then="/page")),
    Case("refresh-gcm", "gcm", _refresh(tokens(**NEW), mode="gcm", then="/page")),
    Case("refresh-basic", "basic", _refresh(tokens(**NEW), refresh="b+e/f=r&e%s")),
    Case("refresh-lone-token", "plain", _lone_refresh_token),
    Case("refresh-encoding", "plain", _refresh(tokens(**NEW), refresh="r+e/f=r&e:s?h")),
    Case("refresh-tls-auth", "tls-auth", _refresh(tokens(**NEW))),
    Case("refresh-named", "named", _refresh(tokens(**NEW), then="/page")),
    Case("refresh-id-header", "id-header", _refresh(tokens(**NEW), ("x-id-token", "spoofed"))),
    Case("refresh-keeps-old-refresh-token", "plain", _refresh(tokens(access_token="a", expires_in=600, id_token="i"))),
    Case("refresh-post-body", "plain", _refresh(tokens(**NEW), method="POST", body=b"b" * 100_000)),
    Case("refresh-app-error", "plain", _refresh(tokens(**NEW), app=Answer(500, (("set-cookie", "mine=1"),), b"oops"))),
    Case("refresh-direct-response", "direct", _refresh(tokens(**NEW))),
    Case("refresh-rewritten-host", "rewritten-host", _refresh(tokens(**NEW), then="/page")),
    Case("refresh-refused", "plain", _refresh(refused())),
    Case("refresh-refused-500", "plain", _refresh(refused(500))),
    Case("refresh-refused-xhr", "rules", _refresh(refused(), XHR)),
    Case("refresh-refused-allowed", "rules", _refresh(refused(), target="/optional")),
    Case("refresh-off", "no-refresh", _refresh(tokens(**NEW))),
    Case("refresh-not-json", "plain", _refresh(Answer(body=b"<html>"))),
    Case("refresh-no-access-token", "plain", _refresh(tokens(expires_in=60))),
    Case("refresh-not-json-allowed", "rules", _refresh(Answer(body=b"<html>"), target="/optional")),
    Case("refresh-on-callback-path", "plain", _refresh(tokens(**NEW), target="/callback?code=c&state=junk")),
]

SIGN_OUT_CASES = [
    Case("sign-out", "plain", _sign_out("session")),
    Case("sign-out-without-cookies", "plain", _sign_out()),
    Case("sign-out-flow-cookies", "plain", _sign_out("session", "flow")),
    Case("sign-out-query", "plain", _sign_out("session", target="/signout?x=1")),
    Case("sign-out-post", "plain", _sign_out("session", method="POST")),
    Case("sign-out-slash-is-another-page", "plain", _sign_out(target="/signout/")),
    Case("sign-out-case-is-another-page", "plain", _sign_out(target="/Signout")),
    Case("sign-out-named", "named", _sign_out("session", "flow")),
    Case("end-session", "end-session", _sign_out("session")),
    Case("end-session-custom", "end-session-custom", _sign_out("session")),
    Case("end-session-without-return", "end-session-off", _sign_out("session")),
]

CASES = SESSION_CASES + REFRESH_CASES + SIGN_OUT_CASES


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_same_as_envoy(case: Case, fleet: Pairs, tally: Counter[str]) -> None:
    compare(case, fleet, tally)


@pytest.mark.parametrize("config", ["plain", "gcm", "unencrypted", "named"])
@pytest.mark.parametrize("maker", [0, 1], ids=["envoy-to-ostiary", "ostiary-to-envoy"])
def test_a_session_made_by_one_opens_at_the_other(config: str, maker: int, fleet: Pairs) -> None:
    pair = fleet.pair(config)
    one, other = pair.sides[maker], pair.sides[1 - maker]
    browser = Client(one, "made-here", pair.names, pair.domain)
    assert browser.sign_in("/page").status == 302
    elsewhere = Client(other, "used-there", pair.names, pair.domain)
    elsewhere.jar = browser.jar
    assert elsewhere.send("GET", "/page").status == 200
    assert elsewhere.seen["1.app.0.headers.authorization"] == ["Bearer access-1"]


@pytest.mark.parametrize("config", ["plain", "gcm"])
@pytest.mark.parametrize("starter", [0, 1], ids=["envoy-to-ostiary", "ostiary-to-envoy"])
def test_a_sign_in_begun_at_one_ends_at_the_other(config: str, starter: int, fleet: Pairs) -> None:
    pair = fleet.pair(config)
    one, other = pair.sides[starter], pair.sides[1 - starter]
    browser = Client(one, "begun-here", pair.names, pair.domain)
    flow = browser.start("/page?x=1")
    elsewhere = Client(other, "ended-there", pair.names, pair.domain)
    elsewhere.jar = browser.jar
    back = elsewhere.callback(flow)
    assert (back.status, back.get("location")) == (302, "http://app.example.com/page?x=1")


def test_access_logs_agree(fleet: Pairs, tally: Counter[str]) -> None:
    compare_access_logs(fleet, tally)
