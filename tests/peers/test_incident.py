"""The incident that Ostiary was made for: a provider with addresses of both families, a network with one of them.

The real Envoy and Ostiary run the cluster that was published with the incident, in a bootstrap with the `oauth2`
filter, and somebody signs in through them. Where the lookup family is written, both do the same; where none is, Envoy
takes AUTO and Ostiary ALL.
"""

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
FAMILIES = ("none", "AUTO", "ALL", "V4_ONLY", "V4_PREFERRED", "V6_ONLY")
SIGNS_IN = {"ipv4_only": {"ALL", "V4_ONLY", "V4_PREFERRED"}, "ipv6_only": {"AUTO", "ALL", "V6_ONLY"}}
CASES = [f"{proxy}/{family}" for proxy in ("envoy", "ostiary") for family in FAMILIES]
CASES += ["ostiary/native", "envoy/generated", "envoyfilter/none", "envoyfilter/AUTO"]
MENDS = {
    "ipv4_only": {
        "AUTO": "ALL (both families race), or V4_ONLY where IPv6 can't come",
        "V6_ONLY": "ALL, or V4_PREFERRED",
    },
    "ipv6_only": {"V4_ONLY": "ALL, or V6_ONLY", "V4_PREFERRED": "ALL"},
}
WARNING = "][warning][happy_eyeballs] "

Seen = dict[str, dict[str, Any]]


@pytest.fixture(scope="module", params=SIGNS_IN)
def network(
    request: pytest.FixtureRequest, own_network: list[str], envoy: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Seen]:
    """The network's name, and case -> what came of it."""
    command = [*own_network, sys.executable, str(WORLD), str(tmp_path_factory.mktemp("incident")), request.param]
    result = subprocess.run([*command, *CASES], check=False, capture_output=True, text=True, timeout=PATIENCE)
    assert result.returncode == 0, result.stderr[-3000:]
    found: Seen = json.loads(result.stdout)
    return request.param, found


def check(seen: dict[str, Any], signed_in: bool) -> None:
    """Signed in to the page that was asked for, or nothing of it."""
    if signed_in:
        assert (seen["callback"], seen["status"], seen["text"]) == (302, 200, "you asked for /get?a=1\n")
        assert (seen["reached"], seen["token_requests"]) == (["/get?a=1"], 1)
    else:
        assert (seen["callback"], seen["text"]) == (401, "OAuth flow failed.")
        assert (seen["reached"], seen["token_requests"]) == ([], 0)


@pytest.mark.parametrize("family", FAMILIES)
def test_envoy(family: str, network: tuple[str, Seen]) -> None:
    name, seen = network
    check(seen[f"envoy/{family}"], ("AUTO" if family == "none" else family) in SIGNS_IN[name])


@pytest.mark.parametrize("family", FAMILIES)
def test_ostiary(family: str, network: tuple[str, Seen]) -> None:
    name, seen = network
    signed_in = ("ALL" if family == "none" else family) in SIGNS_IN[name]
    check(seen[f"ostiary/{family}"], signed_in)
    assert (WARNING in seen[f"ostiary/{family}"]["log"]) is not signed_in


def test_the_native_profile_signs_in_without_a_setting(network: tuple[str, Seen]) -> None:
    check(network[1]["ostiary/native"], True)


def test_what_ostiary_prints_signs_in_in_either_network(network: tuple[str, Seen]) -> None:
    check(network[1]["envoy/generated"], True)


@pytest.mark.parametrize("family", ["none", "AUTO"])
def test_the_envoyfilter_as_it_was(family: str, network: tuple[str, Seen]) -> None:
    name, seen = network
    check(seen[f"envoyfilter/{family}"], family == "none" or name == "ipv6_only")
    warned = f"Mend: set dns_lookup_family: {MENDS[name].get('AUTO')}." in seen[f"envoyfilter/{family}"]["log"]
    assert warned is (family == "AUTO" and name == "ipv4_only")


def test_the_log_says_what_failed_what_would_have_worked_and_the_mend(network: tuple[str, Seen]) -> None:
    name, seen = network
    for family, mend in MENDS[name].items():
        (line,) = [line for line in seen[f"ostiary/{family}"]["log"].splitlines() if WARNING in line]
        failed, untried = ("IPv6", "1 IPv4 address") if name == "ipv4_only" else ("IPv4", "2 IPv6 addresses")
        assert f"Can't connect to login.microsoftonline.com:443: {failed} failed: this host has no route for it" in line
        assert f"{untried} with a route from here (" in line
        assert f" not tried because dns_lookup_family is {family}: " in line
        assert line.endswith(f" Mend: set dns_lookup_family: {mend}.")


@pytest.mark.parametrize("family", FAMILIES)
def test_the_flight_shows_every_attempt(family: str, network: tuple[str, Seen]) -> None:
    name, seen = network
    family = "ALL" if family == "none" else family
    signed_in = family in SIGNS_IN[name]
    (flight,) = [each for each in seen[f"ostiary/{family}"]["flights"] if each["kind"] == "sign-in"]
    (call,) = [step for step in flight["steps"] if step["step"] == "call"]
    assert (flight["outcome"], call["purpose"]) == ("signed-in" if signed_in else "failed", "token")
    (connection,) = call["connections"]
    tried = {attempt["address"]: attempt for attempt in connection["attempts"]}
    assert connection["ok"] is signed_in and tried
    if not signed_in:
        assert flight["code"] == "idp-unreachable" and {each["errno"] for each in tried.values()} == {"ENETUNREACH"}
        (cause,) = [each for each in seen[f"ostiary/{family}"]["flights"] if each["kind"] == "connect"]
        assert (cause["cluster"], cause["connection"]["error"]) == ("oauth", connection["error"])
    if not signed_in and family in MENDS[name]:
        assert any(MENDS[name][family] in mend for mend in flight["mends"])
        assert f"(code {flight['id']})" in seen[f"ostiary/{family}"]["log"]


def test_the_native_profile_s_flight_has_its_queries_too(network: tuple[str, Seen]) -> None:
    (flight,) = [each for each in network[1]["ostiary/native"]["flights"] if each["kind"] == "sign-in"]
    connections = [one for step in flight["steps"] for one in step.get("connections", ())]
    assert {query["type"] for one in connections for query in one["dns"]} >= {"A", "AAAA"}
    assert all(one["ok"] and one["tls"]["verified"] for one in connections)
