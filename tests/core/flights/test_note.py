"""The code of a flight, and what counts as a cookie that is set."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ostiary.core.flights.note import flight_of, set_cookies


@given(st.text())
def test_every_key_has_a_code_that_can_be_read_out(key: str) -> None:
    code = flight_of(key)
    assert len(code) == 8 and code.isalnum() and not set(code) & set("ilou")
    assert code == flight_of(key) != flight_of(key + "x")


def test_deletions_are_no_cookies() -> None:
    native = ["__Host-ostiary=abc; Max-Age=60; Path=/", "__Host-ostiary.1=; Max-Age=0; Path=/"]
    envoy = (("set-cookie", "OauthHMAC=x;path=/;Max-Age=60"), ("set-cookie", "IdToken=deleted;path=/"))
    assert set_cookies(native) == (1, len(native[0]))
    assert set_cookies(envoy) == (1, len(envoy[0][1]))
