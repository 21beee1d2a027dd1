"""The forms in which `/stats` shows histograms: `histogram_buckets=summary|cumulative|disjoint|detailed`.

Envoy gives each number of the last interval (5 s) and since the start. Intervals are not kept here: they are shown as
Envoy shows one without a sample.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from ostiary.core.histogram import BUCKETS, LOWER, QUANTILES, cumulative, disjoint, quantile, width

Bins = Sequence[int]


def _summary(bins: Bins) -> str:
    return " ".join(f"P{each}(nan,{_number(quantile(bins, each))})" for each in QUANTILES)


def _buckets(counted: Callable[[Bins], list[int]]) -> Callable[[Bins], str]:
    def shown(bins: Bins) -> str:
        return " ".join(f"B{bound:g}(0,{many})" for bound, many in zip(BUCKETS, counted(bins), strict=True))

    return shown


def _detailed(bins: Bins) -> str:
    totals = ", ".join(f"{lower},{_number(wide)}:{count}" for lower, wide, count in _filled(bins))
    return f"\n  totals={totals}\n  intervals=\n  summary={_summary(bins)}"


def _filled(bins: Bins) -> list[tuple[int, float, int]]:
    """Of each bin with something in it: (lower bound, width, how many)."""
    return [(LOWER[index], width(index), count) for index, count in enumerate(bins) if count]


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else str(round(value, 6))


_TEXTS: Final[Mapping[str, Callable[[Bins], str]]] = {
    "summary": _summary,
    "cumulative": _buckets(cumulative),
    "disjoint": _buckets(disjoint),
    "detailed": _detailed,
}
FORMS: Final = tuple(_TEXTS)


def line(name: str, bins: Bins, form: str) -> str:
    """A histogram's line of the text."""
    if not any(bins):
        return f"{name}: No recorded values\n"
    return f"{name}:{'' if form == 'detailed' else ' '}{_TEXTS[form](bins)}\n"


def document(histograms: Mapping[str, Bins], form: str) -> Any:
    """All of them, as the JSON has it."""
    if form == "summary":
        computed = [{"name": name, "values": _quantiles(bins)} for name, bins in histograms.items()]
        return {"supported_quantiles": QUANTILES, "computed_quantiles": computed}
    if form == "detailed":
        return {"supported_percentiles": QUANTILES, "details": [_details(*each) for each in histograms.items()]}
    counted = cumulative if form == "cumulative" else disjoint
    return [
        {
            "name": name,
            "buckets": [
                {"upper_bound": bound, "interval": 0, "cumulative": many}
                for bound, many in zip(BUCKETS, counted(bins), strict=True)
            ],
        }
        for name, bins in histograms.items()
    ]


def _quantiles(bins: Bins) -> list[dict[str, float | None]]:
    known = any(bins)
    return [{"cumulative": quantile(bins, each) if known else None, "interval": None} for each in QUANTILES]


def _details(name: str, bins: Bins) -> dict[str, Any]:
    totals = [{"lower_bound": lower, "width": wide, "count": count} for lower, wide, count in _filled(bins)]
    return {"name": name, "totals": totals, "intervals": [], "percentiles": _quantiles(bins)}
