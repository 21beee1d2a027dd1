"""The demo provider's signing keys: one signs, older ones stay published after a rotation."""

from __future__ import annotations

import base64
import hashlib
import secrets
from typing import Any, Final, final

from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

_KINDS: Final = ("ES256", "RS256")


@final
class SigningKeys:
    """Keys of one algorithm, `ES256` or `RS256`."""

    def __init__(self, algorithm: str) -> None:
        if algorithm not in _KINDS:
            raise ValueError(f"algorithm is one of {', '.join(_KINDS)}")
        self.algorithm = algorithm
        self._keys = [self._new()]

    @property
    def current(self) -> ECKey | RSAKey:
        """The key that signs."""
        return self._keys[0]

    def rotate(self, *, keep_old: bool) -> None:
        """A new key signs; the old ones stay published if `keep_old`."""
        self._keys = [self._new(), *(self._keys if keep_old else [])]

    def stranger(self) -> ECKey | RSAKey:
        """A key that is not published, under the current key's id."""
        return self._new(self.current.kid)

    def public(self) -> dict[str, Any]:
        """The JWKS document."""
        return {"keys": [{**key.as_dict(private=False), "use": "sig", "alg": self.algorithm} for key in self._keys]}

    def sign(
        self, claims: dict[str, Any], *, key: ECKey | RSAKey | None = None, header: dict[str, Any] | None = None
    ) -> str:
        """A compact JWS; `header` is added to `alg` and `kid`, None values leave a member out."""
        members = {"alg": self.algorithm, "kid": self.current.kid, **(header or {})}
        present = {name: value for name, value in members.items() if value is not None}
        return jwt.encode(present, claims, key or self.current, algorithms=[self.algorithm])

    def at_hash(self, access_token: str) -> str:
        """The left half of the token's SHA-256 (OpenID Connect Core section 3.1.3.6)."""
        digest = hashlib.sha256(access_token.encode()).digest()
        return base64.urlsafe_b64encode(digest[:16]).rstrip(b"=").decode()

    def _new(self, kid: str | None = None) -> ECKey | RSAKey:
        parameters: Any = {"kid": kid or secrets.token_hex(4)}
        if self.algorithm == "ES256":
            return ECKey.generate_key("P-256", parameters)
        return RSAKey.generate_key(2048, parameters)
