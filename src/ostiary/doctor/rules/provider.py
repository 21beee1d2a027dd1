"""Causes at the provider: what it answers, and what its answer means for the configuration here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from ostiary.core.log_redaction import redacted
from ostiary.doctor.case import Case
from ostiary.doctor.facts.origin import Fact
from ostiary.doctor.facts.provider import (
    Answered,
    NotAnswered,
    ProtocolMismatch,
    RedirectUriAnswer,
    TokensMissing,
)
from ostiary.doctor.facts.sidecar import ClusterCounters
from ostiary.doctor.finding import Confidence, Edit, Finding, Severity, Where
from ostiary.doctor.rule import Rule
from ostiary.doctor.rules.evidence import (
    cluster_of,
    name_of,
    proof,
    severity_beside,
    sign_in_of,
    someone_signed_in,
    subject_of,
    weakened,
)
from ostiary.doctor.rules.oauth_errors import cause_of

_UNAUTHORIZED: Final = 401
_HINTS: Final = {
    "AADSTS7000215": "The value of the secret is needed, not its ID.",
    "AADSTS7000222": "The secret has expired: make a new one in the app registration.",
    "AADSTS7000218": "No secret arrived in the request: is the token secret delivered?",
    "AADSTS700016": "The client id is not known in this tenant: check both.",
    "AADSTS90002": "There is no such tenant: check the tenant in the endpoints.",
    "AADSTS54005": "The code was redeemed before.",
    "AADSTS70008": "The code or refresh token has expired.",
}


def _said(answer: Answered) -> str:
    """The provider's own words, as far as they are known."""
    said = " ".join(filter(None, (answer.error, answer.description and f"({answer.description})")))
    hint = next((_HINTS[code] for code in answer.codes if code in _HINTS), "")
    return f"The provider says: {said}. {hint}".rstrip() if said else hint


def _words(answer: Answered) -> str:
    """The answer in a word: its error, the provider's own number, or the status."""
    return answer.error or next(iter(answer.codes), "") or str(answer.status)


def _errors(case: Case, rule: str) -> Iterator[tuple[str, list[Answered]]]:
    """The answers whose error this rule explains, by subject."""
    found: dict[str, list[Answered]] = {}
    for answer in case.all(Answered):
        if answer.probe and answer.error == "invalid_grant":
            continue  # our harmless code was refused, as it should be
        said = answer.error or answer.codes or (answer.status == _UNAUTHORIZED and not answer.probe)
        if said and _cause(answer) == rule:
            found.setdefault(subject_of(case, answer.target), []).append(answer)
    yield from found.items()


def _cause(answer: Answered) -> str:
    """The rule that explains it. A token endpoint's 401 is about the client, whatever words come with it: RFC 6749
    section 5.2."""
    rule = cause_of(answer.error, answer.description, answer.codes)
    about_the_client = answer.endpoint == "token" and answer.status == _UNAUTHORIZED and not answer.probe
    if rule == "idp-server-error" and answer.endpoint != "token":
        return "idp-error"  # in the browser: what failed stands in the provider's description
    return "client-rejected" if about_the_client and rule in ("idp-error", "consent-required") else rule


def finding(
    case: Case, rule: str, subject: str, facts: Iterable[Fact], *, title: str, cause: str, mend: str,
    sure: Confidence = "certain", where: Where | None = None, edits: tuple[Edit, ...] = (),
    severity: Severity = "error",
) -> Finding:  # fmt: skip
    """A finding about a provider: less sure where somebody signed in."""
    return Finding(
        rule=rule,
        severity=severity,
        title=title,
        cause=cause,
        proof=proof(facts),
        mend=mend,
        confidence=weakened(sure, someone_signed_in(case)),
        where=where,
        edits=edits,
        subject=subject,
    )


def _how_sure(facts: Iterable[Fact]) -> Confidence:
    """Counters know a status and not the answer."""
    return "likely" if all(fact.origin.kind == "admin" for fact in facts) else "certain"


