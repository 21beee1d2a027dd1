from __future__ import annotations

from itertools import pairwise

import pytest

from core.connections import V4, V6, attempt, dead_v6, query, refused, trace
from ostiary.report.columns import columns
from ostiary.report.waterfall import NARROW, WIDE, Layout, duration, waterfall


@pytest.mark.parametrize("layout", [WIDE, NARROW], ids=lambda layout: layout.name)
def test_bars_stand_where_their_times_are(layout: Layout) -> None:
    chart = waterfall(dead_v6(), layout)
    scale = (layout.right - layout.left) / 310
    rows = {row.kind: row for row in chart.rows}
    assert [row.kind for row in chart.rows] == ["AAAA", "A", "IPv6", "IPv4"]
    assert rows["IPv6"].segments[0].x == pytest.approx(layout.left + 10 * scale, abs=0.1)
    tcp, tls = rows["IPv4"].segments
    assert (tcp.kind, tls.kind) == ("tcp", "tls")
    assert tcp.x + tcp.width == pytest.approx(tls.x, abs=0.2)
    assert tls.width == pytest.approx(max(30 * scale, 1.5), abs=0.2)
    assert chart.connected_x == layout.right
    assert [row.outcome for row in chart.rows] == ["good", "good", "dropped", "good"]
    assert [row.winner for row in chart.rows] == [False, False, False, True]


@pytest.mark.parametrize("layout", [WIDE, NARROW], ids=lambda layout: layout.name)
def test_rows_and_ticks_do_not_overlap_and_stay_inside(layout: Layout) -> None:
    chart = waterfall(dead_v6(), layout)
    assert all(upper.top + layout.row == lower.top for upper, lower in pairwise(chart.rows))
    assert all(left[0] < right[0] for left, right in pairwise(chart.ticks))
    assert chart.ticks[-1][1].endswith(" ms")
    for row in chart.rows:
        for piece in row.segments:
            assert layout.left <= piece.x and piece.x + piece.width <= layout.right + 4


def test_signs_and_words_say_what_colours_say() -> None:
    chart = waterfall(refused(), WIDE)
    assert [row.mark for row in chart.rows] == ["", "", "✗", "✗"]
    assert chart.rows[2].note == "ECONNREFUSED: Connection refused"
    assert "ECONNREFUSED" in chart.description and "Can't connect" in chart.description
    assert chart.connected_x is None


def test_what_is_instant_can_be_seen_and_what_did_not_start_has_no_bar() -> None:
    chart = waterfall(
        trace(
            5000, [query("AAAA", 0.0, V6)], [attempt(V6, 0, 5000, "timeout"), attempt(V4, None, None, "not_started")]
        ),
        WIDE,
    )
    assert chart.rows[0].segments[0].width >= 3
    assert chart.rows[2].segments == () and chart.rows[2].note == "not tried"
    assert chart.ticks[-1][1] == "5 s"


def test_a_long_address_keeps_the_end_by_which_it_differs() -> None:
    address = "2001:db8:1111:2222:3333:4444:5555:6789"
    found = trace(9, [query("AAAA", 3, address)], [attempt(address, 3, 9)])
    assert waterfall(found, WIDE).rows[1].label == address
    short = waterfall(found, NARROW).rows[1]
    assert short.label.startswith("2001:db8") and short.label.endswith("…44:5555:6789")
    assert address in short.full


def test_durations_are_for_people() -> None:
    assert [duration(value) for value in (0.04, 9.94, 12.4, 999.4, 1234)] == [
        "0.0 ms", "9.9 ms", "12 ms", "999 ms", "1.23 s",
    ]  # fmt: skip


@pytest.mark.parametrize("layout", ["wide", "narrow"])
def test_a_column_is_as_high_as_its_connection_was_long(layout: str) -> None:
    chart = columns([dead_v6(), refused(), dead_v6()], layout)
    assert chart.columns[-1].x + chart.columns[-1].width <= chart.width
    heights = [sum(piece.height for piece in column.pieces) for column in chart.columns]
    assert heights[0] == heights[2] == pytest.approx(172, abs=1)
    assert [piece.kind for piece in chart.columns[0].pieces] == ["dns", "lost", "tcp", "tls"]
    assert [piece.kind for piece in chart.columns[1].pieces] == ["failed"]
    assert all(left.x + left.width <= right.x for left, right in pairwise(chart.columns))
