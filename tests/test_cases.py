"""The table of the race's cases is what the tests' names say."""

from __future__ import annotations

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parent
ROW = re.compile(r"^\| ([DSCTM]\d\d) \| (.+) \| (.+) \|$", re.MULTILINE)
CASES = {"D": 27, "S": 14, "C": 28, "T": 10, "M": 6}


def test_every_case_has_its_tests_or_a_reason() -> None:
    named: dict[str, set[str]] = {}
    for path in (path for folder in ("core", "net", "lab") for path in sorted(TESTS.glob(f"{folder}/test_*.py"))):
        for node in ast.parse(path.read_text()).body:
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if found := re.match(r"test_((?:[dsctm]\d\d_)+)", node.name):
                for case in found[1].upper().strip("_").split("_"):
                    named.setdefault(case, set()).add(f"{path.relative_to(TESTS)}::{node.name}")
    rows = {case: tests for case, _, tests in ROW.findall((TESTS / "CASES.md").read_text())}
    assert list(rows) == [f"{letter}{n:02}" for letter, count in CASES.items() for n in range(1, count + 1)]
    assert {case: set(re.findall(r"`([^`]+)`", text)) for case, text in rows.items() if "`" in text} == named
    assert all(text for text in rows.values())
