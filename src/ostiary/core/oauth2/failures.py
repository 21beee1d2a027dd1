"""Every way a sign-in can fail: a stable code, words for the person at the browser, and a hint for the operator.

The codes are the doctor's rule names where it has a rule (`ostiary doctor --explain CODE`), so that a code on a page,
in a log line and in a report means the same thing. What the person reads holds nothing that came from the network:
texts of the provider go to the operator only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ostiary.model.errors import OstiaryError


@dataclass(frozen=True, slots=True)
class Failure:
    """How one code is told."""

    status: int
    title: str
    happened: str
    """For the person, in plain words."""
    to_do: str
    """For the person."""
    mend: str = ""
    """For the operator; goes into details and logs, not to the page."""

    @property
    def hopeless(self) -> bool:
        """Whether the person's next try would end the same way."""
        return self.to_do is _OPERATOR


class SignInError(OstiaryError):
    """A sign-in (or a refresh) that can't be completed. `reason` is for operators and holds no secret."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


_AGAIN: Final = "Try again. If it keeps happening, tell the operator of this site the code below."
_OPERATOR: Final = "Tell the operator of this site the code below; trying again will not help."
_NOT_VERIFIED: Final = "The sign-in service's answer could not be verified, so it was not believed."
_MISCONFIGURED: Final = "This site and its sign-in service are not set up to work with each other."
_UNREACHABLE: Final = "The sign-in service can't be reached right now."
_ODD_ANSWER: Final = "The sign-in service gave an answer that makes no sense."


def _misconfigured(mend: str) -> Failure:
    return Failure(500, "Sign-in is not set up correctly", _MISCONFIGURED, _OPERATOR, mend)


def _unreachable(mend: str, status: int = 503) -> Failure:
    return Failure(status, "The sign-in service is not available", _UNREACHABLE, "Wait a minute and try again.", mend)


def _odd(mend: str) -> Failure:
    return Failure(502, "The sign-in service answered oddly", _ODD_ANSWER, _AGAIN, mend)


def _unverified(mend: str) -> Failure:
    return Failure(502, "The sign-in could not be verified", _NOT_VERIFIED, _AGAIN, mend)


FAILURES: Final[Mapping[str, Failure]] = {
    # the provider, and the way to it
    "idp-unreachable": _unreachable("run `ostiary doctor` from this host: it names the connection's root cause"),
    "idp-timeout": _unreachable(
        "run `ostiary connect` to the provider; raise provider.timeout if it is only slow", 504
    ),
    "idp-server-error": _unreachable("the provider answered 5xx or refused for load: look at its status and logs"),
    "idp-not-oauth": _odd("the endpoint answered HTML or another non-JSON page: check its URL and proxies in between"),
    "discovery-failed": _unreachable(
        "open ISSUER/.well-known/openid-configuration; its `issuer` must equal the setting"
    ),
    "jwks-fetch-failed": _unreachable("the provider's jwks_uri must be reachable from here and hold signing keys"),
    "idp-error": _odd("the provider reported an error: its code and description are in these details"),
    "token-response-invalid": _odd("the token endpoint's answer lacks what OAuth 2.0 requires"),
    "userinfo-invalid": _odd("the userinfo endpoint's answer lacks the user, or names another one"),
    # the registration
    "client-rejected": _misconfigured("check client_id, the secret (newline, encoding) and client_auth_method"),
    "secret-not-delivered": _misconfigured("the client secret's file is missing, empty or unreadable"),
    "secret-invalid": _misconfigured("the private key, its certificate or the client assertion is not usable"),
    "redirect-uri-mismatch": _misconfigured("register the redirect URI that these details name at the provider"),
    "scope-rejected": _misconfigured("the provider doesn't grant a scope that provider.scopes asks for"),
    "code-verifier-invalid": _odd("the provider found the PKCE verifier wrong: its support for S256 is broken"),
    "grant-rejected": Failure(
        400,
        "This sign-in is no longer valid",
        "The sign-in took too long, or was used already.",
        _AGAIN,
        "the code expired or was used twice, or redirect_uri differs between the two requests",
    ),
    "consent-required": Failure(
        403,
        "Your consent is needed",
        "The sign-in service needs you, or an administrator, to agree first.",
        "Sign in again and agree, or ask an administrator to agree for you.",
        "grant consent for this client at the provider, or remove prompt=none",
    ),
    "login-required": Failure(
        401,
        "Please sign in",
        "The sign-in service wants you to sign in by hand.",
        "Sign in again.",
        "prompt=none was asked for and the user has no session at the provider",
    ),
    "sign-in-declined": Failure(
        403,
        "You were not signed in",
        "The sign-in was cancelled or refused at the sign-in service.",
        "Try again, or ask for access to this application there.",
        "access_denied: the user cancelled, or the provider's policy refuses this user for this client",
    ),
    # the token
    "jwt-malformed": _unverified("the ID token is not one: compare the provider with OpenID Connect Core section 2"),
    "jwt-missing": _unverified(
        "no id_token came: is `openid` among provider.scopes? kind: oauth2 is for providers without"
    ),
    "jwt-algorithm": _unverified(
        "allow the algorithm in provider.id_token_algorithms, or change the client's registration"
    ),
    "jwt-key": _unverified("the provider's JWKS lacks the key that signed: wrong jwks_uri, or a stale cache there"),
    "jwt-signature": _unverified("another provider's keys, or a token changed on the way"),
    "jwt-issuer": _unverified("set issuer to what the provider writes into `iss`"),
    "jwt-audience": _unverified("client_id must be the token's `aud`"),
    "jwt-expired": _unverified("compare the clocks of this host and of the provider (NTP)"),
    "clock-skew": _unverified("compare the clocks of this host and of the provider (NTP)"),
    "jwt-nonce": _unverified("the token answers another sign-in: a replay, or a provider that loses `nonce`"),
    "jwt-access-token": _unverified("at_hash doesn't fit: the tokens don't belong together"),
    "jwt-subject": _unverified("the refreshed token names another user"),
    # the flow
    "csrf-cookie-missing": Failure(
        400,
        "Your browser did not keep the sign-in",
        "The cookie that belongs to this sign-in did not come back.",
        "Allow cookies for this site, use one address for it (https, same host name), then sign in again.",
        "no flow cookie, twice: cookies blocked, https ended before us without X-Forwarded-Proto, or two host names",
    ),
    "csrf-mismatch": Failure(
        400,
        "This is not a sign-in we started",
        "The sign-in that came back is not the one this browser began.",
        "Start again from the application.",
        "the nonce cookie and `state` differ: another browser's link, two proxies with different HMAC secrets, or an "
        "old cookie of a wider domain",
    ),
    "cluster-unknown": _misconfigured("the configuration has no cluster of the name that token_endpoint asks for"),
    "state-invalid": Failure(
        400,
        "This is not a sign-in we started",
        "The address that led here is incomplete, or it belongs to another sign-in.",
        "Start again from the application.",
        "the callback was called without, or with a foreign, state",
    ),
    "issuer-mismatch": Failure(
        400,
        "The answer came from another sign-in service",
        _NOT_VERIFIED,
        _OPERATOR,
        "`iss` of the callback is not this provider's (RFC 9207): a mix-up, possibly an attack",
    ),
    "callback-invalid": Failure(
        400,
        "The sign-in service's answer is incomplete",
        _ODD_ANSWER,
        _AGAIN,
        "the callback has neither `code` nor `error`, or a parameter twice",
    ),
    "redirect-uri-template": Failure(
        400,
        "This address can't be used to sign in",
        "The host name of this request is not usable.",
        "Open the application by its usual address.",
        "set external_url; the request's Host header is not a host name",
    ),
    # the person
    "access-denied": Failure(
        403,
        "You don't have access",
        "You are signed in, but this page is not open to your account.",
        "Ask the operator of this site for access, or use another account.",
        "no rule admits this user: see `why`",
    ),
    "email-unverified": Failure(
        403,
        "Your e-mail address is not verified",
        "The sign-in service says your e-mail address is not verified.",
        "Verify your e-mail address there, then sign in again.",
        "email_verified is false; provider.require_verified_email: false accepts it",
    ),
    "group-overage": Failure(
        403,
        "You are in too many groups",
        "The sign-in service left your groups out because there are too many, so your access can't be judged.",
        _OPERATOR,
        "grant User.Read of Microsoft Graph, or have the provider send only the groups assigned to this application, "
        "or app roles and use that claim in rules",
    ),
    "groups-unavailable": _odd("the provider did not tell the user's groups: is the scope for them granted?"),
    "session-ended": Failure(
        401,
        "Your session has ended",
        "You were signed out while this page was open; nothing was sent.",
        "Sign in again, go back, and send it once more.",
        "a form was sent without a valid session",
    ),
    # ours
    "cookie-too-large": Failure(
        500,
        "Your session is too large",
        "The sign-in service sent more about you than a browser can keep.",
        _OPERATOR,
        "too large for cookies; ask for less (provider.scopes), keep less (pass.claims, session.keep_access_token) or "
        "have the provider send fewer groups - a server-side store comes with Redis sessions",
    ),
    "headers-too-large": Failure(
        500,
        "Your session is too large",
        "The sign-in service sent more about you than the application can take.",
        _OPERATOR,
        "too large for a header (8 KiB), with a server-side store as well: hand on less (pass.groups: false, "
        "pass.claims), or have the provider send fewer groups, or only those of this client",
    ),
    "path-invalid": Failure(
        400,
        "This address is not usable",
        "The address is written in a way that could be read as another one.",
        "Check the address.",
        "the path is percent-encoded twice, or holds a control character",
    ),
    "not-found": Failure(404, "There is nothing here", "This address does not exist.", "Check the address."),
    "method-not-allowed": Failure(405, "That can't be done here", "This address takes another method.", "Go back."),
    "signout-cross-site": Failure(
        403,
        "Sign out?",
        "Another site asked to sign you out; that needs your own click.",
        "Sign out here if you want to.",
    ),
    "forward-auth-path": Failure(
        400,
        "The address to judge is missing",
        "The server before this one did not say what was asked for.",
        _OPERATOR,
        "rules look at paths (or methods): of the original request, send the path in exactly one of X-Forwarded-Uri and"
        " X-Original-URI (the method in one of X-Forwarded-Method and X-Original-Method)",
    ),
    "internal-error": Failure(
        500,
        "Something went wrong here",
        "This is our fault. You were not let in, to be safe.",
        _AGAIN,
        "a defect in Ostiary: please report it with these details",
    ),
}


def failure(code: str) -> Failure:
    """The entry of `code`; a code without one is told as `idp-error`."""
    return FAILURES.get(code, FAILURES["idp-error"])
