"""Causes in the way of a sign-in through the browser: state, cookies of the flow, the redirect URI."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Final
from urllib.parse import urlsplit

from ostiary.core.log_redaction import redacted
from ostiary.doctor.case import Case
from ostiary.doctor.facts.configuration import ConfigurationProblem, OAuth2Seen
from ostiary.doctor.facts.origin import Fact
from ostiary.doctor.facts.provider import Answered
from ostiary.doctor.facts.signin import RedirectSent, SignInFailed, Step
from ostiary.doctor.finding import Confidence, Edit, Finding
from ostiary.doctor.rule import Rule
from ostiary.doctor.rules.evidence import (
    A_FEW,
    also_written,
    proof,
    severity_beside,
    sign_in_of,
    someone_signed_in,
    weakened,
)
from ostiary.doctor.rules.oauth_errors import cause_of

_COLON: Final = re.compile(r"%REQ\(:(?!authority\b|path\b|method\b|scheme\b|protocol\b)(?=[\w-])")
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


def _failed(case: Case, *steps: Step) -> list[SignInFailed]:
    return [fact for fact in case.all(SignInFailed) if fact.step in steps]


def _finding(case: Case, rule: str, facts: list[Fact], title: str, cause: str, mend: str, sure: Confidence) -> Finding:
    return Finding(
        rule=rule,
        severity=severity_beside(case, facts),
        title=title,
        cause=cause,
        proof=proof(facts),
        mend=mend,
        confidence=weakened(sure, someone_signed_in(case)),
    )


def _of_oauth2_proxy(found: list[SignInFailed]) -> bool:
    return all(fact.who == "oauth2-proxy" for fact in found)


def _csrf(case: Case) -> Iterator[Finding]:
    found = _failed(case, "csrf-mismatch")
    if found:
        yield _finding(
            case, "csrf-mismatch", [*found],
            "The callback's state does not fit the browser's cookie",
            "The nonce cookie that was set at the redirect is missing, belongs to another sign-in, or was signed "
            "with another HMAC secret. Several tabs that sign in at once do this in older Envoys, where the last one "
            "wins.",
            "Look whether replicas have the same HMAC secret, whether the callback's host is the one where the "
            "cookie was set, and whether http and https are mixed. For parallel tabs: "
            + ("cookie_csrf_per_request = true, with a cookie_csrf_per_request_limit." if _of_oauth2_proxy(found) else
               "an Envoy with cookies for each flow, and deny_redirect_matcher so that scripts don't start sign-ins."),
            "likely",
        )  # fmt: skip


def _cookie_missing(case: Case) -> Iterator[Finding]:
    found = _failed(case, "csrf-cookie-missing")
    if found:
        yield _finding(
            case, "csrf-cookie-missing", [*found],
            "The callback comes without the cookie that was set at the redirect",
            "The browser did not send the flow's cookie: it was set for another host or path, with Secure over http, "
            "with SameSite=Strict, it has expired, or the callback was opened in another browser or replayed.",
            "Sign in and come back on the same host, over https; SameSite=Lax; don't bookmark the callback or the "
            "provider's sign-in page."
            + (" In oauth2-proxy: cookie_domains that cover the host (or none), cookie_samesite lax or empty, "
               "cookie_csrf_per_request = true for parallel tabs." if _of_oauth2_proxy(found) else ""),
            "likely",
        )  # fmt: skip


def _state(case: Case) -> Iterator[Finding]:
    found = _failed(case, "state-invalid", "code-missing")
    if found:
        alone = all(fact.step == "code-missing" for fact in found)
        cause = (
            "A request reached the callback path without code and state: redirect_path_matcher also matches pages of "
            "the "
            "application, or somebody opened the callback by hand."
            if alone
            else "The state parameter of the callback is not what this filter makes: it was changed on the way, comes "
            "from "
            "another filter or client, or the callback was opened by hand."
        )
        told = _finding(
            case, "state-invalid", [*found],
            "The callback's parameters are not those of a sign-in",
            cause,
            "Match the callback path exactly (redirect_path_matcher: {path: {exact: /callback}}), and give each "
            "filter a callback path of its own.",
            "likely",
        )  # fmt: skip
        stray = alone and sum(fact.origin.count for fact in found) < A_FEW
        yield replace(told, severity="info") if stray else told


def _verifier(case: Case) -> Iterator[Finding]:
    found: list[Fact] = [*_failed(case, "code-verifier")]
    found += [
        answer for answer in case.all(Answered)
        if (answer.error or answer.codes) and not answer.probe
        and cause_of(answer.error, answer.description, answer.codes) == "code-verifier-invalid"
    ]  # fmt: skip
    if found:
        yield _finding(
            case, "code-verifier-invalid", found,
            "The PKCE code verifier is missing or does not fit",
            "The verifier travels in a cookie from the redirect to the callback. The cookie is missing, can't be "
            "decrypted (another HMAC secret), or belongs to another sign-in that runs at the same time.",
            "As for the CSRF cookie: one host, https, one HMAC secret for all replicas; don't start sign-ins from "
            "scripts.",
            "likely",
        )  # fmt: skip


def _scheme(case: Case) -> Iterator[Finding]:
    known = sign_in_of(case)
    told: list[tuple[str, Fact]] = [(s.redirect_uri, s) for s in case.all(RedirectSent) if _is_plain(s.redirect_uri)]
    told += [
        (fact.subject, fact)
        for fact in case.all(ConfigurationProblem)
        if fact.kind == "redirect-scheme" and not fact.title
    ]
    told += [
        (seen.redirect_uri, seen)
        for seen in case.all(OAuth2Seen)
        if _is_plain(seen.redirect_uri) and not seen.plain_http
    ]
    if not told:
        return
    uri = redacted(told[0][0])
    yield Finding(
        rule="redirect-scheme",
        severity="error",
        title=f"The redirect URI is {uri}, with http",
        cause="TLS ends before the proxy, and nothing tells it: it makes redirect URIs with http. Providers refuse "
        "them, and cookies with Secure are not kept.",
        proof=proof(fact for _, fact in told),
        mend="Write redirect_uri with https:// and the public host, or have the balancer send x-forwarded-proto and "
        "trust it (use_remote_address with xff_num_trusted_hops; in Istio numTrustedProxies).",
        confidence=weakened("certain", someone_signed_in(case)),
        where=known.where if known is not None else None,
        edits=_https(known) if known is not None else (),
    )


def _is_plain(redirect_uri: str) -> bool:
    """http to another host than this one; a host that a template fills in may be this one."""
    try:
        parts = urlsplit(redirect_uri)
    except ValueError:  # `http://[`: whoever reads it as a URI says so
        return False
    host = parts.hostname or ""
    return parts.scheme == "http" and bool(host) and "%" not in parts.netloc and host not in _LOOPBACK


def _https(seen: OAuth2Seen) -> tuple[Edit, ...]:
    if seen.where is None or not seen.redirect_uri.startswith("http://") or "%" in seen.redirect_uri:
        return ()
    return (Edit(file=seen.where.file, path=seen.where.path, document=seen.document, key="redirect_uri",
                 value="https://" + seen.redirect_uri.removeprefix("http://")),)  # fmt: skip


def _without_colon(case: Case, problem: ConfigurationProblem) -> tuple[Edit, ...]:
    """The change of a header's name that has a colon and must not, in the one filter of that file that has it."""
    file = problem.where.file if problem.where is not None else ""
    seen = [each for each in case.all(OAuth2Seen) if _COLON.search(each.redirect_uri)]
    here = [(each, each.where) for each in seen if each.where is not None and each.where.file == file]
    if len(here) != 1:
        return ()
    one, where = here[0]
    value = _COLON.sub("%REQ(", one.redirect_uri)
    return (Edit(file=file, path=where.path, document=one.document, key="redirect_uri", value=value),)


