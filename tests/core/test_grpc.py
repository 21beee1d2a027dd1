"""What became of a call, whoever answered it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.core import grpc
from ostiary.core.decision import Fetched
from ostiary.model.headers import Headers

GRPC = {"content-type": "application/grpc"}


def answer(status: int = 200, headers: dict[str, str] | None = None, trailers: dict[str, str] | None = None) -> Fetched:
    return Fetched(
        status=status,
        headers=Headers((headers or {}).items()),
        body=b"",
        now=0.0,
        trailers=Headers((trailers or {}).items()),
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (answer(headers=GRPC, trailers={"grpc-status": "0"}), "OK"),
        (answer(headers={**GRPC, "grpc-status": "0"}), "OK"),  # trailers-only
        (
            answer(headers=GRPC, trailers={"grpc-status": "16", "grpc-message": "no%20key%3a"}),
            "UNAUTHENTICATED: no key:",
        ),
        (answer(headers={**GRPC, "grpc-status": "12", "grpc-message": "50%"}), "UNIMPLEMENTED: 50%"),
        (answer(headers=GRPC, trailers={"grpc-status": "99"}), "UNKNOWN"),
        (answer(headers=GRPC, trailers={"grpc-status": "\u00b2"}), "UNKNOWN"),
        (answer(headers=GRPC, trailers={"grpc-status": "-1", "grpc-message": "%fc"}), "UNKNOWN: \ufffd"),
        (answer(headers=GRPC), "UNKNOWN: the answer has no grpc-status"),
        (answer(401), "UNAUTHENTICATED: HTTP status 401 without gRPC"),
        (answer(404, {"content-type": "text/html"}), "UNIMPLEMENTED: HTTP status 404 without gRPC, 'text/html'"),
        (answer(200, {"content-type": "text/html"}), "UNKNOWN: HTTP status 200 without gRPC, 'text/html'"),
        (answer(503), "UNAVAILABLE: HTTP status 503 without gRPC"),
    ],
)
def test_what_became_of_a_call(given: Fetched, said: str) -> None:
    found = grpc.outcome(given)
    assert (str(found), found.is_ok) == (said, said == "OK")


@given(message=st.binary(max_size=1000))
def test_a_message_is_the_same_behind_its_frame(message: bytes) -> None:
    assert grpc.message_of(grpc.framed(message)) == message
    assert grpc.message_of(grpc.framed(message, compressed=True)) == b"", "what can't be read says nothing"


@given(
    body=st.binary(max_size=50), status=st.text(max_size=5), message=st.text(alphabet=st.characters(max_codepoint=255))
)
def test_nothing_that_a_server_says_raises(body: bytes, status: str, message: str) -> None:
    grpc.message_of(body)
    found = grpc.outcome(answer(trailers={"grpc-status": status, "grpc-message": message}))
    assert found.code in grpc.CODES


@pytest.mark.parametrize(
    ("seconds", "value"), [(10.0, "10000m"), (0.0001, "1m"), (1e6, "1000000S"), (1e12, "99999999S")]
)
def test_a_timeout_has_eight_digits_at_most(seconds: float, value: str) -> None:
    assert grpc.timeout_value(seconds) == value
