"""Nobody is signed in: who is redirected, refused, let pass, and with what (reference sections 2, 3.1 to 3.3, 3.8)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from peers.client import Client, asking
from peers.compare import Case, Pairs, compare, compare_access_logs
from peers.same_yaml import (
    OAUTH2,
    PER_ROUTE_TYPE,
    Tree,
    bootstrap,
    filters,
    header,
    oauth2_config,
    path_exact,
    route,
    secret,
)

pytestmark = pytest.mark.peer

HTTPS = ("x-forwarded-proto", "https")
OWN_PARAMETERS = "https://idp.example.com/authorize?zebra=1&dup=1&dup=2&client_id=mine&prompt=log%69n&audience=a%20b"


def _config(**changes: object) -> Callable[[], Tree]:
    return lambda: bootstrap(oauth2=oauth2_config(**changes))


def _rules() -> Tree:
    return bootstrap(
        oauth2=oauth2_config(
            pass_through_matcher=[
                header(":path", prefix="/public"),
                header("authorization", prefix="Token "),
                header(":method", exact="OPTIONS"),
            ],
            deny_redirect_matcher=[header("x-requested-with", exact="XMLHttpRequest"), header(":path", prefix="/both")],
            allow_failed_matcher=[header(":path", prefix="/optional"), header(":path", prefix="/both")],
            forward_id_token={"header": "x-id-token"},
        )
    )


def _per_route() -> Tree:
    other = oauth2_config(
        credentials={"client_id": "route-client"},
        auth_scopes=["email"],
        stat_prefix="routed",
        forward_bearer_token=False,
    )
    routes = [
        route("/other") | {"typed_per_filter_config": {OAUTH2: {"@type": PER_ROUTE_TYPE, "config": other}}},
        route("/open")
        | {
            "typed_per_filter_config": {
                OAUTH2: {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "disabled": True}
            }
        },
        {"match": {"prefix": "/direct"}, "direct_response": {"status": 200, "body": {"inline_string": "direct"}}},
        route(),
    ]
    return bootstrap(oauth2=oauth2_config(stat_prefix="main"), routes=routes)


def _no_config() -> Tree:
    routes = [
        route("/signed") | {"typed_per_filter_config": {OAUTH2: {"@type": PER_ROUTE_TYPE, "config": oauth2_config()}}},
        route(),
    ]
    return bootstrap(routes=routes, http_filters=filters({}))


CONFIGS: dict[str, Callable[[], Tree]] = {
    "plain": _config(),
    "rules": _rules,
    "per-route": _per_route,
    "no-config": _no_config,
    "parameters": _config(
        authorization_endpoint=OWN_PARAMETERS,
        auth_scopes=["openid", "a/b:c", "ä~*"],
        resources=["https://api.example.com/v1?x=1", "urn:second"],
        credentials={"client_id": "c l+i&e=nt"},
    ),
    "bare-endpoint": _config(authorization_endpoint="https://idp.example.com", auth_scopes=None),
    "forwarded-proto": _config(
        redirect_uri="%REQ(x-forwarded-proto)%://%REQ(:authority)%/callback",
        original_request_uri="https://front.example",
    ),
    "cookies": _config(
        credentials={
            "cookie_domain": ".example.com",
            "cookie_names": {"oauth_nonce": "__Secure-Nonce", "code_verifier": "My.Verifier"},
        },
        csrf_token_expires_in="200.9s",
        code_verifier_token_expires_in="300s",
        cookie_configs={
            "oauth_nonce_cookie_config": {"same_site": "STRICT", "path": "/callback"},
            "code_verifier_cookie_config": {"same_site": "NONE", "partitioned": True},
        },
    ),
    "domains": _config(allowed_redirect_domains=["app.example.com", "*.pub.example.com"]),
    "redirect-domain": _config(
        allowed_redirect_domains=["app.example.com"], redirect_uri="https://elsewhere.example/callback"
    ),
    "empty-secret": lambda: bootstrap(
        oauth2=oauth2_config(), secrets=[secret("token", ""), secret("hmac", "0123456789abcdef")]
    ),
    "gcm": lambda: bootstrap(
        oauth2=oauth2_config(), runtime={"envoy.reloadable_features.oauth2_use_gcm_encryption": True}
    ),
    "path-matchers": _config(
        redirect_path_matcher={"path": {"exact": None, "prefix": "/cb", "ignore_case": True}},
        signout_path={"path": {"exact": None, "safe_regex": {"regex": "/(out|bye)"}}},
    ),
    "same-path": _config(signout_path=path_exact("/callback")),
}


def _twice(client: Client) -> None:
    client.start("/first")
    client.start("/second")


CASES = [
    Case("get", "plain", asking("/page")),
    Case("get-query", "plain", asking("/page?a=1&b=%20x&c=a+b")),
    Case("get-https", "plain", asking("/page", HTTPS)),
    Case("proto-upper", "plain", asking("/page", ("x-forwarded-proto", "HTTPS"))),
    Case("head", "plain", asking("/page", method="HEAD")),
    Case("options", "plain", asking("/page", method="OPTIONS")),
    Case("post", "plain", asking("/page", method="POST", body=b"x=1")),
    Case("quotes-in-path", "plain", asking('/a"b\\c')),
    Case("encoded-path", "plain", asking("/%2e%2E/%41?x=%C3%A4")),
    Case("host-with-port", "plain", asking("/page", host="app.example.com:8443")),
    Case("host-upper-case", "plain", asking("/page", host="APP.example.com")),
    Case("each-redirect-is-a-new-flow", "plain", _twice),
    Case("junk-nonce-cookie", "plain", asking("/page", cookie="OauthNonce=junk; OauthNonce.zz=1; CodeVerifier=x")),
    Case("bearer-header-is-no-session", "plain", asking("/page", ("authorization", "Bearer abc"))),
    Case("token-in-query-is-no-session", "plain", asking("/page?token=abc&access_token=abc")),
    Case("own-parameters", "parameters", asking("/page")),
    Case("endpoint-without-path", "bare-endpoint", asking("/page")),
    Case("redirect-uri-from-proto", "forwarded-proto", asking("/page?x=1", HTTPS)),
    Case("redirect-uri-proto-missing", "forwarded-proto", asking("/page")),
    Case("flow-cookie-attributes", "cookies", asking("/page")),
    Case("gcm-flow-cookies", "gcm", asking("/page")),
    Case("domain-allowed", "domains", asking("/page", HTTPS)),
    Case("domain-wildcard", "domains", asking("/page", HTTPS, host="a.pub.example.com")),
    Case("domain-wildcard-needs-a-label", "domains", asking("/page", HTTPS, host="pub.example.com")),
    Case("domain-with-port", "domains", asking("/page", HTTPS, host="app.example.com:444")),
    Case("domain-case", "domains", asking("/page", HTTPS, host="APP.EXAMPLE.COM")),
    Case("domain-refused", "domains", asking("/page", HTTPS, host="evil.example")),
    Case("redirect-uri-domain-refused", "redirect-domain", asking("/page", HTTPS)),
    Case("secret-empty", "empty-secret", asking("/page")),
    Case("secret-empty-signout", "empty-secret", asking("/signout")),
    Case(
        "pass-through-path", "rules", asking("/public/x", ("authorization", "Basic abc"), cookie="BearerToken=b; a=1")
    ),
    Case("pass-through-header", "rules", asking("/private", ("authorization", "Token t"))),
    Case("pass-through-method", "rules", asking("/private", method="OPTIONS")),
    Case("pass-through-is-raw-path", "rules", asking("/x/../public/y")),
    Case(
        "pass-through-strips-spoofed",
        "rules",
        asking(
            "/public", ("x-envoy-oauth-status", "ok"), ("X-Envoy-OAuth-Failure-Reason", "none"), ("x-id-token", "t")
        ),
    ),
    Case("deny-redirect", "rules", asking("/api", ("x-requested-with", "XMLHttpRequest"))),
    Case(
        "deny-redirect-post", "rules", asking("/api", ("x-requested-with", "XMLHttpRequest"), method="POST", body=b"a")
    ),
    Case("deny-redirect-head", "rules", asking("/api", ("x-requested-with", "XMLHttpRequest"), method="HEAD")),
    Case("allow-failed", "rules", asking("/optional/page?x=1")),
    Case(
        "allow-failed-strips",
        "rules",
        asking(
            "/optional",
            ("authorization", "Bearer x"),
            ("x-envoy-oauth-status", "ok"),
            ("x-id-token", "t"),
            cookie="keep=1; OauthHMAC=bad; OauthExpires=1; BearerToken=b; IdToken=i; OauthNonce.00000000075bcd15=n",
        ),
    ),
    Case("allow-failed-wins-over-deny", "rules", asking("/both")),
    Case("allow-failed-never-on-callback", "rules", asking("/callback?x=/optional")),
    Case("per-route-config", "per-route", asking("/other/page")),
    Case(
        "per-route-disabled", "per-route", asking("/open", ("authorization", "Basic x"), ("x-envoy-oauth-status", "a"))
    ),
    Case("per-route-main", "per-route", asking("/page")),
    Case("direct-response-is-guarded", "per-route", asking("/direct")),
    Case(
        "no-config-lets-pass",
        "no-config",
        asking("/page", ("x-envoy-oauth-status", "ok"), ("authorization", "Basic a")),
    ),
    Case("no-config-with-route-config", "no-config", asking("/signed")),
    Case("callback-prefix-any-case", "path-matchers", asking("/CBxyz?error=denied")),
    Case("signout-regex", "path-matchers", asking("/bye?x=1")),
    Case("signout-regex-is-whole", "path-matchers", asking("/bye/x")),
    Case("signout-wins-over-callback", "same-path", asking("/callback?code=1&state=2")),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_same_as_envoy(case: Case, fleet: Pairs, tally: Counter[str]) -> None:
    compare(case, fleet, tally)


def test_access_logs_agree(fleet: Pairs, tally: Counter[str]) -> None:
    compare_access_logs(fleet, tally)
