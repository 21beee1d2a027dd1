"""%START_TIME(...)%."""

from __future__ import annotations

from datetime import datetime

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


@given(st.floats(min_value=0, max_value=4e9))
def test_the_usual_format_is_a_date_that_can_be_read_back(moment: float) -> None:
    read = datetime.fromisoformat(time_formatter("")(moment)).timestamp()
    assert -0.002 < read - moment < 0.002


@given(st.text(alphabet="%EYmdHMSfsz0123aQ é\n", max_size=12))
def test_any_text_is_a_format_or_refused(pattern: str) -> None:
    try:
        render = time_formatter(pattern)
    except ValueError:
        assert "%" in pattern or not pattern.isprintable()
        return
    if "%" not in pattern and pattern:
        assert render(MOMENT) == pattern
