"""What is kept of a request to the provider, and what never is."""

from __future__ import annotations

import base64
import json
from urllib.parse import urlencode

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.core.decision import Fetch, Fetched, FetchFailed
from ostiary.core.flights.parts import Call, Part, call_of, short, words
from ostiary.core.trace import Attempt, ConnectTrace, DnsQuery
from ostiary.model import limits
from ostiary.model.headers import Headers

GRANT = {"grant_type": "authorization_code", "code": "C0DE-secret", "code_verifier": "v" * 43, "client_id": "app"}


def fetch(url: str = "https://user:pw@idp.example/token?x=hidden", **headers: str) -> Fetch:
    return Fetch(
        method="POST",
        url=url,
        headers=tuple(headers.items()),
        body=urlencode(GRANT).encode(),
        timeout=1.0,
        purpose="token",
    )


def answer(status: int, document: object) -> Fetched:
    return Fetched(status=status, headers=Headers(), body=json.dumps(document).encode(), now=1.0)


def test_an_error_is_kept_in_the_provider_s_words() -> None:
    refused = {"error": "invalid_grant", "error_description": "AADSTS54005: code was redeemed. Trace ID: "
               "6b1fbd3a-8f1c-4dc4-9cf2-0d2f0a4b1c00"}  # fmt: skip
    call = call_of(fetch(), answer(400, refused), 1.0, 2.0, tries=2)
    assert (call.status, call.error, call.tries) == (400, "invalid_grant", 2)
    assert call.error_description == refused["error_description"], "a trace id is no secret"
    assert call.url == "https://idp.example/token"


@pytest.mark.parametrize(
    "secret",
    [
        "C0DE-secret",
        "v" * 43,
        "s3cr3t-of-client",
        "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
        "ya29a0AfH6SMBx7qZl1kq2w3e4r5t6",
    ],
)
def test_what_was_sent_and_what_looks_like_a_token_is_never_kept(secret: str) -> None:
    basic = "Basic " + base64.b64encode(b"app:s3cr3t-of-client").decode()
    said = {"error": "invalid_request", "error_description": f"bad value {secret} given", "access_token": secret}
    call = call_of(fetch(authorization=basic), answer(400, said), 1.0, 2.0)
    assert secret not in msgspec.json.encode(call).decode()
    assert call.error_description.startswith("bad value [secret")


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b'{"error": 7}', b'{"error": {"message": "x"}}', b"\xff{"])
def test_any_answer_will_do(body: bytes) -> None:
    call = call_of(fetch(), Fetched(status=500, headers=Headers(), body=body, now=1.0), 1.0, 2.0)
    assert (call.status, call.error, call.error_description) == (500, "", "")


@given(st.binary(max_size=300), st.integers(200, 599))
def test_no_answer_is_too_odd(body: bytes, status: int) -> None:
    call = call_of(fetch(), Fetched(status=status, headers=Headers(), body=body, now=1.0), 1.0, 2.0)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(call), type=Call) == call


@given(st.text(), st.text())
def test_whatever_it_says_is_kept_printable_and_short(error: str, description: str) -> None:
    call = call_of(fetch(), answer(400, {"error": error, "error_description": description}), 1.0, 2.0)
    for text in (call.error, call.error_description):
        assert text.isascii() and (text.isprintable() or not text) and len(text) <= limits.MAX_FLIGHT_WORDS


def test_no_answer_is_kept_with_its_connections() -> None:
    trace = ConnectTrace(target="idp.example:443", started=1.0, ended=1.2)
    trace.attempts = [Attempt(address="::1", port=443, family="v6", started=1.0)] * 100
    trace.dns = [DnsQuery(name="idp.example.", type="A", server="s", started=1.0)] * 100
    failed = FetchFailed("connect", "no route\r\n\x1b[31m<b>" + "x" * 900, 1.0)
    call = call_of(fetch(), failed, 1.0, 2.0, connects=(trace,) * 9)
    assert call.failure == "connect" and "\x1b" not in call.message and len(call.message) <= limits.MAX_FLIGHT_WORDS
    assert len(call.connects) == limits.MAX_FLIGHT_CONNECTS
    assert len(call.connects[0].attempts) == len(call.connects[0].dns) == limits.MAX_FLIGHT_ROWS


def test_a_part_comes_back_from_its_bytes() -> None:
    trace = ConnectTrace(target="a:1", started=1.0, ended=1.5)
    trace.attempts = [Attempt(address="::1", port=1, family="v6", started=1.0, ended=1.1, outcome="won")]
    trace.winner = trace.attempts[0]
    call = Call(purpose="token", method="POST", url="u", started=1.0, ended=2.0, status=200, connects=(trace,))
    part = Part(kind="arrival", flight="f", outcome="signed-in", at=1.0, clock=1.0, seconds=0.1, calls=(call,))
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(part), type=Part)
    assert again == part and again.calls[0].connects[0].as_dict() == trace.as_dict()


def test_hostile_text_is_cut_and_printable() -> None:
    assert short("a\r\nb\x00\u202e" + "c" * 500).startswith("a??b??ccc")
    assert len(short("c" * 500)) == limits.MAX_FLIGHT_TEXT
    assert words("error=x: said eyJhbGciOiJSUzI1NiJ9.e30.abc") == "error=x: said [secret?]"
