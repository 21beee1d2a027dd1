from __future__ import annotations

import pytest

from ostiary.core.outcomes import Outcomes
from ostiary.core.trace import Attempt
from ostiary.model import limits


def attempt(family: str, outcome: str, stage: str = "tcp", started: float | None = 0.0) -> Attempt:
    address = "::1" if family == "v6" else "127.0.0.1"
    return Attempt(address=address, port=1, family=family, outcome=outcome, stage=stage, started=started)  # type: ignore[arg-type]


WON4 = attempt("v4", "won")
WON6 = attempt("v6", "won")


def test_the_family_that_won_over_another_is_first_for_ten_minutes() -> None:
    outcomes = Outcomes()
    outcomes.learn("a", 1, WON4, [attempt("v6", "cancelled"), WON4], now=0.0)
    assert outcomes.preferred("a", 1, 59.0) == "v4"
    assert outcomes.preferred("a", 2, 59.0) is None
    outcomes.preferred("a", 1, 590.0)
    assert outcomes.preferred("a", 1, 599.0) == "v4"
    outcomes.learn("a", 1, WON4, [WON4, attempt("v6", "not_started", started=None)], now=599.0)
    assert outcomes.preferred("a", 1, 601.0) is None, "successes of its own making do not renew it"


def test_the_other_family_takes_over_when_the_first_one_dies() -> None:
    outcomes = Outcomes()
    outcomes.learn("a", 1, WON4, [attempt("v6", "cancelled"), WON4], now=0.0)
    outcomes.learn("a", 1, WON6, [attempt("v4", "failed"), WON6], now=1.0)
    assert outcomes.preferred("a", 1, 2.0) == "v6"


def test_what_failed_within_the_host_or_was_not_tried_teaches_nothing() -> None:
    outcomes = Outcomes()
    outcomes.learn("a", 1, WON4, [attempt("v6", "failed", stage="route"), WON4], now=0.0)
    outcomes.learn("b", 1, WON4, [WON4, attempt("v6", "not_started", started=None)], now=0.0)
    assert len(outcomes) == 0


def test_a_failure_of_everything_forgets() -> None:
    outcomes = Outcomes()
    outcomes.learn("a", 1, WON4, [attempt("v6", "cancelled"), WON4], now=0.0)
    outcomes.learn("a", 1, None, [attempt("v4", "timeout")], now=1.0)
    assert outcomes.preferred("a", 1, 2.0) is None


def test_the_memory_is_bounded_and_can_be_flushed() -> None:
    outcomes = Outcomes()
    for number in range(limits.MAX_OUTCOMES + 10):
        outcomes.learn(f"host{number}", 1, WON4, [attempt("v6", "cancelled"), WON4], now=0.0)
    assert len(outcomes) == limits.MAX_OUTCOMES
    assert outcomes.preferred("host0", 1, 1.0) is None
    outcomes.flush()
    assert len(outcomes) == 0


def measured(address: str, seconds: float, outcome: str = "won") -> Attempt:
    family = "v6" if ":" in address else "v4"
    return Attempt(address=address, port=1, family=family, started=0.0, connected=seconds, outcome=outcome)  # type: ignore[arg-type]


def test_m02_a_family_that_has_recovered_is_back_after_a_minute() -> None:
    outcomes = Outcomes()
    outcomes.learn("a", 1, WON4, [attempt("v6", "cancelled"), WON4], now=0.0)
    assert outcomes.preferred("a", 1, 60.0) is None, "this race tries the usual order"
    assert outcomes.preferred("a", 1, 60.0) == "v4", "others meanwhile do not"
    outcomes.learn("a", 1, WON6, [WON6], now=60.1)
    assert outcomes.preferred("a", 1, 60.2) is None


def test_m02_probes_of_a_dead_family_become_rarer() -> None:
    outcomes = Outcomes()
    probes = []
    for second in range(3600):
        if outcomes.preferred("a", 1, float(second)) is None:
            probes.append(second)
            outcomes.learn("a", 1, WON4, [attempt("v6", "cancelled"), WON4], now=float(second))
    assert probes == [0, 60, 180, *range(420, 3600, 300)]


def test_m03_a_change_of_the_network_forgets_paths_too() -> None:
    outcomes = Outcomes()
    outcomes.learn("a", 1, WON4, [measured("192.0.2.1", 0.02)], now=0.0)
    assert outcomes.path("192.0.2.1", 1.0) is not None
    outcomes.flush()
    assert outcomes.path("192.0.2.1", 1.0) is None


def test_m04_what_was_learnt_from_one_local_address_says_nothing_about_another() -> None:
    outcomes = Outcomes()
    outcomes.learn("a", 1, WON4, [attempt("v6", "cancelled"), measured("192.0.2.1", 0.02)], 0.0, source="10.0.0.1")
    assert outcomes.preferred("a", 1, 1.0, "10.0.0.1") == "v4"
    assert outcomes.preferred("a", 1, 1.0, "10.0.0.2") is None
    assert outcomes.path("192.0.2.1", 1.0, "10.0.0.1") is not None
    assert outcomes.path("192.0.2.1", 1.0, "10.0.0.2") is None


def test_c26_the_delay_follows_the_round_trip_between_100_ms_and_2_s() -> None:
    for rtt, first, settled in ((0.001, 0.1, 0.1), (0.2, 0.6, 0.2), (0.5, 1.5, 0.5), (1.5, 2.0, 1.5)):
        outcomes = Outcomes()
        outcomes.learn("a", 1, WON4, [measured("192.0.2.1", rtt)], now=0.0)
        path = outcomes.path("192.0.2.1", 0.0)
        assert path is not None
        assert path.delay == pytest.approx(first)
        for _ in range(50):
            outcomes.learn("a", 1, WON4, [measured("192.0.2.1", rtt)], now=1.0)
        path = outcomes.path("192.0.2.1", 1.0)
        assert path is not None
        assert path.delay == pytest.approx(settled, abs=0.001)


def test_m05_a_path_is_forgotten_after_ten_minutes_however_often_it_is_used() -> None:
    outcomes = Outcomes()
    for second in (0.0, 300.0, 599.0):
        outcomes.learn("a", 1, WON4, [measured("192.0.2.1", 0.02)], now=second)
    assert outcomes.path("192.0.2.1", 599.0) is not None
    assert outcomes.path("192.0.2.1", 600.0) is None, "so that other addresses of the name get a turn"


def test_m05_a_path_that_does_not_answer_is_forgotten_and_one_that_had_no_time_is_not() -> None:
    outcomes = Outcomes()
    outcomes.learn("a", 1, WON4, [measured("192.0.2.1", 0.02)], now=0.0)
    hurried = Attempt(address="192.0.2.1", port=1, family="v4", started=1.0, ended=1.01, outcome="cancelled")
    outcomes.learn("a", 1, WON4, [hurried], now=1.0)
    assert outcomes.path("192.0.2.1", 1.0) is not None
    hurried.ended = 2.0
    outcomes.learn("a", 1, WON4, [hurried], now=2.0)
    assert outcomes.path("192.0.2.1", 2.0) is None


def test_paths_are_bounded() -> None:
    outcomes = Outcomes()
    for number in range(limits.MAX_OUTCOMES + 1):
        outcomes.learn("a", 1, WON4, [measured(f"2001:db8::{number:x}", 0.02)], now=0.0)
    assert outcomes.path("2001:db8::0", 0.0) is None
    assert outcomes.path("2001:db8::1", 0.0) is not None
