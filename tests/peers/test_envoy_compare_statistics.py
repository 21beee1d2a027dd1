"""Counters, gauges and histograms: the same traffic through the real Envoy and through Ostiary, and the same values.

What a number can't be equal in is listed, with the reason; so is what Envoy alone counts.
"""

from __future__ import annotations

import fnmatch
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from peers.statistics_world import STEPS, World, still

pytestmark = pytest.mark.peer

HEADS: Final = "the lines of heads that both write themselves differ: server, reasons, the token request"
LINGERS: Final = "Ostiary ends its side when the answer is written, so a client that waits for it goes at once"
ONCE: Final = "a code may be used once: it travels on a connection of its own"
HALF: Final = "who ends one side of a WebSocket may still listen: Envoy drops both, Ostiary lets the application end it"
CHANCE: Final = "depends on how fast the client reads"
HANDSHAKE: Final = "a connection whose handshake fails is never made: it is counted, its length isn't"
LEFT: Final = "who leaves before the handshake is not told apart from who fails in it"
VERSION: Final = "Envoy offers upstreams TLS 1.2 at most unless told otherwise"
AT_ONCE: Final = "a request's head is sent on while its body is read"
ALLOWED: Final = (
    ("*", "http.*.downstream_cx_tx_bytes_total", HEADS),
    ("*", "cluster.idp.upstream_cx_tx_bytes_total", HEADS),
    ("tls_upstream", "cluster.encrypted.upstream_cx_rx_bytes_total", HEADS),
    ("bad_framing", "cluster.app.upstream_cx_tx_bytes_total", AT_ONCE),
    ("*", "http.ing.downstream_cx_delayed_close_timeout", LINGERS),
    ("a_failed_token_call", "cluster.idp.upstream_*", ONCE),
    ("a_websocket", "*_cx_destroy_*", HALF),
    ("and_is_closed", "*_cx_destroy_*", HALF),
    ("*", "*_flow_control_*", CHANCE),
    ("*", "*.downstream_cx_length_ms (count)", HANDSHAKE),
    ("start", "listener.SECURE.ssl.connection_error", LEFT),
    ("tls_upstream", "listener.SECURE.ssl.ciphers.*", VERSION),
    ("tls_upstream", "listener.SECURE.ssl.versions.*", VERSION),
)
"""Steps, names, and why they may differ. An entry of one step that has ceased to be true fails."""
ENVOY_ALONE: Final = re.compile(
    r"_rx_bytes_buffered$|\.default\.total_match_count$|\.max_host_weight$|\.upstream_rq_per_cx \(count\)$"
    r"|\.connections_accepted_per_socket_event \(count\)$|\.ssl\.(curves|sigalgs|certificate|ciphers|versions)\."
    r"|^http\.async-client\.rq_total$"
)
"""What Envoy has counted and Ostiary has no number for: nothing is buffered here, no host is matched, OpenSSL does not
say which curve it took (ciphers and versions are others than Envoy's, see VERSION)."""
OURS_ALONE: Final = re.compile(
    r"\.downstream_cx_overflow$|\.upstream_rq_time \(count\)$|^cluster\.encrypted\.ssl\.(ciphers|versions)\."
)
"""Clients that were turned away; histograms that are there before there is a value; TLS 1.3."""


@dataclass(frozen=True)
class Seen:
    """What one proxy has counted."""

    added: dict[str, dict[str, int]]
    """By each step."""
    total: dict[str, int]
    process: dict[str, int]
    sent: int
    received: int
    """Bytes, as clients saw them."""
    page: str
    """What Prometheus gets."""


def played(kind: str, folder: Path) -> Seen:
    """Run every step."""
    world = World(kind, folder)
    try:
        world.proxy.start()
        before: dict[str, int] = {}
        added = {}
        for name, script in STEPS.items():
            script(world)
            now = world.settled()
            added[name] = {key: value - before.get(key, 0) for key, value in now.items() if value != before.get(key, 0)}
            before = now
        everything = world.stats()
        process = {key: value for key, value in everything.items() if key not in still(everything)}
        page = world.proxy.admin("/stats/prometheus")
        return Seen(added, before, process, world.sent, world.received, page)
    finally:
        world.close()


@pytest.fixture(scope="module")
def both(envoy: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Seen, Seen]:
    """Envoy's and Ostiary's."""
    assert envoy.exists()
    folder = tmp_path_factory.mktemp("statistics")
    return played("envoy", folder), played("ostiary", folder)


