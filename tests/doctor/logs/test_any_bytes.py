"""Whatever a log holds, reading it ends, in bounded memory, without an exception; and equal failures cost nothing."""

from __future__ import annotations

from io import BytesIO

from hypothesis import given
from hypothesis import strategies as st

from doctor.logs.reading import captured, reading, told
from ostiary.doctor.logs import read
from ostiary.model import limits

_LINES = [
    line.encode()
    for case in captured()["cases"].values()
    for kind in ("debug", "json", "access", "envoy")
    for line in case.get(kind, ())
]


@given(st.binary(max_size=2000))
def test_bytes_are_read(data: bytes) -> None:
    found = read(BytesIO(data), "log")
    assert found.read_bytes == len(data)
    assert all(fact.origin.line <= found.lines for fact in found.facts)


@given(
    st.lists(st.sampled_from(_LINES), min_size=1, max_size=6),
    st.lists(st.tuples(st.integers(0, 5000), st.binary(max_size=6), st.integers(0, 80)), max_size=8),
)
def test_logs_that_are_cut_and_spoiled_anywhere_are_read(
    lines: list[bytes], changes: list[tuple[int, bytes, int]]
) -> None:
    data = bytearray(b"\n".join(lines))
    for at, noise, removed in changes:
        place = at % (len(data) + 1)
        data[place : place + removed] = noise
    for fact in read(BytesIO(bytes(data)), "log").facts:
        assert len(fact.origin.quote) <= limits.MAX_QUOTE


def test_distinct_facts_are_bounded() -> None:
    count = limits.MAX_LOG_FACTS + 100
    lines = [
        f"* connect to 10.{n >> 16}.{n >> 8 & 255}.{n & 255} port 443 failed: Connection refused" for n in range(count)
    ]
    found = reading("\n".join(lines))
    assert len(found.facts) == limits.MAX_LOG_FACTS
    assert found.left_out == 100


def test_many_equal_failures_are_one_fact() -> None:
    said = "Responding with 401 Unauthorized. Cause: CSRF token validation failed"
    line = f"2024-10-04T13:37:05.{{:06d}}Z\twarning\tenvoy oauth2\t[C{{}}][S{{}}] {said}\tthread=1\n"
    found = reading("".join(line.format(number, number, number * 7) for number in range(20_000)))
    (fact,) = found.facts
    assert fact.origin.count == 20_000
    assert fact.origin.until.endswith(".019999Z")


def test_a_pipe_that_gives_little_at_a_time_is_read() -> None:
    class Slow(BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(3)

    data = "\n".join(captured()["cases"]["invalid_client"]["debug"])
    assert {type(fact) for fact in read(Slow(data.encode()), "pipe").facts} == {
        type(fact) for fact in reading(data).facts
    }
    assert told(data)


def test_failures_that_differ_in_times_and_traces_only_are_one() -> None:
    entra = (
        '[2024/10/04 13:37:{0:02d}] [oauthproxy.go:928] oauth2: "invalid_client" "AADSTS7000215: Invalid client secret '
        'provided. Trace ID: 0e{0:02d}a-b Correlation ID: 1f{0:02d} Timestamp: 2024-10-04 13:37:{0:02d}Z"\n'
    )
    expired = (
        '2024/10/04 13:37:{0:02d} Get "https://login.example.com/keys": x509: certificate has expired or is not yet '
        "valid: current time 2024-10-04T13:37:{0:02d}Z is after 2024-10-01T00:00:00Z\n"
    )
    found = reading("".join(entra.format(number) + expired.format(number) for number in range(50)))
    assert sorted((type(fact).__name__, fact.origin.count) for fact in found.facts) == [
        ("Answered", 50),
        ("HandshakeFailed", 50),
    ]
