"""The session, and how it is sealed into a cookie.

Form: base64url( version ‖ nonce(12) ‖ AES-256-GCM(key, msgpack or its zlib) ). `version` says whether it is
compressed; it is authenticated together with the cookie's name and the profile, so that a value can't be moved to
another cookie, another deployment with another cookie name, or from a flow to a session. Keys are derived with
HKDF-SHA256, one for each purpose, provider and client: what one provider said of somebody never opens a door where
another is asked, though both doorkeepers share a secret. The ring's first secret seals, every one opens:
rotation is "put the new one first, drop the old one after the absolute lifetime". Nonces are random; NIST SP 800-38D
allows 2^32 seals for a key, which at a hundred sign-ins a second is more than a year.

Opening something that isn't ours is not an error but "no session": None.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import zlib
from collections.abc import Sequence
from typing import Any, Final, Literal, TypeVar, get_args

import msgspec
import pybase64
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ostiary.core.decision import Entropy
from ostiary.model import limits
from ostiary.model.errors import OstiaryError
from ostiary.model.secret import Secret
from ostiary.model.signin import ProviderConfig

Purpose = Literal["session", "flow", "outcome"]
T = TypeVar("T")

_PLAIN: Final = b"\x01"
_DEFLATED: Final = b"\x02"
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_WORTH_COMPRESSING: Final = 256
MIN_SECRET_BYTES: Final = 32


class SecretInvalid(OstiaryError):
    """A session secret that is too short to be one. The message never holds it."""


class Session(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who is signed in, until when, and the tokens that are kept. Times are Unix seconds."""

    id: str = msgspec.field(name="i")
    """New at every sign-in; the same over refreshes."""
    subject: str = msgspec.field(name="s")
    """What X-Forwarded-User says (ProviderConfig.user_claim)."""
    provider_subject: str = msgspec.field(default="", name="p")
    """`sub`, where another claim names the user."""
    email: str = msgspec.field(default="", name="e")
    preferred_username: str = msgspec.field(default="", name="u")
    name: str = msgspec.field(default="", name="n")
    groups: tuple[str, ...] = msgspec.field(default=(), name="g")
    claims: dict[str, Any] = msgspec.field(default_factory=dict, name="c")
    """Only those that rules and headers ask for."""
    created: float = msgspec.field(name="t")
    last_seen: float = msgspec.field(name="l")
    access_token: str = msgspec.field(default="", name="a")
    access_expires: float | None = msgspec.field(default=None, name="x")
    refresh_token: str = msgspec.field(default="", name="r")
    refresh_at: float | None = msgspec.field(default=None, name="f")
    """From then on the tokens are refreshed."""
    id_token: str = msgspec.field(default="", name="d")

    @property
    def sub(self) -> str:
        """The provider's `sub`."""
        return self.provider_subject or self.subject

    def __repr__(self) -> str:
        return f"<Session of {self.subject!r}>"


class KeyRing:
    """Derived keys of every secret, by purpose. The first secret seals, all open."""

    __slots__ = ("_ring",)

    def __init__(self, secrets: Sequence[Secret], audience: str = "") -> None:
        """`audience` says whose sessions these are: see `audience_of`."""
        if not secrets:
            raise SecretInvalid("no session secret is configured")
        raw = [parse_secret(secret) for secret in secrets]
        self._ring: dict[str, list[AESGCM]] = {p: [_derive(s, p, audience) for s in raw] for p in get_args(Purpose)}

    def sealing(self, purpose: Purpose) -> AESGCM:
        """The key that seals now."""
        return self._ring[purpose][0]

    def opening(self, purpose: Purpose) -> Sequence[AESGCM]:
        """Every key that may open."""
        return self._ring[purpose]

    def __repr__(self) -> str:
        return f"<KeyRing of {len(self._ring['session'])}>"


def audience_of(provider: ProviderConfig) -> str:
    """The provider and the client that sessions belong to."""
    return f"{provider.issuer or provider.token_endpoint}\0{provider.client_id}"


