"""Facts about what a provider answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ostiary.doctor.facts.origin import Fact

Endpoint = Literal["discovery", "jwks", "authorization", "token", "userinfo"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered(Fact):
    """One answer of a provider."""

    endpoint: Endpoint
    target: str
    """The URL without its query, or the cluster."""
    status: int
    """0: the source doesn't say (an error at the callback)."""
    body: Literal["json", "html", "text", "empty", "unknown"] = "unknown"
    error: str = ""
    """RFC 6749: `invalid_client`, `invalid_grant`, ..."""
    description: str = ""
    """error_description, shortened, without secrets."""
    codes: tuple[str, ...] = ()
    """The provider's own codes: `AADSTS50011`."""
    probe: bool = False
    """Our own harmless request: `invalid_grant` is then a good sign."""
    who: str = "envoy"


@dataclass(frozen=True, slots=True, kw_only=True)
class NotAnswered(Fact):
    """A provider was connected to and did not answer in time."""

    endpoint: Endpoint
    target: str
    after: float | None = None
    """Seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokensMissing(Fact):
    """A token response lacks what is needed."""

    target: str
    lacks: Literal["access_token", "expires_in", "id_token", "json"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchFailed(Fact):
    """Discovery or keys could not be fetched, or are unusable."""

    endpoint: Literal["discovery", "jwks"]
    target: str
    problem: str
    who: str = "envoy"
    """Who fetches: `envoy`, `istiod`, `oauth2-proxy`, `envoy-gateway`, `ostiary`, `probe`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockOffset(Fact):
    """How far this place's clock is from a provider's Date header."""

    seconds: float
    """Positive: this clock is ahead."""
    against: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolMismatch(Fact):
    """The peer speaks another HTTP version than it was spoken to."""

    target: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RedirectUriAnswer(Fact):
    """What the authorization endpoint says to the redirect URI."""

    target: str
    redirect_uri: str
    accepted: bool | None
    """None: this provider doesn't tell before somebody signs in."""
