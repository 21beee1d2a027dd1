"""What somebody types, as an issuer: the address of a provider, or of its discovery document. Pure."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from ostiary.doctor.facts.configuration import OAuth2Seen
from ostiary.doctor.facts.origin import Origin
from ostiary.model import limits

_WELL_KNOWN: Final = "/.well-known/openid-configuration"
_HOSTS: Final = re.compile(
    r"login\.(microsoftonline\.(com|us)|partner\.microsoftonline\.cn)|accounts\.google\.com|gitlab\.com"
    r"|cognito-idp\.[a-z0-9-]+\.amazonaws\.com|.+\.auth0\.com|.+\.(okta|oktapreview|okta-emea)\.com"
)
_PATHS: Final = re.compile(r"/realms/[^/]+/?|/oauth2/[^/]+/?|.*/v2\.0/?|/application/o/[^/]+/?")
"""Keycloak, Okta, Entra, authentik."""


def issuer_of(target: str) -> tuple[str, bool]:
    """(issuer, whether it is sure to be one) of a URL; ("", False) for what can't be one.

    Any address may be an issuer: only its document shows.
    """
    if not target.lower().startswith(("https://", "http://")):
        return "", False
    parts = urlsplit(target)
    address = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    if parts.path.endswith(_WELL_KNOWN):
        return address.removesuffix(_WELL_KNOWN), True
    if parts.path == "/":
        address = address.removesuffix("/")
    known = _HOSTS.fullmatch(parts.hostname or "") is not None or _PATHS.fullmatch(parts.path) is not None
    return address, known


def typed(target: str, issuer: str) -> OAuth2Seen:
    """A sign-in of which only the issuer is known."""
    origin = Origin(kind="probe", source=target, quote=f"issuer {issuer}")
    return OAuth2Seen(origin=origin, token_endpoint="", token_cluster="", authorization_endpoint="", redirect_uri="",
                      scopes=(), issuer=issuer, timeout=limits.CONNECT_TIMEOUT)  # fmt: skip
