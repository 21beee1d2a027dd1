"""%START_TIME(...)%."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.core.timestamps import time_formatter

MOMENT = 1795441229.187387


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("", "2026-11-23T13:40:29.187Z"),
        ("%Y/%m/%dT%H:%M:%S%z", "2026/11/23T13:40:29+0000"),
        ("%s", "1795441229"),
        ("%3s", "1795441229"),
        ("%s.%3f", "1795441229.187"),
        ("%f", "187387000"),
        ("%6f", "187387"),
        ("%E3S %Ez", "29.187 +00:00"),
        ("100%% %j", "100% 327"),
        ("plain", "plain"),
    ],
)
def test_patterns(pattern: str, expected: str) -> None:
    assert time_formatter(pattern)(MOMENT) == expected


@pytest.mark.parametrize("pattern", ["%", "%Q", "%i", "%Y\n", "%E3", "%0f", "%\x00"])
def test_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="time format"):
        time_formatter(pattern)


@given(st.lists(st.floats(min_value=0, max_value=4e9), min_size=2, max_size=5))
def test_what_is_remembered_of_a_second_never_leaks_into_another(moments: list[float]) -> None:
    reused = time_formatter("%s %6f")
    assert [reused(moment) for moment in moments] == [time_formatter("%s %6f")(moment) for moment in moments]
