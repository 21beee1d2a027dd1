"""Histograms of milliseconds, in the bins of Envoy's (circllhist): two digits are kept, so a value is within 5 %.

Bins are fixed: recording is an index and an addition, adding two histograms up is adding their bins, and what a
monitoring system wants to know (Prometheus' buckets, quantiles) is worked out when it asks. There are no bins until
something is recorded: a thousand clusters have thousands of histograms, and most stay empty.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Final, final

_DECADES: Final = 5
"""Up to 9,999,999 ms, which is almost three hours; what takes longer counts there."""
LOWER: Final[tuple[int, ...]] = (
    *range(100),
    *(digits * 10**power for power in range(1, _DECADES + 1) for digits in range(10, 100)),
)
"""The least value of each bin: 0 to 99 each has its own, then 100, 110, ... 990, 1000, 1100, ..."""
QUANTILES: Final = (0, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 100)
BUCKETS: Final = (0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000, 300000, 600000, 1800000,
                  3600000)  # fmt: skip
"""Envoy's, for Prometheus. Times that lie on a bound count below it, as there."""


@final
class Histogram:
    """Durations that were recorded."""

    __slots__ = ("bins", "total")

    def __init__(self) -> None:
        self.bins: list[int] = []
        """Empty, or one for each of LOWER."""
        self.total = 0
        """Their sum, in milliseconds."""

    def record(self, milliseconds: int) -> None:
        """One more; negative ones (a clock that was set) count as 0."""
        index = milliseconds
        if not 0 <= milliseconds < 100:
            milliseconds = max(0, milliseconds)
            index = bisect_right(LOWER, milliseconds) - 1
        try:
            self.bins[index] += 1
        except IndexError:
            self.bins = [0] * len(LOWER)
            self.bins[index] = 1
        self.total += milliseconds

    def __repr__(self) -> str:
        return f"<Histogram {sum(self.bins)} of {self.total} ms>"


def added(histograms: Iterable[tuple[Sequence[int], int]]) -> tuple[Sequence[int], int]:
    """(bins, sum) of several, each given so."""
    filled = [each for each in histograms if each[0]]
    if len(filled) < 2:
        return filled[0] if filled else ((), 0)
    return [sum(column) for column in zip(*(bins for bins, _ in filled), strict=True)], sum(sum_ for _, sum_ in filled)


def width(index: int) -> float:
    """How wide a bin is; of whole numbers, the first tenth after each of 1 to 9, as circllhist has it."""
    if index < 10:
        return 0.1 if index else 0.0
    return 1.0 if index < 100 else float(f"1e{(index - 10) // 90}")


def quantile(bins: Sequence[int], percent: float) -> float:
    """The value below which `percent` of them lie, interpolated within its bin, whose middle stands for a single
    one; 0 if there is none."""
    wanted = sum(bins) * percent / 100
    below = 0
    for index, count in enumerate(bins):
        if count and below + count >= wanted:
            part = max(0.0, wanted - below) / count if count > 1 else 0.5
            return LOWER[index] + width(index) * part
        below += count
    return 0.0


def cumulative(bins: Sequence[int]) -> list[int]:
    """How many lie at or below each of BUCKETS."""
    return [sum(bins[: bisect_right(LOWER, bound)]) for bound in BUCKETS]


def disjoint(bins: Sequence[int]) -> list[int]:
    """How many lie in each of BUCKETS and in none before it."""
    below = cumulative(bins)
    return [many - before for before, many in zip((0, *below), below, strict=False)]
