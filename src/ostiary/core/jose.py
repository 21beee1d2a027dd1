"""JSON Web Keys and ID tokens: one way in, `verify_id_token`.

Theory of operation. A token is refused unless every check says yes ("accept if good"): comparisons are written so that
NaN, a missing claim or a claim of the wrong type fail them. Nothing in the token chooses how it is verified: the
algorithm must be on the caller's list *and* fit the type of a key that the provider publishes for signatures, so that
neither `alg: none` nor an HMAC keyed with a public key has a path here (RFC 8725 section 3.1). Symmetric keys in a JWKS
are ignored. joserfc supplies keys and signature primitives; its `jwt.decode` is not used, because it decodes without
judging the claims.

A header without `kid` tries the keys that fit, at most MAX_JWKS_KEYS; a `kid` that no key has is `UnknownKey`, which
the caller answers by fetching the key set again (rate-limited) before giving up.

joserfc is imported where it is used: a doorkeeper listens before it has seen a token.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ostiary.model import limits
from ostiary.model.errors import OstiaryError

if TYPE_CHECKING:
    from joserfc.jwk import Key

Claims = Mapping[str, Any]

_PUBLIC_MEMBERS: Final = ("kty", "n", "e", "crv", "x", "y")
_KEY_TYPES: Final = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}
_HASHES: Final = {"256": hashlib.sha256, "384": hashlib.sha384, "512": hashlib.sha512}
_BASE64URL: Final = re.compile(rb"[A-Za-z0-9_-]+")
_TENANT: Final = re.compile(r"[0-9A-Za-z-]{1,64}")
_GOOGLE: Final = "https://accounts.google.com"
"""Some of Google's tokens name it without the scheme (OpenID Connect Core section 15.6.2)."""
MIN_RSA_BITS: Final = 2048
"""RFC 7518 section 3.3."""


class TokenRefused(OstiaryError):
    """An ID token that must not be believed. `code` is stable; the message is for operators and holds no token."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class UnknownKey(TokenRefused):
    """No published key fits the token: the key set may be older than the token."""


class KeySetInvalid(OstiaryError):
    """A JWKS document without a single key that can verify a signature."""


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """One public key, and what its JWK says it is for."""

    key: Key = field(repr=False)
    kty: str
    kid: str | None
    alg: str | None
    issuer: str | None
    """Entra ID says for which issuer template a key signs; None where a provider doesn't."""


@dataclass(frozen=True, slots=True)
class KeySet:
    """The provider's verification keys (RFC 7517 section 5)."""

    keys: tuple[VerificationKey, ...]

    def candidates(self, kid: str | None, alg: str) -> list[VerificationKey]:
        """The keys that may have made a signature with `alg`; without `kid`, all that fit."""
        kty = _KEY_TYPES[alg[:2]]
        fitting = (k for k in self.keys if k.kty == kty and (k.alg is None or k.alg == alg or _same_eddsa(k.alg, alg)))
        return [k for k in fitting if kid is None or k.kid == kid]


@dataclass(frozen=True, slots=True, kw_only=True)
class IdTokenPolicy:
    """What an ID token has to be (OpenID Connect Core section 3.1.3.7)."""

    issuer: str
    """Exact, or Entra's template with `{tenantid}`, which stands for the token's own `tid`."""
    client_id: str
    algorithms: tuple[str, ...]
    keys: KeySet
    nonce: str | None = field(default=None, repr=False)
    """None: none was sent (a refresh)."""
    access_token: str | None = field(default=None, repr=False)
    """The token that came along, for `at_hash`."""
    subject: str | None = None
    """At a refresh: the user may not change (section 12.2)."""
    leeway: float = limits.CLOCK_LEEWAY


def parse_key_set(body: bytes) -> KeySet:
    """Read a JWKS document. Keys that can't verify a signature are left out, as RFC 7517 section 5 asks.

    Raises KeySetInvalid if the document is none, holds more than MAX_JWKS_KEYS keys, or no usable one.
    """
    document = _json_object(body)
    members = document.get("keys") if document is not None else None
    if not isinstance(members, list):
        raise KeySetInvalid("the answer is not a JWKS document (an object with a list `keys`)")
    if len(members) > limits.MAX_JWKS_KEYS:
        raise KeySetInvalid(f"{len(members)} keys; at most {limits.MAX_JWKS_KEYS} are read (MAX_JWKS_KEYS)")
    keys = tuple(key for member in members if isinstance(member, dict) and (key := _import_key(member)) is not None)
    if not keys:
        raise KeySetInvalid(f"none of the {len(members)} keys is a public RSA, EC or OKP key for signatures")
    return KeySet(keys)


