"""`ostiary doctor` as a user types it, in networks that fail in one way each: the right rule first, and who refused.

Packets, DNS servers and peers are the lab's; the program is the real one, in the client's network namespace.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from lab.model import DNS, NO_IPV6, ROUTER_V4, ROUTER_V6, V4, V6, Peer, Rule
from lab.world import Lab, World, names
from net.dns_server import Reply
from waiting import PATIENCE

URL = "https://dual.test"
TLS = Peer(kind="tls")
KEYS = {"rule", "severity", "title", "cause", "proof", "where", "mend", "patch", "confidence", "see"}


def doctor(world: World, directory: Path, *arguments: str) -> tuple[int, Any]:
    """(exit code, the JSON document)."""
    ca = directory / "ca.pem"
    ca.write_bytes(world.ready.ca_pem)
    variables = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    ran = subprocess.run(
        world.program(sys.executable, "-m", "ostiary", "doctor", "--json", *(arguments or (URL,))),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
        env={**variables, "SSL_CERT_FILE": str(ca)},
    )
    assert ran.returncode in (0, 1), ran.stderr
    return ran.returncode, json.loads(ran.stdout)


def both(**rule: Any) -> list[Rule]:
    return [Rule(to=V4, **rule), Rule(to=V6, **rule)]


def icmp(v4: tuple[int, int], v6: tuple[int, int]) -> list[Rule]:
    return [Rule(to=V4, icmp=v4), Rule(to=V6, icmp=v6)]


SILENT, REFUSED, BROKEN = Reply(silent=True), Reply(rcode="REFUSED"), Reply(rcode="SERVFAIL")


NETWORKS: dict[str, tuple[dict[str, Any], str]] = {
    "no DNS server": ({"peers": [TLS], "rules": [Rule(to=DNS, drop=True)]}, "dns-no-answer"),
    "no such name": ({"dns": {}}, "dns-name-not-found"),
    "SERVFAIL": ({"dns": names(BROKEN, BROKEN)}, "dns-server-failure"),
    "REFUSED": ({"dns": names(REFUSED, REFUSED)}, "dns-server-failure"),
    "AAAA never answered": ({"peers": [TLS], "dns": names(v6=SILENT)}, "dns-type-unanswered"),
    "A never answered": ({"peers": [TLS], "dns": names(v4=SILENT)}, "dns-type-unanswered"),
    "closed ports": ({}, "tcp-refused"),
    "RST": ({"rules": both(rst=True)}, "tcp-refused"),
    "black hole": ({"rules": both(drop=True)}, "tcp-timeout"),
    "host unreachable": ({"rules": icmp((3, 1), (1, 3))}, "no-route"),
    "network unreachable": ({"rules": icmp((3, 0), (1, 0))}, "no-route"),
    "prohibited": ({"rules": icmp((3, 13), (1, 1))}, "egress-blocked"),
    "port unreachable, from a router": ({"rules": icmp((3, 3), (1, 4))}, "tcp-refused"),
    "one family, and that is dropped":
        ({"peers": [TLS], "client": NO_IPV6, "rules": [Rule(to=V4, drop=True)]}, "tcp-timeout"),
    "silent in TLS": ({"peers": [Peer(kind="silent")]}, "tls-silent"),
    "large packets lost": ({"peers": [TLS], "rules": both(max_size=800)}, "tls-silent"),
    "alert": ({"peers": [Peer(kind="alert")]}, "tls-version"),
    "reset in TLS": ({"peers": [Peer(kind="reset")]}, "tcp-reset"),
    "plain HTTP that waits": ({"peers": [Peer(kind="http")]}, "tls-to-plaintext"),
    "foreign CA": ({"peers": [Peer(kind="tls", certificate="foreign")]}, "tls-untrusted-ca"),
    "other name": ({"peers": [Peer(kind="tls", certificate="other name")]}, "tls-name-mismatch"),
}  # fmt: skip
AT_ONCE = 6
"""Most wait for a timeout, and nothing else."""


@pytest.fixture(scope="module")
def examined(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, Any]]:
    """Network -> what the doctor says in it. Each thread has a lab of its own: a lab has one world at a time."""
    assert lab.pid
    labs = Labs()

    def one(name: str) -> tuple[int, Any]:
        with labs.own().world(**NETWORKS[name][0]) as made:
            return doctor(made, tmp_path_factory.mktemp("network"))

    try:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return dict(zip(NETWORKS, pool.map(one, NETWORKS), strict=True))
    finally:
        labs.close()


class Labs:
    """One for each thread."""

    def __init__(self) -> None:
        self._mine = threading.local()
        self._all: list[Lab] = []

    def own(self) -> Lab:
        if not hasattr(self._mine, "lab"):
            self._mine.lab = Lab()
            self._all.append(self._mine.lab)
        found: Lab = self._mine.lab
        return found

    def close(self) -> None:
        for each in self._all:
            each.close()


@pytest.mark.parametrize("network", NETWORKS)
def test_the_right_rule_first(network: str, examined: dict[str, tuple[int, Any]]) -> None:
    code, document = examined[network]
    first = NETWORKS[network][1]
    assert [each["rule"] for each in document["findings"]][:1] == [first], document["findings"]
    assert (code, document["healthy"], document["target"]) == (1, False, URL)
    assert set(document["findings"][0]) == KEYS
    assert document["findings"][0]["proof"]


@pytest.mark.parametrize(
    "world",
    [
        pytest.param({"peers": [TLS]}, id="both families"),
        pytest.param({"peers": [TLS], "client": NO_IPV6}, id="no IPv6 here"),
        pytest.param({"peers": [Peer(kind="tls", at=[V4])], "dns": names(v6=Reply())}, id="no IPv6 there"),
        pytest.param({"peers": [TLS], "rules": both(delay=0.2)}, id="far away"),
    ],
)
def test_what_is_healthy_gives_no_finding(lab: Lab, tmp_path: Path, world: Any) -> None:
    with lab.world(**world) as made:
        code, document = doctor(made, tmp_path)
    assert document["findings"] == []
    assert (code, document["healthy"]) == (0, True)


@pytest.mark.parametrize(("rules", "rule"), [
    (icmp((3, 13), (1, 1)), "egress-blocked"), (icmp((3, 3), (1, 4)), "tcp-refused"),
    (icmp((3, 1), (1, 3)), "no-route"),
])  # fmt: skip
def test_who_refuses_is_named(lab: Lab, tmp_path: Path, rules: list[Rule], rule: str) -> None:
    with lab.world(rules=rules) as made:
        _, document = doctor(made, tmp_path)
    first = document["findings"][0]
    told = " ".join([first["cause"], *first["proof"]])
    assert first["rule"] == rule
    assert ROUTER_V4 in told and ROUTER_V6 in told, told


def test_the_path_is_to_blame_for_a_silent_handshake(examined: dict[str, tuple[int, Any]]) -> None:
    _, document = examined["large packets lost"]
    assert document["findings"][0]["title"] == "Large packets to or from dual.test:443 are lost on the way"


def test_a_server_that_is_silent_beside_one_that_answers(lab: Lab, tmp_path: Path) -> None:
    second = "192.0.2.54"
    client = f"echo 'nameserver {DNS}\\nnameserver {second}' > /etc/resolv.conf"
    with lab.world(peers=[TLS], more_dns={second: names()}, rules=[Rule(to=DNS, drop=True)], client=client) as made:
        code, document = doctor(made, tmp_path)
    assert (code, [each["rule"] for each in document["findings"]]) == (1, ["dns-no-answer"])
    (finding,) = document["findings"]
    assert finding["severity"] == "warning"
    assert DNS in finding["title"]


def test_a_search_domain_that_has_the_name_too(lab: Lab, tmp_path: Path) -> None:
    client = f"printf 'nameserver {DNS}\\nsearch corp.test\\noptions ndots:5\\n' > /etc/resolv.conf"
    wrong = {("dual.test.corp.test.", "A"): Reply(("192.0.2.99",)), ("dual.test.corp.test.", "AAAA"): Reply()}
    file = tmp_path / "envoy.yaml"
    file.write_text(ENVOY.format(ca=tmp_path / "ca.pem"))
    with lab.world(peers=[TLS], dns={**names(), **wrong}, client=client) as made:
        _, document = doctor(made, tmp_path, "-c", str(file))
    assert "dns-search-detour" in [each["rule"] for each in document["findings"]]


ENVOY = """\
static_resources:
  clusters:
  - name: idp
    type: LOGICAL_DNS
    connect_timeout: 3s
    dns_lookup_family: {{}}
    load_assignment:
      cluster_name: idp
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: dual.test, port_value: 443}}}}}}
    transport_socket:
      name: envoy.transport_sockets.tls
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
        sni: dual.test
        common_tls_context:
          validation_context:
            trusted_ca: {{filename: {ca}}}
            match_typed_subject_alt_names: [{{san_type: DNS, matcher: {{exact: dual.test}}}}]
