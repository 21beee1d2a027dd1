"""Causes in bearer tokens, as jwt_authn, an application or Ostiary verifies them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ostiary.doctor.case import Case
from ostiary.doctor.facts.configuration import ProblemKind
from ostiary.doctor.facts.signin import GroupsLeftOut, JwtFault, JwtRejected
from ostiary.doctor.finding import Confidence, Finding, Severity
from ostiary.doctor.rule import Rule
from ostiary.doctor.rules.evidence import A_FEW, also_written, proof, severity_beside, someone_signed_in, weakened

_TOLD: Final[dict[str, tuple[tuple[JwtFault, ...], str, str, str]]] = {
    "jwt-issuer": (
        ("issuer",),
        "The token's issuer is not the one that is configured",
        (
            "iss must be equal byte for byte, a final slash included. Entra issues v1 tokens (sts.windows.net) unless "
            "the app registration asks for version 2."
        ),
        (
            "Write the issuer exactly as the token has it; in Entra set requestedAccessTokenVersion: 2 in the "
            "manifest, "
            "or accept the v1 issuer."
        ),
    ),
    "jwt-audience": (
        ("audience",),
        "The token is for another audience",
        (
            "aud names somebody else: the token was asked for another resource, or in Entra it is api://ID in v1 "
            "tokens "
            "and the client id in v2 ones."
        ),
        "List the token's audience in audiences, or ask for a scope of your own API so that the token is for it.",
    ),
    "jwt-key": (
        ("key", "algorithm"),
        "The token's signature can't be verified with the keys at hand",
        (
            "The key that signed it is not among the keys that were fetched, the algorithm is not supported, or it is "
            "no "
            "JWT at all (an opaque access token). Entra signs Graph tokens so that nobody but Graph can verify them."
        ),
        (
            "Check jwks_uri and that it can be fetched; ask for a token of your own API; verify the id_token, not an "
            "access token that is meant for somebody else."
        ),
    ),
    "jwt-expired": (
        ("expired",),
        "The token has expired",
        "exp is past for whoever verifies it. The session lives longer than the token, or the clocks differ.",
        "Let the filter refresh (use_refresh_token, scope offline_access), and check the clock of the node.",
    ),
    "jwt-missing": (
        ("missing",),
        "A request reaches the token check without a token",
        (
            "jwt_authn runs before the sign-in filter, or the filter does not forward the token: then every request "
            "without a session is answered 401 instead of being redirected."
        ),
        (
            "Put the oauth2 filter before jwt_authn (INSERT_FIRST, or INSERT_BEFORE envoy.filters.http.jwt_authn) and "
            "set forward_bearer_token: true."
        ),
    ),
}


_EVERY_DAY: Final[dict[str, Confidence]] = {"jwt-missing": "possible", "jwt-expired": "likely"}

_WRITTEN: Final[dict[str, ProblemKind]] = {"jwt-issuer": "jwt-issuer", "jwt-missing": "jwt-missing"}
"""What can be seen in a configuration before there is a token."""


def _about(name: str) -> Rule:
    faults, title, cause, mend = _TOLD[name]

    def look(case: Case) -> Iterator[Finding]:
        facts = [fact for fact in case.all(JwtRejected) if fact.fault in faults]
        if facts:
            severity, confidence = _weight(case, name, facts)
            yield Finding(rule=name, severity=severity, title=title, cause=cause, proof=proof(facts), mend=mend,
                          confidence=confidence)  # fmt: skip

    kind = _WRITTEN.get(name)
    return Rule(name=name, family="Tokens", look=look if kind is None else also_written(look, name, kind))


def _weight(case: Case, name: str, facts: list[JwtRejected]) -> tuple[Severity, Confidence]:
    """Programs that come without a token, or with an old one, get 401 every day, and nothing is wrong with sign-in."""
    among_others = severity_beside(case, facts)
    if any(fact.at_callback for fact in facts):
        return "error", "certain"
    if name in _EVERY_DAY:
        seldom = name == "jwt-expired" and sum(fact.origin.count for fact in facts) < A_FEW
        return ("info" if seldom or someone_signed_in(case) else "warning"), _EVERY_DAY[name]
    return among_others, weakened("certain", someone_signed_in(case))


def _overage(case: Case) -> Iterator[Finding]:
    facts = case.all(GroupsLeftOut)
    if facts:
        yield Finding(
            rule="group-overage",
            severity="warning",
            title="The token has no groups, because they are too many",
            cause="Entra writes at most 200 groups into a JWT. Beyond that it leaves them out and names a place to "
            "ask (_claim_names, hasgroups), so rules that look at groups let nobody in.",
            proof=proof(facts),
            mend="Emit only groups assigned to the application, or use app roles; Ostiary asks Microsoft Graph by "
            "itself (provider.entra).",
            confidence="certain",
        )


RULES: Final = (
    *(_about(name) for name in _TOLD),
    Rule(name="group-overage", family="Tokens", look=_overage, explains=frozenset({"idp-error"})),
)
