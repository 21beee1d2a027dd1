"""From claims to a person: which claims name the user, what is kept, and which headers the application gets.

Claims come from the verified ID token; what it lacks and something here asks for is filled in from userinfo, whose
`sub` must be the token's (OpenID Connect Core section 5.3.2). Providers without ID tokens are asked at userinfo alone;
GitHub in addition for its verified primary address (`/user/emails`).

An e-mail address counts only if it may be trusted: `email_verified: false` refuses the sign-in (unless configured
otherwise), and in a multi-tenant directory, where every tenant writes addresses as it likes, an address that nothing
verifies is left out. No value may pass for another: a comma in one becomes `%2C`, so that no group reads as two, a
control character `%0A` and the like; a user's name or address with one is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ostiary.core.access import claim_values
from ostiary.core.oauth2.failures import SignInError, failure
from ostiary.core.oauth2.session import Session
from ostiary.model import limits
from ostiary.model.signin import ProviderConfig, SignIn

USER: Final = "x-forwarded-user"
EMAIL: Final = "x-forwarded-email"
PREFERRED_USERNAME: Final = "x-forwarded-preferred-username"
GROUPS: Final = "x-forwarded-groups"
ACCESS_TOKEN: Final = "x-forwarded-access-token"
ASSERTION: Final = "x-ostiary-assertion"
_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f]")
_STANDARD: Final = frozenset((USER, EMAIL, PREFERRED_USERNAME, GROUPS, ACCESS_TOKEN, ASSERTION))


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Who signed in, as rules and headers see them."""

    subject: str
    provider_subject: str
    email: str
    preferred_username: str
    name: str
    groups: tuple[str, ...]
    claims: dict[str, Any]


def identity_headers(config: SignIn) -> frozenset[str]:
    """Headers that only we may set, lower case: they are removed from whatever a client sends."""
    own = {header.lower() for header in config.claim_headers}
    return _STANDARD | own | ({"authorization"} if config.pass_authorization else set())


def wanted_claims(config: SignIn) -> frozenset[str]:
    """The claims that rules and headers ask for, by their own names (`a.b` may be a claim, or a way into `a`)."""
    paths = [*config.claim_headers.values(), *(claim for rule in config.rules for claim in rule.claims)]
    return frozenset(name for path in paths for name in (path, path.partition(".")[0]))


def needed_from_userinfo(config: SignIn, claims: Mapping[str, Any]) -> frozenset[str]:
    """The claims that rules or claim headers ask for and that are not there."""
    paths = {*config.claim_headers.values(), *(claim for rule in config.rules for claim in rule.claims)}
    if any(rule.groups for rule in config.rules):
        paths.add(config.provider.groups_claim)
    if any(rule.emails or rule.domains for rule in config.rules):
        paths.add(config.provider.email_claim)
    return frozenset(path for path in paths if not claim_values(claims, path))


def lacks_what_was_asked(config: SignIn, claims: Mapping[str, Any]) -> bool:
    """Whether scopes asked for an e-mail address or groups, and the token has none: some providers tell them at
    userinfo alone (OpenID Connect Core section 5.4)."""
    asked = {"email": config.provider.email_claim, "groups": config.provider.groups_claim}
    return any(scope in config.provider.scopes and not claim_values(claims, claim) for scope, claim in asked.items())


def wants_groups(config: SignIn) -> bool:
    """Whether a rule or a claim's header looks at groups."""
    return bool(named_groups(config)) or config.provider.groups_claim in config.claim_headers.values()


def named_groups(config: SignIn) -> frozenset[str]:
    """The groups that rules name."""
    claim = config.provider.groups_claim
    return frozenset(group for rule in config.rules for group in (*rule.groups, *rule.claims.get(claim, ())))


def merge_userinfo(claims: Mapping[str, Any], userinfo: Mapping[str, Any]) -> dict[str, Any]:
    """ID token and userinfo together; the token wins. Raises SignInError if they speak of two people."""
    if userinfo.get("sub") != claims.get("sub"):
        raise SignInError("userinfo-invalid", "`sub` of userinfo is not the ID token's")
    return {**userinfo, **claims}


