"""One attempt to sign in: its key, its cookie, and which of many go."""

from __future__ import annotations

import base64
import hashlib
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.core.oauth2 import flow
from ostiary.core.oauth2.cookies import CookiePolicy
from ostiary.core.oauth2.session import KeyRing
from ostiary.model import limits
from ostiary.model.secret import Secret

RING = KeyRing([Secret(b"k" * 32)])
POLICY = CookiePolicy(base="ostiary", secure=True)
KEY = "s" + "a" * 22
NOW = 1_800_000_000.0


def attempt(now: float = NOW) -> tuple[str, tuple[str, str]]:
    """(key, the cookie as a browser sends it)."""
    key = flow.new_key(os.urandom, restarted=False)
    pending = flow.new_pending(os.urandom, key, return_url="/x", redirect_uri="https://a/cb", now=now)
    name, _, value = flow.store(key, pending, POLICY, RING, os.urandom).partition(";")[0].partition("=")
    return key, (name, value)


def test_an_attempt_comes_back_to_the_browser_that_began_it() -> None:
    key, cookie = attempt()
    pending = flow.find(key, [("x", "y"), cookie], POLICY, RING)
    assert pending is not None and (pending.return_url, pending.created) == ("/x", NOW)


def test_it_can_not_be_moved_to_another_key() -> None:
    _, (_, value) = attempt()
    other, _ = attempt()
    assert flow.find(other, [(POLICY.flow(other), value)], POLICY, RING) is None


def test_its_cookie_survives_the_way_back_from_the_provider() -> None:
    strict = CookiePolicy(base="ostiary", secure=True, same_site="strict")
    pending = flow.new_pending(os.urandom, KEY, return_url="/", redirect_uri="r", now=NOW)
    cookie = flow.store(flow.new_key(os.urandom, restarted=False), pending, strict, RING, os.urandom)
    assert "SameSite=Lax" in cookie and "Path=/;" in cookie and len(cookie) < 600


def test_the_challenge_is_s256_of_a_long_enough_verifier() -> None:
    pending = flow.new_pending(os.urandom, KEY, return_url="/", redirect_uri="r", now=NOW)
    assert 43 <= len(pending.verifier) <= 128
    digest = hashlib.sha256(pending.verifier.encode()).digest()
    assert flow.challenge(pending.verifier) == base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def test_verifier_nonce_and_key_are_all_different() -> None:
    first = flow.new_pending(os.urandom, KEY, return_url="/", redirect_uri="r", now=NOW)
    second = flow.new_pending(os.urandom, KEY, return_url="/", redirect_uri="r", now=NOW)
    assert len({first.verifier, first.nonce, second.verifier, second.nonce}) == 4


@pytest.mark.parametrize(
    ("age", "alive"),
    [(0, True), (limits.FLOW_LIFETIME, True), (limits.FLOW_LIFETIME + 1, False), (-limits.CLOCK_LEEWAY - 1, False)],
)
def test_it_lives_for_a_while(age: float, alive: bool) -> None:
    pending = flow.new_pending(os.urandom, KEY, return_url="/", redirect_uri="r", now=NOW)
    assert pending.is_alive(NOW + age) is alive


def test_the_key_says_whether_it_is_a_restart_even_without_cookies() -> None:
    assert not flow.was_restarted(flow.new_key(os.urandom, restarted=False))
    assert flow.was_restarted(flow.new_key(os.urandom, restarted=True))
    assert flow.is_key(flow.new_key(os.urandom, restarted=True))


@pytest.mark.parametrize("state", ["", "s", "x" * 23, "s" + "a" * 21, "s" + "a" * 23, "s" + "a" * 21 + ";", "é" * 23])
def test_a_foreign_state_is_no_key(state: str) -> None:
    assert not flow.is_key(state)


def test_room_is_made_for_one_more_by_dropping_the_oldest() -> None:
    attempts = [attempt(NOW + offset) for offset in (5, 1, 4, 2, 3)]
    cookies = [cookie for _, cookie in attempts]
    assert flow.surplus(cookies[:4], POLICY, RING) == []
    assert flow.surplus(cookies, POLICY, RING) == [POLICY.flow(attempts[1][0])]


def test_of_attempts_begun_at_the_same_moment_the_browser_s_first_goes() -> None:
    cookies = [cookie for _, cookie in (attempt() for _ in range(limits.MAX_PENDING_FLOWS + 3))]
    assert flow.surplus(cookies, POLICY, RING) == [name for name, _ in cookies[:4]]


def test_what_can_not_be_read_goes_first() -> None:
    cookies = [cookie for _, cookie in (attempt(NOW + offset) for offset in range(5))]
    planted = [(POLICY.flow(f"junk{number}"), "AAAA") for number in range(3)]
    assert set(flow.surplus([*planted, *cookies], POLICY, RING)) > {name for name, _ in planted}


def test_many_cookies_do_not_cost_much() -> None:
    planted = [(POLICY.flow(f"junk{number}"), "AAAA") for number in range(500)]
    assert len(flow.surplus(planted, POLICY, RING)) == 500 - limits.MAX_PENDING_FLOWS + 1


def test_a_flight_code_can_be_read_out() -> None:
    codes = {flow.new_flight(os.urandom) for _ in range(100)}
    assert len(codes) == 100
    assert all(len(code) == 8 and not set(code) & set("ilou") and code.isalnum() for code in codes)


def test_nothing_secret_is_shown() -> None:
    pending = flow.new_pending(os.urandom, KEY, return_url="/", redirect_uri="r", now=NOW)
    assert pending.verifier not in repr(pending) and pending.flight in repr(pending)


@given(st.text(), st.text(), st.floats(0, 4e9))
def test_an_attempt_comes_back_as_it_was(url: str, text: str, created: float) -> None:
    pending = flow.PendingSignIn(
        verifier=text, nonce=text, return_url=url, redirect_uri=url, created=created, flight="f"
    )
    key = flow.new_key(os.urandom, restarted=False)
    name, _, value = flow.store(key, pending, POLICY, RING, os.urandom).partition(";")[0].partition("=")
    assert flow.find(key, [(name, value)], POLICY, RING) == pending


@given(st.binary(min_size=16, max_size=16), st.booleans())
def test_every_key_is_one_and_says_whether_it_is_a_restart(octets: bytes, restarted: bool) -> None:
    key = flow.new_key(lambda _count: octets, restarted=restarted)
    assert flow.is_key(key) and flow.was_restarted(key) is restarted
    assert POLICY.flow_keys([(POLICY.flow(key), "")]) == [key]
    assert not flow.is_key(key + "\n") and not flow.is_key(key[1:])


@given(st.binary(min_size=5, max_size=5))
def test_every_flight_code_can_be_read_out(octets: bytes) -> None:
    code = flow.new_flight(lambda _count: octets)
    assert len(code) == 8 and code.isalnum() and not set(code) & set("ilou")
    assert sum(
        "0123456789abcdefghjkmnpqrstvwxyz".index(c) << 5 * i for i, c in enumerate(code[::-1])
    ) == int.from_bytes(octets, "big")
