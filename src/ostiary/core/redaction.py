"""Credentials that addresses and texts of others carry, kept out of logs and pages."""

from __future__ import annotations

import re
from typing import Final

_CREDENTIALS: Final = re.compile(r"(?<=[?&])(code|state|access_token|id_token|id_token_hint|logout_token)=[^&\s]*")
_UNREADABLE_STATE: Final = re.compile(r"(?s)^(State[ _]query[ _]param[ _][^:]*:[ _]).+")
"""What is said of a `state` that can't be read, which may be half of somebody's, with the CSRF token in it."""
_TOKEN: Final = re.compile(
    r"\beyJ[\w-]{8,}(?:\.[\w-]*)*"  # a JWT
    r"|(?<![\w+/=~-])(?![0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b)"  # a trace or tenant id is no secret
    r"(?=[\w+=~-]*\d)(?=[\w+=~-]*[A-Za-z])[\w+=~-]{24,}"
)


def without_credentials(target: str) -> str:
    """An address, or a text with one, whose query may hold an authorization code or a token, fit for a log."""
    if target.startswith("State"):
        return _UNREADABLE_STATE.sub(r"\1[secret]", target)
    return _CREDENTIALS.sub(r"\1=[secret]", target) if "=" in target else target


def without_tokens(text: str) -> str:
    """A text of the provider's without what looks like a token: a JWT, or a long word of letters and digits."""
    return _TOKEN.sub("[secret?]", text)