def _template(case: Case) -> Iterator[Finding]:
    for fact in case.all(ConfigurationProblem):
        if fact.kind == "redirect-uri-template":
            yield Finding(
                rule="redirect-uri-template",
                severity="error",
                title=f"redirect_uri can't be filled in: {fact.subject}",
                cause=fact.message,
                proof=proof(fact),
                mend=fact.mend
                or "Use %REQ(x-forwarded-proto)%://%REQ(:authority)%/callback, or write the URI out. "
                "Envoy checks this only at the first redirect, and then ends itself (SIGABRT).",
                confidence="certain",
                where=fact.where,
                edits=_without_colon(case, fact),
            )
    for sent in case.all(RedirectSent):
        if sent.redirect_uri.startswith("-://") or "://-/" in sent.redirect_uri:
            yield Finding(
                rule="redirect-uri-template",
                severity="error",
                title=f"redirect_uri becomes {redacted(sent.redirect_uri)}",
                cause="A header that the template of redirect_uri names is not in the request, which Envoy writes as "
                "'-'.",
                proof=proof(sent),
                mend="Name headers that are there: x-forwarded-proto and :authority (a header name has no colon, "
                "except :authority, :path, :method, :scheme).",
                confidence="certain",
            )


_GENERAL: Final = frozenset({"idp-error", "signin-loop"})

RULES: Final = (
    Rule(name="redirect-uri-template", family="Flow", look=_template,
         explains=_GENERAL | {"redirect-scheme", "redirect-uri-mismatch"}),
    Rule(name="redirect-scheme", family="Flow", look=also_written(_scheme, "redirect-scheme", "redirect-scheme"),
         explains=_GENERAL | {"redirect-uri-mismatch", "csrf-cookie-missing"}),
    Rule(name="csrf-cookie-missing", family="Flow", look=_cookie_missing, claims="likely",
         explains=_GENERAL | {"csrf-mismatch"}),
    Rule(name="csrf-mismatch", family="Flow", look=_csrf, claims="likely", explains=_GENERAL),
    Rule(name="state-invalid", family="Flow", look=_state, claims="likely", explains=_GENERAL),
    Rule(name="code-verifier-invalid", family="Flow", look=_verifier, claims="likely",
         explains=_GENERAL | {"grant-rejected"}),
)  # fmt: skip
