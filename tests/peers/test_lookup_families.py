"""The forecast of `ostiary connect --families` against the real Envoy: same name, same peers, both kinds of cluster."""

from __future__ import annotations

import asyncio
import http.client
import json
import time
from pathlib import Path
from typing import Any

import pytest

from cli.world_in_thread import running
from net.dns_server import DnsServer, Reply, dual
from net.http_peers import HttpPeers
from net.peers_on_loopback import Behaviour
from ostiary.core.lookup_families import LOOKUP_FAMILIES, Forecast, verdicts
from ostiary.net.survey import Place, Survey, survey
from peers.proxies import Proxy, envoy_arguments
from ports import free_port
from waiting import PATIENCE

pytestmark = pytest.mark.peer

TYPES = "type.googleapis.com/envoy.extensions"
TIMEOUT = 1.0
REQUESTS = 6
"""To the STRICT_DNS cluster with both families: enough to meet each of its two hosts."""
FORMAT = "%UPSTREAM_CLUSTER%\t%RESPONSE_CODE%\t%RESPONSE_FLAGS%\t%RESPONSE_CODE_DETAILS%\t%UPSTREAM_REMOTE_ADDRESS%\n"


def cluster(name: str, kind: str, family: str, dns_port: int, port: int) -> dict[str, Any]:
    address = {"socket_address": {"address": "127.0.0.1", "port_value": dns_port}}
    return {
        "name": name,
        "type": kind,
        "dns_lookup_family": family,
        "connect_timeout": f"{TIMEOUT}s",
        "typed_dns_resolver_config": {
            "name": "envoy.network.dns_resolver.cares",
            "typed_config": {
                "@type": f"{TYPES}.network.dns_resolver.cares.v3.CaresDnsResolverConfig",
                "resolvers": [address],
                "dns_resolver_options": {"no_default_search_domain": True},
            },
        },
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [
                {
                    "lb_endpoints": [
                        {"endpoint": {"address": {"socket_address": {"address": "dual.test", "port_value": port}}}}
                    ]
                }
            ],
        },
    }


def bootstrap(clusters: list[dict[str, Any]], listen: int, admin: int, log: Path) -> dict[str, Any]:
    routes = [{"match": {"path": f"/{one['name']}"}, "route": {"cluster": one["name"]}} for one in clusters]
    manager = {
        "@type": f"{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        "http_filters": [
            {"name": "router", "typed_config": {"@type": f"{TYPES}.filters.http.router.v3.Router"}},
        ],
        "access_log": [
            {
                "name": "file",
                "typed_config": {
                    "@type": f"{TYPES}.access_loggers.file.v3.FileAccessLog",
                    "path": str(log),
                    "log_format": {"text_format_source": {"inline_string": FORMAT}},
                },
            }
        ],
    }

    def on(port: int) -> dict[str, Any]:
        return {"socket_address": {"address": "127.0.0.1", "port_value": port}}

    listener = {
        "name": "in",
        "address": on(listen),
        "filter_chains": [{"filters": [{"name": "hcm", "typed_config": manager}]}],
    }
    return {
        "admin": {"address": on(admin)},
        "static_resources": {"listeners": [listener], "clusters": clusters},
    }


def get(port: int, path: str) -> int:
    """A connection of its own, so that nothing is reused."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        return connection.getresponse().status
    finally:
        connection.close()


def envoy_says(folder: Path, dns_port: int, port: int) -> dict[str, list[list[str]]]:
    """cluster -> [code, flags, details, remote address] of each request to it."""
    names = {f"{kind}-{family}": (kind, family) for kind in ("LOGICAL_DNS", "STRICT_DNS") for family in LOOKUP_FAMILIES}
    clusters = [cluster(name, kind, family, dns_port, port) for name, (kind, family) in names.items()]
    listen, admin, log = free_port(), free_port(), folder / "access.log"
    config = folder / "envoy.json"
    config.write_text(json.dumps(bootstrap(clusters, listen, admin, log)))
    proxy = Proxy("envoy", envoy_arguments(config), (listen,), admin, folder / "envoy.log").start()
    expected = 0
    try:
        for name in names:
            for _ in range(REQUESTS if name == "STRICT_DNS-ALL" else 1):
                get(listen, f"/{name}")
                expected += 1
        deadline = time.monotonic() + PATIENCE
        while len(log.read_text().splitlines()) < expected:
            assert time.monotonic() < deadline, "the access log is incomplete"
            time.sleep(0.05)
    finally:
        proxy.stop()
    found: dict[str, list[list[str]]] = {name: [] for name in names}
    for line in log.read_text().splitlines():
        name, *rest = line.split("\t")
        found[name].append(rest)
    return found


def fates(answers: list[list[str]]) -> str:
    codes = {code for code, *_ in answers}
    return {frozenset({"200"}): "works", frozenset({"503"}): "fails"}.get(frozenset(codes), "some requests fail")


def check_words(forecast: Forecast, answers: list[list[str]]) -> None:
    """Flags and details of a failure, and of a success the family that won."""
    for _code, flags, details, remote in answers:
        if _code == "503":
            assert flags == forecast.flags
            assert forecast.reason in details
        elif forecast.winner is not None and len(answers) == 1:
            assert remote.startswith("[::1]" if forecast.winner.family == "v6" else "127.0.0.1")


@pytest.mark.parametrize("v6", ["greets", "refuses", "black_hole", "none"])
def test_envoy_does_as_forecast(v6: str, envoy: Path, tmp_path: Path) -> None:
    assert envoy.exists()
    behaviour: Behaviour = "refuses" if v6 == "none" else v6  # type: ignore[assignment]
    records = dual(v6=Reply() if v6 == "none" else None, v4=Reply(("127.0.0.1",), delay=0.03))
    server, peers = DnsServer(records), HttpPeers(behaviour, "greets")
    with running(server, peers):
        place = Place("dual.test", peers.port, timeout=TIMEOUT, dns_servers=[("127.0.0.1", server.port)])
        found: Survey = asyncio.run(survey(place, lambda _family: lambda _look: None))
        said = envoy_says(tmp_path, server.port, peers.port)
    for verdict in verdicts(found.answers, found.probes, TIMEOUT):
        for kind, forecast in (("LOGICAL_DNS", verdict.logical), ("STRICT_DNS", verdict.strict)):
            answers = said[f"{kind}-{verdict.family}"]
            assert fates(answers) == forecast.fate, (kind, verdict.family, answers)
            check_words(forecast, answers)