"""


@pytest.mark.parametrize(
    ("family", "client", "first"),
    [("AUTO", NO_IPV6, "dns-family-unreachable"), ("V6_ONLY", NO_IPV6, "dns-family-unreachable"),
     ("V4_ONLY", NO_IPV6, ""), ("ALL", NO_IPV6, ""), ("AUTO", "", "")],
)  # fmt: skip
def test_what_envoy_would_do_from_here(lab: Lab, tmp_path: Path, family: str, client: str, first: str) -> None:
    file = tmp_path / "envoy.yaml"
    file.write_text(ENVOY.format(ca=tmp_path / "ca.pem").replace("{}", family))
    with lab.world(peers=[TLS], client=client) as made:
        code, document = doctor(made, tmp_path, "-c", str(file))
    assert [each["rule"] for each in document["findings"]] == ([first] if first else [])
    assert code == bool(first)


def test_a_dead_provider_takes_no_longer_than_its_timeout_and_is_told_once(lab: Lab, tmp_path: Path) -> None:
    file = tmp_path / "envoy.yaml"
    file.write_text(ENVOY.format(ca=tmp_path / "ca.pem").replace("{}", "ALL"))
    with lab.world(rules=both(drop=True)) as made:
        _, document = doctor(made, tmp_path, "-c", str(file))
        syns = [each.time for each in made.attempts()]
    assert [each["rule"] for each in document["findings"]] == ["tcp-timeout"]
    assert document["evidence"][1]["connection"]["elapsed_ms"] < 3500
    assert max(syns) - min(syns) < 3, "nothing is begun after the timeout"
