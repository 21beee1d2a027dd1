"""W3C Trace Context: what is understood, what goes on, and what is recorded."""

from __future__ import annotations

import random
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.core.header_lines import HeaderLine
from ostiary.core.tracing import Propagator, SpanContext, context_fields, parse_traceparent
from ostiary.model.telemetry import Collector, Tracing

TRACE, SPAN = b"0af7651916cd43dd8448eb211c80319c", b"b7ad6b7169203331"
SAMPLED, UNSAMPLED = b"00-%b-%b-01" % (TRACE, SPAN), b"00-%b-%b-00" % (TRACE, SPAN)


def follow(*lines: tuple[bytes, bytes], **tracing: object) -> tuple[dict[str, str], SpanContext | None]:
    """What the application gets, by name, and what is recorded."""
    numbers = count(1)
    propagator = Propagator(
        Tracing(collector=Collector(url="http://c"), **tracing),  # type: ignore[arg-type]
        lambda size: next(numbers).to_bytes(size, "big"),
    )
    wire, context = propagator.follow([HeaderLine(name, value) for name, value in lines])
    pairs = [line.split(": ", 1) for line in wire.decode().splitlines()]
    assert context_fields(wire) == dict(pairs)
    assert len(pairs) == len(dict(pairs))
    return dict(pairs), context


@pytest.mark.parametrize(
    ("value", "parent"),
    [
        (SAMPLED, (TRACE, SPAN, 1)),
        (UNSAMPLED, (TRACE, SPAN, 0)),
        (b"00-%b-%b-03" % (TRACE, SPAN), (TRACE, SPAN, 3)),
        (b"00-%b-%b-ff" % (TRACE, SPAN), (TRACE, SPAN, 3)),
        (b"01-%b-%b-01" % (TRACE, SPAN), (TRACE, SPAN, 1)),
        (b"cc-%b-%b-01-what-the-future-will-be-like" % (TRACE, SPAN), (TRACE, SPAN, 1)),
        (b"ff-%b-%b-01" % (TRACE, SPAN), None),
        (b"00-%b-%b-01-more" % (TRACE, SPAN), None),
        (b"01-%b-%b-01.more" % (TRACE, SPAN), None),
        (b"00-%b-%b-01" % (b"0" * 32, SPAN), None),
        (b"00-%b-%b-01" % (TRACE, b"0" * 16), None),
        (b"00-%b-%b-01" % (TRACE.upper(), SPAN), None),
        (b"00-%b-%b-1" % (TRACE, SPAN), None),
        (b"00_%b-%b-01" % (TRACE, SPAN), None),
        (b"0--%b-%b-01" % (TRACE, SPAN), None),
        (b"", None),
    ],
)
def test_a_traceparent_is_read_as_the_specification_says(value: bytes, parent: object) -> None:
    assert parse_traceparent(value) == parent


@given(st.binary(max_size=80))
def test_no_bytes_make_it_fail(value: bytes) -> None:
    found = parse_traceparent(value)
    assert found is None or (len(found[0]), len(found[1])) == (32, 16)


def test_a_recorded_request_is_a_child_of_the_callers_span_and_the_applications_is_one_of_its_own() -> None:
    sent, context = follow((b"traceparent", SAMPLED), (b"tracestate", b"a=b,c=d"))
    assert context is not None
    assert (context.trace, context.parent, context.state) == (TRACE, SPAN, b"a=b,c=d")
    assert sent == {"traceparent": f"00-{TRACE.decode()}-{context.upstream.decode()}-01", "tracestate": "a=b,c=d"}
    assert len({context.parent, context.span, context.upstream}) == 3


def test_without_a_span_for_the_upstream_the_requests_own_is_the_applications_parent() -> None:
    sent, context = follow((b"traceparent", SAMPLED), spawn_upstream_span=False)
    assert context is not None
    assert sent == {"traceparent": f"00-{TRACE.decode()}-{context.span.decode()}-01"}


def test_what_nobody_records_goes_on_as_it_came() -> None:
    sent, context = follow((b"traceparent", UNSAMPLED), (b"tracestate", b"a=b"), (b"tracestate", b"c=d"))
    assert context is None
    assert sent == {"traceparent": UNSAMPLED.decode(), "tracestate": "a=b,c=d"}


@pytest.mark.parametrize("parents", [[b"nonsense"], [SAMPLED, SAMPLED], [b""]])
def test_what_is_invalid_begins_a_new_trace_and_loses_its_state(parents: list[bytes]) -> None:
    sent, context = follow(*[(b"traceparent", parent) for parent in parents], (b"tracestate", b"a=b"))
    assert context is not None
    assert context.parent == b"" and context.trace != TRACE
    assert sent.keys() == {"traceparent"}


def test_a_state_without_a_parent_is_dropped() -> None:
    sent, _ = follow((b"tracestate", b"a=b"))
    assert sent.keys() == {"traceparent"}


def test_where_traces_begin_clients_have_no_say() -> None:
    sent, context = follow((b"traceparent", SAMPLED), (b"tracestate", b"a=b"), restart=True)
    assert context is not None and context.trace != TRACE
    assert sent.keys() == {"traceparent"}
    assert follow((b"traceparent", SAMPLED), restart=True, sampling=0.0)[1] is None


def test_the_caller_decides_unless_it_is_said_otherwise() -> None:
    assert follow((b"traceparent", SAMPLED), sampling=0.0)[1] is not None
    assert follow((b"traceparent", UNSAMPLED), sampling=1.0)[1] is None
    assert follow((b"traceparent", UNSAMPLED), sampling=1.0, parent_based=False)[1] is not None
    sent, context = follow((b"traceparent", SAMPLED), sampling=0.0, parent_based=False)
    assert context is None and sent["traceparent"] == UNSAMPLED.decode()


def test_a_part_of_the_traces_is_recorded_and_every_service_takes_the_same_ones() -> None:
    dice = random.Random(1)
    tracing = Tracing(collector=Collector(url="http://c"), sampling=0.25)
    one, other = Propagator(tracing, dice.randbytes), Propagator(tracing, dice.randbytes)
    contexts = [one.follow([])[1] for _ in range(4000)]
    taken = [context for context in contexts if context is not None]
    assert 900 < len(taken) < 1100
    unbound = Propagator(
        Tracing(collector=Collector(url="http://c"), sampling=0.25, parent_based=False), dice.randbytes
    )
    for context in taken[:100]:
        line = HeaderLine(b"traceparent", b"00-%b-%b-00" % (context.trace, SPAN))
        assert unbound.follow([line])[1] is not None
    assert other.follow([])[0].startswith(b"traceparent: 00-")
