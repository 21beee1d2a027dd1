"""The forecast against what was seen of Envoy 1.39.3 (the names of the cases are those of the measurements)."""

from __future__ import annotations

import pytest

from core.connections import attempt
from ostiary.core.lookup_families import LOOKUP_FAMILIES, Resolved, Verdict, has_route, verdicts
from ostiary.core.recommend import Recommendation, recommend
from ostiary.core.trace import Attempt

A6, B6, A4 = "2001:db8::1", "2001:db8::2", "192.0.2.1"


def answers(v6: tuple[str, ...], v4: tuple[str, ...], *, a_ms: float = 2.0, aaaa_ms: float = 1.0) -> list[Resolved]:
    return [
        Resolved(type="AAAA", addresses=v6, outcome="answered" if v6 else "empty", elapsed_ms=aaaa_ms),
        Resolved(type="A", addresses=v4, outcome="answered" if v4 else "empty", elapsed_ms=a_ms),
    ]


def good(address: str, took: float = 4.0) -> Attempt:
    return attempt(address, 0, took, source=address)


def stranded(address: str) -> Attempt:
    return attempt(address, 0, 0.1, "failed", stage="route", errno="ENETUNREACH", message="Network is unreachable")


def dead(address: str, timeout: float = 5000) -> Attempt:
    return attempt(address, 0, timeout, "timeout", source="2001:db8::f", message="no answer")


def refuses(address: str) -> Attempt:
    told = {"errno": "ECONNREFUSED", "message": "Connection refused", "source": "2001:db8::f"}
    return attempt(address, 0, 20, "failed", **told)


CASES = {
    "dual": (answers((A6,), (A4,)), [good(A6), good(A4)]),
    "v6noroute": (answers((A6, B6), (A4,)), [stranded(A6), stranded(B6), good(A4)]),
    "v6dead": (answers((A6,), (A4,)), [dead(A6), good(A4)]),
    "v6rst": (answers((A6,), (A4,)), [refuses(A6), good(A4)]),
    "v4only": (answers((), (A4,)), [good(A4)]),
}


def by_family(case: str, timeout: float = 5.0) -> dict[str, Verdict]:
    return {verdict.family: verdict for verdict in verdicts(*CASES[case], timeout)}


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("dual", {"AUTO": "v6", "V4_ONLY": "v4", "V6_ONLY": "v6", "V4_PREFERRED": "v4", "ALL": "v6"}),
        ("v6noroute", {"AUTO": "UF", "V4_ONLY": "v4", "V6_ONLY": "UF", "V4_PREFERRED": "v4", "ALL": "v4"}),
        ("v6dead", {"AUTO": "UF", "V4_ONLY": "v4", "V6_ONLY": "UF", "V4_PREFERRED": "v4", "ALL": "v4"}),
        ("v6rst", {"AUTO": "UF", "V4_ONLY": "v4", "V6_ONLY": "UF", "V4_PREFERRED": "v4", "ALL": "v4"}),
        ("v4only", {"AUTO": "v4", "V4_ONLY": "v4", "V6_ONLY": "UH", "V4_PREFERRED": "v4", "ALL": "v4"}),
    ],
)
def test_logical_dns_as_measured(case: str, expected: dict[str, str]) -> None:
    found = {
        family: verdict.logical.winner.family if verdict.logical.winner else verdict.logical.flags
        for family, verdict in by_family(case).items()
    }
    assert found == expected


def test_the_words_are_envoys() -> None:
    assert by_family("v6noroute")["AUTO"].logical.reason == "immediate_connect_error:_Network_is_unreachable"
    assert by_family("v6rst")["AUTO"].logical.reason == "delayed_connect_error:_Connection_refused"
    assert by_family("v6dead")["AUTO"].logical.reason == "connection_timeout"
    assert by_family("v4only")["V6_ONLY"].logical.reason == "no_healthy_upstream"


def test_a_silent_first_address_costs_300_ms_and_a_short_timeout_everything() -> None:
    assert by_family("v6dead")["ALL"].logical.elapsed_ms == 304.0
    assert by_family("v6rst")["ALL"].logical.elapsed_ms == 24.0
    short = by_family("v6dead", timeout=0.25)["ALL"].logical
    assert (short.fate, short.reason) == ("fails", "connection_timeout")
    assert by_family("v6dead", timeout=0.35)["ALL"].logical.fate == "works"


def test_strict_dns_makes_a_host_of_each_address() -> None:
    strict = by_family("v6noroute")["ALL"].strict
    assert (strict.fate, strict.dead) == ("some requests fail", (A6, B6))
    assert by_family("dual")["ALL"].strict.fate == "works"
    assert by_family("v6dead")["AUTO"].strict.fate == "fails"


