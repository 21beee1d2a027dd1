from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.core.addresses import Candidate, Destination, is_usable_source, order

V4_SOURCE = "192.0.2.100"
V6_SOURCE = "2001:db8::100"


def candidate(address: str, source: str | None = "", routable: bool = True) -> Candidate:
    if source == "":
        source = V6_SOURCE if ":" in address else V4_SOURCE
    return Candidate(destination=Destination(address, 443), source=source, routable=routable)


def ordered(*candidates: Candidate, **options: object) -> list[str]:
    return [c.destination.address for c in order(candidates, **options)]  # type: ignore[arg-type]


# RFC 6724 section 10.2, destination selection with the default table.
@pytest.mark.parametrize(
    ("better", "worse"),
    [
        # matching scope (rule 2)
        (candidate("2001:db8:1::1", "2001:db8:1::2"), candidate("198.51.100.121", "169.254.13.78")),
        (candidate("198.51.100.121", "198.51.100.117"), candidate("2001:db8:1::1", "fe80::1")),
        # higher precedence (rule 6)
        (candidate("2001:db8:1::1", "2001:db8:1::2"), candidate("10.1.2.3", "10.1.2.4")),
        # matching label (rule 5): 6to4 destination from a native source
        (candidate("10.1.2.3", "10.1.2.4"), candidate("2002:c633:6401::1", "2001:db8:1::2")),
        (candidate("2001:db8:1::1", "2001:db8:1::2"), candidate("2002:c633:6401::1", "2002:c633:6401::2")),
        # unique local addresses come after IPv4 (precedence 3 against 35), unlike in glibc
        (candidate("10.88.1.1", "10.88.1.2"), candidate("fd88::1", "fd88::2")),
        # smaller scope (rule 8)
        (candidate("fe80::1", "fe80::2"), candidate("2001:db8:1::1", "2001:db8:1::2")),
        # longest matching prefix (rule 9), IPv6 only
        (candidate("2001:db8:1::1", "2001:db8:1::2"), candidate("2001:db8:3ffe::1", "2001:db8:1::2")),
        # loopback
        (candidate("::1", "::1"), candidate("127.0.0.1", "127.0.0.1")),
    ],
)
def test_rfc_6724(better: Candidate, worse: Candidate) -> None:
    expected = [better.destination.address, worse.destination.address]
    assert ordered(better, worse) == expected
    assert ordered(worse, better) == expected


def test_the_order_of_equal_ipv4_addresses_is_kept() -> None:
    addresses = ["192.0.2.200", "192.0.2.1", "192.0.2.77"]
    assert ordered(*(candidate(a) for a in addresses)) == addresses


def test_addresses_without_a_route_come_last_and_are_kept() -> None:
    dead = [candidate("2001:db8::1", None, routable=False), candidate("2001:db8::2", None, routable=False)]
    assert ordered(*dead, candidate("192.0.2.1")) == ["192.0.2.1", "2001:db8::1", "2001:db8::2"]


def test_families_alternate_from_the_best_one() -> None:
    found = ordered(*(candidate(a) for a in ["2001:db8::1", "2001:db8::2", "2001:db8::3", "192.0.2.1", "192.0.2.2"]))
    assert ["6" if ":" in a else "4" for a in found] == ["6", "4", "6", "4", "6"]


@pytest.mark.parametrize(
    ("first", "count", "pattern"),
    [(None, 2, "66466444"), ("v4", 1, "46464646"), ("v4", 2, "44644666"), ("v6", 3, "66646444")],
)
def test_happy_eyeballs_config_decides_the_blocks(first: str | None, count: int, pattern: str) -> None:
    sixes = [f"2001:db8::{n}" for n in range(1, 5)]
    fours = [f"192.0.2.{n}" for n in range(1, 5)]
    found = ordered(*(candidate(a) for a in sixes + fours), first=first, count=count)
    assert "".join("6" if ":" in a else "4" for a in found) == pattern
    assert sorted(found) == sorted(sixes + fours)


def test_forcing_a_family_that_is_not_there_changes_nothing() -> None:
    assert ordered(candidate("2001:db8::1"), first="v4") == ["2001:db8::1"]


@pytest.mark.parametrize(
    ("destination", "source", "usable"),
    [
        ("2606:4700::1", "fe80::1", False),
        ("2606:4700::1", "::1", False),
        ("2606:4700::1", "2001:db8::1", True),
        ("192.0.2.1", "169.254.1.1", False),
        ("192.0.2.1", "127.0.0.1", False),
        ("127.0.0.1", "127.0.0.1", True),
        ("::1", "::1", True),
        ("fe80::2", "fe80::1", True),
        ("192.0.2.1", "0.0.0.0", False),
        ("192.0.2.1", "10.0.0.1", True),
        ("nonsense", "10.0.0.1", False),
    ],
)
def test_a_source_that_can_not_reach_the_destination_is_no_route(destination: str, source: str, usable: bool) -> None:
    assert is_usable_source(destination, source) is usable


addresses = st.one_of(
    st.integers(0, 2**32 - 1).map(lambda n: str(IPv4Address(n))),
    st.integers(0, 2**128 - 1).map(lambda n: str(IPv6Address(n))),
)
candidates = st.builds(
    lambda address, source, routable: candidate(address, source, routable), addresses, st.none(), st.booleans()
)


@given(st.lists(candidates, max_size=12), st.sampled_from([None, "v4", "v6"]), st.integers(1, 4))
def test_ordering_loses_and_invents_nothing(given_: list[Candidate], first: str | None, count: int) -> None:
    found = order(given_, first=first, count=count)  # type: ignore[arg-type]
    assert sorted(map(repr, found)) == sorted(map(repr, given_))
    routable = [c.routable for c in found]
    assert routable == sorted(routable, reverse=True)


def known(address: str, rtt: float | None, group: int = 0) -> Candidate:
    return Candidate(
        Destination(address, 443), "2001:db8::99" if ":" in address else "192.0.2.99", True, rtt, None, group
    )


@pytest.mark.parametrize(
    ("rtts", "expected"),
    [
        ((0.2, 0.02, None), [1, 0, 2]),
        ((0.3, 0.02, None), [1, 2, 0]),
        ((0.3, None, 0.02), [2, 1, 0]),
        ((0.020, 0.018, 0.030), [0, 1, 2]),  # one class: noise does not sort
        ((None, 0.2, None), [1, 0, 2]),  # used before
        ((None, None, None), [0, 1, 2]),
    ],
)
def test_m05_nearer_and_used_ones_come_before_rule_9(rtts: tuple[float | None, ...], expected: list[int]) -> None:
    # the first has the longest prefix in common with its source, which would decide without history
    listed = [known(f"2001:db8::{64 - 16 * n:x}:0:1", rtt) for n, rtt in enumerate(rtts)]
    assert [listed.index(candidate) for candidate in order(listed)] == expected


def test_m05_history_does_not_move_families() -> None:
    listed = [known("192.0.2.1", 0.001), known("2001:db8::1", 1.0)]
    assert [c.destination.family for c in order(listed)] == ["v6", "v4"]


def test_groups_stand_above_everything_but_the_missing_route() -> None:
    stranded = Candidate(Destination("2001:db8::5", 443), routable=False)
    listed = [known("2001:db8::1", 0.001, 1), known("192.0.2.1", 0.9, 0), stranded, known("192.0.2.2", None, 1)]
    assert [c.destination.address for c in order(listed)] == ["192.0.2.1", "2001:db8::1", "192.0.2.2", "2001:db8::5"]
