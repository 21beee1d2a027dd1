"""Envoy's cookie formats, written down a second time, from the reference alone, to judge both proxies by.

Not ostiary's own code: a mistake in it would otherwise be on both sides of every comparison.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM


def b64url(data: bytes) -> str:
    """Base64url without padding characters."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64url(text: str) -> bytes:
    """The reverse. Raises binascii.Error (a ValueError)."""
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def _key(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def encrypt_cbc(text: str, secret: str) -> str:
    """base64url(IV, AES-256-CBC with PKCS #7)."""
    iv = os.urandom(16)
    padder = padding.PKCS7(128).padder()
    encryptor = Cipher(algorithms.AES256(_key(secret)), modes.CBC(iv)).encryptor()
    data = padder.update(text.encode()) + padder.finalize()
    return b64url(iv + encryptor.update(data) + encryptor.finalize())


def encrypt_gcm(text: str, secret: str) -> str:
    """`gcm.` and base64url(nonce, ciphertext, tag)."""
    nonce = os.urandom(12)
    return "gcm." + b64url(nonce + AESGCM(_key(secret)).encrypt(nonce, text.encode(), None))


def decrypt(value: str, secret: str) -> tuple[str, str] | None:
    """(mode, plaintext), or None if it is neither form."""
    try:
        if value.startswith("gcm."):
            data = unb64url(value[4:])
            return "gcm", AESGCM(_key(secret)).decrypt(data[:12], data[12:], None).decode()
        data = unb64url(value)
        if len(data) < 32 or len(data) % 16:
            return None
        decryptor = Cipher(algorithms.AES256(_key(secret)), modes.CBC(data[:16])).decryptor()
        unpadder = padding.PKCS7(128).unpadder()
        padded = decryptor.update(data[16:]) + decryptor.finalize()
        return "cbc", (unpadder.update(padded) + unpadder.finalize()).decode()
    except (ValueError, binascii.Error, InvalidTag):
        return None


def session_hmac(
    secret: str,
    domain: str,
    expires: str,
    access: str = "",
    identity: str = "",
    refresh: str = "",
    *,
    legacy: bool = False,
) -> str:
    """The OauthHMAC cookie's value."""
    message = "\n".join((domain, expires, access, identity, refresh)).encode()
    mac = hmac.digest(secret.encode(), message, "sha256")
    return base64.b64encode(mac.hex().encode() if legacy else mac).decode()


def csrf_token(secret: str, nonce: str) -> str:
    """`<nonce>.<mac>`."""
    return f"{nonce}.{base64.b64encode(hmac.digest(secret.encode(), nonce.encode(), 'sha256')).decode()}"


def state(url: str, csrf: str, flow_id: str) -> str:
    """The `state` parameter."""
    document = {"url": url, "csrf_token": csrf, "flow_id": flow_id}
    return b64url(json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode())


def jwt(**claims: object) -> str:
    """An unsigned token that is a JWT by its shape."""
    header = b64url(b'{"alg":"RS256","typ":"JWT"}')
    return f"{header}.{b64url(json.dumps(claims).encode())}.{b64url(b'signature')}"
