"""oauth2-proxy: its own sentences about sign-ins and secrets. Network errors in them are Go's (`languages`)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from ostiary.core.log_redaction import redacted
from ostiary.doctor.facts.configuration import ConfigurationProblem
from ostiary.doctor.facts.origin import Fact
from ostiary.doctor.facts.provider import Answered
from ostiary.doctor.facts.signin import SignedIn, SignInFailed, Step
from ostiary.doctor.logs.pattern import Found, Pattern
from ostiary.doctor.logs.wording import provider_codes, steady

_WHO: Final = "oauth2-proxy"
_NAME: Final = re.compile(r"\b[a-z]+(?:[-_][a-z]+)+\b|\b[a-z]+(?= client\b)")
"""Which option a sentence is about."""


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


def _unknown(found: Found) -> Iterator[Fact]:
    """Keys, flags: each that it names is one."""
    place = found["place"]
    for name in found["keys"].split(", "):
        yield ConfigurationProblem(
            origin=found.origin, kind="unknown-field", subject=name, rejected=True,
            message=f"oauth2-proxy refuses to start: it has no {'key' if place else 'flag'} {name}.",
            mend="Correct or remove it; beside --alpha-config, say it there. `ostiary doctor -c FILE` names the line.",
        )  # fmt: skip


def _short(found: Found) -> Iterator[Fact]:
    yield ConfigurationProblem(
        origin=found.origin, kind="unknown-field", subject=found["short"], rejected=True,
        message="oauth2-proxy refuses to start: one dash begins a flag of one letter.",
        mend=f"Write -{found['short']}.",
    )  # fmt: skip


def _refused(found: Found) -> Iterator[Fact]:
    named = _NAME.search(found["why"])
    yield ConfigurationProblem(
        origin=found.origin, kind="invalid", subject=found["key"] or (named[0] if named else "oauth2-proxy"),
        rejected=True,
        message=f"oauth2-proxy refuses to start: {steady(redacted(found['why'])).rstrip('.')}.",
        mend="Correct it; `ostiary doctor -c FILE` names the line.",
    )  # fmt: skip


_REFUSALS: Final = {
    r"missing setting: ": "(?:provider )?missing setting: ",
    r"missing setting for email validation: ": "missing setting for email validation: ",
    r"must be less than cookie_expire": "cookie_refresh .* must be less than cookie_expire",
    r"cookie_samesite \(": r"cookie_samesite \(.*\) must be one of",
    r"invalid cookie name: ": "invalid cookie name: ",
    r" has invalid scheme: ": "upstream .* has invalid scheme: ",
    r" has empty (?:uri|path|id)": "(?:upstream|provider) .*has empty (?:uri|path|id)",
    r"multiple upstreams found with ": "multiple upstreams found with (?:id|path) ",
    r"multiple headers found with name ": "multiple headers found with name ",
    r"\) could not be recognized": r"(?:trusted_ips|trusted_proxy_ips)\[\d+\] .* could not be recognized",
    r"error parsing redirect-url=": "error parsing redirect-url=",
    r"error compiling regex /": "error compiling regex /",
    r" not accepted parameter value": "real_client_ip_header .* not accepted parameter value",
    r"unable to initialize a redis client": "unable to initialize a redis client",
    r"unable to load provider CA file": "unable to load provider CA file",
    r"invalid jwt verifier uri=audience spec": "invalid jwt verifier uri=audience spec",
}
"""Lines below `invalid configuration:`: a word of each, and how it begins."""

PATTERNS: Final = (
    Pattern(
        words=(r"has invalid keys: ",),
        expression=r"^'(?P<place>[\w.\[\]]+)' has invalid keys: (?P<keys>[\w.-]+(?:, [\w.-]+)*)\s*$",
        facts=_unknown,
        plain=False,
    ),
    Pattern(
        words=(r"unknown flag: --", r"unknown shorthand flag: '"),
        expression=r"^unknown (?:flag: (?P<keys>--[\w-]+)|shorthand flag: '.' in (?P<short>-[\w-]+).*)\s*$",
        facts=lambda found: _unknown(found) if found["keys"] else _short(found),
        plain=False,
    ),
    Pattern(
        words=(r" flag: (?:strconv|time|parse error)", r"flag needs an argument: --"),
        expression=r'^(?P<why>invalid argument ".*" for "(?P<key>--[\w-]+)" flag: .*|flag needs an argument: --[\w-]+)',
        facts=_refused,
        plain=False,
    ),
    Pattern(
        words=(
            r"' cannot parse value as '",
            r"' time: (?:unknown|invalid|missing)",
            r"' expected type '",
            r"' source data must be an array",
        ),
        expression=r"^'(?P<key>[\w.\[\]]+)' (?P<why>(?:cannot parse value as|time: |expected type|source data must).*)",
        facts=_refused,
        plain=False,
    ),
    Pattern(
        words=tuple(_REFUSALS),
        expression=rf"^\s*(?:inject(?:Request|Response)Headers: )?(?P<why>(?:{'|'.join(_REFUSALS.values())}).*)",
        facts=_refused,
        plain=False,
    ),
    Pattern(
        words=(r"unknown provider type: ", r"missing required setting: ", r"unknown session store type "),
        expression=r"(?P<why>(?:unknown provider type|missing required setting): .*|unknown session store type '.*)",
        facts=_refused,
    ),
    Pattern(
        words=(r"unable to load config file: While parsing config",),
        expression=r"(?P<why>While parsing config: .*)",
        facts=_refused,
    ),
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
