from __future__ import annotations

from random import Random
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.core.addresses import RecordType, fallback_lookup, first_lookups
from ostiary.core.cluster_dns import Answered, Round, Schedule, raced_pairs
from ostiary.core.trace import QueryOutcome
from ostiary.model.clusters import DnsLookupFamily, DnsRefresh

V4 = Answered("answered", ("192.0.2.1", "192.0.2.2"), 30)
V6 = Answered("answered", ("2001:db8::1",), 7)
EMPTY = Answered("empty")
FAILED = Answered("timeout")


def test_both_families_are_asked_for_at_once() -> None:
    current = Round("ALL", {})
    assert set(current.begin()) == {"A", "AAAA"}
    assert current.answer("A", V4) == ()
    assert not current.complete
    assert current.addresses == {"A": V4.addresses}
    current.answer("AAAA", V6)
    assert current.complete
    assert list(current.addresses.items()) == [("AAAA", V6.addresses), ("A", V4.addresses)]
    assert (current.verdict, current.ttl) == ("resolved", 7)


def test_the_other_family_is_asked_for_only_without_an_address() -> None:
    current = Round("AUTO", {})
    assert current.begin() == ("AAAA",)
    assert current.answer("AAAA", V6) == ()
    assert current.complete
    current = Round("AUTO", {})
    current.begin()
    assert current.answer("AAAA", FAILED) == ("A",)
    assert not current.complete
    assert current.answer("A", V4) == ()
    assert (current.verdict, current.addresses) == ("resolved", {"A": V4.addresses})


def test_a_type_that_fails_keeps_what_it_had_and_an_empty_one_does_not() -> None:
    known: dict[RecordType, tuple[str, ...]] = {"AAAA": V6.addresses, "A": V4.addresses}
    current = Round("ALL", known)
    current.begin()
    current.answer("AAAA", FAILED)
    assert current.addresses == known, "what isn't answered yet stays as well"
    current.answer("A", Answered("answered", ("192.0.2.9",)))
    assert current.addresses == {"AAAA": V6.addresses, "A": ("192.0.2.9",)}
    current = Round("ALL", known)
    current.begin()
    current.answer("AAAA", EMPTY)
    current.answer("A", V4)
    assert current.addresses == {"A": V4.addresses}


@pytest.mark.parametrize(
    ("answers", "verdict"),
    [((EMPTY, EMPTY), "empty"), ((EMPTY, FAILED), "failed"), ((V6, FAILED), "resolved"), ((EMPTY, V4), "resolved")],
)
def test_verdicts(answers: tuple[Answered, Answered], verdict: str) -> None:
    current = Round("ALL", {})
    current.begin()
    for record_type, answered in zip(("AAAA", "A"), answers, strict=True):
        current.answer(record_type, answered)  # type: ignore[arg-type]
    assert current.verdict == verdict


@given(st.sampled_from(get_args(DnsLookupFamily)), st.lists(st.sampled_from((V4, V6, EMPTY, FAILED)), min_size=2))
def test_every_round_ends_and_asks_for_each_type_once(family: DnsLookupFamily, answers: list[Answered]) -> None:
    current = Round(family, {})
    queue = list(current.begin())
    asked = []
    for answered in answers:
        if not queue:
            break
        record_type = queue.pop(0)
        asked.append(record_type)
        queue += current.answer(record_type, answered)
    assert current.complete == (not queue)
    assert len(set(asked)) == len(asked)
    assert set(asked) <= {*first_lookups(family), fallback_lookup(family)}


def schedule(**config: float | bool | None) -> Schedule:
    return Schedule(DnsRefresh(**config), Random(1).random)  # type: ignore[arg-type]


def test_when_to_ask_again() -> None:
    assert schedule().after_success(30) == 5.0
    assert schedule(rate=60.0).after_success(None) == 60.0
    assert schedule(respect_ttl=True).after_success(30) == 30.0
    assert schedule(respect_ttl=True).after_success(0) == 5.0, "a TTL of 0 is no rate"
    assert schedule(respect_ttl=True, min_rate=10.0).after_success(3) == 10.0
    assert schedule(rate=60.0).after_failure() == 60.0
    assert 5.0 < schedule(jitter=10.0).after_success(None) < 15.0


@given(st.integers(0, 2**32), st.floats(0.01, 10), st.floats(1, 20))
def test_the_back_off_is_random_below_a_limit_that_doubles(seed: int, base: float, times: float) -> None:
    made = Schedule(DnsRefresh(failure_base=base, failure_max=base * times), Random(seed).random)
    limit = base
    for _ in range(8):
        assert 0.0 < made.after_failure() <= max(0.001, limit)
        limit = min(limit * 2, base * times)
    made.after_success(None)
    assert made.after_failure() <= max(0.001, base), "a success starts it anew"


ADDRESSES = st.lists(st.text("abc", min_size=1, max_size=3), unique=True, max_size=5)


@given(ADDRESSES, ADDRESSES)
def test_pairs_hold_every_address_and_both_families(v6: list[str], v4: list[str]) -> None:
    six, four = tuple(f"{a}::" for a in v6), tuple(v4)
    pairs = raced_pairs({"AAAA": six, "A": four})
    assert {address for pair in pairs for address in pair} == {*six, *four}
    assert len(set(pairs)) == len(pairs)
    if six and four:
        assert len(pairs) == max(len(six), len(four))
        assert all(pair[0] in six and pair[1] in four for pair in pairs)


def test_outcomes_that_say_something_about_the_name() -> None:
    outcomes: dict[QueryOutcome, bool] = {
        "answered": False, "empty": False, "nxdomain": False, "failed": True, "timeout": True, "pending": True,
    }  # fmt: skip
    assert {outcome: Answered(outcome).failed for outcome in outcomes} == outcomes
