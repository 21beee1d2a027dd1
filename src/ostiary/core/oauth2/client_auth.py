"""How the client proves who it is at the token endpoint (RFC 6749 section 2.3, RFC 7523, OIDC Core section 9).

Basic follows RFC 6749 section 2.3.1 to the letter: id and secret are form-encoded *before* they are joined, which is
where many clients break secrets that hold `%`, `+` or a space. `auto` takes Basic unless the provider says that it only
takes the secret in the body; without a secret the client is public and PKCE protects the code.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote_plus

from ostiary.core.decision import Entropy
from ostiary.core.jose import MIN_RSA_BITS
from ostiary.core.oauth2.failures import SignInError
from ostiary.model.secret import Secret
from ostiary.model.signin import ClientAuthMethod

if TYPE_CHECKING:
    from joserfc.jwk import ECKey, RSAKey

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_LIFETIME: Final = 60
"""Seconds; the assertion is used once, at once."""
_PRIVATE_KEY: Final = re.compile(rb"-----BEGIN ([A-Z ]*)PRIVATE KEY-----.*?-----END \1PRIVATE KEY-----", re.DOTALL)
_JWT: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_CURVES: Final = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}


@dataclass(frozen=True, slots=True)
class ClientAuth:
    """What a token request carries to authenticate the client."""

    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    params: tuple[tuple[str, str], ...] = field(default=(), repr=False)


def choose_method(wanted: ClientAuthMethod, secret: Secret | None, supported: tuple[str, ...]) -> ClientAuthMethod:
    """The method that `auto` stands for."""
    if wanted != "auto":
        return wanted
    if secret is None:
        return "none"
    if b"PRIVATE KEY-----" in secret.reveal():
        return "private_key_jwt"
    return "client_secret_post" if supported and "client_secret_basic" not in supported else "client_secret_basic"


def methods_of(preset: str, said: tuple[str, ...]) -> tuple[str, ...]:
    """The methods that a provider takes; `said` is what its document says.

    GitHub documents no other way than the body, and an Auth0 application takes the one it is set to, at first this.
    """
    return ("client_secret_post",) if preset in ("github", "auth0") else said


def authenticate(
    method: ClientAuthMethod, client_id: str, secret: Secret | None, endpoint: str, now: float, entropy: Entropy
) -> ClientAuth:
    """The client's proof for one request to `endpoint`. Raises SignInError if the secret can't give it."""
    if method == "none":
        return ClientAuth(params=(("client_id", client_id),))
    if secret is None or not secret:
        raise SignInError("secret-not-delivered", f"{method} needs the client secret, there is none")
    if method == "private_key_jwt":
        return _asserted(client_id, _assertion(client_id, secret.reveal(), endpoint, now, entropy))
    try:
        text = secret.text()
    except UnicodeDecodeError:
        raise SignInError("secret-invalid", "the client secret is not text") from None
    if method == "client_assertion":
        if not _JWT.fullmatch(text):
            raise SignInError("secret-invalid", "the file of the client assertion holds no signed JWT")
        return _asserted(client_id, text)
    if method == "client_secret_post":
        return ClientAuth(params=(("client_id", client_id), ("client_secret", text)))
    joined = f"{quote_plus(client_id)}:{quote_plus(text)}".encode()
    return ClientAuth(headers=(("authorization", f"Basic {base64.b64encode(joined).decode()}"),))


def _asserted(client_id: str, assertion: str) -> ClientAuth:
    proof = (("client_assertion_type", ASSERTION_TYPE), ("client_assertion", assertion))
    return ClientAuth(params=(("client_id", client_id), *proof))


def _assertion(client_id: str, pem: bytes, endpoint: str, now: float, entropy: Entropy) -> str:
    from joserfc import jwt
    from joserfc.errors import JoseError

    key, alg = _private_key(pem)
    issued = int(now)
    header: dict[str, Any] = {"alg": alg, **_certificate_thumbprints(pem)}
    claims = {
        "iss": client_id,
        "sub": client_id,
        "aud": endpoint,
        "jti": entropy(16).hex(),
        "iat": issued,
        "nbf": issued,
        "exp": issued + ASSERTION_LIFETIME,
    }
    try:
        return jwt.encode(header, claims, key, algorithms=[alg])
    except (JoseError, ValueError, TypeError) as error:
        raise SignInError("secret-invalid", f"the private key can't sign {alg}") from error


def _private_key(pem: bytes) -> tuple[RSAKey | ECKey, str]:
    from joserfc.errors import JoseError
    from joserfc.jwk import ECKey, RSAKey

    block = _PRIVATE_KEY.search(pem)
    for kind in (RSAKey, ECKey):
        try:
            key = kind.import_key(block[0] if block else b"")
        except (JoseError, ValueError, TypeError):
            continue
        if isinstance(key, RSAKey) and key.raw_value.key_size >= MIN_RSA_BITS:
            return key, "RS256"
        if isinstance(key, ECKey) and key.curve_name in _CURVES:
            return key, _CURVES[key.curve_name]
    raise SignInError("secret-invalid", "private_key_jwt needs a plain PEM key: RSA of 2048 bits, EC P-256 or larger")


def _certificate_thumbprints(pem: bytes) -> dict[str, str]:
    """Entra ID finds the key by the certificate's thumbprint; it is sent if the file holds the certificate too."""
    begin = pem.find(b"-----BEGIN CERTIFICATE-----")
    if begin < 0:
        return {}
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    try:
        der = x509.load_pem_x509_certificate(pem[begin:]).public_bytes(Encoding.DER)
    except (ValueError, binascii.Error) as error:
        raise SignInError("secret-invalid", "the certificate beside the private key is not one") from error
    digests = {"x5t": hashlib.sha1(der).digest(), "x5t#S256": hashlib.sha256(der).digest()}  # noqa: S324 - RFC 7515 4.1.7
    return {name: base64.urlsafe_b64encode(digest).rstrip(b"=").decode() for name, digest in digests.items()}