def _counted(case: Case, *statuses: int) -> Iterator[tuple[str, list[Fact]]]:
    """Token endpoints that answer so by the proxy's counters, which know no more than the status."""
    for answer in case.all(Answered):
        if answer.origin.kind == "admin" and answer.endpoint == "token" and answer.status in statuses:
            yield subject_of(case, answer.target), [answer]


def _client_rejected(case: Case) -> Iterator[Finding]:
    for subject, answers in _errors(case, "client-rejected"):
        yield finding(
            case, "client-rejected", subject, answers,
            title=f"{name_of(subject)} does not accept the client id or its secret",
            cause=f"The token request is answered {_words(answers[0])}: the client is unknown, its secret is wrong or "
            f"expired, or it is sent in another way than the provider expects. {_said(answers[0])}",
            mend="Compare the client id and secret with the provider's. No newline at the secret's end (printf %s, "
            "--from-literal); in Entra the secret's value, not its ID. If both are right, try the other auth_type "
            "(BASIC_AUTH, URL_ENCODED_BODY); Envoy before 1.39 does not encode a '+' in URL_ENCODED_BODY.",
            sure=_how_sure(answers),
        )  # fmt: skip


def _redirect_mismatch(case: Case) -> Iterator[Finding]:
    known = sign_in_of(case)
    sent = known.redirect_uri if known is not None else ""
    refused: list[tuple[str, list[Fact]]] = [(s, [*answers]) for s, answers in _errors(case, "redirect-uri-mismatch")]
    for fact in case.all(RedirectUriAnswer):
        if fact.accepted is False:
            sent = fact.redirect_uri
            refused.append((subject_of(case, fact.target), [fact]))
    for subject, facts in refused:
        told = f" ({redacted(sent)})" if sent else ""
        yield finding(
            case, "redirect-uri-mismatch", subject, facts,
            title=f"{name_of(subject)} does not know this redirect URI",
            cause=f"The redirect URI that is sent{told} is not registered for this client, or differs between the "
            "authorization and the token request. Scheme, host, port, path, a final slash and case must all be equal.",
            mend="Register exactly the redirect_uri that the Location header of the redirect carries, or correct "
            "redirect_uri (and redirect_path_matcher). http:// behind TLS termination is the rule redirect-scheme.",
            where=known.where if known is not None else None,
        )  # fmt: skip


def _grant_rejected(case: Case) -> Iterator[Finding]:
    for subject, answers in _errors(case, "grant-rejected"):
        yield finding(
            case, "grant-rejected", subject, answers,
            title=f"{name_of(subject)} refuses the authorization code or refresh token",
            cause="invalid_grant: the code was used before or has expired, it was made for another client or "
            f"redirect URI, or the refresh token was revoked. {_said(answers[0])}",
            mend="Look whether the callback is requested twice (a reload, a prefetch, a retry of a proxy before it), "
            "and whether both requests carry the same redirect_uri and client id. After a refresh it is normal: the "
            "user signs in again.",
            sure="likely",
            severity=severity_beside(case, answers),
        )  # fmt: skip


def _scope_rejected(case: Case) -> Iterator[Finding]:
    one = sign_in_of(case)
    for subject, answers in _errors(case, "scope-rejected"):
        asked = " ".join(one.scopes) if one is not None and one.scopes else "user (Envoy's default)"
        edits: tuple[Edit, ...] = ()
        if one is not None and one.where is not None and not one.scopes:
            edits = (Edit(file=one.where.file, path=one.where.path, document=one.document, key="auth_scopes",
                          value=["openid", "profile", "email"]),)  # fmt: skip
        yield finding(
            case, "scope-rejected", subject, answers,
            title=f"{name_of(subject)} does not know a scope that is asked for",
            cause=f"The request asks for: {asked}. {_said(answers[0])}",
            mend="Write auth_scopes: [openid, profile, email] and what the application needs beyond that; without "
            "auth_scopes Envoy asks for `user`, which is no OpenID Connect scope.",
            where=one.where if one is not None else None,
            edits=edits,
        )  # fmt: skip


