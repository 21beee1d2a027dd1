"""The reports as files: complete, escaped, self-contained, and readable without seeing the charts."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest

from core.connections import V4, V6, attempt, dead_v6, query, refused, trace
from ostiary.core.lookup_families import LOOKUP_FAMILIES, Resolved, verdicts
from ostiary.core.places import Comparison
from ostiary.core.recommend import recommend
from ostiary.core.trace import ConnectTrace, Tls
from ostiary.report.connection import families_page, series_page, timeline_page

TAKEN = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
HOSTILE = "<script>alert('1')</script>\"&<img src=x>"


class Reader(HTMLParser):
    """Tags, links, and the text that can be read."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.ids: list[str] = []
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        values = dict(attrs)
        self.links += [values[name] or "" for name in ("href", "src", "action", "xlink:href") if name in values]
        if "id" in values:
            self.ids.append(values["id"] or "")

    def handle_data(self, data: str) -> None:
        self.text += data


def comparison() -> Comparison:
    answers = (
        Resolved(type="AAAA", addresses=(V6,), outcome="answered", elapsed_ms=1.0),
        Resolved(type="A", addresses=(V4,), outcome="answered", elapsed_ms=2.0),
    )
    probes = (
        attempt(V6, 0, 0.1, "failed", stage="route", errno="ENETUNREACH", message="Network is unreachable"),
        attempt(V4, 0, 4, connected=4),
    )
    good, bad = dead_v6(), refused()
    return Comparison(
        target="login.example:443",
        connect_timeout=5.0,
        answers=answers,
        probes=probes,
        verdicts=tuple(verdicts(answers, probes, 5.0)),
        traces={family: bad if family in ("AUTO", "V6_ONLY") else good for family in LOOKUP_FAMILIES},
        recommendation=recommend(answers, probes, 5.0),
    )


PAGES = {
    "good": timeline_page(dead_v6(), TAKEN),
    "bad": timeline_page(refused(), TAKEN),
    "nothing": timeline_page(trace(900, [query("A", None, outcome="timeout")], []), TAKEN),
    "series": series_page([dead_v6(), refused(), dead_v6()], TAKEN),
    "failures": series_page([refused()], TAKEN),
    "families": families_page(comparison(), TAKEN),
}


@pytest.mark.parametrize("name", PAGES)
def test_a_report_is_one_file_that_asks_for_nothing(name: str) -> None:
    page = Reader(PAGES[name])
    text = PAGES[name].decode()
    assert text.startswith('<!doctype html>\n<html lang="en">')
    assert not {"script", "img", "link", "iframe", "object", "form"} & set(page.tags)
    assert page.links == []
    assert not re.search(r"url\(|@import|https?://(?!www\.w3\.org)", text)
    assert page.tags.count("h1") == page.tags.count("main") == 1
    assert "prefers-color-scheme: dark" in text and "@media print" in text and "viewport" in text
    assert "2030-01-02 03:04:05 UTC" in page.text


@pytest.mark.parametrize("name", PAGES)
def test_charts_have_titles_and_ids_that_exist_once(name: str) -> None:
    page = Reader(PAGES[name])
    referred = re.findall(r'aria-labelledby="([^"]+)"', PAGES[name].decode())
    assert referred
    assert len(set(page.ids)) == len(page.ids)
    for names in referred:
        assert set(names.split()) <= set(page.ids)


def test_a_connection_shows_everything_twice_as_a_chart_and_as_tables() -> None:
    text = Reader(PAGES["good"]).text
    for said in ("Connected over IPv4 in 310 ms", "login.example:443", V6, V4, "10.0.0.53:53", "TLSv1.3",
                 "CN=login.example", "no answer by then", "Waiting for others", "250 ms", "2001:db8::1"):  # fmt: skip
        assert said in text, said
    assert PAGES["good"].count(b"<table") == 2
    assert PAGES["good"].count(b'<svg class="chart') == 2, "one for wide pages, one for telephones"


def test_a_failure_says_what_to_do() -> None:
    text = Reader(PAGES["bad"]).text
    assert "No connection" in text and "What to do" in text and "See whether the service runs" in text
    assert "check that the DNS server can be reached" in Reader(PAGES["nothing"]).text.lower().replace("dns", "DNS")


def test_a_series_shows_percentiles_ends_and_examples() -> None:
    text = Reader(PAGES["series"]).text
    assert "2 of 3 connected" in text and "p99" in text and "310 ms" in text
    assert "ECONNREFUSED" in text and "The first that failed, number 2" in text and "The slowest, number 1" in text
    assert "0 of 1 connected" in Reader(PAGES["failures"]).text


def test_the_families_stand_side_by_side_with_the_setting_to_use() -> None:
    text = Reader(PAGES["families"]).text
    for said in (
        *LOOKUP_FAMILIES,
        "Use V4_ONLY here",
        "dns_lookup_family: V4_ONLY",
        "no IPv6 route",
        "503 UF",
        "immediate_connect_error:_Network_is_unreachable",
        "503 for some requests",
        "OAuth flow failed",
    ):
        assert said in text, said


def hostile() -> ConnectTrace:
    found = dead_v6()
    found.target = f"{HOSTILE}:443"
    found.dns[0].answers, found.dns[1].name, found.dns[1].server = (HOSTILE,), HOSTILE, HOSTILE
    found.attempts[0].message = found.attempts[0].source = HOSTILE
    found.attempts[0].outcome = "failed"
    found.tls = Tls(version=HOSTILE, sni=HOSTILE, alpn=HOSTILE, peer=HOSTILE, not_after=HOSTILE, verified=True)
    found.summary = f"{HOSTILE}. Mend: {HOSTILE}."
    return found


@pytest.mark.parametrize("page", [timeline_page(hostile(), TAKEN), series_page([hostile(), refused()], TAKEN)])
def test_names_and_certificates_of_strangers_are_text(page: bytes) -> None:
    read = Reader(page)
    assert not {"script", "img"} & set(read.tags)
    assert HOSTILE in read.text
