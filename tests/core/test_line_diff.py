from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.core.line_diff import unified

LINES = st.lists(st.sampled_from([f"{letter}\n" for letter in "abcdefg{}"]), max_size=14)


def applied(before: Sequence[str], diff: Sequence[str]) -> list[str]:
    """What `patch` makes of it."""
    result: list[str] = []
    at = 0
    for line in diff[2:]:
        if (hunk := re.fullmatch(r"@@ -(\d+)(?:,(\d+))? \+\d+(?:,\d+)? @@\n", line)) is not None:
            start = int(hunk[1]) - (hunk[2] != "0")
            result += before[at:start]
            at = start
        elif line[0] == "+":
            result.append(line[1:])
        else:
            assert before[at] == line[1:]
            result += [line[1:]] if line[0] == " " else []
            at += 1
    return [*result, *before[at:]]


@given(LINES, LINES)
def test_a_diff_makes_the_one_text_of_the_other(before: list[str], after: list[str]) -> None:
    diff = list(unified(before, after, "a", "b"))
    assert applied(before, diff) == after
    assert bool(diff) is (before != after)


@pytest.mark.parametrize(
    ("before", "after"),
    [("", "x"), ("x", ""), ("abcdefghi", "abcdXfghi"), ("abcdefghijklmnop", "Xabcdefghijklmnop"), ("abc", "abc")],
)
def test_simple_changes_are_written_as_difflib_writes_them(before: str, after: str) -> None:
    a, b = [f"{line}\n" for line in before], [f"{line}\n" for line in after]
    assert list(unified(a, b, "old", "new")) == list(difflib.unified_diff(a, b, "old", "new"))