@pytest.mark.parametrize("step", STEPS)
def test_a_step_is_counted_alike(step: str, both: tuple[Seen, Seen], tally: Counter[str]) -> None:
    envoys, ours = both
    common = envoys.total.keys() & ours.total.keys()
    theirs, mine = envoys.added[step], ours.added[step]
    differ = {
        name: (theirs.get(name, 0), mine.get(name, 0))
        for name in sorted((theirs.keys() | mine.keys()) & common)
        if theirs.get(name, 0) != mine.get(name, 0)
    }
    tally["counters"] += len(theirs.keys() & common)
    allowed = [(steps, names) for steps, names, _ in ALLOWED if fnmatch.fnmatchcase(step, steps)]
    unlisted = {key: value for key, value in differ.items() if not any(_fits(key, names) for _, names in allowed)}
    assert not unlisted, "(Envoy's, Ostiary's)"
    untrue = [names for steps, names in allowed if steps != "*" and not any(_fits(key, names) for key in differ)]
    assert not untrue, "listed as different, but equal by now"


def _fits(name: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(name, pattern)


def test_what_envoy_counts_is_counted(both: tuple[Seen, Seen], tally: Counter[str]) -> None:
    envoys, ours = both
    missing = [name for name, value in envoys.total.items() if value and name not in ours.total]
    assert [name for name in missing if not ENVOY_ALONE.search(name)] == []
    assert [name for name in ours.total.keys() - envoys.total.keys() if not OURS_ALONE.search(name)] == []
    tally["names of statistics"] += len(envoys.total.keys() & ours.total.keys())
    assert len(envoys.total.keys() & ours.total.keys()) > 700


def test_the_process_is_counted_alike(both: tuple[Seen, Seen]) -> None:
    envoys, ours = (
        {
            name: value
            for name, value in seen.process.items()
            if name.startswith(("server.", "cluster_manager.", "listener_manager."))
            and not re.search(r"memory|uptime|_manager\.lds\.", name)
        }
        for seen in both
    )
    assert ours == {name: envoys[name] for name in ours}
    assert len(ours) > 15


def test_every_byte_is_counted(both: tuple[Seen, Seen]) -> None:
    """What went over the connections of clients that count themselves."""
    browsers = ("a_sign_in", "a_failed_token_call", "callbacks_without_a_flow")
    for seen in both:
        for side, by_clients in (("rx", seen.sent), ("tx", seen.received)):
            name = f"http.ing.downstream_cx_{side}_bytes_total"
            counted = sum(step.get(name, 0) for key, step in seen.added.items() if key not in browsers)
            assert counted == by_clients, name


SAMPLE: Final = re.compile(r'(\w+)\{((?:\w+="[^"\\]*",?)*)\} (\d+(?:\.\d+)?)')
NOT_ON_ENVOYS_PAGE: Final = re.compile(r"envoy_listener_manager_lds_|envoy_http_downstream_cx_overflow$")
"""This Envoy gets no new listeners, and turns nobody away."""
COMPARED: Final = ("cluster_upstream_rq_xx", "cluster_internal_upstream_rq", "listener_ssl_handshake")


def samples(page: str) -> dict[tuple[str, ...], float]:
    """Name, label names, and those labels that are a status -> the sum of the values."""
    found: dict[tuple[str, ...], float] = {}
    described: list[str] = []
    for line in page.splitlines():
        if line.startswith("# TYPE "):
            described.append(line.split(" ")[2])
            continue
        sample = SAMPLE.fullmatch(line)
        assert sample is not None, line
        name, labels, value = sample.groups()
        assert name.removeprefix(described[-1]) in ("", "_bucket", "_sum", "_count"), line
        told = [
            f"{key}={value}" if key.startswith("envoy_response") else key
            for key, value in re.findall(r'(\w+)="([^"]*)"', labels)
        ]
        found[name, *told] = found.get((name, *told), 0.0) + float(value)
    assert len(described) == len(set(described)), "each metric is described once"
    return found


def test_prometheus_gets_the_same_metrics(both: tuple[Seen, Seen]) -> None:
    theirs, ours = (samples(seen.page) for seen in both)
    assert {name for name, *_ in ours.keys() - theirs.keys() if not NOT_ON_ENVOYS_PAGE.match(name)} == set()
    compared = {key: value for key, value in ours.items() if key[0].removeprefix("envoy_") in COMPARED}
    assert compared == {key: theirs[key] for key in compared}
    assert {name for name, *_ in compared} == {f"envoy_{name}" for name in COMPARED}
    for name in ("listener_ssl_versions", "listener_ssl_ciphers", "cluster_ssl_versions", "cluster_ssl_ciphers"):
        assert any(key[0] == f"envoy_{name}" for key in ours)
