"""A sidecar without a mesh: `RequestAuthentication` put into a bootstrap as istiod would do it, `EnvoyFilter` by
`ostiary patch`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from peers.proxies import Proxy, envoy_arguments
from ports import free_port
from waiting import PATIENCE

Tree = dict[str, Any]
_TYPES = "type.googleapis.com/envoy.extensions.filters"


def ostiary(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """One command of this checkout."""
    command = [sys.executable, "-m", "ostiary", *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=PATIENCE, input=stdin)


@dataclass(slots=True)
class Objects:
    """What `ostiary envoyfilter` printed, by kind."""

    by_kind: dict[str, Tree]

    def files(self, directory: Path) -> None:
        """The Secret, mounted at `directory`."""
        secret = self.by_kind["Secret"]
        for name, text in secret["stringData"].items():
            (directory / name).write_text(text)
        text = json.dumps(self.by_kind).replace(f"/etc/istio/{secret['metadata']['name']}", str(directory))
        self.by_kind = json.loads(text)


def generated(*arguments: str) -> Objects:
    """Run `ostiary envoyfilter`, which must succeed."""
    done = ostiary("envoyfilter", *arguments)
    assert done.returncode == 0, done.stderr
    return Objects({each["kind"]: each for each in yaml.safe_load_all(done.stdout)})


def sidecar(objects: Objects, folder: Path, app_port: int, port: int, admin_port: int, jwks: str = "") -> Tree:
    """A bootstrap with an inbound listener, its patches applied."""
    routes = {"virtual_hosts": [{"name": "inbound", "domains": ["*"], "routes": [_route(app_port)]}]}
    manager: Tree = {
        "@type": f"{_TYPES}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "inbound",
        "normalize_path": True,
        "route_config": routes,
        "http_filters": [{"name": "router", "typed_config": {"@type": f"{_TYPES}.http.router.v3.Router"}}],
    }
    if "RequestAuthentication" in objects.by_kind:
        manager["http_filters"].insert(0, _jwt_authn(objects, jwks))
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    listener = {"name": "virtualInbound", "address": _address(port), "filter_chains": [chain]}
    bootstrap = {
        "admin": {"address": _address(admin_port)},
        "static_resources": {
            "listeners": [listener | {"traffic_direction": "INBOUND"}],
            "clusters": [_cluster(app_port)],
        },
    }
    (folder / "envoyfilter.yaml").write_text(yaml.safe_dump(objects.by_kind["EnvoyFilter"]))
    files = ("-f", str(folder / "envoyfilter.yaml"), "--proxy", "-", "--context", "sidecar")
    who = ("--namespace", "httpbin", "--labels", "app=httpbin", "--istio-version", "1.29.0")
    done = ostiary("patch", *files, *who, "--json", stdin=json.dumps(bootstrap))
    assert (done.returncode, done.stderr) == (0, "2 of 2 patches applied\n"), done.stderr
    patched: Tree = json.loads(done.stdout)
    return patched


def _address(port: int) -> Tree:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _route(app_port: int) -> Tree:
    return {"match": {"prefix": "/"}, "route": {"cluster": f"inbound|{app_port}||"}}


def _cluster(app_port: int) -> Tree:
    name = f"inbound|{app_port}||"
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": _address(app_port)}}]}]
    return {"name": name, "load_assignment": {"cluster_name": name, "endpoints": endpoints}}


def _jwt_authn(objects: Objects, jwks: str) -> Tree:
    """What istiod makes of the RequestAuthentication, and of the policy beside it: nothing without a token."""
    [rule] = objects.by_kind["RequestAuthentication"]["spec"]["jwtRules"]
    provider = {
        "issuer": rule["issuer"],
        "audiences": rule["audiences"],
        "from_cookies": rule["fromCookies"],
        "forward": rule["forwardOriginalToken"],
        "local_jwks": {"inline_string": jwks},
    }
    [policy] = objects.by_kind["AuthorizationPolicy"]["spec"]["rules"]
    open_paths = policy.get("to", [{"operation": {}}])[0]["operation"].get("notPaths", [])
    rules = [{"match": {"path": path} if "*" not in path else {"prefix": path[:-1]}} for path in open_paths]
    rules.append({"match": {"prefix": "/"}, "requires": {"provider_name": "origins-0"}})
    config = {
        "@type": f"{_TYPES}.http.jwt_authn.v3.JwtAuthentication",
        "providers": {"origins-0": provider},
        "rules": rules,
    }
    return {"name": "envoy.filters.http.jwt_authn", "typed_config": config}


@contextmanager
def envoy_runs(bootstrap: Tree, directory: Path) -> Iterator[Proxy]:
    """The real Envoy, which takes the configuration and serves it."""
    [listener] = bootstrap["static_resources"]["listeners"]
    port = listener["address"]["socket_address"]["port_value"]
    admin = bootstrap["admin"]["address"]["socket_address"]["port_value"]
    config = directory / "bootstrap.json"
    config.write_text(json.dumps(bootstrap))
    argv = envoy_arguments(config)
    checked = subprocess.run(
        [*argv, "--mode", "validate"], check=False, capture_output=True, text=True, timeout=PATIENCE
    )
    assert checked.returncode == 0, checked.stderr[-3000:]
    proxy = Proxy("envoy", argv, (port,), admin, directory / "envoy.log").start()
    try:
        yield proxy
    finally:
        proxy.stop()


def ports() -> tuple[int, int]:
    """For the listener, and the admin API."""
    return free_port(), free_port()
