"""private_key_jwt (RFC 7523 section 2.2, OpenID Connect Core section 9): a signed statement instead of a secret.

Few clients use it, so what signs is imported where it signs.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from ostiary.core.decision import Entropy
from ostiary.core.forwarding import uuid4
from ostiary.core.oauth2.envoy.codec import base64url
from ostiary.model.oauth2 import PrivateKeyJwtConfig

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_CURVES: Final = {"ES256": "secp256r1", "ES384": "secp384r1", "ES512": "secp521r1"}


class ClientCredentialError(Exception):
    """The client can't be authenticated with the key it has; the text shows nothing of the key."""


class ClientAssertion:
    """Writes the assertions of one client. The parsed key is kept until the secret changes."""

    def __init__(self, client_id: str, audience: str, config: PrivateKeyJwtConfig) -> None:
        self._client_id = client_id
        self._audience = audience
        self._algorithm = config.signing_algorithm
        self._lifetime = int(config.assertion_lifetime)
        self._pem: bytes | None = None
        self._key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | None = None

    def __call__(self, pem: bytes, now: float, entropy: Entropy) -> str:
        """A fresh assertion, signed with the PEM private key `pem`. Raises ClientCredentialError."""
        header = {"alg": self._algorithm, "typ": "JWT"}
        issued = int(now)
        payload = {
            "iss": self._client_id,
            "sub": self._client_id,
            "aud": self._audience,
            "exp": issued + self._lifetime,
            "iat": issued,
            "nbf": issued,
            "jti": uuid4(entropy),
        }
        signed = ".".join(base64url(json.dumps(part, separators=(",", ":")).encode()) for part in (header, payload))
        return f"{signed}.{base64url(self._sign(pem, signed.encode('ascii')))}"

    def _sign(self, pem: bytes, message: bytes) -> bytes:
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
        from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

        if self._key is None or self._pem != pem:
            self._key, self._pem = self._load(pem), pem
        digest: hashes.HashAlgorithm = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}[
            self._algorithm[2:]
        ]
        if isinstance(self._key, rsa.RSAPrivateKey):
            return self._key.sign(message, padding.PKCS1v15(), digest)
        r, s = decode_dss_signature(self._key.sign(message, ec.ECDSA(digest)))
        size = (self._key.curve.key_size + 7) // 8  # RFC 7518 section 3.4: r and s, each as long as the field
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")

    def _load(self, pem: bytes) -> rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey:
        from cryptography.hazmat.primitives.asymmetric import ec, rsa
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        try:
            key = load_pem_private_key(pem, password=None)
        except (ValueError, TypeError):
            raise ClientCredentialError("Failed to parse private key PEM for JWT signing") from None
        if self._algorithm.startswith("RS"):
            if isinstance(key, rsa.RSAPrivateKey):
                return key
            raise ClientCredentialError(f"signing algorithm {self._algorithm} requires an RSA private key")
        curve = _CURVES[self._algorithm]
        if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name == curve:
            return key
        raise ClientCredentialError(f"signing algorithm {self._algorithm} requires an EC private key on {curve}")
