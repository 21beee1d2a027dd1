"""One attempt to sign in, from the redirect to the callback.

`state` is an opaque random key and nothing else, so no provider can mangle it and nobody can read it. What belongs to
the attempt is sealed in a cookie named after that key: tabs don't overwrite each other, and a callback only finds the
attempt that this very browser began (the seal binds the cookie's name). At most MAX_PENDING_FLOWS are kept, the oldest
goes first.

A callback whose attempt is gone or too old restarts the sign-in once. Whether a restart happened must be known even if
the browser keeps no cookie at all, or it would go round for ever: so the key's first character says it.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from typing import Final

import msgspec

from ostiary.core.decision import Entropy
from ostiary.core.flights.note import flight_of, spelled
from ostiary.core.oauth2.cookies import CookiePolicy
from ostiary.core.oauth2.session import KeyRing, open_sealed, seal
from ostiary.model import limits

_FIRST: Final = "s"
_RESTARTED: Final = "r"
_KEY: Final = re.compile(r"[sr][A-Za-z0-9_-]{22}")


class PendingSignIn(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the callback has to know. Times are Unix seconds."""

    verifier: str = msgspec.field(name="v")
    nonce: str = msgspec.field(name="n")
    return_url: str = msgspec.field(name="u")
    redirect_uri: str = msgspec.field(name="r")
    created: float = msgspec.field(name="t")
    flight: str = msgspec.field(name="f")

    def is_alive(self, now: float) -> bool:
        """Whether the attempt may still be completed."""
        return -limits.CLOCK_LEEWAY <= now - self.created <= limits.FLOW_LIFETIME

    def __repr__(self) -> str:
        return f"<PendingSignIn {self.flight}>"


def new_key(entropy: Entropy, *, restarted: bool) -> str:
    """A fresh `state`."""
    return (_RESTARTED if restarted else _FIRST) + base64url(entropy(16))


def is_key(state: str) -> bool:
    """Whether a `state` has the form of ours."""
    return _KEY.fullmatch(state) is not None


def was_restarted(key: str) -> bool:
    """Whether the attempt with this key was itself a restart."""
    return key.startswith(_RESTARTED)


def new_flight(entropy: Entropy) -> str:
    """A code of 8 characters that a person can read out and an operator finds."""
    return spelled(entropy(5))


def new_pending(entropy: Entropy, key: str, *, return_url: str, redirect_uri: str, now: float) -> PendingSignIn:
    """A fresh attempt: PKCE verifier (RFC 7636 section 4.1) and nonce from `entropy`; its flight is that of its key."""
    return PendingSignIn(
        verifier=base64url(entropy(32)),
        nonce=base64url(entropy(16)),
        return_url=return_url,
        redirect_uri=redirect_uri,
        created=now,
        flight=flight_of(key),
    )


def challenge(verifier: str) -> str:
    """The S256 code challenge (RFC 7636 section 4.2)."""
    return base64url(hashlib.sha256(verifier.encode()).digest())


def single_flight(key: str, pending: PendingSignIn, code: str, issuer: str | None) -> bytes:
    """What the exchange of a code is known by, to this attempt of this browser alone."""
    parts = (key, pending.verifier, code, "" if issuer is None else f"iss {issuer}")
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).digest()


def store(key: str, pending: PendingSignIn, policy: CookiePolicy, ring: KeyRing, entropy: Entropy) -> str:
    """The Set-Cookie of an attempt. SameSite is Lax, or the way back from the provider would arrive without it."""
    name = policy.flow(key)
    site = "none" if policy.same_site == "none" else "lax"
    return policy.set(name, seal(pending, "flow", name, ring, entropy), limits.FLOW_COOKIE_LIFETIME, same_site=site)


def find(key: str, cookies: Sequence[tuple[str, str]], policy: CookiePolicy, ring: KeyRing) -> PendingSignIn | None:
    """The attempt of that key which this browser carries, or None."""
    name = policy.flow(key)
    values = [value for cookie, value in cookies if cookie == name][: limits.MAX_COOKIE_DUPLICATES]
    found = (open_sealed(value, PendingSignIn, "flow", name, ring) for value in values)
    return next((pending for pending in found if pending is not None), None)


def surplus(cookies: Sequence[tuple[str, str]], policy: CookiePolicy, ring: KeyRing) -> list[str]:
    """The names of flow cookies to delete so that one more attempt fits; unreadable ones first, then the oldest."""
    keys = policy.flow_keys(cookies)  # browsers send the oldest first (RFC 6265 section 5.4), which settles ties
    room = limits.MAX_PENDING_FLOWS - 1
    if len(keys) <= room:
        return []
    read, unread = keys[: limits.MAX_FLOW_COOKIES_READ], keys[limits.MAX_FLOW_COOKIES_READ :]
    oldest_first = [*unread, *sorted(read, key=lambda key: _created(key, cookies, policy, ring))]
    return [policy.flow(key) for key in oldest_first[: len(keys) - room]]


def base64url(raw: bytes) -> str:
    """Without padding (RFC 7515 section 2)."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _created(key: str, cookies: Sequence[tuple[str, str]], policy: CookiePolicy, ring: KeyRing) -> float:
    pending = find(key, cookies, policy, ring)
    return pending.created if pending is not None else float("-inf")
