"""What a provider answers: a token is believed only if all of it is right, and everything else is refused in words.

The input is the body of an answer, an ID token, and the claims of one that is really signed.
"""

from __future__ import annotations

import base64
import json
import math
from typing import Any
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ostiary.core.decision import Fetched
from ostiary.core.jose import IdTokenPolicy, KeySet, KeySetInvalid, TokenRefused, parse_key_set, verify_id_token
from ostiary.core.oauth2.envoy.token_response import TokenResponseError, parse_token_response, seconds_left
from ostiary.core.oauth2.failures import SignInError
from ostiary.core.oauth2.flow import base64url
from ostiary.core.oauth2.token import parse_tokens
from ostiary.core.oidc import DiscoveryInvalid, parse_discovery
from ostiary.model import limits
from ostiary.model.headers import Headers
from ostiary.model.signin import ProviderConfig

NOW = 1_800_000_000.0
ISSUER = "https://idp.example"
_PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
_X = base64url(_PRIVATE.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))
JWKS = json.dumps(
    {"keys": [{"kty": "OKP", "crv": "Ed25519", "x": _X, "kid": "1", "alg": "EdDSA", "use": "sig"}]}
).encode()
KEYS = parse_key_set(JWKS)
POLICY = IdTokenPolicy(issuer=ISSUER, client_id="app", algorithms=("EdDSA", "RS256"), keys=KEYS, nonce="once")
CONFIG = ProviderConfig(issuer=ISSUER, client_id="app")
_UNSIGNED = base64url(b'{"alg":"none"}')
ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint", "end_session_endpoint")
CLAIMS = {"iss": ISSUER, "aud": "app", "sub": "ada", "exp": NOW + 60, "iat": NOW, "nonce": "once"}


def _signed(claims: bytes, header: bytes = b'{"alg":"EdDSA","kid":"1"}') -> str:
    signing_input = f"{base64url(header)}.{base64url(claims)}"
    return f"{signing_input}.{base64url(_PRIVATE.sign(signing_input.encode()))}"


TOKEN = _signed(json.dumps(CLAIMS).encode())
SEEDS = (
    TOKEN.encode(),
    TOKEN.replace(".", "..", 1).encode(),
    json.dumps(CLAIMS).encode(),
    json.dumps({**CLAIMS, "aud": ["app", "other"], "azp": "app", "nbf": NOW, "auth_time": 1}).encode(),
    json.dumps({**CLAIMS, "exp": 1e308, "iat": -1, "nonce": None, "at_hash": "x", "tid": "t"}).encode(),
    b'{"iss":"https://idp.example","aud":"app","aud":"x","sub":"a","exp":1e999,"iat":1,"nonce":"once"}',
    JWKS,
    b'{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"},{"kty":"EC","crv":"P-256","x":"AA","y":"AA"},{"kty":"oct","k":"AA"}]}',
    json.dumps({"issuer": ISSUER, **{name: f"{ISSUER}/{name}" for name in ENDPOINTS}}).encode(),
    b'{"access_token":"a","token_type":"bearer","expires_in":"3600","refresh_token":"r","id_token":"x.y.z"}',
    b'{"accessToken":"a","expiresIn":3.6e3,"idToken":null}',
    b'{"error":"invalid_grant","error_description":"the \\u0000 code_verifier"}',
    b'{"access_token":"a\\r\\nb","expires_in":-1}',
    b"error=access_denied&access_token=a",
    b"<html>",
)
WORDS = (
    b'"iss":', b'"aud":', b'"azp":', b'"sub":', b'"exp":', b'"iat":', b'"nbf":', b'"nonce":', b'"at_hash":', b'"tid":',
    b'"keys":', b'"kty":', b'"RSA"', b'"EC"', b'"OKP"', b'"crv":', b'"Ed25519"', b'"P-256"', b'"x":', b'"y":', b'"n":',
    b'"e":', b'"kid":', b'"use":', b'"alg":', b'"key_ops":', b'"verify"', b'"issuer":', b'"jwks_uri":',
    b'"token_endpoint":', b'"access_token":', b'"token_type":', b'"expires_in":', b'"refresh_token":', b'"id_token":',
    b'"error":', b"null", b"true", b"1e999", b"\\u0000", b"\\ud800", b"9999999999999999999999",
    b'"https://idp.example"', b'"app"', b'"once"', _X.encode(),
)  # fmt: skip


def one(data: bytes) -> None:
    _id_tokens(data)
    _documents(data)
    for status in (200, 400):
        _answers(Fetched(status=status, headers=Headers([("content-type", "application/json")]), body=data, now=NOW))


