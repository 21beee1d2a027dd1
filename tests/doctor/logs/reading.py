"""What the tests of the log reader share: a log as text, and facts as short lines."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import yaml

from ostiary.doctor.facts.origin import Fact
from ostiary.doctor.logs import Reading, read

SHOWN = {
    "Answered": ("endpoint", "target", "status", "error", "codes", "who"),
    "Attempted": ("address", "port", "family", "outcome", "stage", "errno", "target"),
    "BrowserBlocked": ("what", "url"),
    "ConfigurationProblem": ("kind", "subject", "rejected"),
    "ConnectFailed": ("target", "errno", "for_provider", "established"),
    "CookieRefused": ("name", "why"),
    "CookieSet": ("name", "size", "domain", "path", "secure", "same_site"),
    "FetchFailed": ("endpoint", "target", "who"),
    "HandshakeFailed": ("target", "fault", "who"),
    "HeadersTooLarge": ("who", "what"),
    "JwtRejected": ("fault", "who"),
    "NotAnswered": ("endpoint", "target"),
    "NotReady": ("state", "waits_for"),
    "RedirectSent": ("authorization_endpoint", "redirect_uri", "scopes", "method", "for_script"),
    "RedirectUriAnswer": ("target", "redirect_uri", "accepted"),
    "ResolutionFailed": ("name", "fault", "cluster", "who"),
    "SignInFailed": ("step", "status", "who"),
    "SignedIn": ("who",),
    "TokensMissing": ("target", "lacks"),
    "UpdateRejected": ("what", "name"),
    "Warming": ("what", "name"),
}
"""What `short` shows of a fact; of others only what they are about."""
_CAPTURED = Path(__file__).with_name("captured.yaml")


def captured() -> dict[str, Any]:
    """What a real Envoy printed: `cases` (id -> format -> lines) and `rejected` (id -> lines)."""
    found: dict[str, Any] = yaml.safe_load(_CAPTURED.read_text())
    return found


def reading(text: str | bytes, source: str = "sidecar.log") -> Reading:
    """A log read."""
    return read(BytesIO(text.encode() if isinstance(text, str) else text), source)


def facts(text: str | bytes) -> list[Fact]:
    """Its facts."""
    return reading(text).facts


def short(fact: Fact) -> str:
    """A fact as its name and what tells it from others: `SignInFailed csrf-mismatch 401 envoy`."""
    kind = type(fact).__name__
    names = SHOWN.get(kind, ("issuer", "target", "how", "why", "endpoint"))
    values = [getattr(fact, name) for name in names if hasattr(fact, name)]
    if kind == "ConnectFailed":
        values[-1] = "established" if values[-1] else ""
    shown = ["+".join(map(str, value)) if isinstance(value, tuple) else str(value) for value in values]
    return " ".join([kind, *(value for value in shown if value not in ("", "None"))])


def told(text: str | bytes) -> set[str]:
    """What a log says, each once."""
    return {short(fact) for fact in facts(text)}
