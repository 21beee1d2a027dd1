"""Histograms in the forms of `/stats`: what Envoy 1.39.3 printed of the same times, 0, 0, 4 and 6 ms."""

from __future__ import annotations

import pytest

from ostiary.admin.histogram_forms import FORMS, document, line
from ostiary.core.histogram import Histogram

REST = " B25(0,{0}) B50(0,{0}) B100(0,{0}) B250(0,{0}) B500(0,{0}) B1000(0,{0}) B2500(0,{0}) B5000(0,{0}) B10000(0,{0})"
DETAILED = """\
x:
  totals=0,0:2, 4,0.1:1, 6,0.1:1
  intervals=
  summary=P0(nan,0) P25(nan,0) P50(nan,0) P75(nan,4.05) P90(nan,6.05) P95(nan,6.05) P99(nan,6.05) P99.5(nan,6.05) \
P99.9(nan,6.05) P100(nan,6.05)"""
LAST = " B30000(0,{0}) B60000(0,{0}) B300000(0,{0}) B600000(0,{0}) B1.8e+06(0,{0}) B3.6e+06(0,{0})"


@pytest.fixture
def bins() -> list[int]:
    histogram = Histogram()
    for milliseconds in (0, 0, 4, 6):
        histogram.record(milliseconds)
    return histogram.bins


@pytest.mark.parametrize(
    ("form", "shown"),
    [
        ("disjoint", "x: B0.5(0,2) B1(0,0) B5(0,1) B10(0,1)" + (REST + LAST).format(0)),
        ("cumulative", "x: B0.5(0,2) B1(0,2) B5(0,3) B10(0,4)" + (REST + LAST).format(4)),
        (
            "detailed",
            DETAILED,
        ),
    ],
)
def test_text(form: str, shown: str, bins: list[int]) -> None:
    assert line("x", bins, form) == f"{shown}\n"


@pytest.mark.parametrize("form", FORMS)
def test_nothing_recorded(form: str) -> None:
    assert line("x", (), form) == "x: No recorded values\n"
    assert document({"x": ()}, form)


def test_json(bins: list[int]) -> None:
    (each,) = document({"x": bins}, "disjoint")
    assert each["name"] == "x"
    assert each["buckets"][:3] == [
        {"upper_bound": 0.5, "interval": 0, "cumulative": 2},
        {"upper_bound": 1, "interval": 0, "cumulative": 0},
        {"upper_bound": 5, "interval": 0, "cumulative": 1},
    ]
    (detail,) = document({"x": bins}, "detailed")["details"]
    assert detail["totals"] == [
        {"lower_bound": 0, "width": 0, "count": 2},
        {"lower_bound": 4, "width": 0.1, "count": 1},
        {"lower_bound": 6, "width": 0.1, "count": 1},
    ]
    assert (detail["intervals"], len(detail["percentiles"])) == ([], 10)
