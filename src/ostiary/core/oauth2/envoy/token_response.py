"""The token endpoint's answer (RFC 6749 section 5.1), read as Envoy reads it, and what it is worth.

Envoy maps the body to a protobuf message, hence the rules here: unknown members and the Content-Type don't matter,
camelCase names do as well, null is absent, a whole number may be written 3600, 3600.0, 1e3 or "3600".

Whatever the provider says may hold tokens, also in an error, so a body is never shown: `shown` keeps the members
that RFC 6749 section 5.2 makes for people, and the size of anything else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

from ostiary.core.decision import NO_HOST, Fetch, Fetched, FetchFailed
from ostiary.core.oauth2.envoy.codec import decode_base64url
from ostiary.core.oauth2.envoy.cookies import unquote
from ostiary.core.oauth2.failures import SignInError
from ostiary.core.oauth2.token import json_object, provider_error
from ostiary.model import limits
from ostiary.model.oauth2 import OAuth2Config

_NUMBER: Final = re.compile(r"[0-9]{1,20}(\.[0-9]{1,20})?([eE][+\-]?[0-9]{1,3})?")
_NOT_A_HEADER_VALUE: Final = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_UINT64: Final = 1 << 64
_INT64: Final = 1 << 63
_RESET_REASONS: Final = {
    "connect": "remote connection failure",
    "protocol": "protocol error",
    "too_large": "overflow",
}
_ERROR_MEMBERS: Final = ("error", "error_description", "error_uri")


class TokenResponseError(Exception):
    """An answer without a usable token.

    The text of the exception is the cause in Envoy's words, `told` in ours; `reason` is what an application may be
    told, empty where the provider did not answer or said no.
    """

    def __init__(self, reason: str, cause: str, code: str = "token-response-invalid", told: str = "") -> None:
        super().__init__(cause)
        self.reason = reason
        self.code = code
        self.told = told or reason


@dataclass(frozen=True, slots=True)
class TokenResponse:
    """Tokens as latin-1 text, "" for those that are absent; `expires_in` in seconds."""

    access_token: str = field(repr=False)
    id_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_in: int
    received: float
    """Unix time of the answer."""


@dataclass(frozen=True, slots=True)
class Redeemed:
    """What a code or a refresh token was good for: tokens, or why there are none (as in TokenResponseError)."""

    tokens: TokenResponse | None
    reason: str = ""
    cause: str = field(default="", repr=False)
    code: str = "internal-error"
    told: str = ""


def request_tokens(fetch: Fetch, config: OAuth2Config) -> Generator[Fetch, Fetched, TokenResponse]:
    """Send a token request and read its answer. Raises TokenResponseError whatever goes wrong."""
    try:
        fetched = yield fetch
    except FetchFailed as failure:
        code = {"timeout": "idp-timeout", "no_cluster": "cluster-unknown"}.get(failure.kind, "idp-unreachable")
        raise TokenResponseError("", _unreachable(failure), code, failure.reason) from None
    if fetched.status != 200:
        cause = f"Failed to get access token: response code: {fetched.status}, response body: {shown(fetched)}"
        refused = _refusal(fetched)
        raise TokenResponseError("", cause, refused.code, refused.reason)
    return parse_token_response(fetched, config.default_expires_in, plain_cookies=config.disable_token_encryption)


def _refusal(fetched: Fetched) -> SignInError:
    """An answer other than 200, as the native profile reads it."""
    try:
        document = json_object(fetched, "token endpoint")
    except SignInError as refused:
        return refused
    return provider_error(document.get("error"), document.get("error_description"), fetched.status)


def _unreachable(failure: FetchFailed) -> str:
    if failure.kind == "no_cluster":
        return "Token endpoint cluster not found"
    status, body = router_answer(failure)
    return f"Failed to get access token: response code: {status}, response body: {body}"


def router_answer(failure: FetchFailed) -> tuple[int, str]:
    """Envoy's router answers itself when the provider does not; so it reads as if the provider had: status, body."""
    if failure.kind == "timeout":
        status, said = 504, "upstream request timeout"
    elif failure.transport == NO_HOST:
        return 503, f"{NO_HOST}, transport failure reason: {failure.reason}"
    else:
        reset = _RESET_REASONS.get(failure.kind, "connection termination")
        status, said = 503, f"upstream connect error or disconnect/reset before headers. reset reason: {reset}"
    return status, f"{said}, transport failure reason: {failure.transport or failure.reason}"


