"""The pages of flights: what they say, and that hostile text stays text."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any

import pytest

from ostiary.core.flights.parts import Call, Part
from ostiary.core.flights.story import Flight, Query, Recorded, assemble
from ostiary.report.flight_chart import flight_charts, small_chart
from ostiary.report.flights import flight_page, list_page, no_flight_page
from ostiary.report.waterfall import WIDE

NOW = 1_800_000_000.0
HOSTILE = "</style></script><script>alert(1)</script>\"'><b>&"


def part(kind: str, outcome: str, at: float = 0.0, **rest: Any) -> Part:
    rest = {"flight": "f1", "seconds": 0.01, "path": "/report", "method": "GET", **rest}
    return Part(kind=kind, outcome=outcome, at=NOW + at, clock=100.0 + at, **rest)  # type: ignore[arg-type]


def call(begin: float, seconds: float = 0.005, **rest: Any) -> Call:
    rest = {"purpose": "token", "method": "POST", "url": "https://idp.example/token", "status": 200, **rest}
    return Call(started=100.0 + begin, ended=100.0 + begin + seconds, **rest)


def flight(*parts: Part) -> Flight:
    (found,) = assemble([Recorded(parts)], NOW + 100)
    return found


SIGN_IN = (
    part("departure", "away"),
    part("arrival", "signed-in", 30.0, calls=(call(30.002),), verified="passed", why="rule 1 admits", asked="/report"),
)


def test_minutes_away_do_not_squeeze_the_milliseconds_here() -> None:
    chart = flight_charts(flight(*SIGN_IN))[0]
    rows = {row.kind: row for row in chart.rows}
    assert list(rows) == ["redirect", "away", "callback", "token", "verify", "access"]
    width = {kind: sum(piece.width for piece in row.segments) for kind, row in rows.items()}
    assert width["away"] == pytest.approx((WIDE.right - WIDE.left) * 0.12, abs=1)
    assert width["callback"] == pytest.approx(2 * width["token"], rel=0.05)
    for row, after in zip(chart.rows, chart.rows[1:], strict=False):
        assert row.segments[0].x <= after.segments[0].x
    assert max(piece.x + piece.width for row in chart.rows for piece in row.segments) <= WIDE.right + 4


@pytest.mark.parametrize(
    "parts",
    [
        (part("departure", "away"),),
        (part("arrival", "failed", 9.0, left_at=NOW, code="idp-timeout"),),
        (*SIGN_IN, part("arrival", "signed-in", 300.0), part("arrival", "signed-in", 900.0)),
        (part("access", "denied", why="no rule matches", code="access-denied"),),
        (part("refresh", "ended", code="grant-rejected", seconds=0.0),),
        (part("turned-away", "unauthenticated"), part("other", "refused", code="not-found")),
        (part("sign-out", "signed-out", status=302),),
    ],
)
def test_every_flight_can_be_drawn(parts: tuple[Part, ...]) -> None:
    found = flight(*parts)
    for chart in flight_charts(found):
        assert all(piece.x >= 0 and piece.width > 0 for row in chart.rows for piece in row.segments)
    assert all(0 <= bar.x <= 160 and bar.width >= 0 for bar in small_chart(found).bars)
    assert flight_page(found, NOW + 100)[0].count(b"<main>") == 1


def pages() -> dict[str, tuple[bytes, str]]:
    refused = call(30.002, status=400, error=HOSTILE, error_description=HOSTILE, purpose=HOSTILE, url=HOSTILE)
    hostile = flight(
        part("departure", "away", agent=HOSTILE, path=HOSTILE, client=HOSTILE, host=HOSTILE, request_id=HOSTILE),
        part("arrival", "failed", 30.0, code=HOSTILE, reason=HOSTILE, user=HOSTILE, why=HOSTILE, calls=(refused,)),
    )
    query = Query(outcome="failed", code=HOSTILE, text=HOSTILE)
    target = "/flights?q=%3Cb%3E&since=%22%3E%3Cb%3E&outcome=%3Cb%3E"
    return {
        "list": list_page([hostile], query, NOW, total=1, target=target, every=[hostile], state="s"),
        "detail": flight_page(hostile, NOW),
        "none": no_flight_page(HOSTILE, "gone"),
    }


@pytest.mark.parametrize("name", ["list", "detail", "none"])
def test_hostile_text_is_text_and_the_policy_names_what_may_run(name: str) -> None:
    page, policy = pages()[name]
    text = page.decode()
    assert ("<script>alert" not in text and "<b>&" not in text and "alert(1)" in text) or name == "none"
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert len(scripts) == (1 if name == "list" else 0)
    for kind in ("style", "script"):
        for inline in re.findall(rf"<{kind}>(.*?)</{kind}>", text, re.DOTALL):
            digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
            assert f"'sha256-{digest}'" in policy
    assert "unsafe" not in policy and " style=" not in text and not re.search(r"<[^>]* on\w+=", text)


def test_an_empty_list_says_what_to_expect() -> None:
    page, _ = list_page([], Query(), NOW, total=0, target="/flights", every=[], state="s")
    assert b"Nobody has signed in yet" in page
