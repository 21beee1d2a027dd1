"""Bins, quantiles and Prometheus' buckets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ostiary.core.histogram import BUCKETS, LOWER, QUANTILES, Histogram, cumulative, quantile


def of(*values: int) -> Histogram:
    found = Histogram()
    for value in values:
        found.record(value)
    return found


def test_the_sample_of_envoy() -> None:
    """1, 1 and 0 ms: what Envoy 1.39.3 made of them."""
    bins = of(0, 1, 1).bins
    assert [round(quantile(bins, each), 4) for each in (0, 25, 50, 75, 100)] == [0, 0, 1.025, 1.0625, 1.1]
    assert cumulative(bins)[:3] == [1, 3, 3]


@given(st.lists(st.integers(0, 9_999_999), min_size=1, max_size=50))
def test_quantiles_are_near_the_truth_and_in_order(values: list[int]) -> None:
    histogram = of(*values)
    found = [quantile(histogram.bins, each) for each in QUANTILES]
    assert found == sorted(found)
    assert min(values) * 0.9 <= found[0] <= min(values) * 1.1 + 0.1
    assert max(values) * 0.9 <= found[-1] <= max(values) * 1.1 + 1
    assert histogram.total == sum(values)


@given(st.lists(st.integers(0, 9_999_999), max_size=50))
def test_buckets_hold_what_is_at_or_below_them(values: list[int]) -> None:
    for bound, count in zip(BUCKETS, cumulative(of(*values).bins), strict=True):
        assert count >= sum(value <= bound for value in values)
        assert count <= sum(value < bound * 1.1 for value in values)


def test_odd_times() -> None:
    assert of(-5).bins[0] == 1
    assert of(10**9).bins[-1] == 1
    assert list(LOWER) == sorted(set(LOWER))
