"""Unified diffs of long texts in which little changes, such as a config_dump before and after a patch.

difflib compares every pair of lines that are equal, and braces are equal a hundred thousand times. So lines that stand
once in each text come first: where those that keep their order lie, the texts agree ("patience diff"), and difflib
looks only at what is between them.
"""

from __future__ import annotations

import difflib
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence


class _Known(difflib.SequenceMatcher[str]):
    """difflib's grouping into hunks, of runs that are found otherwise."""

    def __init__(self, a: Sequence[str], b: Sequence[str]) -> None:
        super().__init__(None, "", "")
        self._runs = [difflib.Match(*run) for run in (*_blocks(a, b), (len(a), len(b), 0))]

    def get_matching_blocks(self) -> list[difflib.Match]:
        return self._runs


def unified(before: Sequence[str], after: Sequence[str], old: str, new: str, context: int = 3) -> Iterator[str]:
    """The lines of a unified diff; those of the texts end with their newline. Nothing if they are the same."""
    matcher = _Known(before, after)
    for index, group in enumerate(matcher.get_grouped_opcodes(context)):
        if not index:
            yield from (f"--- {old}\n", f"+++ {new}\n")
        first, last = group[0], group[-1]
        yield f"@@ -{_range(first[1], last[2])} +{_range(first[3], last[4])} @@\n"
        for tag, a_start, a_end, b_start, b_end in group:
            if tag == "equal":
                yield from (" " + line for line in before[a_start:a_end])
                continue
            yield from ("-" + line for line in before[a_start:a_end])
            yield from ("+" + line for line in after[b_start:b_end])


def _range(start: int, end: int) -> str:
    """As diff writes it: 1-based, the length left out where it is one; an empty range stands after its line."""
    length = end - start
    return f"{start + 1}" if length == 1 else f"{start + bool(length)},{length}"


def _blocks(a: Sequence[str], b: Sequence[str]) -> list[tuple[int, int, int]]:
    """Runs of equal lines: (start in a, start in b, length), ascending, none touching the next."""
    found: list[tuple[int, int, int]] = []
    at_a = at_b = 0
    for next_a, next_b in (*_anchors(a, b), (len(a), len(b))):
        for i, j, size in _between(a[at_a:next_a], b[at_b:next_b]):
            _add(found, at_a + i, at_b + j, size)
        if next_a < len(a):
            _add(found, next_a, next_b, 1)
        at_a, at_b = next_a + 1, next_b + 1
    return found


def _add(found: list[tuple[int, int, int]], i: int, j: int, size: int) -> None:
    if found and found[-1][0] + found[-1][2] == i and found[-1][1] + found[-1][2] == j:
        found[-1] = (found[-1][0], found[-1][1], found[-1][2] + size)
    elif size:
        found.append((i, j, size))


def _between(a: Sequence[str], b: Sequence[str]) -> list[tuple[int, int, int]]:
    if a == b:
        return [(0, 0, len(a))]
    return [(run.a, run.b, run.size) for run in difflib.SequenceMatcher(None, a, b).get_matching_blocks()]


def _anchors(a: Sequence[str], b: Sequence[str]) -> list[tuple[int, int]]:
    """Lines that stand once in each, in the longest run that keeps their order in both."""
    in_a, in_b = Counter(a), Counter(b)
    where = {line: index for index, line in enumerate(b) if in_b[line] == 1 and in_a[line] == 1}
    pairs = [(index, where[line]) for index, line in enumerate(a) if line in where]
    tails: list[int] = []
    ends: list[int] = []
    before: list[int] = []
    for index, (_, at) in enumerate(pairs):
        place = bisect_left(tails, at)
        before.append(ends[place - 1] if place else -1)
        tails[place : place + 1] = [at]
        ends[place : place + 1] = [index]
    chosen: list[tuple[int, int]] = []
    index = ends[-1] if ends else -1
    while index >= 0:
        chosen.append(pairs[index])
        index = before[index]
    return chosen[::-1]
