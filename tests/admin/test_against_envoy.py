"""The same requests to Ostiary's admin API and to the real Envoy's, under one configuration: status, type, shape.

What Ostiary adds is listed here, and so is what it leaves out.
"""

from __future__ import annotations

import http.client
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from peers.proxies import Proxy, envoy_arguments, ostiary_arguments
from peers.rawhttp import exchange, request
from peers.recorders import Application, Provider
from peers.same_yaml import HOST, bootstrap, fill, header, oauth2_config
from ports import free_port
from waiting import PATIENCE

OURS = re.compile(
    r"\.cluster_statuses\[\]\.host_statuses\[\]\.ostiary\b"
    r"|\.lb_policy$"  # Envoy's default, written out: Ostiary's own is another
)
"""Keys that only Ostiary has."""
NOT_OURS = re.compile(
    r"\.user_agent_build_version\.|\.node\.(extensions|id|cluster|dynamic_parameters|client_features|listening_addresses)"
    r"|\.command_line_options\.|^\.hot_restart_initializing$"
)
"""Keys that only Envoy has."""
RELOADS = re.compile(r"(envoy_)?listener_manager[._]lds[._]")
"""Statistics about new configurations: this Envoy gets none, for it has no LDS."""


class Pair:
    """Both, and what each says."""

    def __init__(self, envoy: Proxy, ostiary: Proxy) -> None:
        self.envoy = envoy
        self.ostiary = ostiary

    def ask(self, method: str, path: str) -> list[tuple[int, str, str]]:
        return [_ask(proxy, method, path) for proxy in (self.envoy, self.ostiary)]


def _ask(proxy: Proxy, method: str, path: str) -> tuple[int, str, str]:
    connection = http.client.HTTPConnection("127.0.0.1", proxy.admin_port, timeout=PATIENCE)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.headers["content-type"], answer.read().decode()
    finally:
        connection.close()


@pytest.fixture(scope="module")
def pair(envoy: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("admin")
    tree = bootstrap(oauth2=oauth2_config(pass_through_matcher=[header(":path", prefix="/public")]))
    running: list[Proxy] = []
    with Application() as application, Provider() as provider:
        for kind, arguments in (("envoy", envoy_arguments), ("ostiary", ostiary_arguments)):
            port, admin = free_port(), free_port()
            values = {"PORT": port, "ADMIN": admin, "APP": application.port, "IDP": provider.port}
            path = folder / f"{kind}.json"
            path.write_text(json.dumps(fill(tree, {**values, "LOG": str(folder / f"{kind}.access")})))
            running.append(Proxy(kind, arguments(path), (port,), admin, folder / f"{kind}.log").start())
        try:
            for proxy in running:
                assert exchange(proxy.ports[0], request("GET", "/page", host=HOST)).status == 302
                assert exchange(proxy.ports[0], request("GET", "/public", host=HOST)).status == 200
            yield Pair(*running)
        finally:
            for proxy in running:
                proxy.stop()


def shape(value: Any, path: str = "") -> set[str]:
    """The keys of a document; items of a list have one path."""
    if isinstance(value, dict):
        return {f"{path}.{key}" for key in value}.union(*(shape(each, f"{path}.{key}") for key, each in value.items()))
    if isinstance(value, list):
        return set().union(*(shape(each, f"{path}[]") for each in value))
    return set()


@pytest.mark.parametrize(
    "path",
    [
        "/certs",
        "/clusters?format=json",
        "/config_dump",
        "/config_dump?include_eds",
        "/config_dump?mask=bootstrap",
        "/config_dump?mask=bootstrap.admin",
        "/config_dump?mask=dynamic_active_clusters",
        "/config_dump?mask=static_clusters",
        "/config_dump?name_regex=app&mask=static_clusters",
        "/config_dump?name_regex=nothing",
        "/config_dump?resource=dynamic_active_secrets",
        "/config_dump?resource=static_clusters&mask=cluster.name",
        "/config_dump?resource=static_endpoint_configs&include_eds",
        "/config_dump?resource=static_listeners&mask=listener.address",
        "/config_dump?resource=static_route_configs",
        "/config_dump?resource=static_secrets&name_regex=hmac",
        "/init_dump",
        "/listeners?format=json",
        "/memory",
        "/runtime",
        "/server_info",
        "/stats?format=json&filter=rq_time",
        "/stats?format=json&filter=app.upstream_rq_time&histogram_buckets=cumulative",
    ],
)
def test_documents_have_the_same_keys(pair: Pair, path: str) -> None:
    (status, kind, theirs), (our_status, our_kind, ours) = pair.ask("GET", path)
    assert (our_status, our_kind) == (status, kind) == (200, "application/json")
    expected = {key for key in shape(json.loads(theirs)) if not NOT_OURS.search(key)}
    found = {key for key in shape(json.loads(ours)) if not OURS.search(key) and not NOT_OURS.search(key)}
    assert found == expected


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/config_dump?resource=nothing"),
        ("GET", "/config_dump?resource=bootstrap"),
        ("GET", "/config_dump?resource=static_endpoint_configs"),
        ("GET", "/config_dump?mask=bogus"),
        ("GET", "/config_dump?mask=static_clusters.cluster.name"),
        ("GET", "/config_dump?mask=static_clusters,static_listeners"),
        ("GET", "/config_dump?mask=bootstrap.node.bogus"),
        ("GET", "/config_dump?name_regex=("),
        ("GET", "/clusters?filter=("),
        ("GET", "/drain_listeners"),
        ("GET", "/healthcheck/fail"),
        ("GET", "/hot_restart_version"),
        ("GET", "/logging"),
        ("GET", "/quitquitquit"),
        ("GET", "/ready"),
        ("DELETE", "/ready"),
        ("POST", "/ready"),
        ("GET", "/stats?filter=("),
        ("GET", "/stats/prometheus?histogram_buckets=detailed"),
        ("GET", "//stats?filter=^server.live$"),
        ("GET", "/stats?format=blergh"),
        ("GET", "/stats?type=Bogus"),
        ("GET", "/stats?usedonly&filter=^server\\.state$"),
        ("GET", "/stats?filter=^listener_manager.total_listeners_active$"),
        ("GET", "/stats?filter=^cluster_manager.active_clusters$"),
        ("GET", "/stats?filter=^http.ing.(downstream_rq_[1-5]xx|downstream_rq_total|oauth_.*)$"),
        ("GET", "/stats?filter=^cluster.app.(membership_total|upstream_rq_(total|2xx|200|pending_total))$"),
        ("GET", "/stats?filter=^http.ing.downstream_cx_(total|active|destroy|destroy_remote|ssl_total)$"),
        ("POST", "/drain_listeners?skip_exit"),
        ("POST", "/healthcheck/ok"),
        ("POST", "/logging?paths=bogus:debug"),
        ("POST", "/logging?level=bogus"),
        ("POST", "/reopen_logs"),
    ],
)
def test_texts_are_the_same(pair: Pair, method: str, path: str) -> None:
    envoys, ours = pair.ask(method, path)
    if path.startswith("/logging?paths"):  # what follows lists the loggers, which differ
        envoys, ours = ((*each[:2], each[2].partition("active loggers")[0]) for each in (envoys, ours))
    assert ours == envoys


