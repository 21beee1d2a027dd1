"""The doctor on a real Envoy: what is wrong comes first, and where it prints a patch, the patch mends it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from peers.doctor_cases import CASES
from waiting import PATIENCE

pytestmark = pytest.mark.peer
WORLD = Path(__file__).parent / "doctor_world.py"
Seen = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def seen(own_network: list[str], envoy: Path, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """Case -> what came of it."""
    command = [*own_network, sys.executable, str(WORLD), str(tmp_path_factory.mktemp("doctor")), *CASES]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=4 * PATIENCE)
    assert done.returncode == 0, done.stderr[-3000:]
    found: Seen = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("name", CASES)
def test_the_cause_comes_first_and_its_patch_mends(name: str, seen: Seen) -> None:
    broken, found = CASES[name], seen[name]
    assert "error" not in found, found["error"]
    report = found["report"]
    rules = [finding["rule"] for finding in report["findings"]]
    assert rules[:1] == [broken.rule][: bool(broken.rule)], (rules, found["seen"], found["log"])
    assert report["healthy"] == (not broken.rule)
    if broken.rule:
        first = report["findings"][0]
        assert all((first["cause"], first["mend"], first["proof"]))
        assert all("the-client-secret" not in line for each in report["findings"] for line in each["proof"])
    assert found.get("healed") == ("in" if broken.heals else None), report


def test_there_are_many_ways_and_all_differ(seen: Seen) -> None:
    broken = [case for case in CASES.values() if case.rule]
    assert len(broken) >= 40
    assert len({case.rule for case in broken}) >= 30
    refused = [name for name, case in CASES.items() if case.rule and seen[name].get("seen") == ["in"]]
    assert set(refused) <= {"aaaa-silent", "not-verified", "unknown-field"}, "these are broken without anybody noticing"
