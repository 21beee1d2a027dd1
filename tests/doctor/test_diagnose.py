"""How findings are put in order, and which say nothing beside others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from ostiary.doctor.case import Case
from ostiary.doctor.diagnose import diagnose
from ostiary.doctor.finding import Finding
from ostiary.doctor.rule import Rule


def finding(rule: str, **changes: Any) -> Finding:
    settings: dict[str, Any] = {"severity": "error", "title": rule, "cause": "", "proof": ("line",), "mend": "",
                                "confidence": "certain", **changes}  # fmt: skip
    return Finding(rule=rule, **settings)


def rule(name: str, *found: Finding, explains: Iterable[str] = ()) -> Rule:
    return Rule(name=name, family="DNS", look=lambda _case: found, explains=frozenset(explains))


def order(*rules: Rule) -> list[str]:
    return [each.title for each in diagnose(Case(), rules)]


def test_severity_then_confidence_then_the_chain_of_causes() -> None:
    assert order(
        rule("a", finding("a", severity="warning")),
        rule("b", finding("b", confidence="possible")),
        rule("c", finding("c")),
        rule("d", finding("d")),
        rule("e", finding("e", severity="info")),
    ) == ["c", "d", "b", "a", "e"]


@pytest.mark.parametrize(("specific", "general", "left"), [
    ("idp:443", "idp:443", ["a"]), ("", "idp:443", ["a"]), ("idp:443", "", ["a"]), ("idp:443", "app:80", ["a", "b"]),
])  # fmt: skip
def test_a_specific_finding_silences_a_general_one_on_its_subject(specific: str, general: str, left: list[str]) -> None:
    rules = (rule("a", finding("a", subject=specific), explains=["b"]), rule("b", finding("b", subject=general)))
    assert order(*rules) == left


def test_one_finding_for_a_rule_and_subject_the_surest() -> None:
    found = diagnose(Case(), [rule("a", finding("a", confidence="possible"), finding("a"))])
    assert [each.confidence for each in found] == ["certain"]


def test_what_names_no_subject_says_nothing_beside_what_names_one() -> None:
    found = diagnose(Case(), [rule("a", finding("a"), finding("a", subject="x"), finding("a", subject="y"))])
    assert [each.subject for each in found] == ["x", "y"]


def test_a_title_begins_with_a_capital_unless_a_name_does() -> None:
    assert order(rule("a", finding("a", title="the provider")), rule("b", finding("b", title="login.x fails"))) == [
        "The provider", "login.x fails"]  # fmt: skip
