"""The incident in the log of a real Envoy, and in Ostiary's: who was called and how it ended, and no secret."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from doctor.logs.reading import facts, told
from waiting import PATIENCE

pytestmark = pytest.mark.peer
WORLD = Path(__file__).parents[2] / "peers" / "incident_world.py"
CASES = [f"{proxy}/{family}/trace" for proxy in ("envoy", "ostiary") for family in ("AUTO", "ALL")]
UNREACHABLE = {
    "Attempted 2606:4700::6810:a016 443 v6 failed route ENETUNREACH oauth",
    "Attempted 2606:4700::6810:a116 443 v6 failed route ENETUNREACH oauth",
    "ConnectFailed oauth ENETUNREACH True",
    "SignInFailed token-exchange 401 envoy",
}
WELL = {"Attempted 10.77.0.7 443 v4 connected tcp oauth", "SignedIn envoy"}


@pytest.fixture(scope="module")
def seen(own_network: list[str], envoy: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Case -> what came of it in a network of IPv4 only."""
    assert envoy.exists()
    command = [*own_network, sys.executable, str(WORLD), str(tmp_path_factory.mktemp("incident")), "ipv4_only"]
    result = subprocess.run([*command, *CASES], check=False, capture_output=True, text=True, timeout=PATIENCE)
    assert result.returncode == 0, result.stderr[-3000:]
    found: dict[str, dict[str, Any]] = json.loads(result.stdout)
    return found


@pytest.mark.parametrize("case", CASES)
def test_the_log_says_what_happened(case: str, seen: dict[str, dict[str, Any]]) -> None:
    said = {fact for fact in told(seen[case]["log"]) if not fact.startswith(("CookieSet", "RedirectSent"))}
    of_ostiary = {fact for fact in said if fact.endswith(("ostiary", "login.microsoftonline.com:443"))}
    assert said - of_ostiary == (UNREACHABLE if "AUTO" in case else WELL)
    assert bool(of_ostiary) == (case == "ostiary/AUTO/trace")


@pytest.mark.parametrize("case", CASES)
def test_no_fact_holds_a_secret(case: str, seen: dict[str, dict[str, Any]]) -> None:
    said = repr(facts(seen[case]["log"]))
    secrets = {secret for secret in seen[case]["secrets"] if len(secret) > 6}
    assert len(secrets) >= 3
    assert [secret for secret in secrets if secret in said] == []