def _consent(case: Case) -> Iterator[Finding]:
    for subject, answers in _errors(case, "consent-required"):
        yield finding(
            case, "consent-required", subject, answers,
            title=f"{name_of(subject)} asks for a consent that was not given",
            cause=f"The user or an administrator has not agreed to what the application asks for. {_said(answers[0])}",
            mend="In Entra: grant admin consent in the app registration's API permissions, or ask for fewer scopes. "
            "If a user declined, they are asked again at the next sign-in.",
            severity=severity_beside(case, answers),
        )  # fmt: skip


def _other_error(case: Case) -> Iterator[Finding]:
    for subject, answers in _errors(case, "idp-error"):
        yield finding(
            case, "idp-error", subject, answers,
            title=f"{name_of(subject)} answers {_words(answers[0])}",
            cause=_said(answers[0]) or f"The provider answers {_words(answers[0])}, and says no more.",
            mend="Look the error up in the provider's documentation and sign-in log; the description above is its own.",
            severity=severity_beside(case, answers),
        )  # fmt: skip
    known = {subject_of(case, answer.target) for answer in case.all(Answered) if answer.error and not answer.probe}
    for subject, facts in _counted(case, 400, 403):
        if subject not in known:
            yield finding(
                case, "idp-error", subject, facts,
                title=f"{name_of(subject)} refuses the token request",
                cause="The provider is reached and answers the token request with an error. Counters know the status "
                "and not the reason: the code, the redirect URI, the scope, PKCE or the client.",
                mend="The reason stands in the answer, which the log has: `ostiary doctor --log FILE`, or `--watch "
                "60s` and one sign-in.",
                sure="likely",
            )  # fmt: skip


def _server_error(case: Case) -> Iterator[Finding]:
    found: dict[str, list[Fact]] = {}
    for answer in case.all(Answered):
        if (answer.status >= 500 and not answer.error) or (answer.error and _cause(answer) == "idp-server-error"):
            found.setdefault(subject_of(case, answer.target), []).append(answer)
    for subject, facts in found.items():
        said = next(
            str(fact.status if fact.status >= 500 else fact.error) for fact in facts if isinstance(fact, Answered)
        )
        yield finding(
            case, "idp-server-error", subject, facts,
            sure=_how_sure(facts),
            title=f"{name_of(subject)} answers {said}",
            cause="The provider is reached over TLS and fails itself: its own backend, a gateway before it, or a "
            "path that its gateway does not know.",
            mend="Look at the provider's status page or log. If only this client fails, compare the token endpoint's "
            "path with the discovery document.",
        )  # fmt: skip


def _silent(case: Case) -> Iterator[Finding]:
    found: dict[str, list[Fact]] = {}
    for fact in case.all(NotAnswered):
        if fact.endpoint not in ("discovery", "jwks"):  # `_fetch` tells of these
            found.setdefault(subject_of(case, fact.target), []).append(fact)
    for seen in case.all(ClusterCounters):
        if seen.counters.get("upstream_rq_timeout"):
            found.setdefault(subject_of(case, seen.cluster), []).append(seen)
    for subject, facts in found.items():
        cluster = cluster_of(case, subject)
        if cluster is not None and not cluster.for_provider:
            continue
        yield finding(
            case, "idp-timeout", subject, facts,
            title=f"{name_of(subject)} does not answer in time",
            cause="The connection comes up and the request is sent, but no answer arrives within "
            "token_endpoint.timeout.",
            mend="Raise timeout of the token_endpoint (5 s or more), and look why the provider is slow: its log, its "
            "status page, `ostiary connect` for the time that the connection itself takes.",
        )  # fmt: skip


