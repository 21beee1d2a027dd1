"""A Keycloak's own events: why it refused a client or a code. A user's wrong password is none of ours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ostiary.doctor.facts.origin import Fact
from ostiary.doctor.facts.provider import Answered, RedirectUriAnswer
from ostiary.doctor.logs.pattern import Found, Pattern

_WHO: Final = "keycloak"
_TOKEN: Final = {
    "invalid_client_credentials": "invalid_client",
    "client_not_found": "invalid_client",
    "client_disabled": "unauthorized_client",
    "invalid_client": "invalid_client",
    "invalid_code": "invalid_grant",
    "expired_code": "invalid_grant",
    "invalid_redirect_uri": "invalid_grant",
    "invalid_token": "invalid_grant",
    "invalid_code_verifier": "invalid_grant",
    "pkce_verification_failed": "invalid_grant",
}


def _event(found: Found) -> Iterator[Fact]:
    kind, error = found["type"], found["error"]
    if kind in ("LOGIN_ERROR", "REGISTER_ERROR"):
        if error == "invalid_redirect_uri":
            yield RedirectUriAnswer(
                origin=found.origin, target=found["client"], redirect_uri=found["uri"], accepted=False
            )
    elif error in _TOKEN:
        yield Answered(
            origin=found.origin, endpoint="token", target="", status=400, body="json", error=_TOKEN[error],
            description=f"Keycloak: {error}", who=_WHO,
        )  # fmt: skip


PATTERNS: Final = (
    Pattern(
        words=(r"type=.{0,3}[A-Z_]+_ERROR",),
        expression=r"type=\"?(?P<type>[A-Z_]+_ERROR)\"?, .*?clientId=\"?(?P<client>[^\",\s]*).*?"
        r"\berror=\"?(?P<error>\w+)(?:.*?redirect_uri=\"?(?P<uri>[^\",\s]+))?",
        facts=_event,
    ),
)
