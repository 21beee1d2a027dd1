"""`ostiary check` of oauth2-proxy's configuration, which this version can judge and not run."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ostiary.cli.configuration import read_bytes, read_file
from ostiary.cli.exit_codes import EXIT_PROBLEM, EXIT_USAGE
from ostiary.model.errors import Diagnostic

if TYPE_CHECKING:
    from ostiary.doctor.finding import Finding


def check(files: Sequence[str], standard_input: dict[str, bytes], *, probes: bool, as_json: bool) -> int:
    """Judge the files as the doctor does, and print it as a check; the exit code."""
    from ostiary.doctor.examine import Question, examine

    contents = tuple((name, read_bytes(name, standard_input)) for name in files)
    question = Question(configurations=contents, environment=os.environ, open_file=read_file, probes=probes)
    findings = asyncio.run(examine(question)).findings
    diagnostics = [_diagnostic(each) for each in findings if each.where is not None]
    others = [each for each in findings if each.where is None]
    refused = any(each.severity == "error" for each in diagnostics)
    well = not refused and all(each.severity == "info" for each in others)
    if as_json:
        document = {
            "ok": well,
            "dialect": "oauth2-proxy",
            "diagnostics": [dataclasses.asdict(each) for each in diagnostics],
            "probes": [],
            **({"findings": [each.as_dict() for each in others]} if probes else {}),
        }
        print(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        for diagnostic in diagnostics:
            print(diagnostic)
        for each in others:
            print(f"{each.severity}: {each.rule}: {each.title}. {each.cause} ({each.mend})")
        print(_summary(diagnostics, refused), file=sys.stderr)
    return EXIT_USAGE if refused else 0 if well else EXIT_PROBLEM


def _diagnostic(finding: Finding) -> Diagnostic:
    where = finding.where
    assert where is not None
    message = f"{finding.title}. {finding.cause}".rstrip(".")
    return Diagnostic(file=where.file, line=where.line, column=1, severity=finding.severity, path=where.path,
                      message=message, mend=finding.mend.rstrip("."))  # fmt: skip


def _summary(diagnostics: Sequence[Diagnostic], refused: bool) -> str:
    counted = []
    for severity in ("error", "warning"):
        count = sum(each.severity == severity for each in diagnostics)
        counted.append(f"{count} {severity}{'s' * (count != 1)}")
    good = "" if refused else "good for oauth2-proxy; Ostiary can't run this dialect yet; "
    return f"oauth2-proxy: {good}{', '.join(counted)}"