def test_unknown_paths(pair: Pair) -> None:
    (status, kind, theirs), (our_status, our_kind, ours) = pair.ask("GET", "/nothing")
    assert (our_status, our_kind) == (status, kind)
    assert ours.splitlines()[:2] == theirs.splitlines()[:2]


def test_help_says_what_envoys_does(pair: Pair) -> None:
    """Same order, same form; a page of both has the same method, and is described alike unless it works otherwise."""
    theirs, ours = (pages(body) for _, _, body in pair.ask("GET", "/help"))
    assert list(ours) == sorted(ours)
    common = ours.keys() & theirs.keys()
    wanted = {"/clusters", "/config_dump", "/drain_listeners", "/logging", "/ready", "/stats", "/stats/prometheus"}
    assert common >= wanted
    otherwise = {"/init_dump"}
    assert {path: ours[path] for path in common - otherwise} == {path: theirs[path] for path in common - otherwise}
    assert {path.split("/")[1] for path in ours.keys() - theirs.keys()} <= {"flights"}


def pages(text: str) -> dict[str, str]:
    return dict(re.findall(r"^  (/[^ :]*)(.*)$", text, re.MULTILINE))


def names(text: str) -> set[str]:
    """Of statistics; the listener's address is another one in each proxy."""
    return {line.partition(": ")[0] for line in re.sub(r"127[.0-9]*_\d+", "ADDRESS", text).splitlines()}


def test_every_statistic_is_one_of_envoys(pair: Pair) -> None:
    theirs, ours = (names(body) for _, _, body in pair.ask("GET", "/stats?type=Counters"))
    own = {name for name in ours - theirs if not name.endswith("downstream_cx_overflow") and not RELOADS.match(name)}
    assert own <= {"cluster.idp.external.upstream_rq_completed"}
    deadline = time.monotonic() + PATIENCE  # Envoy merges its threads' histograms every five seconds
    while "downstream_rq_time: P" not in pair.ask("GET", "/stats?type=Histograms")[0][2]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    for query in ("type=Gauges", "type=Histograms&usedonly"):
        theirs, ours = (names(body) for _, _, body in pair.ask("GET", f"/stats?{query}"))
        assert {name for name in ours if not RELOADS.match(name)} <= theirs, query


def metrics(text: str) -> dict[str, tuple[str, set[tuple[str, ...]]]]:
    """Metric -> (type, sets of label names)."""
    found: dict[str, tuple[str, set[tuple[str, ...]]]] = {}
    for line in text.splitlines():
        if line.startswith("# TYPE"):
            _, _, name, kind = line.split()
            found[name] = kind, set()
        else:
            sample, labels = re.fullmatch(r"(\w+)\{(.*)\} \S+", line).groups()  # type: ignore[union-attr]
            found[name][1].add((sample, *re.findall(r'(\w+)="', labels)))
    return found


def test_prometheus_metrics_are_envoys(pair: Pair) -> None:
    theirs, ours = (metrics(body) for _, _, body in pair.ask("GET", "/stats/prometheus"))
    allowed = {"envoy_http_downstream_cx_overflow", "envoy_cluster_external_upstream_rq_completed"}
    assert {name for name in ours.keys() - theirs.keys() if not RELOADS.match(name)} <= allowed
    for name in ours.keys() & theirs.keys():
        assert ours[name][0] == theirs[name][0], name
        assert ours[name][1] <= theirs[name][1], name
    assert len(ours.keys() & theirs.keys()) > 90


def test_clusters_as_text(pair: Pair) -> None:
    theirs, ours = (
        [re.sub(r"127\.0\.0\.1:\d+", "HOST", line).rpartition("::")[0] for line in body.splitlines()]
        for _, _, body in pair.ask("GET", "/clusters")
    )
    assert sorted(ours) == sorted(theirs)
