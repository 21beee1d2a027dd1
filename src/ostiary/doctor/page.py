"""The report as one HTML file that asks for nothing else: to be attached to a ticket."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ostiary._version import __version__
from ostiary.doctor.finding import Finding
from ostiary.doctor.report import Report, in_envoy
from ostiary.pages import render
from ostiary.report.connection import shown_connection

_TONES: Final = {"error": "bad", "warning": "warn", "info": "soft"}
_LINES: Final = {"+": "add", "-": "del", "@": "at"}


def page(report: Report) -> bytes:
    """UTF-8 HTML, everything in it escaped."""
    told = {each.source: in_envoy(each) for each in report.evidence}
    first, *others = report.findings or (None,)
    return render(
        "report/doctor",
        {
            "heading": first.title if first is not None else "Nothing wrong was found",
            "target": report.target,
            "tone": {"bad": "bad", "warn": "warn"}.get(_TONES[first.severity], "quiet") if first else "good",
            "sentence": "No rule found anything in this evidence.",
            "first": _shown(first) if first is not None else None,
            "others": [_shown(finding) for finding in others if finding is not None],
            "shown": [
                {"target": trace.target, "envoy": told.get(trace.target, ""), **shown_connection(trace)}
                for trace in report.traces
            ],
            "evidence": [(each.kind, each.source, each.summary) for each in report.evidence],
            "taken": report.taken.strftime("%Y-%m-%d %H:%M:%S UTC"),
            "version": __version__,
        },
    )


def _shown(finding: Finding) -> Mapping[str, Any]:
    where = finding.where
    return {
        "title": finding.title,
        "tone": _TONES[finding.severity],
        "what": f"{finding.rule} · {finding.severity} · {finding.confidence}",
        "cause": finding.cause,
        "proof": finding.proof,
        "where": f"{where.file}:{where.line} {where.path}".rstrip() if where is not None else "",
        "mend": finding.mend,
        "patch": [(_line(line), line) for line in finding.patch.rstrip("\n").split("\n")] if finding.patch else [],
    }


def _line(line: str) -> str:
    """How a line of a diff is coloured; the names of the files are no change."""
    return "at" if line.startswith(("--- ", "+++ ")) else _LINES.get(line[:1], "")
