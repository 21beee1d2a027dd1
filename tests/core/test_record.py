"""What a record starts with."""

from __future__ import annotations

from ostiary.core.record import Record
from requests_for_tests import make_request


def test_a_record_of_a_request() -> None:
    record = Record.of(make_request("/a?b", ("x", "y"), method="PUT"), now=12.5)
    assert (record.method, record.path, record.authority, record.scheme) == ("PUT", "/a?b", "app.test", "http")
    assert record.request_headers.get("x") == "y"
    assert record.start_time == 12.5
    assert record.downstream_remote_address == "192.0.2.7"


def test_records_share_nothing_that_is_set() -> None:
    first, second = Record(), Record()
    first.response_code = 500
    assert second.response_code == 0
