"""Ways in which the demo provider can be wrong, one switch each."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ostiary.testing.provider_keys import SigningKeys
from ostiary.testing.provider_server import Reply

_HTML = Reply(status=200, headers=(("content-type", "text/html"),), body=b"<!doctype html><title>Portal</title>Hello")
_EMPTY = Reply(status=200, headers=(("content-type", "application/json"),))


@dataclass(slots=True, kw_only=True)
class Faults:
    """All off. Set one, and take it back."""

    delay: float = 0.0
    """Seconds before every answer."""
    discovery_status: int = 200
    wrong_discovery_issuer: bool = False
    jwks_status: int = 200
    empty_jwks: bool = False
    authorize_error: str = ""
    iss_parameter: str = ""
    no_iss_parameter: bool = False
    token_status: int = 200
    token_error: str = ""
    html_token: bool = False
    empty_token: bool = False
    no_access_token: bool = False
    no_expires_in: bool = False
    string_expires_in: bool = False
    no_refresh_token: bool = False
    no_id_token: bool = False
    wrong_nonce: bool = False
    no_nonce: bool = False
    wrong_issuer: bool = False
    wrong_audience: bool = False
    foreign_party: bool = False
    wrong_at_hash: bool = False
    wrong_signature: bool = False
    unknown_key: bool = False
    no_kid: bool = False
    float_times: bool = False
    expired: bool = False
    from_the_future: bool = False
    alg_none: bool = False
    hmac_with_public_key: bool = False
    email_unverified: bool = False
    extra_claim_bytes: int = 0

    def discovery(self, document: dict[str, Any]) -> Reply:
        """The discovery document, as wrong as asked."""
        if self.discovery_status != 200:
            return Reply.json({"error": "down"}, status=self.discovery_status)
        issuer = {"issuer": document["issuer"] + "/other"} if self.wrong_discovery_issuer else {}
        return Reply.json({**document, **issuer})

    def jwks(self) -> Reply | None:
        """An answer instead of the keys."""
        if self.jwks_status != 200:
            return Reply.json({"error": "down"}, status=self.jwks_status)
        return Reply.json({"keys": []}) if self.empty_jwks else None

    def token(self) -> Reply | None:
        """An answer instead of a token answer."""
        if self.token_status != 200:
            return Reply.json({"error": "server_error"}, status=self.token_status)
        if self.token_error:
            return Reply.json({"error": self.token_error, "error_description": "as asked"}, status=400)
        return _HTML if self.html_token else _EMPTY if self.empty_token else None

    def tokens(self, document: dict[str, Any]) -> dict[str, Any]:
        """The token answer, as incomplete as asked."""
        left_out = {
            "access_token": self.no_access_token,
            "expires_in": self.no_expires_in,
            "refresh_token": self.no_refresh_token,
            "id_token": self.no_id_token,
        }
        kept = {name: value for name, value in document.items() if not left_out.get(name)}
        if self.string_expires_in and "expires_in" in kept:
            kept["expires_in"] = str(kept["expires_in"])
        return kept

    def id_token(self, claims: dict[str, Any], keys: SigningKeys) -> str:
        """The ID token, as wrong as asked."""
        claims = self._claims(claims)
        if self.alg_none:
            return f"{_segment({'alg': 'none'})}.{_segment(claims)}."
        if self.hmac_with_public_key:
            signing_input = f"{_segment({'alg': 'HS256', 'kid': keys.current.kid})}.{_segment(claims)}"
            digest = hmac.new(keys.current.as_pem(private=False), signing_input.encode(), hashlib.sha256).digest()
            return f"{signing_input}.{_base64url(digest)}"
        header: dict[str, Any] = {"kid": None} if self.no_kid else {"kid": "nobody"} if self.unknown_key else {}
        return keys.sign(claims, key=keys.stranger() if self.wrong_signature else None, header=header)

    def _claims(self, claims: Mapping[str, Any]) -> dict[str, Any]:
        changes: dict[str, Any] = {}
        changes |= {"nonce": "another"} if self.wrong_nonce else {}
        changes |= {"iss": claims["iss"] + ".evil.example"} if self.wrong_issuer else {}
        changes |= {"aud": "another-client"} if self.wrong_audience else {}
        changes |= {"azp": "another-client"} if self.foreign_party else {}
        changes |= {"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"} if self.wrong_at_hash else {}
        changes |= {"exp": claims["iat"] - 3600, "iat": claims["iat"] - 7200} if self.expired else {}
        changes |= {"iat": claims["iat"] + 3600, "exp": claims["exp"] + 3600} if self.from_the_future else {}
        changes |= {"iat": claims["iat"] + 0.5, "exp": claims["exp"] + 0.5} if self.float_times else {}
        changes |= {"email_verified": False} if self.email_unverified else {}
        changes |= {"groups": [*claims["groups"], *_bulk(self.extra_claim_bytes)]} if self.extra_claim_bytes else {}
        merged = {**claims, **changes}
        if self.no_nonce:
            merged.pop("nonce", None)
        return merged


def _bulk(size: int) -> list[str]:
    """Group names that no compression helps with."""
    return [hashlib.sha256(str(index).encode()).hexdigest() for index in range(-(-size // 64))]


def _segment(document: Mapping[str, Any]) -> str:
    return _base64url(json.dumps(document).encode())


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
