"""What flows came to, for everybody who wants the same.

A flow that may run only once (a refresh token that rotates, an authorization code) is run by one request. Its outcome
answers those that waited for it, for a grace time those that come late with what has been used up, and, sealed, those
in other processes. Outcomes are shared, answers are not: each request gets one made for its own cookies and address.

The seal is AES-256-GCM, bound to the flow's key and kind: whoever carries an outcome around can neither read it nor
give it to somebody else.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Generic, TypeVar, final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ostiary.core.decision import Entropy, Shared
from ostiary.model import limits

T = TypeVar("T")
_NONCE_BYTES: Final = 12


@final
class FlowOutcomes(Generic[T]):
    """Outcomes of one kind, by their flow's `single_flight` key; bounded. `kind` is something that msgspec encodes."""

    def __init__(self, kind: type[T], name: str, entropy: Entropy) -> None:
        self._name = name.encode()
        self._entropy = entropy
        self._decoder = msgspec.msgpack.Decoder(tuple[float, float, kind])  # type: ignore[valid-type] # it is one
        self._kept: dict[bytes, tuple[float, float, T]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def begin(self, key: bytes) -> None:
        """A flow starts: what a former one left is nobody's outcome any more."""
        self._kept.pop(key, None)

    def remember(self, key: bytes, outcome: T, at: float, grace: float) -> None:
        """A flow ended at `at`; its outcome answers late comers for `grace` seconds."""
        self._kept.pop(key, None)
        self._kept[key] = (at, grace, outcome)
        while len(self._kept) > limits.MAX_RECENT_OUTCOMES or self._is_over(next(iter(self._kept.values())), at):
            del self._kept[next(iter(self._kept))]

    def recent(self, key: bytes, now: float) -> T | None:
        """The outcome within its grace."""
        kept = self._kept.get(key) if self._kept else None
        return kept[2] if kept is not None and self._is_recent(kept, now) else None

    def last(self, key: bytes) -> T | None:
        """The outcome for those who waited for it, also where late comers get none."""
        kept = self._kept.get(key)
        return None if kept is None else kept[2]

    def share(self, key: bytes, cipher: AESGCM) -> Shared | None:
        """The outcome for other processes; None if the flow ended without one."""
        kept = self._kept.get(key)
        if kept is None:
            return None
        nonce = self._entropy(_NONCE_BYTES)
        sealed = nonce + cipher.encrypt(nonce, msgspec.msgpack.encode(kept), self._context(key))
        return Shared(sealed=sealed, grace=kept[1])

    def adopt(self, key: bytes, sealed: bytes, ciphers: Iterable[AESGCM]) -> T | None:
        """Remember what another process shared; None if it can't be opened."""
        for cipher in ciphers:
            try:
                plain = cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], self._context(key))
                at, grace, outcome = self._decoder.decode(plain)
            except (InvalidTag, ValueError):  # ValueError: too short, or written by another version of the program
                continue
            self.remember(key, outcome, at, grace)
            return outcome
        return None

    @staticmethod
    def _is_recent(kept: tuple[float, float, T], now: float) -> bool:
        """Requests are judged by a clock that may lag behind the one that stamped the outcome."""
        return kept[1] > 0 and -limits.CLOCK_LEEWAY <= now - kept[0] < kept[1]

    @staticmethod
    def _is_over(kept: tuple[float, float, T], now: float) -> bool:
        """Not when the grace is, which may be none: those who waited have yet to be told."""
        return now - kept[0] > limits.REFRESH_GRACE

    def _context(self, key: bytes) -> bytes:
        return b"\0".join((b"ostiary outcome v1", self._name, key))
