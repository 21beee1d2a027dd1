"""Facts about a sign-in as the doorkeeper (Envoy's filter, oauth2-proxy, ...) and the browser see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ostiary.doctor.facts.origin import Fact

Step = Literal[
    "csrf-mismatch", "csrf-cookie-missing", "state-invalid", "code-missing", "code-verifier", "hmac",
    "secrets-not-ready", "decrypt", "redirect-not-allowed", "token-exchange", "other",
]  # fmt: skip
JwtFault = Literal["issuer", "audience", "key", "expired", "not-yet-valid", "missing", "algorithm", "other"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SignInFailed(Fact):
    """A sign-in ended with an error at this step."""

    step: Step
    status: int = 401
    who: str = "envoy"
    host: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedIn(Fact):
    """A sign-in succeeded: what speaks against a cause that would let none succeed."""

    who: str = "envoy"


@dataclass(frozen=True, slots=True, kw_only=True)
class SignInRepeated(Fact):
    """One client's sign-ins succeeded one after the other, and each time it was redirected to the provider again."""

    times: int
    seconds: float
    """From the first callback to the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RedirectSent(Fact):
    """A browser was sent to the provider."""

    authorization_endpoint: str
    redirect_uri: str
    scopes: tuple[str, ...] = ()
    method: str = "GET"
    for_script: bool = False
    """The request was a fetch/XHR, a preflight or a WebSocket, which can't follow it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadersTooLarge(Fact):
    """Somebody refused a request or an answer for the size of its headers."""

    who: Literal["envoy", "nginx", "application", "browser", "other"]
    what: Literal["request", "response"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CookieSet(Fact):
    """A cookie as a Set-Cookie line or a configuration gives it."""

    name: str
    size: int
    """Bytes of name and value."""
    domain: str = ""
    path: str = ""
    secure: bool = False
    same_site: str = ""
    host: str = ""
    """Of the request it answers."""
    split: bool = False
    """Its program puts what is too large for one into several."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CookieRefused(Fact):
    """A browser would not keep or send a cookie."""

    name: str
    why: Literal["too-large", "domain", "path", "secure", "same-site", "other"]


@dataclass(frozen=True, slots=True, kw_only=True)
class JwtRejected(Fact):
    """A bearer token was refused."""

    fault: JwtFault
    detail: str = ""
    who: str = "envoy"
    at_callback: bool = False
    """The request was the way back from a provider: a sign-in ends there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupsLeftOut(Fact):
    """Entra left the groups out of a token because they are too many."""

    who: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrowserBlocked(Fact):
    """A browser's console says why a page's request failed."""

    what: Literal["preflight", "cors", "redirect-loop", "mixed-content", "cookie"]
    url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtAuthzFailed(Fact):
    """External authorization refused for a reason that is none of the user's."""

    why: Literal["status", "unreachable", "timeout"]
    detail: str = ""
