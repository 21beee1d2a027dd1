"""Ostiary's own lines: a failed sign-in with its code, and the sentence that says why a connection failed.

What it logs as Envoy does is known by Envoy's wordings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from ostiary.core.log_redaction import redacted
from ostiary.doctor.facts.configuration import ConfigurationProblem
from ostiary.doctor.facts.connection import Attempted, ConnectFailed
from ostiary.doctor.facts.dns import ResolutionFailed, ResolutionFault
from ostiary.doctor.facts.origin import Fact
from ostiary.doctor.facts.provider import Answered, FetchFailed, NotAnswered, TokensMissing
from ostiary.doctor.facts.signin import (
    CookieRefused,
    GroupsLeftOut,
    HeadersTooLarge,
    JwtFault,
    JwtRejected,
    SignInFailed,
    Step,
)
from ostiary.doctor.facts.tls import HandshakeFailed
from ostiary.doctor.logs.pattern import Found, Pattern
from ostiary.doctor.logs.wording import family_of, handshake_fault, provider_codes, stage_of, steady, tls_detail

_WHO: Final = "ostiary"
_STEPS: Final[dict[str, Step]] = {
    "csrf-mismatch": "csrf-mismatch",
    "csrf-cookie-missing": "csrf-cookie-missing",
    "state-invalid": "state-invalid",
    "callback-invalid": "code-missing",
    "code-verifier-invalid": "code-verifier",
    "secret-not-delivered": "secrets-not-ready",
}
_ERRORS: Final = {
    "client-rejected": "invalid_client",
    "grant-rejected": "invalid_grant",
    "scope-rejected": "invalid_scope",
    "consent-required": "consent_required",
}
_TOKENS: Final[dict[str, JwtFault]] = {
    "jwt-issuer": "issuer",
    "issuer-mismatch": "issuer",
    "jwt-audience": "audience",
    "jwt-key": "key",
    "jwt-expired": "expired",
    "jwt-missing": "missing",
}
_TRIED: Final = re.compile(
    r"IPv[46] (?:failed: [^()]*?(?P<errno>E[A-Z]{4,})|(?P<silent>did not answer within [\d.]+ ms)|(?P<stuck>accepted "
    r"the connection but did not finish[^()]*)|failed in the TLS handshake: (?P<tls>.*?)) \((?P<places>[^()]*\d)\)"
)
_PLACE: Final = re.compile(r"(?:\[([0-9a-fA-F:.%\w]+)\]|([\d.]+)):(\d{1,5})")
_NAMES: Final[tuple[tuple[re.Pattern[str], ResolutionFault], ...]] = (
    (re.compile(r"(?P<name>[\w.-]+?)\.? does not exist, (?:says|as)"), "not-found"),
    (re.compile(r"(?P<name>[\w.-]+?)\.? has no IPv[46] \(A+\)"), "no-data"),
    (re.compile(r"the lookup failed: (?P<name>)REFUSED"), "refused"),
    (re.compile(r"the lookup failed: (?P<name>)"), "server-failure"),
    (re.compile(r"query for (?P<name>[\w.-]+?)\.? was not answered by"), "no-answer"),
)


def _connection(found: Found, target: str, text: str) -> Iterator[Fact]:
    """The facts of `Can't connect to TARGET: TEXT`."""
    origin = found.origin
    for tried in _TRIED.finditer(text):
        if tried["tls"] is not None or tried["stuck"] is not None:
            why = tried["tls"] or tried["stuck"]
            how = handshake_fault(why) if tried["tls"] is not None else "silent"
            yield HandshakeFailed(origin=origin, target=target, fault=how, detail=tls_detail(why), who=_WHO)
            continue
        errno = tried["errno"] or ""
        for six, four, port in _PLACE.findall(tried["places"]):
            yield Attempted(
                origin=origin, address=six or four, port=int(port) & 0xFFFF, family=family_of(six or four),
                outcome="timeout" if tried["silent"] else "failed", stage=stage_of(errno), errno=errno, target=target,
            )  # fmt: skip
    for expression, fault in _NAMES:
        if (name := expression.search(text)) is not None:
            host = name["name"] or target.rpartition(":")[0]
            yield ResolutionFailed(origin=origin, name=host, fault=fault, who=_WHO)
            return


def _purpose(found: Found) -> Iterator[Fact]:
    """A call to the provider that could not be made: `discovery: Can't connect to ...`."""
    if found["purpose"] in ("discovery", "jwks"):
        endpoint = "discovery" if found["purpose"] == "discovery" else "jwks"
        problem = steady(redacted(found["text"]))
        yield FetchFailed(origin=found.origin, endpoint=endpoint, target=found["target"], problem=problem, who=_WHO)  # type: ignore[arg-type]
    yield from _connection(found, found["target"], found["text"])


def _upstream(found: Found) -> Iterator[Fact]:
    """The application, most of the time; a provider that can't be reached is told of by the sign-in, too."""
    tried = _TRIED.search(found["text"])
    errno = (tried["errno"] or "") if tried is not None else ""
    yield ConnectFailed(origin=found.origin, target=found["target"], errno=errno, for_provider=False)