def _not_oauth(case: Case) -> Iterator[Finding]:
    found: dict[str, list[Fact]] = {}
    for answer in case.all(Answered):
        strange = answer.body == "html" and answer.status < 500
        lost = answer.status in (404, 405, 410) or (300 <= answer.status < 400)
        if answer.endpoint == "token" and not answer.error and (strange or lost):
            found.setdefault(subject_of(case, answer.target), []).append(answer)
    for fact in case.all(TokensMissing):
        if fact.lacks == "json":
            found.setdefault(subject_of(case, fact.target), []).append(fact)
    for subject, facts in found.items():
        yield finding(
            case, "idp-not-oauth", subject, facts,
            sure=_how_sure(facts),
            title=f"What answers at {name_of(subject)} is no token endpoint",
            cause="The answer is a page, a redirect or an error of a web server, and not the JSON of a token "
            "endpoint: the path is wrong, or another service answers on this host.",
            mend="Take token_endpoint from the discovery document: `curl -s "
            "ISSUER/.well-known/openid-configuration`. For Entra: /TENANT/oauth2/v2.0/token.",
        )  # fmt: skip


def _protocol(case: Case) -> Iterator[Finding]:
    found: list[tuple[str, Fact]] = [(fact.target, fact) for fact in case.all(ProtocolMismatch)]
    found += [(c.cluster, c) for c in case.all(ClusterCounters) if c.counters.get("upstream_cx_protocol_error")]
    for target, fact in found:
        cluster = cluster_of(case, target)
        yield finding(
            case, "idp-protocol", subject_of(case, target), [fact, *([cluster] if cluster is not None else [])],
            title=f"{name_of(subject_of(case, target))} does not speak the HTTP version that it is spoken to in",
            cause="The cluster is set to HTTP/2 (http2_protocol_options) and the peer answers in HTTP/1.1, or the "
            "other way round.",
            mend="Remove http2_protocol_options from the cluster, or use auto_config, where ALPN decides.",
            sure="certain" if isinstance(fact, ProtocolMismatch) else "likely",
            where=cluster.where if cluster is not None else None,
        )  # fmt: skip


def _tokens_missing(case: Case) -> Iterator[Finding]:
    for fact in case.all(TokensMissing):
        if fact.lacks == "json":
            continue
        why = {
            "access_token": "has no access_token",
            "expires_in": "has no expires_in, and no default_expires_in is configured",
            "id_token": "has no id_token: the scope openid was not asked for, or this is no OpenID provider",
        }[fact.lacks]
        known = sign_in_of(case)
        edits: tuple[Edit, ...] = ()
        if fact.lacks == "expires_in" and known is not None and known.where is not None:
            where = known.where
            edits = (Edit(file=where.file, path=where.path, document=known.document, key="default_expires_in",
                          value="3600s"),)  # fmt: skip
        yield finding(
            case, "token-response-invalid", subject_of(case, fact.target), [fact],
            title=f"The token response of {name_of(subject_of(case, fact.target))} {why}",
            cause=f"The token request succeeds, but its answer {why}.",
            mend="For a missing lifetime set default_expires_in; for a missing token check that the endpoint is the "
            "token endpoint of an OAuth 2.0 provider, and the scopes.",
            edits=edits,
        )  # fmt: skip


_GENERAL: Final = frozenset({"idp-error", "idp-server-error"})

RULES: Final = (
    Rule(name="idp-protocol", family="Provider", look=_protocol, explains=_GENERAL | {"tcp-reset"}),
    Rule(name="idp-not-oauth", family="Provider", look=_not_oauth, explains=_GENERAL | {"token-response-invalid"}),
    Rule(name="client-rejected", family="Provider", look=_client_rejected, explains=_GENERAL),
    Rule(name="redirect-uri-mismatch", family="Provider", look=_redirect_mismatch,
         explains=_GENERAL | {"grant-rejected"}),
    Rule(name="scope-rejected", family="Provider", look=_scope_rejected, explains=_GENERAL),
    Rule(name="consent-required", family="Provider", look=_consent, explains=_GENERAL),
    Rule(name="grant-rejected", family="Provider", look=_grant_rejected, claims="likely", explains=_GENERAL),
    Rule(name="token-response-invalid", family="Provider", look=_tokens_missing, explains=_GENERAL),
    Rule(name="idp-timeout", family="Provider", look=_silent, explains=_GENERAL),
    Rule(name="idp-server-error", family="Provider", look=_server_error, explains=frozenset({"idp-error"})),
    Rule(name="idp-error", family="Provider", look=_other_error),
)  # fmt: skip
