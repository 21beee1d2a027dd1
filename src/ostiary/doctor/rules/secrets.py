"""Causes in secrets: not there, not usable, or not the same everywhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ostiary.doctor.case import Case
from ostiary.doctor.facts.configuration import ConfigurationProblem
from ostiary.doctor.facts.origin import Fact
from ostiary.doctor.facts.sidecar import Warming
from ostiary.doctor.facts.signin import SignInFailed
from ostiary.doctor.finding import Confidence, Finding
from ostiary.doctor.rule import Rule
from ostiary.doctor.rules.evidence import proof, severity_beside, someone_signed_in, weakened


def _not_delivered(case: Case) -> Iterator[Finding]:
    warming = [fact for fact in case.all(Warming) if fact.what == "secret"]
    refused = [fact for fact in case.all(ConfigurationProblem) if fact.kind == "secret-missing"]
    refusals = [fact for fact in case.all(SignInFailed) if fact.step == "secrets-not-ready"]
    facts: list[Fact] = [*warming, *refused, *refusals]
    if not facts:
        return
    names = [*dict.fromkeys([*(fact.name for fact in warming), *(fact.subject for fact in refused if fact.subject)])]
    which = f" ({', '.join(names)})" if names else ""
    where = next((fact.where for fact in refused if fact.where is not None), None)
    yield Finding(
        rule="secret-not-delivered",
        severity="error",
        title=f"A secret of the sign-in filter{which} has not arrived",
        cause="The filter needs its token secret and its HMAC secret. One of them was never delivered by SDS: the "
        "file or server is not there, or has no secret of the name that is asked for. Until then every request is "
        "answered 503.",
        proof=proof(facts),
        mend="Check that the file exists in the proxy's container, that the `name` inside it equals the one in the "
        "filter, and that it holds one secret. Use path_config_source with watched_directory for a mounted Secret; "
        "node id and cluster must be set for SDS from files.",
        confidence=weakened("certain", someone_signed_in(case)),
        where=where,
        subject="",
    )


def _invalid(case: Case) -> Iterator[Finding]:
    for fact in case.all(ConfigurationProblem):
        if fact.kind == "secret-invalid":
            yield Finding(
                rule="secret-invalid",
                severity="error",
                title=f"The secret {fact.subject} can't be used".replace("  ", " "),
                cause=fact.message,
                proof=proof(fact),
                mend=fact.mend
                or "Write the secret without quotes and without a newline at its end: `openssl rand "
                "-base64 32 | tr -d '\\n'`, `kubectl create secret generic NAME --from-literal=KEY=VALUE`.",
                confidence="certain",
                where=fact.where,
                subject=fact.subject,
            )


def _mismatch(case: Case) -> Iterator[Finding]:
    broken: list[Fact] = [fact for fact in case.all(SignInFailed) if fact.step in ("hmac", "decrypt")]
    if not broken:
        return
    confidence: Confidence = "likely"
    yield Finding(
        rule="secret-mismatch",
        severity=severity_beside(case, broken),
        title="Cookies were sealed with another secret than they are opened with",
        cause="A cookie that this filter should know fails its check: the HMAC (or cookie) secret differs between "
        "replicas, was rotated, or two filters on one host use the same cookie names with different secrets.",
        proof=proof(broken),
        mend="Give all replicas, and all filters that share a host, the same secret; after a rotation old cookies "
        "are worth nothing, and users sign in again once. Different applications on one host: cookie names of their "
        "own (cookie_names).",
        confidence=weakened(confidence, someone_signed_in(case)),
    )


RULES: Final = (
    Rule(name="secret-not-delivered", family="Secrets", look=_not_delivered,
         explains=frozenset({"listener-rejected", "sidecar-not-ready", "client-rejected", "config-invalid"})),
    Rule(name="secret-invalid", family="Secrets", look=_invalid,
         explains=frozenset({"config-invalid", "secret-mismatch"})),
    Rule(name="secret-mismatch", family="Secrets", look=_mismatch, claims="likely",
         explains=frozenset({"csrf-mismatch", "signin-loop"})),
)  # fmt: skip
