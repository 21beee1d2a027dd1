"""What /certs says of the end of certificates, at a time that is an argument."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from doctor.live.test_documents import NOTHING
from doctor.rules.facts import find
from ostiary.doctor.live import read
from ostiary.doctor.live.fetch import Documents

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)


def found(begin: str, end: str, part: str = "cert_chain") -> list[tuple[str, str, str]]:
    certificate = {
        "path": "/etc/certs/tls.crt", "serial_number": "1f", "subject_alt_names": [{"dns": "app.example.com"}],
        "days_until_expiration": "0", "valid_from": begin, "expiration_time": end,
    }  # fmt: skip
    certificates: list[dict[str, Any]] = [{"ca_cert": [], "cert_chain": [], part: [certificate]}] * 2
    documents = Documents("http://127.0.0.1:1", {"certs": json.dumps({"certificates": certificates}).encode()})
    return [(each.rule, each.severity, each.subject) for each in find(*read(documents, NOTHING, NOW).facts)]


@pytest.mark.parametrize(("begin", "end", "severity"), [
    ("2026-08-27T00:00:00Z", "2026-11-25T00:00:00Z", "error"),
    ("2026-09-03T00:00:00Z", "2026-12-02T00:00:00Z", "warning"),
    ("2025-12-01T00:00:00Z", "2026-12-06T00:00:00Z", "warning"),
])  # fmt: skip
def test_one_that_is_over_or_soon_will_be(begin: str, end: str, severity: str) -> None:
    assert found(begin, end) == [("tls-expired", severity, "app.example.com")]


@pytest.mark.parametrize(("begin", "end"), [
    ("2026-11-26T00:00:00Z", "2026-11-27T00:00:00Z"),
    ("2026-10-01T00:00:00Z", "2026-12-30T00:00:00Z"),
    ("2025-12-20T00:00:00Z", "2026-12-20T00:00:00Z"),
    ("", ""), ("soon", "later"),
], ids=["a sidecar's own, of a day", "three months", "a year", "no dates", "no dates at all"])  # fmt: skip
def test_one_that_is_renewed_in_time(begin: str, end: str) -> None:
    assert found(begin, end) == []


def test_a_ca_that_is_over_is_a_warning_and_one_that_soon_will_be_a_hint() -> None:
    assert [each[1] for each in found("2016-01-01T00:00:00Z", "2026-11-25T00:00:00Z", "ca_cert")] == ["warning"]
    assert [each[1] for each in found("2016-01-01T00:00:00Z", "2026-12-05T00:00:00Z", "ca_cert")] == ["info"]
