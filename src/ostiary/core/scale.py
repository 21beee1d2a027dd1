"""A scale of time for people: ticks at round numbers, and the unit to write them in."""

from __future__ import annotations

import math


def ticks(total: float, at_most: int) -> list[float]:
    """Round numbers from 0 up to `total` (> 0), `at_most` steps or fewer: steps of 1, 2 or 5 times a power of ten."""
    rough = total / max(at_most, 1)
    power: float = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999999)
    return [round(number * step, 9) for number in range(int(total / step + 1e-9) + 1)]


def unit(total_ms: float) -> tuple[str, float]:
    """The unit that suits milliseconds up to `total_ms`, and what to divide them by."""
    return ("s", 1000.0) if total_ms >= 2000 else ("ms", 1.0)
