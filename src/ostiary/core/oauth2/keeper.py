"""Sessions in cookies: find, judge by time, seal, and remember for a while how a refresh went.

A session ends at its absolute end, or idle. The idle clock lives in the cookie, so it is written anew, but only when
SESSION_RESTAMP_FRACTION of the idle lifetime has passed: an idle session ends up to that much early, and most answers
carry no Set-Cookie.

Several processes see a changed secret one after the other. What can't be opened may so be sealed with a newer one that
somebody else has read already: the files are looked at again before anybody is signed out by it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeVar, final

import msgspec

from ostiary.core.decision import Entropy, Shared
from ostiary.core.oauth2.cookies import CookiePolicy
from ostiary.core.oauth2.exchange import RefreshOutcome
from ostiary.core.oauth2.failures import SignInError, failure
from ostiary.core.oauth2.outcomes import FlowOutcomes
from ostiary.core.oauth2.session import KeyRing, Session, open_sealed, seal, session_key, shrink
from ostiary.model import limits
from ostiary.model.errors import LimitExceeded
from ostiary.model.signin import SessionConfig

T = TypeVar("T")
_OUTCOME_LIFETIME: Final = {
    "renewed": limits.REFRESH_GRACE,
    "ended": limits.REFRESH_GRACE,
    "failed": limits.REFRESH_RETRY_DELAY,
}


@final
class SessionKeeper:
    """The sessions of one filter in one worker."""

    def __init__(
        self,
        config: SessionConfig,
        keys: Callable[[], KeyRing],
        entropy: Entropy,
        outcomes: FlowOutcomes[RefreshOutcome],
        look_again: Callable[[], bool] = lambda: False,
    ) -> None:
        """`look_again` reads changed secrets now; True if there were any."""
        self._config = config
        self._keys = keys
        self._look_again = look_again
        self._entropy = entropy
        self._opened: dict[tuple[str, str], Session] = {}
        self._opened_with: KeyRing | None = None
        self._outcomes = outcomes

    @property
    def keys(self) -> KeyRing:
        """The key ring as it is now."""
        return self._keys()

    def load(self, cookies: Sequence[tuple[str, str]], policy: CookiePolicy, now: float) -> Session | None:
        """The session these cookies hold, if it is ours and its time is not over."""
        sealed = list(policy.join(cookies))
        if not sealed:
            return None
        opened = self.opened(lambda _: [each for text in sealed if (each := self._open(text, policy.session))] or None)
        fresh = (each for each in opened or () if each.created - limits.CLOCK_LEEWAY <= now < self.ends_at(each))
        return next(fresh, None)

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

    def begin(self, before: Session) -> None:
        """A refresh of `before` starts."""
        self._outcomes.begin(session_key(before))

    def remember(self, before: Session, outcome: RefreshOutcome) -> None:
        """Keep how the refresh of `before` went, for those that still carry it."""
        self._outcomes.remember(session_key(before), outcome, outcome.now, _OUTCOME_LIFETIME[outcome.result])

    def outcome(self, session: Session, now: float) -> RefreshOutcome | None:
        """How the last refresh of this very session went, if that is recent."""
        return self._outcomes.recent(session_key(session), now) if self._outcomes else None

    def awaited(self, session: Session) -> RefreshOutcome | None:
        """How a refresh went that was waited for."""
        return self._outcomes.last(session_key(session))

    def share(self, session: Session) -> Shared | None:
        """The same, for other processes."""
        return self._outcomes.share(session_key(session), self.keys.sealing("outcome"))

    def adopt(self, session: Session, sealed: bytes) -> RefreshOutcome | None:
        """How a refresh in another process went, remembered here too; None if it can't be opened."""
        return self.opened(lambda ring: self._outcomes.adopt(session_key(session), sealed, ring.opening("outcome")))

    def opened(self, attempt: Callable[[KeyRing], T | None]) -> T | None:
        """What `attempt` opens with the keys as they are, or as they are after a look at the files."""
        found = attempt(self.keys)
        return attempt(self.keys) if found is None and self._look_again() else found

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
