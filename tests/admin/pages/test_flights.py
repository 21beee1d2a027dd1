"""`/flights` whatever is asked for."""

from __future__ import annotations

import time
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.admin.page import Reply, Request
from ostiary.admin.pages.flights import PAGES, _moment
from ostiary.app.flights import Recorder

LIST, ONE = PAGES
NAMES = st.sampled_from(["outcome", "code", "q", "since", "limit", "format", "have", "other"])


def asked(target: str, accept: str = "*/*") -> Reply:
    page = LIST if target.partition("?")[0] == "/flights" else ONE
    return page.render([Recorder().export(), None], Request("GET", target, accept))


@given(st.dictionaries(NAMES, st.text(max_size=20)), st.sampled_from(["text/html", "*/*", ""]))
def test_any_query_has_an_answer(query: dict[str, str], accept: str) -> None:
    target = "/flights?" + "&".join(f"{name}={quote(value, errors='replace')}" for name, value in query.items())
    assert asked(target, accept).status in (200, 400)


@given(st.text(max_size=40))
def test_any_code_has_an_answer(code: str) -> None:
    assert asked(f"/flights/{quote(code, errors='replace')}", "text/html").status == 404


@pytest.mark.parametrize(
    ("accept", "target", "html"),
    [
        ("text/html,application/xhtml+xml,*/*;q=0.8", "/flights", True),
        ("*/*", "/flights", False),
        ("", "/flights", False),
        ("application/json", "/flights?format=html", True),
        ("text/html", "/flights?format=json", False),
    ],
)
def test_browsers_get_a_page_and_programs_json(accept: str, target: str, html: bool) -> None:
    reply = asked(target, accept)
    assert reply.content_type.startswith("text/html" if html else "application/json")
    assert ("content-security-policy" in dict(reply.headers)) is html


@pytest.mark.parametrize(
    ("text", "ago"), [("90s", 90.0), ("1.5m", 90.0), ("2h", 7200.0), ("1d", 86400.0), ("1800000000", 0.0)]
)
def test_since_is_written_as_people_do(text: str, ago: float) -> None:
    assert _moment(text, 1_800_000_000.0) == 1_800_000_000.0 - ago


@pytest.mark.parametrize("text", ["2027-01-15T08:00:00Z", "2027-01-15T08:00:00", "2027-01-15T09:00:00+01:00"])
def test_since_is_utc_unless_it_says_otherwise(text: str) -> None:
    assert _moment(text, time.time()) == 1_800_000_000.0


@pytest.mark.parametrize("outcome", LIST.parameters[0].choices)
def test_every_outcome_that_help_names_can_be_asked_for(outcome: str) -> None:
    assert asked(f"/flights?outcome={outcome}").status == 200


def test_an_outcome_that_does_not_exist_is_not_taken_for_one_that_never_happened() -> None:
    reply = asked("/flights?outcome=problems", "text/html")
    assert (reply.status, reply.content_type.partition(";")[0]) == (400, "text/plain")
    assert str(reply.body).startswith("outcome='problems' is none: one of problem, away, signed-in, ")


@pytest.mark.parametrize("limit", ["", "1", "9" * 5000])
def test_any_number_is_a_limit(limit: str) -> None:
    assert LIST.render([Recorder().export()], Request("GET", f"/flights?limit={limit}")).status == 200


@pytest.mark.parametrize("limit", ["0", "-1", "x", "²"])
def test_a_limit_that_is_none_is_refused(limit: str) -> None:
    reply = LIST.render([Recorder().export()], Request("GET", f"/flights?limit={quote(limit)}"))
    assert (reply.status, reply.body) == (400, f"limit={limit!r} is no number of flights: write 1 or more\n")
