"""What a decision says about itself for the flight recorder.

A *flight* is one sign-in, from the redirect to the callback, or one refusal. Its id is the short code that the person
at the browser sees. A sign-in's id follows from its flow's key (`state`, Envoy's flow id): the redirect and the
callback may be handled by different workers, and a callback whose cookie is lost still belongs to its redirect. 40 bits
of a hash of 128 random bits (64 in Envoy's) give nothing of the key away.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final, Literal

import msgspec

Kind = Literal["departure", "arrival", "access", "turned-away", "refresh", "sign-out", "other"]
"""`departure` and `arrival` are the two halves of a sign-in; `access`: signed in, but not let in, or not to be judged;
`turned-away`: a program without a session, told to sign in; `other`: addresses that lead nowhere."""
Outcome = Literal[
    "away", "signed-in", "already-signed-in", "restarted", "failed", "denied", "unauthenticated", "refused",
    "renewed", "ended", "signed-out",
]  # fmt: skip
GONE: Final = 499
"""The status of an answer that nobody waited for (nginx's)."""
_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's: nothing that is read for something else
_CODE_BYTES: Final = 5


class Note(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One half of a sign-in, or a refusal. Never a secret: no code, token, cookie, state, or query."""

    kind: Kind
    flight: str
    outcome: Outcome
    code: str = ""
    """Why not (`core.oauth2.failures`)."""
    reason: str = ""
    """The same in the words of whoever said it, for operators."""
    why: str = ""
    """Which access rule let in or kept out."""
    user: str = ""
    """E-mail address, or subject."""
    asked: str = ""
    """The page's path that was asked for, without its query."""
    restart_of: str = ""
    """The flight that this one begins anew."""
    left_at: float | None = None
    """When the browser was sent to the provider (Unix seconds), where the callback knows it."""
    verified: Literal["", "passed", "failed", "skipped"] = ""
    """The ID token; `skipped`: this profile does not verify it."""
    cookies: int = 0
    """Pieces of the session cookie that were set."""
    cookie_bytes: int = 0
    calls: tuple[Any, ...] = ()
    """What was asked of the provider for it (`core.flights.parts.Call`), added by whoever drives the flow."""


def flight_of(key: str) -> str:
    """The flight of a flow's key."""
    digest = hashlib.sha256(b"ostiary flight\0" + key.encode("utf-8", "surrogatepass")).digest()
    return spelled(digest[:_CODE_BYTES])


def spelled(octets: bytes) -> str:
    """5 bytes as 8 characters that a person can read out."""
    number = int.from_bytes(octets, "big")
    return "".join(_ALPHABET[(number >> shift) & 31] for shift in range(35, -1, -5))


def set_cookies(lines: tuple[tuple[str, str], ...] | list[str]) -> tuple[int, int]:
    """(number, bytes) of the cookies that are set, deletions left out; of headers or of Set-Cookie values."""
    values = [line if isinstance(line, str) else line[1] for line in lines]
    kept = [value for value in values if "=deleted;" not in value and "Max-Age=0;" not in value]
    return len(kept), sum(map(len, kept))
