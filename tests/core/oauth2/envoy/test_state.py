from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.core.oauth2.envoy.codec import base64url
from ostiary.core.oauth2.envoy.state import State, StateError, decode_state, encode_state

NONCE = "00000000075bcd15"
CSRF = f"{NONCE}.na6kru4x1pHgocSIeU/mdtHYn58Gh1bqweS4XXoiqVg="
STATE = (
    "eyJ1cmwiOiJodHRwczovL3RyYWZmaWMuZXhhbXBsZS5jb20vb3JpZ2luYWxfcGF0aD92YXIxPTEmdmFyMj0yIiwiY3NyZl90b2tlbiI6"
    "IjAwMDAwMDAwMDc1YmNkMTUubmE2a3J1NHgxcEhnb2NTSWVVL21kdEhZbjU4R2gxYnF3ZVM0WFhvaXFWZz0iLCJmbG93X2lkIjoi"
    "MDAwMDAwMDAwNzViY2QxNSJ9"
)

HEADER_TEXT = st.text(st.characters(max_codepoint=255, blacklist_characters="\x00\r\n"), max_size=200)


def test_state_is_envoys() -> None:
    state = State("https://traffic.example.com/original_path?var1=1&var2=2", CSRF, NONCE)
    assert encode_state(state) == STATE
    assert decode_state(STATE) == state


@given(url=HEADER_TEXT, csrf=st.text(st.characters(max_codepoint=127)), flow_id=st.sampled_from(["", NONCE]))
def test_state_round_trip(url: str, csrf: str, flow_id: str) -> None:
    if url.isascii():
        assert decode_state(encode_state(State(url, csrf, flow_id))) == State(url, csrf, flow_id)
    else:
        encode_state(State(url, csrf, flow_id))


@given(text=st.one_of(st.text(), st.binary().map(base64url)))
def test_any_state_is_read_or_refused(text: str) -> None:
    try:
        state = decode_state(text)
    except StateError:
        return
    assert isinstance(state.url, str)
    assert isinstance(state.flow_id, str)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("{", "State query param is not a valid JSON: {"),
        ("[" * 100_000, "State query param is not a valid JSON: [["),
        ("[]", "State query param is not a valid JSON: []"),
        ('{"url":"u","url":"v"}', "State query param is not a valid JSON: {"),
        ("null", "State query param does not contain url or CSRF token: null"),
        ('{"url":"u"}', 'State query param does not contain url or CSRF token: {"url":"u"}'),
        ('{"url":1,"csrf_token":"t"}', "State query param does not contain url or CSRF token"),
        ('{"url":"u","csrf_token":null}', "State query param does not contain url or CSRF token"),
    ],
)
def test_what_is_wrong_with_a_state(document: str, message: str) -> None:
    with pytest.raises(StateError) as caught:
        decode_state(base64url(document.encode()))
    assert str(caught.value).startswith(message)


def test_a_state_without_flow_id_is_an_older_envoys() -> None:
    document = {"url": "u", "csrf_token": "t", "flow_id": 7, "more": []}
    assert decode_state(base64url(json.dumps(document).encode())) == State("u", "t", "")


def test_a_padded_or_percent_encoded_state_is_refused() -> None:
    for text in (STATE + "=", STATE.replace("e", "%65", 1), ""):
        with pytest.raises(StateError, match=r"not a valid JSON: $"):
            decode_state(text)
