"""The bytes of Envoy's OAuth2 filter: session MAC, CSRF token, PKCE, and the two token ciphers.

One secret (`hmac_secret`) serves everything: HMAC-SHA256 under the secret itself, AES-256 under its SHA-256. The
session MAC covers domain, expiry and the plain tokens, so the ciphers hide tokens but don't vouch for a session.

- CBC: base64url(IV16 || AES-CBC-PKCS7). It vouches for nothing by itself, and telling a bad padding from a bad
  content would let a thief of cookies read them. So whatever relies on a decrypted value alone (the PKCE verifier,
  a refresh token without a MAC) also checks its alphabet, and gives one answer for both failures.
- GCM: "gcm." || base64url(nonce12 || ciphertext || tag16), no associated data.

Text is `str` of latin-1 characters throughout, as header values are, so that every byte survives.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import re
from base64 import b64encode
from typing import Final

import pybase64
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.padding import PKCS7

from ostiary.core.decision import Entropy

GCM_MARKER: Final = "gcm."
_IV_BYTES: Final = 16
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_BLOCK_BITS: Final = 128
_FLOW_ID: Final = re.compile(r"[0-9a-f]{16}")


class DecryptError(Exception):
    """A value that this key did not write; the text is Envoy's and shows nothing of the value."""


def base64url(data: bytes) -> str:
    """RFC 4648 section 5, without padding."""
    return pybase64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def decode_base64url(text: str) -> bytes | None:
    """The bytes, or None for anything but the one unpadded spelling that an encoder writes."""
    if not text.isascii() or "+" in text or "/" in text:
        return None
    try:
        data: bytes = pybase64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        return None
    return data if base64url(data) == text else None


def outcome_key(secret: bytes) -> bytes:
    """The AES-256 key of outcomes that processes share (no cookie, so nothing of Envoy's)."""
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=b"ostiary envoy v1 outcome").derive(secret)


class TokenCipher:
    """Encrypts and decrypts cookie values under one secret.

    `gcm` chooses what is written. `cbc_compat` says whether CBC values are still read; GCM values always are.
    """

    __slots__ = ("_aead", "_cbc_compat", "_gcm", "_key")

    def __init__(self, secret: bytes, *, gcm: bool, cbc_compat: bool) -> None:
        self._key = hashlib.sha256(secret).digest()
        self._aead = AESGCM(self._key)
        self._gcm = gcm
        self._cbc_compat = cbc_compat

    def encrypt(self, plain: str, entropy: Entropy) -> str:
        """The cookie value for `plain` (latin-1 text)."""
        data = plain.encode("latin-1")
        if self._gcm:
            nonce = entropy(_NONCE_BYTES)
            return GCM_MARKER + base64url(nonce + self._aead.encrypt(nonce, data, None))
        iv = entropy(_IV_BYTES)
        padder = PKCS7(_BLOCK_BITS).padder()
        encryptor = Cipher(AES256(self._key), CBC(iv)).encryptor()
        padded = padder.update(data) + padder.finalize()
        return base64url(iv + encryptor.update(padded) + encryptor.finalize())

    def decrypt(self, value: str) -> str:
        """The plain text of a cookie value. Raises DecryptError."""
        if value.startswith(GCM_MARKER):
            plain = self._open_gcm(decode_base64url(value[len(GCM_MARKER) :]))
        elif self._cbc_compat:
            plain = self._open_cbc(decode_base64url(value))
        else:
            raise DecryptError("ciphertext has no algorithm marker and legacy CBC decryption is disabled")
        text = plain.decode("latin-1")
        if "\n" in text or "\r" in text or "\0" in text:
            raise DecryptError("plaintext is not a valid header value")
        return text

    def _open_gcm(self, data: bytes | None) -> bytes:
        if data is None or len(data) <= _NONCE_BYTES + _TAG_BYTES:
            raise DecryptError("Invalid encrypted data")
        try:
            return self._aead.decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], None)
        except InvalidTag:
            raise DecryptError("failed to finalize decryption") from None

    def _open_cbc(self, data: bytes | None) -> bytes:
        if data is None or len(data) <= _IV_BYTES:
            raise DecryptError("Invalid encrypted data")
        decryptor = Cipher(AES256(self._key), CBC(data[:_IV_BYTES])).decryptor()
        unpadder = PKCS7(_BLOCK_BITS).unpadder()
        try:
            padded = decryptor.update(data[_IV_BYTES:]) + decryptor.finalize()
            return unpadder.update(padded) + unpadder.finalize()
        except ValueError:
            raise DecryptError("failed to finalize decryption") from None


def is_cbc(value: str) -> bool:
    """True for a cookie value without GCM's marker."""
    return not value.startswith(GCM_MARKER)


def _session_message(domain: str, expires: str, access: str, id_token: str, refresh: str) -> bytes:
    return "\n".join((domain, expires, access, id_token, refresh)).encode("latin-1")


def session_mac(secret: bytes, *, domain: str, expires: str, access: str, id_token: str, refresh: str) -> str:
    """The OauthHMAC cookie's value.

    `domain` is `cookie_domain`, or the request's Host verbatim; `expires` decimal Unix seconds; tokens are in plain
    text, "" for those that are not stored.
    """
    message = _session_message(domain, expires, access, id_token, refresh)
    return b64encode(hmac.digest(secret, message, "sha256")).decode("ascii")


def session_mac_matches(
    secret: bytes, mac: str, *, domain: str, expires: str, access: str, id_token: str, refresh: str
) -> bool:
    """True if `mac` is the session's, in today's spelling or in the one of older Envoys (base64 of the hex digest)."""
    digest = hmac.digest(secret, _session_message(domain, expires, access, id_token, refresh), "sha256")
    given = mac.encode("latin-1")
    now_written = hmac.compare_digest(given, b64encode(digest))
    once_written = hmac.compare_digest(given, b64encode(digest.hex().encode("ascii")))
    return now_written or once_written


def new_flow_id(entropy: Entropy) -> str:
    """16 lower-case hex digits of one random 64-bit number: a sign-in's name and its CSRF nonce."""
    return f"{int.from_bytes(entropy(8), 'little'):016x}"


def is_flow_id(text: str) -> bool:
    """True for what `new_flow_id` writes."""
    return _FLOW_ID.fullmatch(text) is not None


def csrf_token(secret: bytes, nonce: str) -> str:
    """`<nonce>.<mac>`, the value of the OauthNonce cookie and of `state.csrf_token`."""
    mac = b64encode(hmac.digest(secret, nonce.encode("utf-8", "surrogatepass"), "sha256")).decode("ascii")
    return f"{nonce}.{mac}"


def csrf_token_is_ours(secret: bytes, token: str) -> bool:
    """True if `token` is `<nonce>.<mac>` (split at the first dot) under this secret."""
    nonce, dot, _ = token.partition(".")
    return bool(dot) and same_text(csrf_token(secret, nonce), token)


def same_text(left: str, right: str) -> bool:
    """Equality in constant time, of any text: what a JSON string holds need not be encodable."""
    return hmac.compare_digest(left.encode("utf-8", "surrogatepass"), right.encode("utf-8", "surrogatepass"))


def new_code_verifier(entropy: Entropy) -> str:
    """RFC 7636 section 4.1: 43 characters."""
    return base64url(entropy(32))


def code_challenge(verifier: str) -> str:
    """RFC 7636 section 4.2, method S256."""
    return base64url(hashlib.sha256(verifier.encode("ascii")).digest())