def test_the_first_answer_leads_and_the_families_alternate() -> None:
    probes = [good(A6), good(B6), good(A4)]
    first = verdicts(answers((A6, B6), (A4,)), probes, 5.0)[-1]
    assert (first.family, first.addresses) == ("ALL", (A6, A4, B6))
    assert verdicts(answers((A6, B6), (A4,), a_ms=0.5), probes, 5.0)[-1].addresses == (A4, A6, B6)


def test_what_is_asked_and_how_long_it_takes() -> None:
    found = by_family("v4only")
    assert {family: verdict.asked for family, verdict in found.items()} == {
        "AUTO": ("AAAA", "A"), "V4_ONLY": ("A",), "V6_ONLY": ("AAAA",), "V4_PREFERRED": ("A",), "ALL": ("AAAA", "A"),
    }  # fmt: skip
    assert found["AUTO"].dns_ms == 3.0, "one after the other"
    assert found["ALL"].dns_ms == 2.0, "both at once"
    assert tuple(found) == LOOKUP_FAMILIES


def test_a_query_without_an_answer_is_waited_for() -> None:
    silent = [
        Resolved(type="AAAA", addresses=(), outcome="timeout", elapsed_ms=5000),
        Resolved(type="A", addresses=(A4,), outcome="answered", elapsed_ms=2),
    ]
    found = {verdict.family: verdict for verdict in verdicts(silent, [good(A4)], 5.0)}
    assert [family for family, verdict in found.items() if verdict.dns_ms is None] == ["AUTO", "V6_ONLY", "ALL"]
    advice = recommend(silent, [good(A4)], 5.0)
    assert advice.dns_lookup_family == "V4_ONLY" and "never answered" in advice.reason


def advice_for(case: str) -> Recommendation:
    return recommend(*CASES[case], 5.0)


@pytest.mark.parametrize(
    ("case", "family", "first", "reason"),
    [
        ("dual", "ALL", "V6", "survive the loss of either"),
        ("v6noroute", "V4_ONLY", None, "no IPv6 route"),
        ("v6dead", "ALL", "V4", "has an IPv6 route, but"),
        ("v6rst", "ALL", "V4", "has an IPv6 route, but"),
        ("v4only", "ALL", "V4", "AUTO would then use those alone"),
    ],
)
def test_the_setting_for_a_place(case: str, family: str, first: str | None, reason: str) -> None:
    advice = advice_for(case)
    assert (advice.dns_lookup_family, advice.first) == (family, first)
    assert reason in advice.reason
    assert f"dns_lookup_family: {family}" in advice.yaml
    assert ("first_address_family_version" in advice.yaml) == (first is not None)


def test_the_recommended_setting_is_one_that_works() -> None:
    for case in CASES:
        family = advice_for(case).dns_lookup_family
        assert family is not None
        assert by_family(case)[family].logical.fate == "works", case


def test_where_nothing_works_nothing_is_recommended() -> None:
    advice = recommend(answers((A6,), (A4,)), [refuses(A6), stranded(A4)], 5.0)
    assert (advice.dns_lookup_family, advice.yaml) == (None, "")
    assert "ECONNREFUSED at 2001:db8::1" in advice.reason
    assert recommend(answers((), ()), [], 5.0).dns_lookup_family is None


def test_a_partly_dead_family_goes_second() -> None:
    advice = recommend(answers((A6, B6), (A4,)), [good(A6), dead(B6), good(A4)], 5.0)
    assert (advice.dns_lookup_family, advice.first) == ("ALL", "V4")
    assert "1 of 2 IPv6 addresses fail" in advice.reason
    assert recommend(answers((A6,), (A4,)), [good(A6, 90), good(A4, 4)], 5.0).first == "V4"


def test_warnings_name_what_envoy_does_silently() -> None:
    short = recommend(*CASES["dual"], 0.25)
    assert any("never starts a second attempt" in warning for warning in short.warnings)
    assert any("STRICT_DNS" in warning for warning in advice_for("v6dead").warnings)
    assert advice_for("dual").warnings == ()


def test_a_link_local_source_is_no_route() -> None:
    assert not has_route(attempt(A6, 0, 5000, "timeout", source="fe80::1"))
    assert has_route(dead(A6))
    probes = [attempt(A6, 0, 5000, "timeout", source="fe80::1"), good(A4)]
    assert recommend(answers((A6,), (A4,)), probes, 5.0).dns_lookup_family == "V4_ONLY"
