"""What is known of programs' wordings: one small file a family of facts, and all of them in one list."""

from __future__ import annotations

from typing import Final

from ostiary.doctor.logs.pattern import Pattern
from ostiary.doctor.logs.patterns import (
    access,
    browser,
    configuration,
    connection,
    cookies,
    curl,
    dns,
    keycloak,
    languages,
    oauth2_proxy,
    ostiary,
    provider,
    sidecar,
    signin,
    tls,
    tokens,
)

PATTERNS: Final[tuple[Pattern, ...]] = (
    *connection.PATTERNS,
    *signin.PATTERNS,
    *provider.PATTERNS,
    *dns.PATTERNS,
    *tls.PATTERNS,
    *access.PATTERNS,
    *tokens.PATTERNS,
    *cookies.PATTERNS,
    *configuration.PATTERNS,
    *sidecar.PATTERNS,
    *oauth2_proxy.PATTERNS,
    *ostiary.PATTERNS,
    *keycloak.PATTERNS,
    *languages.PATTERNS,
    *curl.PATTERNS,
    *browser.PATTERNS,
)
"""In the order in which they are tried."""
