"""Sessions in cookies: find, judge by time, seal, and remember for a while how a refresh went.

A session ends at its absolute end, or idle. The idle clock lives in the cookie, so it is written anew, but only when
SESSION_RESTAMP_FRACTION of the idle lifetime has passed: an idle session ends up to that much early, and most answers
carry no Set-Cookie.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, final

import msgspec

from ostiary.core.decision import Entropy
from ostiary.core.oauth2.cookies import CookiePolicy
from ostiary.core.oauth2.exchange import RefreshOutcome
from ostiary.core.oauth2.failures import SignInError, failure
from ostiary.core.oauth2.session import KeyRing, Session, open_sealed, seal, session_key, shrink
from ostiary.model import limits
from ostiary.model.errors import LimitExceeded
from ostiary.model.signin import SessionConfig

_OUTCOME_LIFETIME: Final = {
    "renewed": limits.REFRESH_GRACE,
    "ended": limits.REFRESH_GRACE,
    "failed": limits.REFRESH_RETRY_DELAY,
}


@final
class SessionKeeper:
    """The sessions of one filter in one worker."""

    def __init__(self, config: SessionConfig, keys: Callable[[], KeyRing], entropy: Entropy) -> None:
        self._config = config
        self._keys = keys
        self._entropy = entropy
        self._opened: dict[tuple[str, str], Session] = {}
        self._opened_with: KeyRing | None = None
        self._outcomes: dict[bytes, RefreshOutcome] = {}

    @property
    def keys(self) -> KeyRing:
        """The key ring as it is now."""
        return self._keys()

    def load(self, cookies: Sequence[tuple[str, str]], policy: CookiePolicy, now: float) -> Session | None:
        """The session these cookies hold, if it is ours and its time is not over."""
        for sealed in policy.join(cookies):
            session = self._open(sealed, policy.session)
            if session is not None and session.created - limits.CLOCK_LEEWAY <= now < self.ends_at(session):
                return session
        return None

    def ends_at(self, session: Session) -> float:
        """When the session is over if nobody uses it again (Unix seconds)."""
        absolute = session.created + self._config.absolute_lifetime
        return min(absolute, session.last_seen + self._config.idle_lifetime)

    def restamp_at(self, session: Session) -> float:
        """From when on the idle clock is written anew."""
        return session.last_seen + self._config.idle_lifetime * limits.SESSION_RESTAMP_FRACTION

    def store(
        self, session: Session, cookies: Sequence[tuple[str, str]], policy: CookiePolicy, now: float
    ) -> list[str]:
        """The Set-Cookie values that keep `session`. Raises SignInError("cookie-too-large")."""
        max_age = max(1.0, session.created + self._config.absolute_lifetime - now)
        present = policy.session_names(cookies)
        for smaller in shrink(session):
            sealed = seal(smaller, "session", policy.session, self.keys, self._entropy)
            try:
                return policy.split(sealed, max_age, present)
            except LimitExceeded as error:
                refused = error
        raise SignInError("cookie-too-large", f"{refused}: {failure('cookie-too-large').mend}")

    def forget(self, cookies: Sequence[tuple[str, str]], policy: CookiePolicy) -> list[str]:
        """The Set-Cookie values that delete the session pieces a request carries."""
        return policy.delete(policy.session_names(cookies))

    def remember(self, before: Session, outcome: RefreshOutcome) -> None:
        """Keep how the refresh of `before` went, for those that still carry it."""
        key = session_key(before)
        self._outcomes.pop(key, None)
        if len(self._outcomes) >= limits.SESSION_CACHE_ENTRIES:
            del self._outcomes[next(iter(self._outcomes))]
        self._outcomes[key] = outcome

    def outcome(self, session: Session, now: float, *, however_old: bool = False) -> RefreshOutcome | None:
        """How the last refresh of this very session went, if that is recent."""
        outcome = self._outcomes.get(session_key(session)) if self._outcomes else None
        if outcome is None or however_old or now < outcome.now + _OUTCOME_LIFETIME[outcome.result]:
            return outcome
        return None

    def _open(self, sealed: str, name: str) -> Session | None:
        ring = self._keys()
        if ring is not self._opened_with:
            self._opened.clear()
            self._opened_with = ring
        session = self._opened.get((name, sealed))
        if session is None:
            session = open_sealed(sealed, Session, "session", name, ring)
            if session is not None:
                if len(self._opened) >= limits.SESSION_CACHE_ENTRIES:
                    self._opened.clear()
                self._opened[name, sealed] = session
        return session


def touched(session: Session, now: float) -> Session:
    """The session, seen now."""
    return msgspec.structs.replace(session, last_seen=now)
