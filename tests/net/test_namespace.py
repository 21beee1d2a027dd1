"""The incident's network, in the kernel: IPv6 addresses in DNS, and no way to reach them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from waiting import PATIENCE

WORLD = Path(__file__).parent / "namespace_world.py"


def connect_in(own_network: list[str], scenario: str) -> dict[str, Any]:
    """lookup family -> trace."""
    command = [*own_network, sys.executable, str(WORLD), scenario]
    result = subprocess.run(command, check=True, capture_output=True, text=True, timeout=PATIENCE)
    found: dict[str, Any] = json.loads(result.stdout)
    return found


@pytest.mark.parametrize(
    ("scenario", "errno"),
    [
        ("ipv4_only", "ENETUNREACH"),
        ("unreachable", "EHOSTUNREACH"),
        ("prohibit", "EACCES"),
        ("blackhole", "EINVAL"),
        ("throw", "ENETUNREACH"),
        ("disabled", "EADDRNOTAVAIL"),
    ],
)
def test_c05_c06_c08_without_a_route_auto_fails_at_once_and_all_connects(
    scenario: str, errno: str, own_network: list[str]
) -> None:
    traces = connect_in(own_network, scenario)
    assert {family: trace["ok"] for family, trace in traces.items()} == {
        "AUTO": False, "V4_ONLY": True, "V6_ONLY": False, "V4_PREFERRED": True, "ALL": True,
        "AUTO, filtered": True,
    }  # fmt: skip
    auto = traces["AUTO"]
    assert [(a["stage"], a["outcome"], a["errno"]) for a in auto["attempts"]] == [("route", "failed", errno)] * 2
    assert [query["type"] for query in auto["dns"]] == ["AAAA"]
    assert "1 IPv4 address with a route from here (10.77.0.7) was not tried" in auto["summary"]
    assert "set dns_lookup_family: ALL" in auto["summary"]
    assert ("IPv6 is switched off" in auto["summary"]) == (scenario == "disabled")
    assert [query["type"] for query in traces["AUTO, filtered"]["dns"]] == ["AAAA", "A"], "no route: not in DNS"
    assert traces["ALL"]["winner"] == {"address": "10.77.0.7", "port": 8443, "family": "v4"}


def test_c09_a_link_local_source_is_no_route_although_the_kernel_offers_it(own_network: list[str]) -> None:
    traces = connect_in(own_network, "link_local_only")
    assert traces["ALL"]["winner"]["family"] == "v4"
    auto = traces["AUTO"]
    assert {(a["stage"], a["outcome"]) for a in auto["attempts"]} == {("tcp", "timeout")}
    assert auto["attempts"][0]["source"].startswith("fe80:")
    assert "was not tried because dns_lookup_family is AUTO" in auto["summary"]


def test_c25_c06_d21_local_ports_used_up_and_addresses_with_a_zone(own_network: list[str]) -> None:
    command = [*own_network, sys.executable, str(WORLD.with_name("ports_world.py"))]
    result = subprocess.run(command, check=True, capture_output=True, text=True, timeout=PATIENCE)
    found = json.loads(result.stdout)
    assert found["ports"]["errno"] == "EADDRNOTAVAIL"
    assert "every local port for that destination is in use" in found["ports"]["message"]
    assert found["zone"] == {"address": "fe80::7%v0", "port": 8443, "family": "v6"}
