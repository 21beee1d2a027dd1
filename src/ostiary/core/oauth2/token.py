"""Requests to the provider and what it answers: authorization URL, tokens, refresh, revocation.

Answers are read as RFC 6749 section 5 writes them, with the liberties that providers take: `expires_in` as a string or
a float, errors with status 200 (GitHub) or with an empty body. What can't be a token answer becomes a SignInError whose
code names the cause; an error's `error_description` is kept for the operator, cut and cleaned.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from ostiary.core.decision import Fetch, Fetched
from ostiary.core.oauth2.client_auth import ClientAuth
from ostiary.core.oauth2.failures import SignInError
from ostiary.core.oidc import ProviderMetadata
from ostiary.core.redaction import without_tokens
from ostiary.model.signin import ProviderConfig

_OWN_PARAMS: Final = frozenset(
    ("response_type", "client_id", "redirect_uri", "scope", "state", "nonce", "code_challenge", "code_challenge_method")
)
_ERROR_CODES: Final = {
    "invalid_client": "client-rejected",
    "unauthorized_client": "client-rejected",
    "invalid_grant": "grant-rejected",
    "invalid_scope": "scope-rejected",
    "access_denied": "sign-in-declined",
    "consent_required": "consent-required",
    "interaction_required": "login-required",
    "login_required": "login-required",
    "account_selection_required": "login-required",
    "server_error": "idp-server-error",
    "temporarily_unavailable": "idp-server-error",
    # GitHub's own names
    "bad_verification_code": "grant-rejected",
    "incorrect_client_credentials": "client-rejected",
    "redirect_uri_mismatch": "redirect-uri-mismatch",
    "bad_refresh_token": "grant-rejected",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """A token answer. `expires_in` in seconds, None where the provider doesn't say."""

    access_token: str = field(repr=False)
    expires_in: float | None = None
    refresh_token: str = field(default="", repr=False)
    id_token: str = field(default="", repr=False)


def authorization_url(
    metadata: ProviderMetadata,
    config: ProviderConfig,
    *,
    redirect_uri: str,
    state: str,
    nonce: str,
    code_challenge: str,
    extra: Mapping[str, str],
) -> str:
    """Where the browser goes. `extra` (of this request) wins over configured parameters, neither over ours."""
    params = {
        "response_type": "code",
        "client_id": config.client_id,
        "redirect_uri": redirect_uri,
        "scope": " ".join(config.scopes),
        "state": state,
        "code_challenge": code_challenge,
        "code_challenge_method": "S256",
    }
    if config.kind == "oidc":
        params["nonce"] = nonce
    chosen = {**config.authorization_params, **extra}
    params.update({name: value for name, value in chosen.items() if name not in _OWN_PARAMS})
    return with_query(metadata.authorization_endpoint, params)


def with_query(url: str, params: Mapping[str, str]) -> str:
    """`url` with `params` appended to the query it may have (RFC 6749 section 3.1 keeps it)."""
    separator = "&" if "?" in url and not url.endswith(("?", "&")) else "" if url.endswith(("?", "&")) else "?"
    return f"{url}{separator}{urlencode(params)}"


def code_request(
    metadata: ProviderMetadata, config: ProviderConfig, auth: ClientAuth, *, code: str, redirect_uri: str, verifier: str
) -> Fetch:
    """Exchange the code. Never retried: a code is good for one use (RFC 6749 section 4.1.2)."""
    grant = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": redirect_uri,
        "code_verifier": verifier,
    }
    return _form(metadata.token_endpoint, {**config.token_params, **grant}, auth, config.timeout, "token")


def refresh_request(metadata: ProviderMetadata, config: ProviderConfig, auth: ClientAuth, refresh_token: str) -> Fetch:
    """Exchange the refresh token. Never retried: it may rotate."""
    grant = {"grant_type": "refresh_token", "refresh_token": refresh_token}
    return _form(metadata.token_endpoint, {**config.token_params, **grant}, auth, config.timeout, "refresh")


def revocation_request(endpoint: str, config: ProviderConfig, auth: ClientAuth, token: str, hint: str) -> Fetch:
    """Revoke one token (RFC 7009 section 2.1)."""
    return _form(endpoint, {"token": token, "token_type_hint": hint}, auth, config.timeout, "revocation")


