"""What a report's patch mends: what is broken first, each change once, and nothing that can't be made."""

from __future__ import annotations

from typing import Any

from doctor.rules.facts import V6, attempted, find
from ostiary.doctor.finding import Edit, Finding
from ostiary.doctor.report import Report
from report.test_connection import TAKEN

TEXT = "name: oauth\ntype: LOGICAL_DNS\n"
SHOWN = find(attempted(V6, "failed", "ENETUNREACH"))[0]


def finding(*edits: Edit, **changes: Any) -> Finding:
    settings: dict[str, Any] = {"rule": "r", "severity": "error", "title": "", "cause": "", "proof": ("line",),
                                "mend": "", "confidence": "certain", **changes}  # fmt: skip
    return Finding(edits=edits, **settings)


def edit(key: str, value: str = "x", path: str = "") -> Edit:
    return Edit(file="c.yaml", path=path, key=key, value=value)


def patch(*findings: Finding) -> str:
    return Report(target="", evidence=(), findings=findings, texts={"c.yaml": TEXT}, taken=TAKEN).patch


def test_warnings_wait_until_nothing_is_broken() -> None:
    warning = finding(edit("sni"), severity="warning")
    assert "+sni: x" not in patch(finding(edit("dns_lookup_family")), warning)
    assert "+sni: x" in patch(warning)


def test_several_findings_are_one_patch_with_each_change_once() -> None:
    text = patch(finding(edit("a")), finding(edit("a"), edit("b")))
    assert [text.count(part) for part in ("--- c.yaml", "+a: x", "+b: x")] == [1, 1, 1]


def test_what_can_t_be_changed_keeps_nothing_else_from_it() -> None:
    impossible = finding(edit("c"), edit("d", path="name.deeper"))
    text = patch(impossible, finding(edit("b")))
    assert "+b: x" in text and "+c: x" not in text


def test_without_a_file_it_is_what_the_finding_shows() -> None:
    assert patch(SHOWN) == SHOWN.patch
    assert patch() == ""