def person_of(claims: Mapping[str, Any], config: SignIn, *, multi_tenant: bool) -> Person:
    """The person that verified claims describe. Raises SignInError for none, or one not to be believed."""
    provider = config.provider
    subject = _first(claims, provider.user_claim)
    if not subject or len(subject) > limits.MAX_SUBJECT_LENGTH:
        raise SignInError("userinfo-invalid", f"claim {provider.user_claim!r} names no user")
    for claim in (provider.user_claim, provider.email_claim):
        if _CONTROLS.search(_first(claims, claim)):
            raise SignInError("userinfo-invalid", f"claim {claim!r} holds control characters")
    if has_group_overage(claims, provider) and wants_groups(config):
        raise SignInError("group-overage", f"claim {provider.groups_claim!r} was left out because it is too long")
    return Person(
        subject=subject,
        provider_subject=_first(claims, "sub") if provider.user_claim != "sub" else "",
        email=_trusted_email(claims, provider, multi_tenant),
        preferred_username=_first(claims, "preferred_username") or _first(claims, "login"),
        name=_first(claims, "name"),
        groups=tuple(dict.fromkeys(group for group in claim_values(claims, provider.groups_claim) if group)),
        claims={name: value for name, value in claims.items() if name in wanted_claims(config)},
    )


def github_email(addresses: object) -> str:
    """The verified primary address of GitHub's `/user/emails`, or the empty string."""
    for entry in addresses if isinstance(addresses, list) else []:
        if isinstance(entry, dict) and entry.get("primary") is True and entry.get("verified") is True:
            email = entry.get("email")
            return email if isinstance(email, str) else ""
    return ""


def headers_of(session: Session, config: SignIn) -> tuple[tuple[str, str], ...]:
    """The identity headers for the application, without empty ones. Raises SignInError for one that is too long."""
    headers = [
        (USER, session.subject),
        (EMAIL, session.email),
        (PREFERRED_USERNAME, session.preferred_username),
        (GROUPS, _listed(session.groups) if config.pass_groups else ""),
    ]
    if config.pass_access_token:
        headers.append((ACCESS_TOKEN, session.access_token))
    if config.pass_authorization and session.access_token:
        headers.append(("authorization", f"Bearer {session.access_token}"))
    for header, claim in config.claim_headers.items():
        headers.append((header.lower(), _listed(_claim_of(session, config.provider, claim))))
    return tuple((name, header_value(value)) for name, value in headers if value)


def header_value(text: str) -> str:
    """Text as a header's value: UTF-8 bytes, each as one latin-1 character, control characters percent-encoded."""
    if not (text.isascii() and text.isprintable()):
        wire = text.encode("utf-8", "replace").decode("latin-1")
        text = _CONTROLS.sub(lambda found: f"%{ord(found[0]):02X}", wire)
    value = text.strip(" ")
    if len(value) > limits.MAX_IDENTITY_HEADER_BYTES:
        mend = failure("headers-too-large").mend
        raise SignInError("headers-too-large", f"an identity header has {len(value)} bytes: {mend}")
    return value


def _claim_of(session: Session, provider: ProviderConfig, claim: str) -> list[str]:
    return claim_values(session.claims, claim) or (list(session.groups) if claim == provider.groups_claim else [])


def _listed(values: Iterable[str]) -> str:
    return ",".join(value.replace(",", "%2C") for value in values)


def _first(claims: Mapping[str, Any], path: str) -> str:
    return next(iter(claim_values(claims, path)), "")


def has_group_overage(claims: Mapping[str, Any], provider: ProviderConfig) -> bool:
    """Entra ID leaves groups out when there are too many, and says where to ask for them (`_claim_names`)."""
    elsewhere = claims.get("_claim_names")
    return (
        provider.groups_claim == "groups"
        and "groups" not in claims
        and (claims.get("hasgroups") in (True, "true") or (isinstance(elsewhere, Mapping) and "groups" in elsewhere))
    )


def _trusted_email(claims: Mapping[str, Any], provider: ProviderConfig, multi_tenant: bool) -> str:
    email = _first(claims, provider.email_claim)
    if not email or not provider.require_verified_email:
        return email
    verified = claims.get("email_verified", claims.get("xms_edov"))
    if verified in (True, "true", "True", "1", 1):
        return email
    if verified is not None:
        raise SignInError("email-unverified", "email_verified is not true")
    return "" if multi_tenant else email