def userinfo_request(url: str, config: ProviderConfig, access_token: str, purpose: str = "userinfo") -> Fetch:
    """Ask who the token belongs to, or what else is known of its user."""
    headers = (("authorization", f"Bearer {access_token}"), ("accept", "application/json"))
    return Fetch(method="GET", url=url, headers=headers, timeout=config.timeout, retries=1, purpose=purpose)


def parse_tokens(answer: Fetched) -> Tokens:
    """Read the answer of the token endpoint. Raises SignInError with the cause."""
    document = json_object(answer, "token endpoint")
    if answer.status != 200 or "error" in document:
        raise provider_error(document.get("error"), document.get("error_description"), answer.status)
    access_token = document.get("access_token")
    if not (isinstance(access_token, str) and _is_token(access_token)):
        raise SignInError("token-response-invalid", "the token endpoint's answer has no usable access_token")
    token_type = document.get("token_type", "Bearer")
    if not (isinstance(token_type, str) and token_type.lower() == "bearer"):
        raise SignInError("token-response-invalid", f"token_type is {str(token_type)[:40]!r}, only Bearer is supported")
    return Tokens(
        access_token=access_token,
        expires_in=_seconds(document.get("expires_in")),
        refresh_token=_optional(document, "refresh_token"),
        id_token=_optional(document, "id_token"),
    )


def json_object(answer: Fetched, who: str) -> dict[str, Any]:
    """The JSON object of an answer. Raises SignInError that says what it was instead."""
    if answer.status >= 500 or answer.status == 429:
        raise SignInError("idp-server-error", f"the {who} answered {answer.status}")
    try:
        document = msgspec.json.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        document = None
    if isinstance(document, dict):
        return document
    kind = (answer.headers.get("content-type") or "no content type")[:80]
    shape = "an empty body" if not answer.body.strip() else f"{len(answer.body)} bytes that are not a JSON object"
    if answer.status in (401, 403) and not answer.body.strip():
        raise SignInError("client-rejected", f"the {who} answered {answer.status} with {shape}")
    looks_like_html = answer.body.lstrip()[:1] == b"<" or "html" in kind
    code = (
        "idp-not-oauth"
        if looks_like_html or answer.status in (301, 302, 303, 307, 308, 404, 405)
        else "token-response-invalid"
    )
    raise SignInError(code, f"the {who} answered {answer.status} with {shape} ({clean(kind)})")


def provider_error(error: object, description: object, status: int | None = None) -> SignInError:
    """The provider's `error` as one of ours; the description is for the operator."""
    name = clean(error) if isinstance(error, str) and error else "(none)"
    words = without_tokens(clean(description)) if isinstance(description, str) else ""
    code = _ERROR_CODES.get(name, "client-rejected" if status == 401 else "idp-error")
    if name in ("invalid_grant", "invalid_request"):
        code = _by_description(words.lower(), code)
    said = f"error={name}" + (f": {words}" if words else "")
    return SignInError(code, said if status is None else f"the token endpoint answered {status}, {said}")


def clean(text: str) -> str:
    """A text of the provider for a log line: printable ASCII, at most 200 characters."""
    return "".join(c if " " <= c <= "~" else "?" for c in text[:200])


def _by_description(words: str, code: str) -> str:
    if "verifier" in words or "pkce" in words or "code_challenge" in words:
        return "code-verifier-invalid"
    if "redirect_uri" in words or "redirect uri" in words:
        return "redirect-uri-mismatch"
    return code


def _form(url: str, params: Mapping[str, str], auth: ClientAuth, timeout: float, purpose: str) -> Fetch:
    pairs: Sequence[tuple[str, str]] = (*params.items(), *auth.params)
    headers = (("content-type", "application/x-www-form-urlencoded"), ("accept", "application/json"), *auth.headers)
    body = urlencode(pairs).encode()
    return Fetch(method="POST", url=url, headers=headers, body=body, timeout=timeout, purpose=purpose)


def _is_token(text: str) -> bool:
    """RFC 6750 section 2.1: it has to fit a header."""
    return text != "" and text.isascii() and text.isprintable() and " " not in text


def _optional(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    if value is None or value == "":
        return ""
    if not isinstance(value, str):
        raise SignInError("token-response-invalid", f"{name} in the token endpoint's answer is not a string")
    return value


def _seconds(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        seconds = float(value)
    except (ValueError, OverflowError):
        return None
    return seconds if math.isfinite(seconds) and seconds > 0 else None
