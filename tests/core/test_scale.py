from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.core.scale import ticks, unit


@pytest.mark.parametrize(
    ("total", "at_most", "expected"),
    [
        (300.0, 6, [0, 50, 100, 150, 200, 250, 300]),
        (262.0, 3, [0, 100, 200]),
        (0.8, 4, [0, 0.2, 0.4, 0.6, 0.8]),
        (5000.0, 5, [0, 1000, 2000, 3000, 4000, 5000]),
    ],
)
def test_ticks_are_round(total: float, at_most: int, expected: list[float]) -> None:
    assert ticks(total, at_most) == expected


@given(st.floats(0.001, 1e7), st.integers(1, 12))
def test_there_are_never_too_many_nor_any_beyond_the_end(total: float, at_most: int) -> None:
    found = ticks(total, at_most)
    assert found[0] == 0 and found[-1] <= total * 1.000001
    assert len(found) <= at_most + 1


def test_long_times_are_seconds() -> None:
    assert unit(1999) == ("ms", 1.0)
    assert unit(2000) == ("s", 1000.0)
