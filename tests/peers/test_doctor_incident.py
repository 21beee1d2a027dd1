"""The incident, doctored: Envoy fails as it was reported; each of three commands names the cause and the mend."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from waiting import PATIENCE

pytestmark = pytest.mark.peer
WORLD = Path(__file__).parent / "incident_world.py"


@pytest.fixture(scope="module")
def seen(own_network: list[str], envoy: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    command = [
        *own_network,
        sys.executable,
        str(WORLD),
        str(tmp_path_factory.mktemp("incident")),
        "ipv4_only",
        "doctor",
    ]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=4 * PATIENCE)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("way", ["admin", "config", "log"])
def test_each_way_names_the_cause_first_and_prints_the_patch(way: str, seen: dict[str, Any]) -> None:
    assert seen["before"] == 401
    found = seen[way]
    assert found["status"] == 1, found["stderr"]
    first = found["json"]["findings"][0]
    assert first["rule"] == "dns-family-unreachable"
    assert "+dns_lookup_family: " in first["patch"].replace("+        ", "+")
    assert "dns-family-unreachable" in "\n".join(found["text"].splitlines()[:2])
    assert "dns_lookup_family: V4_ONLY" in found["text"] or "dns_lookup_family: ALL" in found["text"]


def test_the_patch_applied_envoy_signs_in(seen: dict[str, Any]) -> None:
    assert seen["applied"] == "patching file envoyfilter.yaml\n"
    assert seen["after"] == 302
    assert seen["healthy"]["healthy"] or {f["rule"] for f in seen["healthy"]["findings"]} == {"tls-not-verified"}


def test_a_healthy_ostiary_has_nothing(seen: dict[str, Any]) -> None:
    assert seen["ostiary"] == 302
    assert (seen["healthy ostiary"]["healthy"], seen["healthy ostiary"]["findings"]) == (True, [])


def test_what_ostiary_recorded_is_as_good_as_a_probe(seen: dict[str, Any]) -> None:
    assert seen["broken ostiary"] == 401
    first = seen["sick ostiary"]["findings"][0]
    assert first["rule"] == "dns-family-unreachable"
    assert any("/flights: " in line for line in first["proof"]), first


def test_the_file_s_report_forecasts_every_lookup_family(seen: dict[str, Any]) -> None:
    (probed,) = [
        each for each in seen["config"]["json"]["evidence"] if each["kind"] == "probe" and "connection" in each
    ]
    fates = {family: fate["LOGICAL_DNS"] for family, fate in probed["lookup_families"].items()}
    assert fates == {"AUTO": "fails", "V6_ONLY": "fails", "V4_ONLY": "works", "V4_PREFERRED": "works", "ALL": "works"}
    told = " ".join(seen["config"]["text"].split())
    assert (
        "From here Envoy connects with V4_ONLY, V4_PREFERRED, ALL and fails with AUTO, V6_ONLY (LOGICAL_DNS)." in told
    )