def _id_tokens(data: bytes) -> None:
    text = data.decode("latin-1")
    claims = _verified(text)
    if claims is not None:  # the bits that base64 leaves over in the signature's last letter count for nothing
        assert text.rpartition(".")[0] == TOKEN.rpartition(".")[0] and claims == CLAIMS
    claims = _verified(_signed(data))
    if claims is not None:
        assert dict(claims) == json.loads(data) and _is_right(json.loads(data))
    assert _verified(_signed(json.dumps(CLAIMS).encode(), data)) in (None, CLAIMS)
    assert _verified(f"{_UNSIGNED}.{base64url(data)}.") is None


def _verified(token: str) -> Any:
    try:
        return verify_id_token(token, POLICY, NOW)
    except TokenRefused as refused:
        assert refused.code and refused.reason.isprintable()
        return None


def _is_right(claims: dict[str, Any]) -> bool:
    """OpenID Connect Core section 3.1.3.7, written once more."""
    audience = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
    return (
        claims["iss"] == ISSUER
        and "app" in audience
        and (claims.get("azp") == "app" or (len(audience) == 1 and claims.get("azp") is None))
        and claims["nonce"] == "once"
        and all(math.isfinite(claims[name]) for name in ("exp", "iat"))
        and claims["exp"] > NOW - limits.CLOCK_LEEWAY
        and claims["iat"] <= NOW + limits.CLOCK_LEEWAY
        and claims.get("nbf", 0) <= NOW + limits.CLOCK_LEEWAY
        and isinstance(claims["sub"], str)
        and claims["sub"] != ""
    )


def _documents(data: bytes) -> None:
    try:
        keys = parse_key_set(data)
    except KeySetInvalid:
        pass
    else:
        _key_set(keys, json.loads(data))
    try:
        metadata = parse_discovery(data, CONFIG)
    except DiscoveryInvalid as refused:
        assert str(refused).isprintable()
        return
    assert metadata.issuer == ISSUER
    for name in ENDPOINTS:
        url = urlsplit(getattr(metadata, name))
        assert (
            url == urlsplit("")
            or url.scheme == "https"
            or url.hostname in ("localhost", "::1")
            or ((url.hostname or "").startswith("127."))
        )


def _key_set(keys: KeySet, document: Any) -> None:
    assert 0 < len(keys.keys) <= min(len(document["keys"]), limits.MAX_JWKS_KEYS)
    for key in keys.keys:
        assert key.kty in ("RSA", "EC", "OKP")
        assert key.key.is_private is False
    policy = IdTokenPolicy(issuer=ISSUER, client_id="app", algorithms=POLICY.algorithms, keys=keys, nonce="once")
    try:
        verify_id_token(TOKEN, policy, NOW)
    except TokenRefused:
        return
    assert _same_key(document)


def _same_key(document: Any) -> bool:
    xs = [member.get("x") for member in document["keys"] if isinstance(member, dict)]
    return any(isinstance(x, str) and base64.urlsafe_b64decode(x + "=" * (-len(x) % 4)) == _raw_key() for x in xs)


def _raw_key() -> bytes:
    return _PRIVATE.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def _answers(answer: Fetched) -> None:
    try:
        tokens = parse_tokens(answer)
    except SignInError as refused:
        assert refused.code and refused.reason.isprintable() and len(refused.reason) < 1000
    else:
        document = json.loads(answer.body)
        assert tokens.access_token == document["access_token"] and answer.status == 200 and "error" not in document
        assert tokens.access_token.isascii() and tokens.access_token.isprintable() and " " not in tokens.access_token
        assert tokens.expires_in is None or (math.isfinite(tokens.expires_in) and tokens.expires_in > 0)
    for plain_cookies in (True, False):
        try:
            found = parse_token_response(answer, 60.0, plain_cookies=plain_cookies)
        except TokenResponseError:
            continue
        assert 0 < found.expires_in <= limits.MAX_ACCESS_TOKEN_LIFETIME
        for token in (found.access_token, found.id_token, found.refresh_token):
            assert not any(ord(c) < 0x20 or c == "\x7f" for c in token) and token.encode("latin-1") is not None
            assert not plain_cookies or ";" not in token
            assert 0 <= seconds_left(token, NOW, 5) <= limits.MAX_ACCESS_TOKEN_LIFETIME
    left = seconds_left(answer.body.decode("latin-1"), NOW, 5)
    assert 0 <= left <= limits.MAX_ACCESS_TOKEN_LIFETIME
    left = seconds_left(f"e30.{base64url(answer.body)}.", NOW, 5)
    assert 0 <= left <= limits.MAX_ACCESS_TOKEN_LIFETIME