def parse_secret(secret: Secret) -> bytes:
    """The bytes of a configured secret: hex, base64 or raw, at least 32 of them. Raises SecretInvalid."""
    text = secret.reveal().strip(b" \t\r\n")
    if re.fullmatch(rb"(?:[0-9A-Fa-f]{2}){32,}", text):
        return bytes.fromhex(text.decode())
    if re.fullmatch(rb"[A-Za-z0-9+/_-]{42,}={0,2}", text):
        unpadded = text.rstrip(b"=").translate(bytes.maketrans(b"-_", b"+/"))
        try:
            decoded = base64.b64decode(unpadded + b"=" * (-len(unpadded) % 4), validate=True)
        except binascii.Error:
            decoded = b""
        if len(decoded) >= MIN_SECRET_BYTES:
            return decoded
    raw = secret.reveal()
    if len(raw) >= MIN_SECRET_BYTES:
        return raw
    raise SecretInvalid(f"a session secret has {len(raw)} bytes, it needs {MIN_SECRET_BYTES} or more random ones")


def seal(value: msgspec.Struct, purpose: Purpose, cookie: str, keys: KeyRing, entropy: Entropy) -> str:
    """Seal for the cookie of that name: base64url text without padding."""
    plain = msgspec.msgpack.encode(value)
    version = _PLAIN
    if len(plain) > _WORTH_COMPRESSING and len(packed := zlib.compress(plain, 6)) < len(plain):
        version, plain = _DEFLATED, packed
    nonce = entropy(_NONCE_BYTES)
    sealed = keys.sealing(purpose).encrypt(nonce, plain, _context(version, purpose, cookie))
    return pybase64.b64encode(version + nonce + sealed, b"-_").rstrip(b"=").decode()


def open_sealed(text: str, kind: type[T], purpose: Purpose, cookie: str, keys: KeyRing) -> T | None:
    """What was sealed for that cookie, or None for anything that no key of the ring sealed as such."""
    raw = _decode(text)
    if raw is None or len(raw) < 1 + _NONCE_BYTES + _TAG_BYTES:
        return None
    version, nonce, sealed = raw[:1], raw[1 : 1 + _NONCE_BYTES], raw[1 + _NONCE_BYTES :]
    context = _context(version, purpose, cookie)
    for key in keys.opening(purpose):
        try:
            plain = key.decrypt(nonce, sealed, context)
        except InvalidTag:
            continue
        return _unpack(version, plain, kind)
    return None


def session_key(session: Session) -> bytes:
    """What one refresh of this session is known by: its id and its refresh token, hashed."""
    return hashlib.sha256(f"{session.id}\0{session.refresh_token}".encode()).digest()


def shrink(session: Session) -> list[Session]:
    """The session, then smaller versions for when it doesn't fit: without the ID token (sign-out loses its hint), then
    without the display name. Claims and groups are never dropped: rules depend on them."""
    without_id_token = msgspec.structs.replace(session, id_token="")
    return [session, without_id_token, msgspec.structs.replace(without_id_token, name="")]


def _derive(secret: bytes, purpose: str, audience: str) -> AESGCM:
    info = f"ostiary native v2 {purpose}\0{audience}".encode()
    return AESGCM(HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=info).derive(secret))


def _context(version: bytes, purpose: str, cookie: str) -> bytes:
    return b"\0".join((b"ostiary", version, purpose.encode(), cookie.encode()))


def _decode(text: str) -> bytes | None:
    if "+" in text or "/" in text:  # pybase64 would warn, and take them
        return None
    try:
        raw = text.encode("ascii")
        return pybase64.b64decode(raw + b"=" * (-len(raw) % 4), b"-_", validate=True)
    except (ValueError, UnicodeEncodeError):
        return None


def _unpack(version: bytes, plain: bytes, kind: type[T]) -> T | None:
    """Authentic, but perhaps of an older version of the program: what doesn't fit its type is no session either."""
    try:
        if version == _DEFLATED:
            inflater = zlib.decompressobj()
            plain = inflater.decompress(plain, limits.MAX_SESSION_BYTES)
            if inflater.unconsumed_tail:
                return None
        return msgspec.msgpack.decode(plain, type=kind)
    except (zlib.error, msgspec.MsgspecError):
        return None
