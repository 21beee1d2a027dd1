"""Credentials that addresses carry, kept out of logs."""

from __future__ import annotations

import re
from typing import Final

_CREDENTIALS: Final = re.compile(r"(?<=[?&])(code|state|access_token|id_token|id_token_hint|logout_token)=[^&\s]*")


def without_credentials(target: str) -> str:
    """An address, or a text with one, whose query may hold an authorization code or a token, fit for a log."""
    return _CREDENTIALS.sub(r"\1=[secret]", target) if "=" in target else target
