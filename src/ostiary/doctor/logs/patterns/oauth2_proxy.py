"""oauth2-proxy: its own sentences about sign-ins and secrets. Network errors in them are Go's (`languages`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ostiary.core.redaction import redacted
from ostiary.doctor.facts.configuration import ConfigurationProblem
from ostiary.doctor.facts.origin import Fact
from ostiary.doctor.facts.provider import Answered
from ostiary.doctor.facts.signin import SignedIn, SignInFailed, Step
from ostiary.doctor.logs.pattern import Found, Pattern
from ostiary.doctor.logs.wording import provider_codes, steady

_WHO: Final = "oauth2-proxy"


def _ends(step: Step, status: int, *words: str) -> Pattern:
    def facts(found: Found) -> Iterator[Fact]:
        yield SignInFailed(origin=found.origin, step=step, status=status, who=_WHO)

    return Pattern(words=words, expression="|".join(words), facts=facts)


def _signed_in(found: Found) -> Iterator[Fact]:
    yield SignedIn(origin=found.origin, who=_WHO)


def _provider_error(found: Found) -> Iterator[Fact]:
    yield SignInFailed(origin=found.origin, step="other", status=403, who=_WHO)
    yield Answered(
        origin=found.origin, endpoint="authorization", target="", status=0, error=found["error"],
        description=steady(redacted(found["more"])), codes=provider_codes(found.record.message), who=_WHO,
    )  # fmt: skip


def _secret(found: Found) -> Iterator[Fact]:
    yield ConfigurationProblem(
        origin=found.origin, kind="secret-invalid", subject="cookie_secret", message=steady(redacted(found["why"])),
        rejected=True,
    )  # fmt: skip


PATTERNS: Final = (
    Pattern(
        words=(r"\[AuthSuccess\] Authenticated via OAuth2", "AuthSuccess.{0,6}Authenticated via OAuth2"),
        expression="Authenticated via OAuth2",
        facts=_signed_in,
    ),
    _ends("csrf-cookie-missing", 403, "unable to obtain CSRF cookie", "Error while loading CSRF cookie"),
    _ends("csrf-mismatch", 403, "CSRF token mismatch, potential attack"),
    _ends("token-exchange", 500, "Error redeeming code during OAuth2 callback"),
    _ends("state-invalid", 500, "Error while parsing OAuth2 state"),
    Pattern(
        words=("Error while parsing OAuth2 callback",),
        expression=r"Error while parsing OAuth2 callback: (?P<error>[a-z_]+)\b(?P<more>.*)",
        facts=_provider_error,
    ),
    Pattern(
        words=("cookie_secret (?:must be|from)",),
        expression=r"(?P<why>cookie_secret (?:must be|from).*)",
        facts=_secret,
    ),
)
