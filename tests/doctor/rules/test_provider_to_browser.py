"""Causes beyond the connection: for each rule the facts that it names, and facts that look alike and are none.

A case is (rule, facts); the rule must be the first finding. A near miss is (rule, facts); the rule must find nothing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from doctor.rules.facts import cluster, find, names, origin
from ostiary.doctor.facts.configuration import ConfigurationProblem, FilterChainSeen, OAuth2Seen, ProblemKind
from ostiary.doctor.facts.origin import Fact
from ostiary.doctor.facts.provider import (
    Answered,
    ClockOffset,
    FetchFailed,
    NotAnswered,
    ProtocolMismatch,
    RedirectUriAnswer,
    TokensMissing,
)
from ostiary.doctor.facts.sidecar import ClusterCounters, NotReady, PlaceholderKeys, UpdateRejected, Warming
from ostiary.doctor.facts.signin import (
    BrowserBlocked,
    CookieRefused,
    CookieSet,
    ExtAuthzFailed,
    GroupsLeftOut,
    HeadersTooLarge,
    JwtFault,
    JwtRejected,
    RedirectSent,
    SignedIn,
    SignInFailed,
    Step,
)
from ostiary.doctor.finding import Where

WHERE = Where(file="envoyfilter.yaml", line=12, path="spec.configPatches[1].patch.value.typed_config.config")


def answered(status: int = 400, error: str = "", description: str = "", *codes: str, **more: Any) -> Answered:
    settings: dict[str, Any] = {"endpoint": "token", "target": "oauth", "body": "json", **more}
    return Answered(origin=origin(f"{status} {error} {description}"), status=status, error=error,
                    description=description, codes=codes, **settings)  # fmt: skip


def failed(step: Step) -> SignInFailed:
    return SignInFailed(origin=origin(step), step=step)


def problem(kind: ProblemKind, subject: str = "pkce_enabled", **more: Any) -> ConfigurationProblem:
    return ConfigurationProblem(origin=origin(kind), kind=kind, subject=subject, message="why", where=WHERE, **more)


def oauth2(**changes: Any) -> OAuth2Seen:
    settings: dict[str, Any] = {
        "token_endpoint": "https://login.example.com/token", "token_cluster": "oauth",
        "authorization_endpoint": "https://login.example.com/authorize",
        "redirect_uri": "https://app.example.com/callback", "scopes": ("openid",), "where": WHERE,
    }  # fmt: skip
    return OAuth2Seen(origin=origin("oauth2", "config"), **{**settings, **changes})


def jwt(fault: JwtFault) -> JwtRejected:
    return JwtRejected(origin=origin(fault), fault=fault)


def redirect(uri: str = "https://app.example.com/callback", **more: Any) -> RedirectSent:
    return RedirectSent(origin=origin(uri), authorization_endpoint="https://login.example.com/authorize",
                        redirect_uri=uri, **more)  # fmt: skip


def cookie(name: str = "BearerToken", size: int = 900, **more: Any) -> CookieSet:
    return CookieSet(origin=origin(name), name=name, size=size, **more)


SIGNED_IN = SignedIn(origin=origin("oauth.logged_in"))
O = origin  # noqa: E741 - a table reads better
CASES: list[tuple[str, list[Fact]]] = [
    ("client-rejected", [answered(401, "invalid_client")]),
    ("client-rejected", [answered(401, "invalid_client", "AADSTS7000215: Invalid client secret", "AADSTS7000215")]),
    ("client-rejected", [answered(400, "unauthorized_client", "", "AADSTS700016")]),
    ("client-rejected", [answered(401, "invalid_client", probe=True)]),
    ("redirect-uri-mismatch", [answered(400, "invalid_grant", "Incorrect redirect_uri")]),
    ("redirect-uri-mismatch", [answered(400, "invalid_request", "AADSTS50011: The reply URL ...", "AADSTS50011")]),
    ("redirect-uri-mismatch", [RedirectUriAnswer(origin=O("page"), target="https://login.example.com/authorize",
                                                 redirect_uri="https://app/cb", accepted=False)]),
    ("grant-rejected", [answered(400, "invalid_grant", "Code not valid")]),
    ("scope-rejected", [answered(400, "invalid_scope")]),
    ("scope-rejected", [answered(0, "invalid_request", "The scope 'user' is not valid")]),
    ("consent-required", [answered(0, "access_denied", "AADSTS65004: User declined to consent", "AADSTS65004")]),
    ("code-verifier-invalid", [answered(400, "invalid_grant", "PKCE verification failed")]),
    ("idp-error", [answered(0, "access_denied", "AADSTS50105: not assigned", "AADSTS50105")]),
    ("idp-server-error", [answered(502, body="html")]),
    ("idp-server-error", [answered(503, "temporarily_unavailable")]),
    ("idp-timeout", [NotAnswered(origin=O("504"), endpoint="token", target="oauth")]),
    ("idp-timeout", [ClusterCounters(origin=O("1"), cluster="oauth", counters={"upstream_rq_timeout": 1})]),
    ("idp-not-oauth", [answered(200, body="html")]),
    ("idp-not-oauth", [answered(404, body="text")]),
    ("idp-not-oauth", [TokensMissing(origin=O("no JSON"), target="oauth", lacks="json")]),
    ("idp-protocol", [ProtocolMismatch(origin=O("SETTINGS"), target="oauth", detail="")]),
    ("token-response-invalid", [TokensMissing(origin=O("none"), target="oauth", lacks="access_token")]),
    ("token-response-invalid", [TokensMissing(origin=O("none"), target="oauth", lacks="expires_in"), oauth2()]),
    ("discovery-failed", [FetchFailed(origin=O("x509"), endpoint="discovery", target="https://i", problem="x509")]),
    ("discovery-failed", [answered(404, endpoint="discovery", body="html")]),
    ("jwks-fetch-failed", [FetchFailed(origin=O("x509"), endpoint="jwks", target="https://i", problem="x",
                                       who="istiod")]),
    ("jwks-fetch-failed", [PlaceholderKeys(origin=O("RXJyb3I"), issuer="https://i"), jwt("key")]),
    ("clock-skew", [ClockOffset(origin=O("Date"), seconds=-125.0, against="login.example.com")]),
    ("clock-skew", [jwt("not-yet-valid")]),
    ("secret-not-delivered", [failed("secrets-not-ready")]),
    ("secret-not-delivered", [Warming(origin=O("uninitialized"), what="secret", name="token"),
                              NotReady(origin=O("503"), state="INITIALIZING")]),
    ("secret-invalid", [problem("secret-invalid", "cookie_secret")]),
    ("secret-mismatch", [failed("hmac"), failed("csrf-mismatch")]),
    ("csrf-mismatch", [failed("csrf-mismatch")]),
    ("csrf-cookie-missing", [failed("csrf-cookie-missing")]),
    ("state-invalid", [failed("state-invalid")]),
    ("state-invalid", [failed("code-missing")]),
    ("code-verifier-invalid", [failed("code-verifier")]),
    ("redirect-scheme", [redirect("http://app.example.com/callback"), failed("csrf-cookie-missing")]),
    ("redirect-scheme", [oauth2(redirect_uri="http://app.example.com/callback")]),
    ("redirect-uri-template", [problem("redirect-uri-template", "%REQ(:authority%")]),
    ("redirect-uri-template", [redirect("-://app.example.com/callback")]),
    ("cookie-too-large", [cookie(size=5412)]),
    ("cookie-too-large", [CookieRefused(origin=O("4096"), name="IdToken", why="too-large"),
                          BrowserBlocked(origin=O("loop"), what="redirect-loop")]),
    ("headers-too-large", [HeadersTooLarge(origin=O("431"), who="envoy", what="request")]),
    ("cookie-scope", [CookieRefused(origin=O("domain"), name="OauthNonce", why="domain")]),
    ("cookie-scope", [cookie(domain="other.example.com", host="app.example.com")]),
    ("cookie-scope", [cookie(same_site="None", secure=False)]),
    ("jwt-issuer", [jwt("issuer")]),
    ("jwt-audience", [jwt("audience")]),
    ("jwt-key", [jwt("key")]),
    ("jwt-key", [jwt("algorithm")]),
    ("jwt-expired", [jwt("expired")]),
    ("jwt-missing", [jwt("missing")]),
    ("group-overage", [GroupsLeftOut(origin=O("_claim_names"))]),
    ("config-unknown-field", [problem("unknown-field")]),
    ("config-type-url", [problem("type-url", "v3alpha.OAuth2"), problem("invalid")]),
    ("config-type-missing", [problem("type-missing")]),
    ("config-invalid", [problem("invalid", "token_endpoint")]),
    ("cluster-unknown", [problem("cluster-unknown", "nope")]),
    ("extension-missing", [problem("extension-missing", "envoy.filters.http.oauth2")]),
    ("patch-not-applied", [problem("patch-nothing", "patch 2")]),
    ("patch-crashes-istiod", [problem("patch-crash", "patch 2")]),
    ("filter-order", [problem("filter-order")]),
    ("filter-order", [FilterChainSeen(origin=O("chain"), listener="virtualInbound", filters=(
        "envoy.filters.http.jwt_authn", "envoy.filters.http.oauth2", "envoy.filters.http.router")), jwt("missing")]),
    ("filter-fails-open", [oauth2(has_config=False)]),
    ("filter-fails-open", [problem("fails-open")]),
    ("filter-fails-open", [problem("fails-open", "patch 3"), problem("patch-nothing", "patch 2")]),
    ("listener-rejected", [UpdateRejected(origin=O("error_state"), what="listener", name="virtualInbound",
                                          reason="token_formation: is required.")]),
    ("sidecar-not-ready", [NotReady(origin=O("503"), state="PRE_INITIALIZING", waits_for=("cluster oauth",))]),
    ("ext-authz-status", [ExtAuthzFailed(origin=O("202"), why="status")]),
    ("ext-authz-unreachable", [ExtAuthzFailed(origin=O("ext_authz_error"), why="unreachable")]),
    ("xhr-redirected", [redirect(for_script=True)]),
    ("preflight-redirected", [redirect(method="OPTIONS", for_script=True)]),
    ("preflight-redirected", [BrowserBlocked(origin=O("preflight"), what="preflight")]),
    ("signin-loop", [BrowserBlocked(origin=O("ERR_TOO_MANY_REDIRECTS"), what="redirect-loop")]),
    ("signin-loop", [*[redirect()] * 5, *[SIGNED_IN] * 5]),
]  # fmt: skip
NEAR: list[tuple[str, list[Fact]]] = [
    ("grant-rejected", [answered(400, "invalid_grant", probe=True)]),
    ("idp-server-error", [answered(200, body="json")]),
    ("idp-not-oauth", [answered(404, endpoint="userinfo")]),
    ("idp-not-oauth", [answered(400, "invalid_request", body="html")]),
    ("idp-timeout", [cluster(name="backend", for_provider=False, hosts=("backend",), lookup_family="ALL"),
                     ClusterCounters(origin=O("1"), cluster="backend", counters={"upstream_rq_timeout": 1})]),
    ("redirect-uri-mismatch", [RedirectUriAnswer(origin=O("page"), target="t", redirect_uri="u", accepted=None)]),
    ("discovery-failed", [answered(200, endpoint="discovery")]),
    ("clock-skew", [ClockOffset(origin=O("Date"), seconds=5.0, against="h"), jwt("not-yet-valid")]),
    ("secret-not-delivered", [Warming(origin=O("dns"), what="cluster", name="oauth")]),
    ("redirect-scheme", [redirect("http://localhost:8080/callback")]),
    ("redirect-scheme", [oauth2(redirect_uri="http://%REQ(:authority)%/callback")]),
    ("redirect-scheme", [oauth2(redirect_uri="%REQ(x-forwarded-proto)%://%REQ(:authority)%/callback")]),
    ("cookie-too-large", [cookie(size=4096)]),
    ("cookie-scope", [cookie(domain="example.com", host="app.example.com:8443")]),
    ("filter-order", [FilterChainSeen(origin=O("chain"), listener="l", filters=(
        "envoy.filters.http.oauth2", "envoy.filters.http.jwt_authn", "envoy.filters.http.router"))]),
    ("filter-order", [FilterChainSeen(origin=O("chain"), listener="l", filters=("envoy.filters.http.router",))]),
    ("filter-fails-open", [oauth2()]),
    ("signin-loop", [*[redirect()] * 5]),
    ("xhr-redirected", [redirect()]),
]  # fmt: skip
NEAR += [
    ("client-rejected", [answered(400, "invalid_grant")]),
    ("cluster-unknown", [problem("unknown-field")]),
    ("code-verifier-invalid", [answered(400, "invalid_grant", "Code has expired")]),
    ("config-invalid", [problem("cluster-unknown", "nope")]),
    ("config-type-missing", [problem("type-url", "v3alpha.OAuth2")]),
    ("config-type-url", [problem("type-missing")]),
    ("config-unknown-field", [problem("invalid", "token_endpoint")]),
    ("consent-required", [answered(0, "access_denied", "AADSTS50105: not assigned", "AADSTS50105")]),
    ("csrf-cookie-missing", [failed("csrf-mismatch")]),
    ("csrf-mismatch", [failed("csrf-cookie-missing")]),
    ("ext-authz-status", [ExtAuthzFailed(origin=O("timeout"), why="timeout")]),
    ("ext-authz-unreachable", [ExtAuthzFailed(origin=O("202"), why="status")]),
    ("extension-missing", [problem("type-url", "v3alpha.OAuth2")]),
    ("group-overage", [jwt("audience")]),
    ("headers-too-large", [cookie(size=5412)]),
    ("idp-error", [answered(401, "invalid_client")]),
    ("idp-protocol", [ClusterCounters(origin=O("2"), cluster="oauth", counters={"upstream_cx_connect_fail": 2})]),
    ("jwks-fetch-failed", [FetchFailed(origin=O("x509"), endpoint="discovery", target="https://i", problem="x509")]),
    ("jwt-audience", [jwt("issuer")]),
    ("jwt-expired", [jwt("not-yet-valid")]),
    ("jwt-issuer", [jwt("audience")]),
    ("jwt-key", [jwt("missing")]),
    ("jwt-missing", [jwt("expired")]),
    ("listener-rejected", [Warming(origin=O("warming"), what="listener", name="virtualInbound")]),
    ("patch-crashes-istiod", [problem("patch-nothing", "patch 2")]),
    ("patch-not-applied", [problem("patch-crash", "patch 2")]),
    ("preflight-redirected", [redirect(for_script=True)]),
    ("redirect-uri-template", [problem("redirect-scheme", "http://app.example.com/callback")]),
    ("scope-rejected", [answered(400, "invalid_request", "The redirect_uri is not valid")]),
    ("secret-invalid", [problem("secret-missing", "token_secret")]),
    ("secret-mismatch", [failed("csrf-mismatch")]),
    ("sidecar-not-ready", [Warming(origin=O("warming"), what="cluster", name="oauth")]),
    ("state-invalid", [failed("csrf-mismatch")]),
    ("token-response-invalid", [TokensMissing(origin=O("no JSON"), target="oauth", lacks="json")]),
]  # fmt: skip
HEALTHY: list[Fact] = [
    cluster(lookup_family="ALL"), oauth2(), SIGNED_IN, redirect(), cookie(), answered(200),
    answered(400, "invalid_grant", probe=True), ClockOffset(origin=O("Date"), seconds=0.4, against="h"),
    FilterChainSeen(origin=O("chain"), listener="l", filters=(
        "envoy.filters.http.oauth2", "envoy.filters.http.router")),
    ClusterCounters(origin=O("1"), cluster="oauth", counters={"upstream_cx_total": 3, "ssl.handshake": 3}),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "facts"), CASES, ids=[f"{rule}-{i}" for i, (rule, _) in enumerate(CASES)])
def test_the_rule_comes_first(rule: str, facts: list[Fact]) -> None:
    found = find(*facts)
    assert found, "nothing was found"
    assert found[0].rule == rule, [finding.rule for finding in found]
    assert all(finding.proof for finding in found)


@pytest.mark.parametrize(("rule", "facts"), NEAR, ids=[f"{rule}-{i}" for i, (rule, _) in enumerate(NEAR)])
def test_what_looks_alike(rule: str, facts: list[Fact]) -> None:
    assert rule not in names(*facts)


def test_every_rule_here_has_something_that_looks_like_it() -> None:
    assert {rule for rule, _ in CASES} <= {rule for rule, _ in NEAR}


def test_a_healthy_case() -> None:
    assert names(*HEALTHY) == []


@pytest.mark.parametrize(("rule", "facts"), CASES, ids=[f"{rule}-{i}" for i, (rule, _) in enumerate(CASES)])
def test_a_specific_cause_silences_what_it_explains(rule: str, facts: list[Fact]) -> None:
    about = [finding.rule for finding in find(*facts)]
    general = {"idp-error", "listener-rejected", "csrf-mismatch", "signin-loop"} - {rule}
    assert general.isdisjoint(about)


def test_a_success_makes_a_cause_that_lets_nobody_in_less_sure() -> None:
    (alone,) = find(answered(401, "invalid_client"))
    (besides,) = find(answered(401, "invalid_client"), SIGNED_IN)
    assert (alone.confidence, besides.confidence) == ("certain", "likely")


def test_a_default_scope_is_mended_where_it_is_missing() -> None:
    (found,) = find(answered(400, "invalid_scope"), oauth2(scopes=()))
    assert [(edit.key, edit.value) for edit in found.edits] == [("auth_scopes", ["openid", "profile", "email"])]
    assert "user" in found.cause


def test_a_literal_http_redirect_uri_becomes_https() -> None:
    (found,) = find(oauth2(redirect_uri="http://app.example.com/callback"))
    assert [(edit.key, edit.value) for edit in found.edits] == [("redirect_uri", "https://app.example.com/callback")]


@pytest.mark.parametrize(
    "some", [failed("csrf-mismatch"), failed("state-invalid"), answered(400, "invalid_grant"), jwt("missing")]
)
def test_a_few_failures_among_people_who_sign_in_are_every_day_s(some: Fact) -> None:
    assert {finding.severity for finding in find(some)} <= {"error", "warning"}
    assert {finding.severity for finding in find(some, SIGNED_IN)} == {"info"}


def test_many_failures_among_people_who_sign_in_are_not() -> None:
    many = failed("csrf-mismatch")
    many = replace(many, origin=replace(many.origin, count=50))
    assert [finding.severity for finding in find(many, SIGNED_IN)] == ["warning"]


def test_a_callback_without_a_token_stands_behind_the_token_check() -> None:
    (found,) = find(replace(jwt("missing"), at_callback=True), SIGNED_IN)
    assert (found.rule, found.severity, found.confidence) == ("jwt-missing", "error", "certain")


@pytest.mark.parametrize("answer", [answered(401), answered(401, "access_denied")])
def test_a_token_endpoint_s_401_is_about_the_client(answer: Fact) -> None:
    assert names(answer)[0] == "client-rejected"


@pytest.mark.parametrize("uri", ["http://[", "http://[::1]]/callback", "http://app.example.com:port/callback"])
def test_a_redirect_uri_that_is_none_is_no_crash(uri: str) -> None:
    assert all(finding.proof for finding in find(oauth2(redirect_uri=uri), redirect(uri)))


def test_a_session_in_several_cookies_hurts_where_somebody_refuses_them() -> None:
    session = cookie("_oauth2_proxy", 4097, split=True)
    (alone,) = find(session)
    assert (alone.rule, alone.severity) == ("cookie-too-large", "warning")
    assert "session_store_type" in alone.mend
    refused = find(session, HeadersTooLarge(origin=O("too big header"), who="nginx", what="response"))
    assert [(finding.rule, finding.severity) for finding in refused] == [
        ("cookie-too-large", "error"), ("headers-too-large", "error")]  # fmt: skip


@pytest.mark.parametrize("step", ["csrf-mismatch", "csrf-cookie-missing"])
def test_each_program_s_own_words_mend_parallel_tabs(step: Step) -> None:
    (theirs,), (envoys,) = find(replace(failed(step), who="oauth2-proxy")), find(failed(step))
    assert "cookie_csrf_per_request" in theirs.mend
    assert "cookie_csrf_per_request" not in envoys.mend
