from __future__ import annotations

import pytest

from ostiary.core.services import ServiceRecord, alias_of, query_name, usable
from ostiary.model import limits


def entropy(count: int) -> bytes:
    return bytes(range(count))


@pytest.mark.parametrize(
    ("record", "text"),
    [
        (ServiceRecord(priority=1), "1 ."),
        (ServiceRecord(priority=0, target="cdn.test."), "0 cdn.test."),
        (
            ServiceRecord(
                priority=2, target="a.test.", alpn=("h2", "h3"), no_default_alpn=True, port=8443,
                hints=("2001:db8::1", "192.0.2.1"), ech=True, mandatory_known=False,
            ),
            "2 a.test. alpn=h2,h3 no-default-alpn port=8443 ipv4hint=192.0.2.1 ipv6hint=2001:db8::1 ech mandatory=?",
        ),
    ],
)  # fmt: skip
def test_a_record_reads_as_in_a_zone_file(record: ServiceRecord, text: str) -> None:
    assert str(record) == text


def test_the_default_protocol_is_spoken_unless_the_record_says_otherwise() -> None:
    assert ServiceRecord(priority=1).protocols == {"http/1.1"}
    assert ServiceRecord(priority=1, alpn=("h2",)).protocols == {"h2", "http/1.1"}
    assert ServiceRecord(priority=1, alpn=("h2",), no_default_alpn=True).protocols == {"h2"}


def test_an_alias_counts_before_services_and_a_dot_is_none() -> None:
    service = ServiceRecord(priority=1)
    assert alias_of([service, ServiceRecord(priority=0, target="x.test.")], entropy) == "x.test."
    assert alias_of([service, ServiceRecord(priority=0)], entropy) is None


def test_services_are_bounded_and_sorted() -> None:
    many = [ServiceRecord(priority=n, port=n) for n in range(100, 0, -1)]
    assert [r.port for r in usable(many, ["http/1.1"], entropy)] == list(range(1, limits.MAX_SERVICES + 1))


@pytest.mark.parametrize(("port", "name"), [(443, "a.test"), (8443, "_8443._https.a.test")])
def test_the_name_to_ask_for(port: int, name: str) -> None:
    assert query_name("a.test", port) == name
