"""How providers' pages say that they don't know a client, a redirect URI or a scope. Pure.

A provider that can't trust the redirect URI must not use it, so what is wrong stands in a page for people, or in a
redirect to one. The words are those of the providers' own documentation and troubleshooting pages: Entra ID's AADSTS
numbers, Google's `authError`, Keycloak, Auth0, Okta, Cognito, GitLab and GitHub. English only: providers that translate
choose by Accept-Language, which is sent.
"""

from __future__ import annotations

import base64
import binascii
import html
import re
from typing import Final
from urllib.parse import SplitResult, parse_qsl, unquote_plus, urlsplit

from ostiary.model import limits

Refusal = tuple[str, str, tuple[str, ...]]
"""(error, its description, the provider's own codes)."""

_AADSTS: Final = re.compile(r"\b(AADSTS\d{4,8}): ([^\r\n\"<\\\\]{1,400})")
_NOBODY: Final = frozenset({"AADSTS50058", "AADSTS50059", "AADSTS16000", "AADSTS16002"})
"""Nobody is signed in: what is asked for with `prompt=none`."""
_UNICODE: Final = re.compile(r"\\u([0-9a-fA-F]{4})")
_TAG: Final = re.compile(r"<(script|style)\b.*?</\1\s*>|<[^>]*>", re.IGNORECASE | re.DOTALL)
_BLANK: Final = re.compile(r"\s+")
_ERRORS: Final = re.compile(
    r"\b(redirect_uri_mismatch|invalid_redirect_uri|invalid_client|deleted_client|unauthorized_client|invalid_scope"
    r"|access_denied|org_internal|disabled_client|invalid_request)\b"
)
_PAGES: Final = (
    # Keycloak
    (r"Invalid parameter: redirect_uri", "invalid_redirect_uri"),
    (r"Client not found|Invalid client_id|Missing parameter: client_id", "invalid_client"),
    (r"Client disabled|Client is not allowed to initiate browser login", "unauthorized_client"),
    # Auth0
    (r"Callback URL mismatch|redirect_uri is not in the list of allowed callback URLs", "invalid_redirect_uri"),
    (r"Unknown client: \S+", "invalid_client"),
    # Okta
    (r"'redirect_uri' parameter must be (?:a Login redirect URI|an absolute URI)", "invalid_redirect_uri"),
    (r"Invalid value for 'client_id' parameter|Illegal value for client_id parameter", "invalid_client"),
    (r"One or more scopes are not configured", "invalid_scope"),
    # GitLab, GitHub (Doorkeeper's and their own words), Cognito, Google
    (r"The redirect URI included is not valid|redirect_uri MUST match", "invalid_redirect_uri"),
    (r"Client authentication failed due to unknown client", "invalid_client"),
    (r"The requested scope is invalid", "invalid_scope"),
    (r"Error 400: redirect_uri_mismatch", "redirect_uri_mismatch"),
    (r"Error 401: (?:invalid|deleted)_client", "invalid_client"),
    (r"Error 400: invalid_scope", "invalid_scope"),
    (r"The OAuth client was not found", "invalid_client"),
)
_SIGNS: Final = tuple((re.compile(words, re.IGNORECASE), error) for words, error in _PAGES)


def refusal_in(location: str, body: bytes) -> Refusal | None:
    """What a page, or the address of one that a browser is sent to, refuses; None if it refuses nothing we know."""
    text = html.unescape(body[: limits.MAX_PROVIDER_RESPONSE_BYTES].decode("utf-8", "replace"))
    return _entra(f"{unquote_plus(location)}\n{text}") or _address(location) or _page(text)


def split(location: str) -> SplitResult:
    """A Location header's parts; empty ones for what is no URL."""
    try:
        return urlsplit(location)
    except ValueError:
        return urlsplit("")


def _entra(text: str) -> Refusal | None:
    plain = _UNICODE.sub(lambda each: chr(int(each[1], 16)), text)
    found = next((each for each in _AADSTS.finditer(plain) if each[1] not in _NOBODY), None)
    if found is None:
        return None
    return "invalid_request", f"{found[1]}: {found[2].strip()}", (found[1],)


def _address(location: str) -> Refusal | None:
    """Cognito's and others' `?error=`; Google's `authError`, a message in Base64 with the error's name within."""
    parts = split(location)
    query = dict(parse_qsl(parts.query) + parse_qsl(parts.fragment))
    if hidden := query.get("authError", ""):
        try:
            said = base64.b64decode(hidden + "=" * (-len(hidden) % 4), altchars=b"-_").decode("latin-1")
        except (binascii.Error, ValueError):
            said = ""
        if found := _ERRORS.search(said):
            return found[1], "", ()
    told = query.get("error", "")
    if told == "redirect_mismatch":
        return "invalid_redirect_uri", told, ()
    found = _ERRORS.search(f"{told} {query.get('error_description', '')}")
    if found is None:
        return None
    return found[1], query.get("error_description", ""), ()


def _page(text: str) -> Refusal | None:
    visible = _BLANK.sub(" ", _TAG.sub(" ", text))
    for sign, error in _SIGNS:
        if found := sign.search(visible):
            around = visible[found.start() : found.end() + 80].strip()
            return error, around, ()
    return None
