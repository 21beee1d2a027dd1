"""Sessions as a browser brings them: some 3 KB of cookies, minted without signing in.

Envoy's cookies are written from its documented format (HMAC-SHA256 over host, expiry and tokens; AES-256-CBC with the
key SHA-256(secret)), so that the real Envoy and Ostiary's `envoy` profile open the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import time

from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

HOST = "app.example.com"
HMAC_SECRET = "bench-hmac-secret-of-32-characters"
TOKEN_SECRET = "bench-client-secret"

APP_COOKIES = (
    "_ga=GA1.2.1893405331.1763900000; _gid=GA1.2.482017553.1763900000; theme=dark; lang=en-GB; "
    "csrftoken=Zk3u0Yw8b1VxQm5RrT7pLs2NcHd9JfGa; sidebar=collapsed; tz=Europe%2FVienna; "
    "prefs=%7B%22density%22%3A%22compact%22%2C%22columns%22%3A%5B%22name%22%2C%22owner%22%2C%22state%22%5D%7D"
)
"""What an application and its analytics leave in a browser."""


def jwt(claims: dict[str, object], size: int) -> str:
    """A token shaped like a signed JWT, about `size` characters long (the signature is random)."""
    header = _b64(json.dumps({"alg": "RS256", "typ": "JWT", "kid": "bench-key-1"}).encode())
    signature = _b64(os.urandom(256))
    room = max(0, (size - len(header) - len(signature) - 2) * 3 // 4 - len(json.dumps(claims)) - 14)
    body = _b64(json.dumps(claims | {"pad": base64.b64encode(os.urandom(room))[:room].decode()}).encode())
    return f"{header}.{body}.{signature}"


def envoy_cookies(size: int = 3072, *, secret: str = HMAC_SECRET, host: str = HOST, lifetime: int = 86400) -> str:
    """The Cookie header of a session that Envoy's OAuth2 filter accepts, about `size` bytes long in all."""
    expires = int(time.time()) + lifetime
    claims: dict[str, object] = {"iss": "https://idp.example.com", "sub": "248289761001", "exp": expires}
    refresh = base64.urlsafe_b64encode(os.urandom(48)).decode()
    overhead = len(APP_COOKIES) + 330
    token_size = (size - overhead) * 3 // 4 // 2
    access, identity = jwt(claims, token_size), jwt(claims | {"email": "jane@example.com"}, token_size)
    message = "\n".join((host, str(expires), access, identity, refresh))
    mac = base64.b64encode(hmac.digest(secret.encode(), message.encode(), "sha256")).decode()
    return (
        f"{APP_COOKIES}; OauthHMAC={mac}; OauthExpires={expires}; BearerToken={encrypt_cbc(access, secret)}; "
        f"IdToken={encrypt_cbc(identity, secret)}; RefreshToken={encrypt_cbc(refresh, secret)}"
    )


def ostiary_cookies(secret: str, size: int = 3072, *, lifetime: int = 86400) -> str:
    """The Cookie header of a session of Ostiary's own profile, about `size` bytes long in all."""
    from ostiary.core.oauth2.cookies import CookiePolicy
    from ostiary.core.oauth2.session import KeyRing, Session, audience_of, seal
    from ostiary.model.secret import Secret
    from ostiary.model.signin import ProviderConfig

    now = time.time()
    claims: dict[str, object] = {"iss": "https://idp.example.com", "sub": "248289761001", "exp": now + lifetime}
    token_size = (size - len(APP_COOKIES) - 210) // 2  # base64 inside is compressed to what it stood for
    session = Session(
        id=_b64(os.urandom(16)),
        subject="248289761001",
        email="jane@example.com",
        preferred_username="jane",
        name="Jane Doe",
        groups=("staff", "engineers", "reports-readers", "reports-writers", "on-call"),
        created=now,
        last_seen=now,
        access_token=jwt(claims, token_size),
        access_expires=now + lifetime,
        refresh_token=base64.urlsafe_b64encode(os.urandom(48)).decode(),
        refresh_at=now + lifetime - 60,
        id_token=jwt(claims | {"email": "jane@example.com"}, token_size),
    )
    policy = CookiePolicy(base="ostiary", secure=True)
    audience = audience_of(ProviderConfig(issuer="https://idp.example.com", client_id="bench"))
    sealed = seal(session, "session", policy.session, KeyRing([Secret(secret)], audience), os.urandom)
    pairs = [line.partition(";")[0] for line in policy.split(sealed, lifetime)]
    return "; ".join((APP_COOKIES, *pairs))


def encrypt_cbc(text: str, secret: str) -> str:
    """One token cookie: base64url(IV + AES-256-CBC), without padding characters."""
    iv = os.urandom(16)
    padder = padding.PKCS7(128).padder()
    padded = padder.update(text.encode()) + padder.finalize()
    encryptor = Cipher(algorithms.AES256(hashlib.sha256(secret.encode()).digest()), modes.CBC(iv)).encryptor()
    return _b64(iv + encryptor.update(padded) + encryptor.finalize())


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
