"""Coming back from the provider: what is checked in which order, the token request, the session that is set
(reference sections 3.4 and 4)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from peers import sealed
from peers.client import Client
from peers.compare import Case, Pairs, compare, compare_access_logs, refused
from peers.normal import IN_A_DAY
from peers.recorders import Answer, tokens
from peers.same_yaml import HMAC_SECRET, TOKEN_SECRET, Tree, bootstrap, cluster, header, oauth2_config, secret

pytestmark = pytest.mark.peer

PAGE = "https://app.example.com/page?x=1"
HARD_SECRET = "s+e&c=r:e/t?~%41 #;"


def _config(**changes: Any) -> Callable[[], Tree]:
    return lambda: bootstrap(oauth2=oauth2_config(**changes))


def _hard_secret(auth_type: str) -> Callable[[], Tree]:
    return lambda: bootstrap(
        oauth2=oauth2_config(auth_type=auth_type, credentials={"client_id": "cl+i:e/n?t"}),
        secrets=[secret("token", HARD_SECRET), secret("hmac", HMAC_SECRET)],
    )


def _private_key_jwt() -> Tree:
    pem = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return bootstrap(
        oauth2=oauth2_config(auth_type="PRIVATE_KEY_JWT", private_key_jwt_config={"assertion_lifetime": "100s"}),
        secrets=[secret("token", pem.decode()), secret("hmac", HMAC_SECRET)],
    )


def _gcm() -> Tree:
    return bootstrap(oauth2=oauth2_config(), runtime={"envoy.reloadable_features.oauth2_use_gcm_encryption": True})


def _gcm_only() -> Tree:
    flags = {
        "envoy.reloadable_features.oauth2_use_gcm_encryption": True,
        "envoy.reloadable_features.oauth2_legacy_cbc_decrypt_compat": False,
    }
    return bootstrap(oauth2=oauth2_config(), runtime=flags)


def _dead() -> Tree:
    dead = cluster("dead", 1, connect_timeout="1s")
    return bootstrap(oauth2=oauth2_config(token_endpoint={"cluster": "dead"}), clusters=[dead])


CONFIGS: dict[str, Callable[[], Tree]] = {
    "plain": _config(),
    "gcm": _gcm,
    "gcm-only": _gcm_only,
    "unencrypted": _config(disable_token_encryption=True),
    "basic": _config(auth_type="BASIC_AUTH"),
    "hard-body": _hard_secret("URL_ENCODED_BODY"),
    "hard-basic": _hard_secret("BASIC_AUTH"),
    "tls-auth": _config(auth_type="TLS_CLIENT_AUTH"),
    "key-jwt": _private_key_jwt,
    "domains": _config(allowed_redirect_domains=["app.example.com", "*.pub.example.com"]),
    "defaults": _config(default_expires_in="1800s", default_refresh_token_expires_in="7200s"),
    "no-refresh": _config(use_refresh_token=False),
    "no-cookies": _config(disable_id_token_set_cookie=True, disable_access_token_set_cookie=True),
    "attributes": _config(
        credentials={
            "cookie_domain": "example.com",
            "cookie_names": {
                "bearer_token": "AT",
                "oauth_hmac": "__Secure-MAC",
                "oauth_expires": "EXP",
                "id_token": "IDT",
            },
        },
        cookie_configs={
            "bearer_token_cookie_config": {"same_site": "LAX", "path": "/app"},
            "oauth_hmac_cookie_config": {"same_site": "STRICT"},
            "id_token_cookie_config": {"same_site": "NONE", "partitioned": True},
            "refresh_token_cookie_config": {"path": "/x"},
        },
    ),
    "id-expiry": _config(use_access_token_expiry_for_id_token_cookie=True),
    "token-url": _config(token_endpoint={"uri": "http://h.example:8080/t/?tenant=1"}),
    "short-timeout": _config(token_endpoint={"timeout": "0.3s"}),
    "retries": _config(retry_policy={"num_retries": 2, "retry_back_off": {"base_interval": "0.01s"}}),
    "dead": _dead,
    "deny": _config(deny_redirect_matcher=[header("x-requested-with", exact="XMLHttpRequest")]),
}


def _sign_in(answer: Answer | None = None, *, code: str = "code-1", then: str = "") -> Callable[[Client], None]:
    def script(client: Client) -> None:
        flow = client.start("/page?x=1")
        if answer is not None:
            client.idp.script.append(answer)
        client.callback(flow, code=code)
        if then:
            client.send("GET", then)

    return script


def _callback(query: str, *, url: str = PAGE, cookie: str | None = None) -> Callable[[Client], None]:
    """A callback with a flow that was started elsewhere; `{state}` is its state."""

    def script(client: Client) -> None:
        flow = client.flow_cookies(url)
        client.send("GET", "/callback" + query.replace("{state}", flow.state), cookie=cookie)

    return script


def _state_of(document: str) -> Callable[[Client], None]:
    return _callback(f"?code=c&state={sealed.b64url(document.encode())}")


def _changed_cookie(name: str, value: str | None) -> Callable[[Client], None]:
    def script(client: Client) -> None:
        flow = client.start("/page")
        full = name.replace("<flow>", flow.flow_id)
        if value is None:
            client.jar.pop(full)
        else:
            client.jar[full] = value
        client.callback(flow)

    return script


def _legacy_cookies_only(client: Client) -> None:
    flow = client.start("/page")
    for name in [n for n in client.jar if n.endswith("." + flow.flow_id)]:
        del client.jar[name]
    client.callback(flow)


def _without_flow_id(client: Client) -> None:
    flow = client.flow_cookies(PAGE, flow_id="")
    client.callback(flow)


def _duplicate_nonce(client: Client) -> None:
    flow = client.flow_cookies(PAGE)
    line = "; ".join(f"{k}={v}" for k, v in client.jar.items())
    client.send("GET", f"/callback?code=c&state={flow.state}", cookie=f"OauthNonce.{flow.flow_id}=junk; {line}")


def _quoted_cookies(client: Client) -> None:
    flow = client.flow_cookies(PAGE)
    line = "; ".join(f'{k}="{v}"' for k, v in client.jar.items())
    client.send("GET", f"/callback?code=c&state={flow.state}", cookie=line)


def _parallel_tabs(client: Client) -> None:
    first, second = client.start("/one"), client.start("/two")
    client.callback(first)
    client.callback(second)


def _post_callback(client: Client) -> None:
    flow = client.flow_cookies(PAGE)
    client.send("POST", f"/callback?code=c&state={flow.state}", body=b"a=1")


def _old_cookies_deleted(client: Client) -> None:
    flow = client.start("/page")
    client.jar |= {"IdToken": "old", "RefreshToken": "old"}
    client.idp.script.append(tokens(access_token="a", expires_in=60))
    client.callback(flow)


def _race(client: Client) -> None:
    client.session()
    flow = client.flow_cookies(PAGE)
    client.callback(flow)


def _signed_in_bad_csrf(client: Client) -> None:
    client.session()
    flow = client.flow_cookies(PAGE)
    client.jar[f"OauthNonce.{flow.flow_id}"] = "junk"
    client.callback(flow)


def _signed_in_state_is_callback(client: Client) -> None:
    client.session()
    flow = client.flow_cookies("https://app.example.com/callback?x=1")
    client.callback(flow)


def _signed_in_without_query(client: Client) -> None:
    client.session()
    client.send("GET", "/callback")


def _expires(value: object) -> Callable[[Client], None]:
    return _sign_in(Answer(body=b'{"access_token":"a","expires_in":%s}' % str(value).encode()))


def _body(text: str, status: int = 200) -> Callable[[Client], None]:
    return _sign_in(Answer(status, (("content-type", "text/html"),), text.encode()))


CALLBACK_CASES = [
    Case("error", "plain", _callback("?error=access_denied&error_description=no&state={state}")),
    Case("error-empty", "plain", _callback("?error=&code=c&state={state}")),
    Case("error-without-state", "plain", _callback("?error=access_denied")),
    Case("no-query", "plain", _callback("")),
    Case("code-missing", "plain", _callback("?state={state}")),
    Case("state-missing", "plain", _callback("?code=c")),
    Case("code-empty", "plain", _callback("?code=&state={state}")),
    Case("code-verbatim", "plain", _callback("?code=co%2Bde%20x;b&state={state}")),
    Case("first-value-wins", "plain", _callback("?code=first&code=second&state={state}&state=junk")),
    Case("state-padded", "plain", _callback("?code=c&state={state}=")),
    Case("state-percent-encoded", "plain", _callback("?code=c&state=%65{state}")),
    Case("state-not-base64", "plain", _callback("?code=c&state=%%%")),
    Case("state-not-json", "plain", _state_of("hello")),
    Case("state-without-url", "plain", _state_of('{"csrf_token":"x"}')),
    Case("state-without-csrf", "plain", _state_of('{"url":"https://app.example.com/"}')),
    Case(
        "state-csrf-foreign", "plain", _state_of('{"url":"https://app.example.com/","csrf_token":"a.b","flow_id":""}')
    ),
    Case("url-relative", "plain", _callback("?code=c&state={state}", url="/page")),
    Case("url-javascript", "plain", _callback("?code=c&state={state}", url="javascript:alert(1)")),
    Case("url-scheme-relative", "plain", _callback("?code=c&state={state}", url="//evil.example/")),
    Case("url-domain-refused", "domains", _callback("?code=c&state={state}", url="https://evil.example/")),
    Case("url-domain-wildcard", "domains", _callback("?code=c&state={state}", url="https://a.pub.example.com/x")),
    Case("no-cookies-at-all", "plain", _callback("?code=c&state={state}", cookie="")),
    Case("nonce-suffixed-wrong", "plain", _changed_cookie("OauthNonce.<flow>", "junk")),
    Case("nonce-legacy-wrong", "plain", _changed_cookie("OauthNonce", "junk")),
    Case("nonce-duplicate", "plain", _duplicate_nonce),
    Case("cookies-quoted", "plain", _quoted_cookies),
    Case("legacy-cookies-only", "plain", _legacy_cookies_only),
    Case("no-flow-id", "plain", _without_flow_id),
    Case("verifier-suffixed-missing", "plain", _changed_cookie("CodeVerifier.<flow>", None)),
    Case("verifier-junk", "plain", _changed_cookie("CodeVerifier.<flow>", "junk")),
    Case("verifier-plain-text", "plain", _changed_cookie("CodeVerifier.<flow>", "v" * 43)),
    Case("verifier-gcm-junk", "plain", _changed_cookie("CodeVerifier.<flow>", "gcm." + "A" * 60)),
    Case("verifier-cbc-where-gcm-only", "gcm-only", _callback("?code=c&state={state}")),
    Case("parallel-tabs", "plain", _parallel_tabs),
    Case("callback-by-post", "plain", _post_callback),
    Case("race", "plain", _race),
    Case("signed-in-bad-csrf", "plain", _signed_in_bad_csrf),
    Case("signed-in-state-is-callback", "plain", _signed_in_state_is_callback),
    Case("signed-in-without-query", "plain", _signed_in_without_query),
    Case("callback-xhr-denied", "deny", _callback("?code=c&state=junk")),
]

TOKEN_CASES = [
    Case("sign-in", "plain", _sign_in(then="/page?x=1")),
    Case("sign-in-gcm", "gcm", _sign_in(then="/page")),
    Case("sign-in-gcm-only", "gcm-only", _sign_in(then="/page")),
    Case("sign-in-unencrypted", "unencrypted", _sign_in(then="/page")),
    Case("sign-in-basic", "basic", _sign_in()),
    Case("sign-in-tls-auth", "tls-auth", _sign_in()),
    Case("sign-in-key-jwt", "key-jwt", _sign_in()),
    Case("sign-in-no-refresh", "no-refresh", _sign_in()),
    Case("sign-in-no-cookies", "no-cookies", _sign_in(then="/page")),
    Case("sign-in-attributes", "attributes", _sign_in(then="/page")),
    Case("secret-encoding-body", "hard-body", _sign_in()),
    Case("secret-encoding-basic", "hard-basic", _sign_in()),
    Case("token-url-with-port-and-query", "token-url", _sign_in()),
    Case("old-cookies-deleted", "plain", _old_cookies_deleted),
    Case("expires-string", "plain", _expires('"3600"')),
    Case("expires-float", "plain", _expires("3600.0")),
    Case("expires-exponent", "plain", _expires("1e3")),
    Case("expires-fraction", "plain", _expires("3600.5")),
    Case("expires-negative", "plain", _expires("-5")),
    Case("expires-zero", "plain", _expires("0")),
    Case("expires-true", "plain", _expires("true")),
    Case("expires-word", "plain", _expires('"abc"')),
    Case("expires-null", "plain", _expires("null")),
    Case("expires-missing", "plain", _sign_in(tokens(access_token="a"))),
    Case("expires-missing-default", "defaults", _sign_in(tokens(access_token="a", refresh_token="r"))),
    Case("access-missing", "plain", _sign_in(tokens(expires_in=60))),
    Case("access-null", "plain", _sign_in(tokens(access_token=None, expires_in=60))),
    Case("access-empty", "plain", _sign_in(tokens(access_token="", expires_in=600), then="/page")),
    Case("access-number", "plain", _sign_in(tokens(access_token=5, expires_in=60))),
    Case("camel-case", "plain", _body('{"accessToken":"a","expiresIn":"600","idToken":"i"}')),
    Case("duplicate-key", "plain", _body('{"access_token":"a","access_token":"b","expires_in":600}')),
    Case("unknown-members", "plain", _body('{"access_token":"a","expires_in":600,"x":{"y":[1]}}')),
    Case("body-empty", "plain", _body("")),
    Case("body-html", "plain", _body("<html>")),
    Case("body-list", "plain", _body("[]")),
    Case("body-null", "plain", _body("null")),
    Case("status-201", "plain", _body('{"access_token":"a","expires_in":600}', 201)),
    Case("status-302", "plain", _body("", 302)),
    Case("status-400", "plain", _sign_in(refused())),
    Case("status-500", "plain", _sign_in(refused(500))),
    Case(
        "id-token-lifetime",
        "plain",
        _sign_in(tokens(access_token="a", expires_in=600, id_token=sealed.jwt(exp=IN_A_DAY))),
    ),
    Case(
        "id-token-expired", "plain", _sign_in(tokens(access_token="a", expires_in=600, id_token=sealed.jwt(exp=1000)))
    ),
    Case(
        "id-token-exp-string",
        "plain",
        _sign_in(tokens(access_token="a", expires_in=600, id_token=sealed.jwt(exp=str(IN_A_DAY)))),
    ),
    Case(
        "id-token-like-access-token",
        "id-expiry",
        _sign_in(tokens(access_token="a", expires_in=600, id_token=sealed.jwt(exp=IN_A_DAY))),
    ),
    Case(
        "refresh-token-lifetime",
        "plain",
        _sign_in(tokens(access_token="a", expires_in=600, refresh_token=sealed.jwt(exp=IN_A_DAY))),
    ),
    Case("provider-slow", "short-timeout", _sign_in(Answer(delay=0.8, body=b"{}"))),
    Case("provider-closes", "plain", _sign_in(Answer(raw=b"", close=True))),
    Case("provider-dead", "dead", _sign_in()),
    Case("provider-retried", "retries", _sign_in(refused(503))),
]

CASES = CALLBACK_CASES + TOKEN_CASES


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_same_as_envoy(case: Case, fleet: Pairs, tally: Counter[str]) -> None:
    compare(case, fleet, tally)


def test_access_logs_agree(fleet: Pairs, tally: Counter[str]) -> None:
    compare_access_logs(fleet, tally)


def test_the_client_secret_of_the_comparisons_is_in_no_log(fleet: Pairs) -> None:
    for pair in fleet.pairs.values():
        ostiary = pair.sides[1]
        assert TOKEN_SECRET not in ostiary.proxy.output()
        assert HMAC_SECRET not in ostiary.proxy.output()
