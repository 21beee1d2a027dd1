"""Real cases from public issue trackers: what its users had at hand, and what the doctor makes of it.

A case is left out where its users had nothing to show: a configuration that was right, a program that forgot a cookie.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from doctor.logs.reading import facts
from doctor.rules.facts import find
from ostiary.doctor.configuration.read import read
from ostiary.doctor.finding import Finding

CASES: dict[str, dict[str, Any]] = yaml.safe_load(Path(__file__).with_name("catalogue.yaml").read_text())


def findings(case: dict[str, Any]) -> list[Finding]:
    """What is found in its log and its configuration together."""
    configuration = [("f.yaml", case["config"].encode())] if "config" in case else []
    return find(*facts(case.get("log", "")), *read(configuration, env={}))


@pytest.mark.parametrize("name", CASES)
def test_the_cause_comes_first(name: str) -> None:
    case = CASES[name]
    found = findings(case)
    assert (found[0].rule if found else "none") == case["rule"], [finding.title for finding in found]
    assert case.get("mend", "") in "".join(finding.mend + finding.cause for finding in found[:1])
    assert case.get("confidence", "") in ("", *(finding.confidence for finding in found[:1]))


@pytest.mark.parametrize("name", CASES)
def test_a_log_after_which_all_is_well_makes_it_less_sure(name: str) -> None:
    """Nothing is said more surely because somebody signed in as well."""
    case = CASES[name]
    well = '\n[2026-11-26T10:11:12.131Z] "GET /callback HTTP/1.1" 302 - oauth.logged_in - "-" 0 0 3 - "-" "-" "e" "app" "-" b - - - - d\n'  # noqa: E501
    before, after = findings(case), findings({**case, "log": case.get("log", "") + well})
    sure = ("possible", "likely", "certain")
    if after and after[0].rule == case["rule"]:
        assert sure.index(after[0].confidence) <= sure.index(before[0].confidence)
