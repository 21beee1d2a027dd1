"""What encoding spans leaves behind in memory."""

from __future__ import annotations

import tracemalloc

from ostiary.app.otlp import encode_spans
from ostiary.core.record import Record
from ostiary.core.spans import Finished, SpanMaker
from ostiary.core.tracing import SpanContext
from ostiary.model.headers import Headers
from ostiary.model.telemetry import Collector, Tracing

MANY, LONG = 200, 20_000


def test_clients_that_call_themselves_something_long_are_not_remembered() -> None:
    maker = SpanMaker(Tracing(collector=Collector()), {})

    def exported(number: int) -> bytes:
        record = Record()
        record.method, record.response_code = "GET", 200
        record.authority = f"{number}." + "h" * LONG
        record.request_headers = Headers([("user-agent", f"{number} " + "a" * LONG)])
        context = SpanContext(b"1" * 32, b"", b"2" * 16, b"", b"")
        spans = maker.spans(Finished(context, record, 1.0, 0.0), iter(()))
        return encode_spans((), spans)

    assert b"a" * LONG in exported(0)  # whole, and everything else that is made once is there
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(MANY):
            exported(number)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < MANY * LONG / 10