def verify_id_token(token: str, policy: IdTokenPolicy, now: float) -> Claims:
    """The claims of a token that passes every check of `policy` at `now` (Unix seconds). Raises TokenRefused."""
    header, claims, signing_input, signature = _parse(token)
    key = _verify_signature(header, signing_input, signature, policy)
    _check_issuer(claims, policy, key)
    _check_audience(claims, policy)
    _check_times(claims, policy.leeway, now)
    _check_subject(claims, policy.subject)
    _check_nonce(claims, policy.nonce)
    _check_at_hash(claims, header["alg"], policy.access_token)
    return claims


def is_issuer(value: object, issuer: str, tenant: object) -> bool:
    """Whether `value` is `issuer`, with `{tenantid}` in it standing for `tenant`."""
    if "{tenantid}" in issuer:
        if not (isinstance(tenant, str) and _TENANT.fullmatch(tenant)):
            return False
        issuer = issuer.replace("{tenantid}", tenant)
    return isinstance(value, str) and (value == issuer or issuer == _GOOGLE == f"https://{value}")


def _import_key(jwk: dict[str, Any]) -> VerificationKey | None:
    from joserfc.errors import JoseError
    from joserfc.jwk import JWKRegistry

    kty = jwk.get("kty")
    if kty not in ("RSA", "EC", "OKP") or jwk.get("use", "sig") != "sig":
        return None
    operations = jwk.get("key_ops", ["verify"])
    if not (isinstance(operations, list) and "verify" in operations):
        return None
    if kty == "RSA" and _modulus_bits(jwk.get("n")) < MIN_RSA_BITS:
        return None
    # Only what makes the public key is imported: a private part, or a member joserfc doesn't know, plays no role.
    public: dict[str, Any] = {name: jwk[name] for name in _PUBLIC_MEMBERS if name in jwk}
    try:
        key = JWKRegistry.import_key(public)
    except (JoseError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return VerificationKey(key, kty, _text(jwk.get("kid")), _text(jwk.get("alg")), _text(jwk.get("issuer")))


def _modulus_bits(n: object) -> int:
    raw = _decode(n.encode()) if isinstance(n, str) and n.isascii() else None
    return int.from_bytes(raw or b"", "big").bit_length()


def _parse(token: str) -> tuple[dict[str, Any], dict[str, Any], bytes, bytes]:
    if len(token) > limits.MAX_TOKEN_BYTES or not token.isascii():
        raise TokenRefused("jwt-malformed", f"the ID token is longer than {limits.MAX_TOKEN_BYTES} bytes or not ASCII")
    parts = token.encode().split(b".")
    if len(parts) == 5:
        raise TokenRefused("jwt-malformed", "the ID token is encrypted (JWE); register the client without encryption")
    if len(parts) != 3:
        raise TokenRefused("jwt-malformed", "the ID token is not a signed JWT in compact form")
    header, claims, signature = _json_object(_decode(parts[0])), _json_object(_decode(parts[1])), _decode(parts[2])
    if header is not None and not parts[2]:  # `alg: none`: whatever it says, nobody has signed it
        raise TokenRefused("jwt-algorithm", f"the ID token is not signed (`alg` {_show(header.get('alg'))})")
    if header is None or claims is None or signature is None:
        raise TokenRefused("jwt-malformed", "a part of the ID token is not base64url, or not a JSON object")
    if "crit" in header:
        raise TokenRefused("jwt-malformed", "the ID token demands header extensions (`crit`), none is supported")
    return header, claims, parts[0] + b"." + parts[1], signature


def _verify_signature(
    header: dict[str, Any], signing_input: bytes, signature: bytes, policy: IdTokenPolicy
) -> VerificationKey:
    alg, kid = header.get("alg"), header.get("kid")
    if not (isinstance(alg, str) and alg in policy.algorithms and alg[:2] in _KEY_TYPES):
        allowed = ", ".join(policy.algorithms)
        raise TokenRefused("jwt-algorithm", f"the ID token is signed with {_show(alg)}; allowed are {allowed}")
    if not (kid is None or isinstance(kid, str)):
        raise TokenRefused("jwt-malformed", "`kid` in the ID token's header is not a string")
    candidates = policy.keys.candidates(kid, alg)
    if not candidates:
        raise UnknownKey("jwt-key", f"the provider publishes no {alg} key with `kid` {_show(kid)}")
    for candidate in candidates:
        if _signature_fits(candidate.key, alg, signing_input, signature):
            return candidate
    refused = "jwt-signature", f"the ID token's signature fits none of {len(candidates)} published key(s)"
    raise UnknownKey(*refused) if kid is None else TokenRefused(*refused)


def _signature_fits(key: Key, alg: str, signing_input: bytes, signature: bytes) -> bool:
    from joserfc.errors import JoseError
    from joserfc.jws import JWSRegistry

    algorithm = JWSRegistry.algorithms.get(alg)
    if algorithm is None:
        return False
    try:
        algorithm.check_key(key)
        return algorithm.verify(signing_input, signature, key)
    except (JoseError, ValueError, TypeError):
        return False


def _check_issuer(claims: Claims, policy: IdTokenPolicy, key: VerificationKey) -> None:
    issuer = claims.get("iss")
    good = is_issuer(issuer, policy.issuer, claims.get("tid"))
    if not good:
        raise TokenRefused("jwt-issuer", f"`iss` is {_show(issuer)}, the configured issuer is {policy.issuer!r}")
    if key.issuer is not None and not is_issuer(issuer, key.issuer, claims.get("tid")):
        raise TokenRefused("jwt-issuer", f"`iss` is {_show(issuer)}, the key signs for {_show(key.issuer)} only")


def _check_audience(claims: Claims, policy: IdTokenPolicy) -> None:
    audience = claims.get("aud")
    members = audience if isinstance(audience, list) else [audience]
    if policy.client_id not in members:
        raise TokenRefused("jwt-audience", f"`aud` is {_show(audience)}, the client is {policy.client_id!r}")
    party = claims.get("azp")
    if not (party == policy.client_id or (party is None and len(members) == 1)):
        raise TokenRefused(
            "jwt-audience", f"`azp` is {_show(party)} and `aud` {_show(audience)}: made for another client"
        )


def _check_times(claims: Claims, leeway: float, now: float) -> None:
    expires, issued = _number(claims.get("exp")), _number(claims.get("iat"))
    if expires is None or issued is None:
        raise TokenRefused("jwt-malformed", "`exp` or `iat` is missing from the ID token, or not a finite number")
    if not now - leeway < expires:
        raise TokenRefused("jwt-expired", f"the ID token expired {now - expires:.0f} s ago by this host's clock")
    if not issued <= now + leeway:
        raise TokenRefused(
            "clock-skew", f"the ID token was issued {issued - now:.0f} s in the future by this host's clock"
        )
    if "nbf" in claims:
        not_before = _number(claims["nbf"])
        if not_before is None or not not_before <= now + leeway:
            raise TokenRefused("clock-skew", f"the ID token is not valid before {_show(claims['nbf'])}")


def _check_subject(claims: Claims, expected: str | None) -> None:
    subject = claims.get("sub")
    if not (isinstance(subject, str) and 0 < len(subject) <= limits.MAX_SUBJECT_LENGTH):
        raise TokenRefused("jwt-malformed", "`sub` is missing from the ID token, or not a short string")
    if expected is not None and subject != expected:
        raise TokenRefused("jwt-subject", "`sub` is not the user the session belongs to")


def _check_nonce(claims: Claims, expected: str | None) -> None:
    if expected is None:
        return
    nonce = claims.get("nonce")
    if not (isinstance(nonce, str) and hmac.compare_digest(nonce.encode(), expected.encode())):
        raise TokenRefused("jwt-nonce", "`nonce` is not the one that was sent: the token answers another sign-in")


def _check_at_hash(claims: Claims, alg: str, access_token: str | None) -> None:
    if "at_hash" not in claims or access_token is None:
        return
    given = claims["at_hash"]
    digest = _HASHES.get(alg[2:], hashlib.sha512)(access_token.encode()).digest()
    left_half = base64.urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=")
    if not (isinstance(given, str) and hmac.compare_digest(given.encode(), left_half)):
        raise TokenRefused("jwt-access-token", "`at_hash` doesn't fit the access token that came along")


def _same_eddsa(a: str, b: str) -> bool:
    """`EdDSA` and RFC 9864's `Ed25519` name the same signatures."""
    return {a, b} == {"EdDSA", "Ed25519"}


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _decode(segment: bytes) -> bytes | None:
    if not _BASE64URL.fullmatch(segment) or len(segment) % 4 == 1:
        return None
    return base64.urlsafe_b64decode(segment + b"=" * (-len(segment) % 4))


def _json_object(raw: bytes | None) -> dict[str, Any] | None:
    try:
        value = msgspec.json.decode(raw or b"")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _show(value: object) -> str:
    """A hostile value for an operator's eye: short, and quoted."""
    shown = repr(list(value) if isinstance(value, Iterable) and not isinstance(value, str) else value)
    return shown if len(shown) <= 120 else shown[:117] + "..."
