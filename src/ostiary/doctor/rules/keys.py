"""Causes in what verifies a provider's tokens: its discovery document, its keys, the clock."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from ostiary.doctor.case import Case
from ostiary.doctor.facts.origin import Fact
from ostiary.doctor.facts.provider import Answered, ClockOffset, FetchFailed, NotAnswered
from ostiary.doctor.facts.sidecar import PlaceholderKeys
from ostiary.doctor.facts.signin import JwtRejected
from ostiary.doctor.finding import Finding
from ostiary.doctor.rule import Rule
from ostiary.doctor.rules.evidence import A_FEW, also_written, name_of, subject_of
from ostiary.doctor.rules.provider import finding

_MAX_SKEW: Final = 60.0
"""Seconds that Envoy's jwt_authn and most libraries bear."""
_ON_THE_WAY: Final = re.compile(
    r"(?i)unreachable|refused|time[d ]*out|deadline|no such host|lookup |x509|tls: |certificate|reset|\bEOF\b"
    r"|\b50[234]\b"
)
"""Problems that have a cause on the way there, which another finding may name."""


def _fetch(case: Case, endpoint: str, rule: str, what: str, mend: str) -> Iterator[Finding]:
    facts: dict[tuple[str, str], list[Fact]] = {}
    for fact in case.all(FetchFailed):
        if fact.endpoint == endpoint:
            facts.setdefault((fact.target, fact.who), []).append(fact)
    for answer in case.all(Answered):
        if answer.endpoint == endpoint and answer.status and answer.status != 200:
            facts.setdefault((answer.target, answer.who), []).append(answer)
    for late in case.all(NotAnswered):
        if late.endpoint == endpoint and all(target != late.target for target, _ in facts):
            facts.setdefault((late.target, "A program"), []).append(late)
    for (target, who), told in facts.items():
        problem = next((fact.problem for fact in told if isinstance(fact, FetchFailed)), "")
        on_the_way = bool(problem) and _ON_THE_WAY.search(problem) is not None
        yield finding(
            case, rule, subject_of(case, target), told, sure="likely" if on_the_way else "certain",
            title=f"{who} can't fetch {what} of {name_of(target, 'the issuer')}",
            cause=problem or f"{name_of(target)} does not answer 200.",
            mend=mend,
        )  # fmt: skip


def _discovery(case: Case) -> Iterator[Finding]:
    yield from _fetch(
        case, "discovery", "discovery-failed", "the discovery document",
        "Open ISSUER/.well-known/openid-configuration from where that program runs: the issuer must be written "
        "exactly as the document names itself, its CA must be trusted there, and egress must be allowed.",
    )  # fmt: skip


def _jwks(case: Case) -> Iterator[Finding]:
    mend = (
        "Fetch jwks_uri from where that program runs. In Istio, istiod fetches it, not the sidecar: its egress, DNS "
        "and CA "
        "count (PILOT_JWT_ENABLE_REMOTE_JWKS=hybrid lets Envoy fetch it)."
    )
    yield from _fetch(case, "jwks", "jwks-fetch-failed", "the signing keys", mend)
    for fact in case.all(PlaceholderKeys):
        # istiod says so at its start, too, and fetches them a moment later
        passing = fact.origin.kind == "log" and bool(fact.issuer) and fact.origin.count < A_FEW
        yield finding(
            case, "jwks-fetch-failed", fact.issuer, [fact],
            severity="info" if passing and not case.all(FetchFailed) else "error",
            title=f"istiod could not fetch the signing keys of {name_of(fact.issuer, 'an issuer')}",
            cause="The sidecar has istiod's placeholder in place of the keys, so that no token of this issuer can be "
            "verified.",
            mend=mend,
        )  # fmt: skip


def _clock(case: Case) -> Iterator[Finding]:
    for fact in case.all(ClockOffset):
        if abs(fact.seconds) > _MAX_SKEW:
            way = "ahead of" if fact.seconds > 0 else "behind"
            yield finding(
                case, "clock-skew", "", [fact, *case.all(JwtRejected)],
                title=f"This clock is {abs(fact.seconds):.0f} s {way} that of {fact.against}",
                cause="Tokens carry times. With clocks this far apart they are not valid yet, or have expired, when "
                "they arrive.",
                mend="Set the clock (NTP): `timedatectl`, `chronyc tracking` on the node.",
            )  # fmt: skip
    early = [fact for fact in case.all(JwtRejected) if fact.fault == "not-yet-valid"]
    if early and not case.all(ClockOffset):
        yield finding(
            case, "clock-skew", "", early,
            title="Tokens arrive before they are valid: two clocks differ",
            cause="A token's nbf or iat is in the future for whoever verifies it.",
            mend="Compare the clock of this host with the provider's Date header; set it by NTP.",
            sure="likely",
        )  # fmt: skip


RULES: Final = (
    Rule(name="clock-skew", family="Provider", look=_clock, explains=frozenset({"jwt-expired"})),
    Rule(name="discovery-failed", family="Provider",
         look=also_written(_discovery, "discovery-failed", "discovery-failed")),
    Rule(name="jwks-fetch-failed", family="Provider", look=_jwks, explains=frozenset({"jwt-key"})),
)  # fmt: skip
