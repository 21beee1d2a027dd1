from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.connections import V4, V6, attempt, dead_v6, query, refused, trace
from ostiary.core.series import describe, percentile, phases, spread


def test_where_the_time_of_a_connection_went() -> None:
    found = phases(dead_v6())
    assert found is not None
    assert (found.total, found.dns) == (310.0, 10.0)
    assert found.tcp == pytest.approx(20.0)
    assert found.tls == pytest.approx(30.0)
    assert found.lost == pytest.approx(250.0)


def test_no_connection_has_no_phases_and_no_tls_no_tls_phase() -> None:
    assert phases(refused()) is None
    plain = phases(trace(30, [query("A", 10, V4)], [attempt(V4, 10, 30, connected=30)]))
    assert plain is not None
    assert plain.tls is None and plain.tcp == pytest.approx(20.0)


def test_the_phase_of_dns_ends_with_the_answer_that_held_the_winner() -> None:
    found = phases(trace(60, [query("AAAA", 3, V6), query("A", 40, V4)], [attempt(V4, 40, 60, connected=60)]))
    assert found is not None and found.dns == 40.0
    given_address = phases(trace(20, [], [attempt(V4, 0, 20, connected=20)]))
    assert given_address is not None and given_address.dns is None


@pytest.mark.parametrize(
    ("count", "expected"),
    [(1, (1, 1, 1)), (2, (1, 2, 2)), (4, (2, 4, 4)), (10, (5, 9, 10)), (100, (50, 90, 99)), (200, (100, 180, 198))],
)
def test_percentiles_are_nearest_rank(count: int, expected: tuple[int, int, int]) -> None:
    found = spread(float(value) for value in reversed(range(1, count + 1)))
    assert found is not None
    assert (found.p50, found.p90, found.p99) == expected
    assert (found.minimum, found.maximum, found.count) == (1, count, count)


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.1, 100))
def test_a_percentile_is_a_value_that_enough_others_do_not_exceed(values: list[float], percent: float) -> None:
    ordered = sorted(values)
    found = percentile(ordered, percent)
    assert found in ordered
    assert sum(value <= found for value in ordered) >= len(ordered) * percent / 100 - 1e-9


def test_winners_and_failures_are_counted() -> None:
    v6 = trace(20, [query("AAAA", 3, V6)], [attempt(V6, 3, 20, connected=20)])
    found = describe([dead_v6(), refused(), dead_v6(), v6])
    assert (found.count, found.connected) == (4, 3)
    assert found.winners == ((V4, "v4", 2), (V6, "v6", 1))
    assert found.failures == (("ECONNREFUSED: Connection refused", 1),)
    assert found.spreads["total"].count == 3
    assert found.spreads["tls"].count == 2


def test_of_failures_alone_there_are_no_percentiles() -> None:
    assert describe([refused()]).spreads == {}
    assert spread([]) is None
