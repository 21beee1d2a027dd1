"""EnvoyFilters beside the real Envoy: what it says to a patched configuration, and how it serves one.

`ostiary patch` makes the configuration that Envoy gets; `ostiary run` takes the same EnvoyFilter as it is.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from dialects.test_istio_patch import TRAPS, envoy_filter, patched
from istio_example import GOOD
from peers.proxies import Proxy, envoy_arguments, ostiary_command
from peers.rawhttp import Response, exchange
from peers.recorders import Application
from ports import free_port
from waiting import PATIENCE

pytestmark = pytest.mark.peer
HCM = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
APPLIED = [case for case in TRAPS if any(case["applied"])]
REFUSED = {
    "after-router": "must be the last filter",
    "not-before-jwt-authn": "Proto constraint validation failed",
    "map-replaced": "jwks_source_specifier",
    "admission-warning": "Didn't find a registered implementation",
}
"""Codes with which Envoy refuses the result; the second because that trap's filter is empty."""


@pytest.mark.parametrize("case", APPLIED, ids=[case["name"] for case in APPLIED])
def test_envoy_refuses_what_is_said_to_be_refused_and_nothing_else(
    case: dict[str, Any], envoy: Path, tmp_path: Path
) -> None:
    objects = [envoy_filter(case, "one"), *(envoy_filter(each, "two") for each in case.get("more", ()))]
    result, outcomes = patched(objects)
    config = tmp_path / "patched.yaml"
    config.write_text(yaml.safe_dump(result))
    checked = subprocess.run(
        [str(envoy), "--mode", "validate", "-c", str(config)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    codes = {finding.code for outcome in outcomes for finding in outcome.findings}
    expected = [text for code, text in REFUSED.items() if code in codes]
    assert (checked.returncode != 0) is bool(expected), checked.stderr
    assert not expected or expected[0] in " ".join(checked.stderr.split())


def secret(name: str) -> str:
    kind = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
    value = {"secret": {"inline_string": "0123456789abcdef0123456789abcdef"}}
    return yaml.safe_dump({"resources": [{"@type": kind, "name": name, "generic_secret": value}]})


def bootstrap(port: int, admin: int, app: int) -> dict[str, Any]:
    """What istiod makes for a sidecar, but for where it listens."""
    route = {"name": "default", "match": {"prefix": "/"}, "route": {"cluster": "inbound|8080||"}}
    manager = {
        "@type": HCM,
        "stat_prefix": "inbound_0.0.0.0_8080",
        "route_config": {"virtual_hosts": [{"name": "inbound|http|8080", "domains": ["*"], "routes": [route]}]},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": ROUTER}}],
    }
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    here = {"socket_address": {"address": "127.0.0.1", "port_value": app}}
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": here}}]}]
    name = "inbound|8080||"
    cluster = {"name": name, "load_assignment": {"cluster_name": name, "endpoints": endpoints}}
    listener = {
        "name": "virtualInbound",
        "traffic_direction": "INBOUND",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [{"filters": filters}],
    }
    return {
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": admin}}},
        "static_resources": {"listeners": [listener], "clusters": [cluster]},
    }


@pytest.fixture(scope="module", params=["envoy", "ostiary"])
def proxy(request: pytest.FixtureRequest, envoy: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """The EnvoyFilter in front of an application, in Envoy patched, in Ostiary as it is."""
    assert envoy.exists()
    folder = tmp_path_factory.mktemp(request.param)
    for name in ("token", "hmac"):
        (folder / f"{name}.yaml").write_text(secret(name))
    written = folder / "envoyfilter.yaml"
    written.write_text(GOOD.replace("/etc/oauth", str(folder)).replace("login.example, port", "127.0.0.1, port"))
    port, admin = free_port(), free_port()
    with Application() as app:
        if request.param == "envoy":
            config = folder / "bootstrap.yaml"
            config.write_text(yaml.safe_dump(bootstrap(port, admin, app.port)))
            command = [sys.executable, "-m", "ostiary", "patch", "-f", str(written), "--proxy", str(config)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True)
            (folder / "patched.yaml").write_text(done.stdout)
            argv = envoy_arguments(folder / "patched.yaml")
        else:
            places = {"upstream": f"http://127.0.0.1:{app.port}", "listen": f"127.0.0.1:{port}",
                      "admin": f"127.0.0.1:{admin}", "workers": "2", "log-level": "debug"}  # fmt: skip
            argv = [*ostiary_command(), "run", "-c", str(written), *(f"--{k}={v}" for k, v in places.items())]
        running = Proxy(request.param, argv, (port,), admin, folder / "log").start()
        try:
            yield running
        finally:
            assert running.stop() == 0


def get(proxy: Proxy, path: str) -> Response:
    return exchange(proxy.ports[0], f"GET {path} HTTP/1.1\r\nHost: app.example\r\n\r\n".encode())


def test_nobody_gets_in_without_signing_in(proxy: Proxy) -> None:
    response = get(proxy, "/get?a=1")
    assert response.status == 302
    where = urlsplit(response.get("location") or "")
    asked = parse_qs(where.query)
    assert (where.netloc, where.path) == ("login.example", "/authorize")
    assert (asked["client_id"], asked["scope"]) == (["httpbin"], ["openid"])
    assert asked["redirect_uri"] == ["https://app.example/callback"]


def test_a_callback_without_a_flow_is_refused(proxy: Proxy) -> None:
    assert get(proxy, "/callback?code=a&state=b").status == 401


def test_the_admin_port_knows_the_added_cluster(proxy: Proxy) -> None:
    assert "oauth::" in proxy.admin("/clusters")