def parse_token_response(fetched: Fetched, default_expires_in: float, *, plain_cookies: bool) -> TokenResponse:
    """Read a 200 answer. Raises TokenResponseError.

    `default_expires_in` (seconds) serves where the answer names no lifetime. `plain_cookies` refuses tokens that a
    cookie can't hold without encryption.
    """
    reason = "Failed to parse oauth response body"
    try:
        members = json.loads(fetched.body.decode("utf-8"), parse_constant=_refuse)
        if not isinstance(members, dict):
            _refuse("not an object")
        access_token = _token(members, "access_token", "accessToken", plain_cookies)
        id_token = _token(members, "id_token", "idToken", plain_cookies)
        refresh_token = _token(members, "refresh_token", "refreshToken", plain_cookies)
        expires_in = _lifetime(members.get("expires_in", members.get("expiresIn")))
    except (ValueError, RecursionError) as problem:
        why = str(problem) if isinstance(problem, _UnusableError) else "not JSON"
        raise TokenResponseError(reason, f"{reason}: response body: {shown(fetched)}, exception: {why}") from None
    if access_token is None:
        reason = "No access token found in the token exchange response"
        raise TokenResponseError(reason, f"{reason}: response body: {shown(fetched)}")
    if expires_in is None:
        expires_in = int(default_expires_in)
    if not 0 < expires_in < _INT64:
        reason = "No default or explicit access token expiration found in the token exchange response"
        raise TokenResponseError(reason, f"{reason}: response body: {shown(fetched)}")
    return TokenResponse(
        access_token,
        id_token or "",
        refresh_token or "",
        min(expires_in, limits.MAX_ACCESS_TOKEN_LIFETIME),
        fetched.now,
    )


class _UnusableError(ValueError):
    """JSON, but not what a token endpoint answers; the text is safe to show."""


def _refuse(what: str) -> NoReturn:
    raise _UnusableError(what)


def _token(members: dict[str, Any], name: str, camel_case: str, plain_cookies: bool) -> str | None:
    value = members.get(name, members.get(camel_case))
    if value is None:
        return None
    if not isinstance(value, str):
        _refuse(f"{name} is not a string")
    if _NOT_A_HEADER_VALUE.search(value):
        _refuse(f"{name} holds characters that no header may hold")
    if plain_cookies and (";" in value or unquote(value.strip()) != value):
        _refuse(f"{name} holds characters that no cookie may hold, and token encryption is disabled")
    return value.encode("utf-8").decode("latin-1")


def _lifetime(value: Any) -> int | None:
    """expires_in as a protobuf UInt64Value."""
    if value is None:
        return None
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = float(value) if not value.isdigit() else int(value)
    if isinstance(value, float) and 0 <= value < _UINT64 and value.is_integer():
        value = int(value)
    if type(value) is not int or not 0 <= value < _UINT64:
        _refuse("expires_in is not a whole number of seconds")
    return value


def shown(fetched: Fetched) -> str:
    """An answer's body for logs and details: the error members of RFC 6749 section 5.2, or how much there was."""
    try:
        members = json.loads(fetched.body.decode("utf-8"))
    except (ValueError, RecursionError):
        members = None
    if isinstance(members, dict):
        said = {name: members[name] for name in _ERROR_MEMBERS if isinstance(members.get(name), str)}
        if said:
            return fetched.body.decode("latin-1") if said == members else json.dumps(said)
    kind = (fetched.headers.get("content-type") or "unknown type").partition(";")[0][:64]
    return f"({len(fetched.body)} bytes of {kind}, not shown)"


def jwt_expiry(token: str) -> int | None:
    """The `exp` claim of a JWT (Unix seconds), whose signature is *not* verified; None if there is none to read."""
    parts = [decode_base64url(part) for part in token.split(".")]
    if len(parts) != 3 or None in parts:
        return None
    try:
        header, payload = (json.loads((part or b"").decode("utf-8")) for part in parts[:2])
    except (ValueError, RecursionError):
        return None
    if not isinstance(header, dict) or not isinstance(payload, dict):
        return None
    exp = payload.get("exp")
    if type(exp) is int or (type(exp) is float and abs(exp) < _INT64):
        return int(exp)
    return None


def seconds_left(token: str, now: float, otherwise: int) -> int:
    """Max-Age for a token's cookie: until its `exp`, 0 if that is past, `otherwise` if it names none."""
    exp = jwt_expiry(token)
    return otherwise if exp is None else min(max(0, exp - int(now)), limits.MAX_ACCESS_TOKEN_LIFETIME)
