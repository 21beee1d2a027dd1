"""From a case to its findings, the most telling first.

A specific finding silences the general ones that it explains (the rule says which), if both are about the same subject
or one of them is about none. The order is: severity, then how sure it is, then where it stands in the chain of causes:
a configuration that was refused explains why nothing is there, a name that does not resolve why nothing connects, and
so on up to what a browser sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from ostiary.doctor.case import Case
from ostiary.doctor.finding import Finding
from ostiary.doctor.rule import Rule

_SEVERITY: Final = ("error", "warning", "info")
_CONFIDENCE: Final = ("certain", "likely", "possible")


def diagnose(case: Case, rules: Sequence[Rule]) -> list[Finding]:
    """What the rules find; `rules` in causal order. Pure.

    What a log tells of a time before somebody signed in is told as that, and only beside nothing worse of its kind.
    """
    present = case.without(lambda fact: fact.origin.outlived)
    if len(present) == len(case):
        return _findings(case, rules)
    now = _findings(present, rules)
    told = {finding.rule for finding in now}
    past = [_past(finding) for finding in _findings(case, rules) if finding.rule not in told]
    return by_weight([*now, *past], rules)


def _past(finding: Finding) -> Finding:
    """A finding that only holds with what is over."""
    return replace(
        finding,
        severity="info",
        title=f"Until somebody signed in: {finding.title}",
        cause=f"In this log it is over: a sign-in succeeded later, and it did not come again. {finding.cause}",
        edits=(),
        patch=None,
    )


def _findings(case: Case, rules: Sequence[Rule]) -> list[Finding]:
    found = [finding for rule in rules for finding in rule.look(case)]
    kept = _without_explained(found, {rule.name: rule for rule in rules})
    return by_weight([*map(_capitalised, _without_repeats(kept))], rules)


def by_weight(findings: Sequence[Finding], rules: Sequence[Rule]) -> list[Finding]:
    """The most telling first."""
    place = {rule.name: index for index, rule in enumerate(rules)}
    return sorted(
        findings,
        key=lambda one: (_SEVERITY.index(one.severity), _CONFIDENCE.index(one.confidence), place[one.rule]),
    )


def _capitalised(finding: Finding) -> Finding:
    """A title may begin with what it is about: `the provider` is a word, a host is a name."""
    if not finding.title.startswith(("the ", "a ")):
        return finding
    return replace(finding, title=finding.title[:1].upper() + finding.title[1:])


def _without_explained(found: Sequence[Finding], rules: dict[str, Rule]) -> list[Finding]:
    return [one for one in found if not any(_explains(other, one, rules[other.rule]) for other in found)]


def _explains(specific: Finding, general: Finding, rule: Rule) -> bool:
    same = not specific.subject or not general.subject or specific.subject == general.subject
    return same and general.rule in rule.explains and specific is not general


def _without_repeats(found: Sequence[Finding]) -> list[Finding]:
    """One finding for a rule and subject: the surest. What names no subject says nothing beside what names one."""
    named = {one.rule for one in found if one.subject}
    kept: dict[tuple[str, str, str], Finding] = {}
    for one in sorted(found, key=lambda each: _CONFIDENCE.index(each.confidence)):
        where = f"{one.where.file}:{one.where.line}" if one.where is not None and not one.subject else ""
        if one.subject or one.rule not in named:
            kept.setdefault((one.rule, one.subject, where), one)
    return list(kept.values())
