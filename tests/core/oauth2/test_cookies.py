"""Set-Cookie as browsers take it, and Cookie headers that lose only what is ours."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.core.oauth2.cookies import CookiePolicy, parse_cookies, without_ours
from ostiary.model import limits
from ostiary.model.errors import LimitExceeded

HTTPS = CookiePolicy(base="ostiary", secure=True)
HTTP = CookiePolicy(base="ostiary", secure=False)
SHARED = CookiePolicy(base="ostiary", secure=True, domain="example.com", same_site="none")
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def received(cookies: list[str]) -> list[tuple[str, str]]:
    """What a browser that got these sends back."""
    pairs = [cookie.partition(";")[0].partition("=") for cookie in cookies if "Max-Age=0" not in cookie]
    return [(name, value) for name, _, value in pairs]


def test_names_and_attributes() -> None:
    assert HTTPS.set(HTTPS.session, "v", 60) == "__Host-ostiary=v; Max-Age=60; Path=/; Secure; HttpOnly; SameSite=Lax"
    assert HTTP.set(HTTP.session, "v", 60) == "ostiary=v; Max-Age=60; Path=/; HttpOnly; SameSite=Lax"
    assert SHARED.set(SHARED.session, "v", 60) == (
        "ostiary=v; Max-Age=60; Path=/; Domain=example.com; Secure; HttpOnly; SameSite=None"
    )
    assert HTTPS.flow("k") == "__Host-ostiary-flow.k"
    assert HTTPS.piece(2) == "__Host-ostiary.2"


def test_deleting_repeats_the_attributes() -> None:
    assert SHARED.delete(["ostiary"]) == [
        "ostiary=; Max-Age=0; Path=/; Domain=example.com; Secure; HttpOnly; SameSite=None"
    ]


@pytest.mark.parametrize("value", ["a;b", "a b", "a\r\nset-cookie: x", "é", '"', "a=b"])
def test_a_value_that_could_break_out_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="base64url"):
        HTTPS.set("n", value, 1)


@given(st.integers(0, 31_000), st.sampled_from([HTTPS, HTTP, SHARED]))
def test_split_and_join_are_inverse_and_fit(length: int, policy: CookiePolicy) -> None:
    value = (ALPHABET * (length // len(ALPHABET) + 1))[:length]
    cookies = policy.split(value, 604800)
    assert all(len(cookie) < limits.MAX_COOKIE_BYTES for cookie in cookies)
    assert next(policy.join(received(cookies))) == value


def test_more_than_eight_pieces_are_refused() -> None:
    with pytest.raises(LimitExceeded):
        HTTPS.split("A" * 40_000, 60)


def test_a_shorter_session_deletes_the_pieces_it_no_longer_needs() -> None:
    present = [name for name, _ in received(HTTPS.split("A" * 9000, 60))]
    cookies = HTTPS.split("B" * 100, 60, present)
    assert [cookie.partition("=")[0] for cookie in cookies if "Max-Age=0" in cookie] == present[1:]


def test_pieces_left_over_from_a_longer_session_are_not_read() -> None:
    old = received(HTTPS.split("A" * 9000, 60))
    new = received(HTTPS.split("B" * 100, 60))
    assert list(HTTPS.join([*new, *old[1:]])) == ["B" * 100]


def test_a_missing_piece_is_no_session() -> None:
    pieces = received(HTTPS.split("A" * 9000, 60))
    assert list(HTTPS.join(pieces[:-1])) == []
    assert list(HTTPS.join(pieces[1:])) == []


@pytest.mark.parametrize("value", ["", "0", "9x", "xAAA", "²AAA"])
def test_a_first_piece_without_a_count_is_no_session(value: str) -> None:
    assert list(HTTPS.join([("__Host-ostiary", value)])) == []


def test_a_planted_duplicate_does_not_hide_the_real_one() -> None:
    assert list(HTTP.join([("ostiary", "1bad"), ("ostiary", "1good")])) == ["bad", "good"]
    assert len(list(HTTP.join([("ostiary", "1x")] * 50))) == limits.MAX_COOKIE_DUPLICATES


@pytest.mark.parametrize(
    ("header", "kept"),
    [
        ("a=1; __Host-ostiary=x; b=2", "a=1; b=2"),
        ("__Host-ostiary=x; a=1", "a=1"),
        ("a=1; __Host-ostiary=x", "a=1"),
        ("__Host-ostiary=x", ""),
        ("__Host-ostiary=1; __Host-ostiary.1=2; __Host-ostiary.12=3; a=b", "a=b"),
        ("ostiary=x; ostiary-flow.abc=1; __Host-ostiary-flow.abc=1; z", "z"),
        ('a="x y";b=;  c==; ostiary=q;d=é', 'a="x y";b=;  c==;d=é'),
        ("ostiaryx=1; ostiary.x=2; ostiary.1x=3; my-ostiary=4", "ostiaryx=1; ostiary.x=2; ostiary.1x=3; my-ostiary=4"),
        ("a=ostiary", "a=ostiary"),
        ("ostiary.²=1; ostiary.=2", "ostiary.²=1; ostiary.=2"),
        ("", ""),
        (" ; ;a=1", " ; ;a=1"),
    ],
)
def test_only_ours_is_cut_out(header: str, kept: str) -> None:
    assert without_ours(header, HTTPS) == kept


@given(st.lists(st.text(st.characters(codec="latin-1", exclude_characters=";"), max_size=12), max_size=6))
def test_foreign_cookies_keep_every_byte(parts: list[str]) -> None:
    header = ";".join(part for part in parts if "ostiary" not in part)
    assert without_ours(header, HTTPS) == header
    stripped = without_ours(f"{header}; __Host-ostiary=x" if header else "__Host-ostiary=x", HTTPS)
    assert stripped.lstrip(" \t") == header.lstrip(" \t")


def test_cookies_are_read_as_browsers_write_them() -> None:
    assert parse_cookies('a=1; b="q"; c; =d; a=2;e = f ') == [
        ("a", "1"), ("b", '"q"'), ("", "c"), ("", "d"), ("a", "2"), ("e ", " f"),
    ]  # fmt: skip


def test_flow_keys_are_found_once_and_only_if_they_are_keys() -> None:
    cookies = parse_cookies("__Host-ostiary-flow.a=1; __Host-ostiary-flow.a=2; __Host-ostiary-flow.b!=3; x=4")
    assert HTTPS.flow_keys(cookies) == ["a"]