def _failed(found: Found) -> Iterator[Fact]:
    code, reason, origin = found["code"], steady(redacted(found["reason"])), found.origin
    status = int(found["status"])
    step = _STEPS.get(code, "other")
    yield SignInFailed(origin=origin, step=step, status=status, who=_WHO)
    if code in _ERRORS:
        yield Answered(
            origin=origin, endpoint="token", target="", status=400, body="json", error=_ERRORS[code],
            description=reason, codes=provider_codes(found.record.message), who=_WHO,
        )  # fmt: skip
    elif code in _TOKENS:
        yield JwtRejected(origin=origin, fault=_TOKENS[code], detail=reason, who=_WHO)
    elif code == "idp-timeout":
        yield NotAnswered(origin=origin, endpoint="token", target="")
    elif code == "idp-server-error":
        said = re.search(r"\b5\d\d\b", reason)
        yield Answered(origin=origin, endpoint="token", target="", status=int(said[0]) if said else 500, who=_WHO)
    elif code == "idp-not-oauth":
        yield Answered(origin=origin, endpoint="token", target="", status=200, body="html", who=_WHO)
    elif code == "token-response-invalid":
        yield TokensMissing(origin=origin, target="", lacks="access_token")
    elif code == "jwks-fetch-failed" and "Can't connect" not in reason:
        yield FetchFailed(origin=origin, endpoint="jwks", target="", problem=reason, who=_WHO)
    elif code == "discovery-failed" and "Can't connect" not in reason:
        yield FetchFailed(origin=origin, endpoint="discovery", target="", problem=reason, who=_WHO)
    else:
        yield from _of_cookies_and_secrets(found, code, reason)


def _of_cookies_and_secrets(found: Found, code: str, reason: str) -> Iterator[Fact]:
    origin = found.origin
    if code == "secret-invalid":
        yield ConfigurationProblem(origin=origin, kind="secret-invalid", subject="client_secret", message=reason)
    elif code == "cookie-too-large":
        yield CookieRefused(origin=origin, name="__Host-ostiary", why="too-large")
    elif code == "headers-too-large":
        yield HeadersTooLarge(origin=origin, who="other", what="request")
    elif code == "group-overage":
        yield GroupsLeftOut(origin=origin, who=_WHO)


PATTERNS: Final = (
    Pattern(
        words=(r"code \w+: [A-Z]+ answered with \d+: [a-z]+-[a-z]",),
        expression=r"^code \w+: [A-Z]+ answered with (?P<status>\d{3}): (?P<code>[a-z]+-[a-z-]+): (?P<reason>.*)",
        facts=_failed,
    ),
    Pattern(
        words=("Can't connect to ",),
        expression=r"\b(?P<purpose>[a-z]+(?: [a-z]+)?): Can't connect to (?P<target>\S+): (?P<text>.*)",
        facts=_purpose,
    ),
    Pattern(
        words=("Can't connect to ",),
        expression=r"^upstream \S+: Can't connect to (?P<target>\S+): (?P<text>.*)",
        facts=_upstream,
    ),
)
