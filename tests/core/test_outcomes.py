from __future__ import annotations

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
