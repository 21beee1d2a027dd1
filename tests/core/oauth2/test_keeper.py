"""Sessions in cookies: what doesn't fit, and what is remembered for how long."""

from __future__ import annotations

import os
import random
import re

import msgspec
import pytest

from ostiary.core.oauth2.cookies import CookiePolicy
from ostiary.core.oauth2.exchange import RefreshOutcome
from ostiary.core.oauth2.failures import SignInError
from ostiary.core.oauth2.keeper import SessionKeeper
from ostiary.core.oauth2.outcomes import FlowOutcomes
from ostiary.core.oauth2.session import KeyRing, Session
from ostiary.model import limits
from ostiary.model.secret import Secret
from ostiary.model.signin import SessionConfig

RING = KeyRing([Secret(b"k" * 32)])
POLICY = CookiePolicy(base="ostiary", secure=True)
SESSION = Session(id="i", subject="ada", created=1000.0, last_seen=1000.0, refresh_token="r")


def keeper() -> SessionKeeper:
    return SessionKeeper(
        SessionConfig(secrets=()), lambda: RING, os.urandom, FlowOutcomes(RefreshOutcome, "refresh", os.urandom)
    )


def noise(length: int) -> str:
    return "".join(
        random.Random(length).choices("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", k=length)
    )


def sent_back(cookies: list[str]) -> list[tuple[str, str]]:
    return [(name, value) for name, _, value in (cookie.partition(";")[0].partition("=") for cookie in cookies)]


def test_a_session_that_fits_comes_back_whole() -> None:
    session = msgspec.structs.replace(SESSION, id_token=noise(15_000))
    cookies = keeper().store(session, [], POLICY, 1000.0)
    assert keeper().load(sent_back(cookies), POLICY, 1001.0) == session


def test_one_that_does_not_loses_its_id_token_first() -> None:
    session = msgspec.structs.replace(SESSION, id_token=noise(30_000), access_token=noise(15_000))
    found = keeper().load(sent_back(keeper().store(session, [], POLICY, 1000.0)), POLICY, 1001.0)
    assert found == msgspec.structs.replace(session, id_token="")


def test_one_that_never_fits_is_refused_with_the_way_out() -> None:
    session = msgspec.structs.replace(SESSION, access_token=noise(45_000))
    with pytest.raises(SignInError) as caught:
        keeper().store(session, [], POLICY, 1000.0)
    assert caught.value.code == "cookie-too-large"
    assert re.search(r"needs \d+ cookies.*pass\.claims.*server-side store", caught.value.reason)


def test_the_cookie_lives_as_long_as_the_session_can() -> None:
    (cookie,) = keeper().store(SESSION, [], POLICY, 1000.0 + 3600)
    assert f"Max-Age={int(limits.SESSION_ABSOLUTE_LIFETIME) - 3600};" in cookie


@pytest.mark.parametrize(
    ("result", "lifetime"),
    [("renewed", limits.REFRESH_GRACE), ("ended", limits.REFRESH_GRACE), ("failed", limits.REFRESH_RETRY_DELAY)],
)
def test_outcomes_are_remembered_for_a_while(result: str, lifetime: float) -> None:
    kept = keeper()
    outcome = RefreshOutcome(result, SESSION, 1000.0)  # type: ignore[arg-type]
    kept.remember(SESSION, outcome)
    assert kept.outcome(SESSION, 1000.0 + lifetime - 0.1) is outcome
    assert kept.outcome(SESSION, 1000.0 + lifetime) is None
    assert kept.awaited(SESSION) is outcome
    assert kept.outcome(msgspec.structs.replace(SESSION, id="j"), 1000.0) is None


def test_memory_is_bounded() -> None:
    kept = keeper()
    sessions = [msgspec.structs.replace(SESSION, id=str(number)) for number in range(limits.MAX_RECENT_OUTCOMES + 5)]
    for session in sessions:
        kept.remember(session, RefreshOutcome("renewed", session, 1000.0))
    assert len(kept._outcomes) == limits.MAX_RECENT_OUTCOMES
    assert kept.outcome(sessions[-1], 1000.0) is not None and kept.outcome(sessions[0], 1000.0) is None
