"""The report as one file: complete, escaped, self-contained; and what no report may show."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from core.connections import dead_v6, refused
from doctor.rules.facts import V6, attempted, cluster, find
from ostiary.cli.doctor_text import show
from ostiary.cli.terminal import screen
from ostiary.doctor.finding import Finding, Severity
from ostiary.doctor.page import page
from ostiary.doctor.report import Evidence, Report
from report.test_connection import HOSTILE, TAKEN, Reader

(INCIDENT,) = find(attempted(V6, "failed", "ENETUNREACH", target="oauth"), cluster(where=None))
WARNING = replace(INCIDENT, rule="tls-not-verified", severity="warning", title="not verified", patch=None, subject="b")


_SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")
_LONG = "outbound_443_" * 40


def report(*findings: Finding, target: str = "envoyfilter.yaml") -> Report:
    evidence = (Evidence(kind="log", source="sidecar.log", summary="3 lines"),)
    return Report(target=target, evidence=evidence, findings=findings, traces=(refused(), dead_v6()), taken=TAKEN)


REPORTS = {
    "incident": report(INCIDENT, WARNING),
    "healthy": report(),
    "many": report(*(replace(INCIDENT, subject=str(n), severity=each) for n, each in enumerate(_SEVERITIES * 4))),
    "long": report(
        replace(INCIDENT, title=_LONG, cause=_LONG, proof=(_LONG,), mend=_LONG),
        replace(WARNING, title=_LONG),
        target=f"https://{_LONG}/",
    ),
    "hostile": report(replace(INCIDENT, title=HOSTILE, cause=HOSTILE, proof=(HOSTILE,), mend=HOSTILE), target=HOSTILE),
}


@pytest.mark.parametrize("name", REPORTS)
def test_a_page_asks_for_nothing_and_escapes_everything(name: str) -> None:
    read = Reader(page(REPORTS[name]))
    assert read.links == []
    assert "script" not in read.tags and "img" not in read.tags
    assert len(read.ids) == len(set(read.ids))


def test_a_page_says_cause_proof_mend_and_the_rest() -> None:
    text = Reader(page(REPORTS["incident"])).text
    order = [text.index(part) for part in (INCIDENT.title, INCIDENT.proof[0], "What mends it", "+dns_lookup_family",
                                           "Also", "not verified", "Tried from here", "Evidence")]  # fmt: skip
    assert order == sorted(order)


def test_a_healthy_page_says_so() -> None:
    assert "Nothing wrong was found" in Reader(page(REPORTS["healthy"])).text


def test_json_is_the_interface() -> None:
    document = json.loads(json.dumps(REPORTS["incident"].as_dict()))
    assert list(document) == ["healthy", "target", "evidence", "findings"]
    assert document["evidence"] == [{"kind": "log", "source": "sidecar.log", "summary": "3 lines"}]
    assert [finding["rule"] for finding in document["findings"]] == ["dns-family-unreachable", "tls-not-verified"]


def test_a_terminal_gets_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    show(report(replace(INCIDENT, title="a\x1b[2Jb", proof=("c\x07",), patch="+\x1b]0;x\n")), screen())
    printed = capsys.readouterr().out
    assert "\x1b" not in printed and "\x07" not in printed
    assert "\\x1b" in printed
