"""One YAML with many clusters for the real Envoy and for Ostiary; a script plays with one cluster on each side.

What is compared: what clients get, the cluster's counters and gauges, and each host's line of `/clusters`. Ports differ
between the sides, so hosts go by the names of the applications behind them.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from net.dns_server import DnsServer, Reply
from peers.proxies import Proxy, envoy_arguments, ostiary_arguments
from peers.recorders import Answer, Application, Received
from peers.same_yaml import Tree, bootstrap, cluster, fill, route
from ports import free_port
from waiting import PATIENCE

CARES: Final = "type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig"
_NOT_OURS: Final = re.compile(
    r"^(assignment_|bind_errors|default\.|lb_(local|recalculate|subsets|zone)|max_host_weight|original_dst|"
    r"retry_or_shadow|upstream_flow_control|upstream_http3|upstream_internal_redirect|upstream_rq_retry|"
    r"upstream_rq_per_try|upstream_rq_(0rtt|maintenance_mode|max_duration_reached|rx_reset|tx_reset)|"
    r"upstream_cx_(connect_attempts|connect_with_0|http[23]|max_duration|pool_overflow|rx_bytes|tx_bytes)|version|"
    r"warming_state|health_check\.degraded|outlier_detection\.ejections_detected_degradation|"
    r"circuit_breakers\.\w+\.remaining_cx_pools)"
)
"""What Envoy counts and Ostiary has not, or doesn't tell."""


def endpoint(port: object, host: str = "127.0.0.1", **more: Any) -> Tree:
    """An lb_endpoint; keys of Endpoint's own go into it, others beside it."""
    inner = {key: more.pop(key) for key in ("hostname", "additional_addresses", "health_check_config") if key in more}
    address = {"socket_address": {"address": host, "port_value": port}}
    return {"endpoint": {"address": address, **inner}, **more}


def hosts(name: str, *endpoints: Tree, **more: Any) -> Tree:
    """A STATIC cluster of these."""
    assignment = {"cluster_name": name, "endpoints": [{"lb_endpoints": list(endpoints)}]}
    return cluster(name, 1, **{"load_assignment": assignment} | more)


def named(name: str, host: str, kind: str, **more: Any) -> Tree:
    """A cluster of a name that the test's DNS server knows; asked for every second."""
    resolver = {
        "name": "envoy.network.dns_resolver.cares",
        "typed_config": {
            "@type": CARES,
            "resolvers": [{"socket_address": {"address": "127.0.0.1", "port_value": "@DNS@"}}],
            "dns_resolver_options": {"no_default_search_domain": True},
        },
    }
    settings = {"dns_refresh_rate": "1s", "typed_dns_resolver_config": resolver, **more}
    if kind == "DnsCluster":
        kind_type = "type.googleapis.com/envoy.extensions.clusters.dns.v3.DnsCluster"
        settings = {
            "type": None,
            "cluster_type": {"name": "envoy.clusters.dns", "typed_config": {"@type": kind_type, **settings}},
        }
    else:
        settings["type"] = kind
    return hosts(name, endpoint("@APP0@", host), **settings)


class Dns:
    """The tests' DNS server in a thread of its own."""

    def __init__(self, records: dict[tuple[str, str], Reply]) -> None:
        self.records = records
        self._loop = asyncio.new_event_loop()
        self._server = DnsServer(records)
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._run(self._server.__aenter__())
        self.port = self._server.port

    def _run(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)

    def close(self) -> None:
        """Answer no more."""
        self._run(self._server.__aexit__())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()


class HealthyApplication(Application):
    """Answers health checks by a switch, and keeps them apart from requests."""

    def __init__(self) -> None:
        self.health = 200
        self.checks: list[Received] = []
        super().__init__()

    def take(self, received: Received) -> Answer:
        if received.target.startswith("/health"):
            with self.lock:
                self.checks.append(received)
            return Answer(self.health)
        return super().take(received)


class SilentPort:
    """A listener that takes no connection: its backlog is full, so a handshake never ends."""

    def __init__(self) -> None:
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(0)
        self.port: int = self._listener.getsockname()[1]
        self._fillers = []
        for _ in range(3):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", self.port))
            self._fillers.append(filler)

    def close(self) -> None:
        for each in (*self._fillers, self._listener):
            each.close()


class Bench:
    """One proxy with its clusters, applications and DNS."""

    def __init__(self, kind: str, clusters: list[Tree], records: Mapping[tuple[str, str], Reply], folder: Path) -> None:
        self.kind = kind
        self.apps = [HealthyApplication() for _ in range(4)]
        self.dns = Dns(dict(records))
        self.silent = SilentPort()
        self.port, admin = free_port(), free_port()
        self.dead = free_port()
        self.ports = {f"127.0.0.1:{app.port}": f"app{number}" for number, app in enumerate(self.apps)}
        self.ports |= {f"127.0.0.1:{self.dead}": "dead", f"127.0.0.1:{self.silent.port}": "silent"}
        values: dict[str, Any] = {f"APP{number}": app.port for number, app in enumerate(self.apps)}
        values |= {"PORT": self.port, "ADMIN": admin, "APP": self.apps[0].port, "IDP": 1, "DNS": self.dns.port}
        values |= {"DEAD": self.dead, "SILENT": self.silent.port, "LOG": str(folder / f"{kind}.access.log")}
        routes = [route(f"/{each['name']}/", cluster=each["name"], timeout="1s") for each in clusters]
        path = folder / f"{kind}.yaml"
        path.write_text(yaml.safe_dump(fill(bootstrap(clusters=clusters, routes=routes), values), sort_keys=False))
        argv = envoy_arguments(path) if kind == "envoy" else ostiary_arguments(path)
        self.proxy = Proxy(kind, argv, (self.port,), admin, folder / f"{kind}.log")

    def close(self) -> None:
        """Stop everything."""
        self.proxy.stop()
        for each in (*self.apps, self.silent, self.dns):
            each.close()

    # --- playing

    def get(self, target: str) -> tuple[int, str, tuple[str, ...]]:
        """(status, body, x-envoy headers) of one request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request("GET", target)
            response = connection.getresponse()
            body = response.read().decode()
            told = sorted(f"{k}: {v}" for k, v in response.getheaders() if k.startswith("x-envoy") and "time" not in k)
        except http.client.IncompleteRead:
            return response.status, "<cut>", ()
        finally:
            connection.close()
        return response.status, body, tuple(told)

    @contextlib.contextmanager
    def asking(self, target: str, what: Callable[[], bool]) -> Iterator[list[tuple[int, str, tuple[str, ...]]]]:
        """A request that runs beside the block, which begins when `what` holds."""
        answers: list[tuple[int, str, tuple[str, ...]]] = []
        thread = threading.Thread(target=lambda: answers.append(self.get(target)))
        thread.start()
        self.wait(what)
        yield answers
        thread.join(PATIENCE)

    def leave(self, target: str, what: Callable[[], bool]) -> None:
        """Ask, and go away when `what` holds."""
        with socket.create_connection(("127.0.0.1", self.port)) as client:
            client.sendall(f"GET {target} HTTP/1.1\r\nhost: a\r\n\r\n".encode())
            self.wait(what)

    def wait(self, what: Callable[[], bool]) -> None:
        """Until it holds. Raises AssertionError."""
        deadline = time.monotonic() + PATIENCE
        while not what():
            assert time.monotonic() < deadline, f"{self.kind}: it never came about"
            time.sleep(0.02)

    def stat(self, name: str) -> int:
        """One counter below `cluster.`."""
        return self.proxy.counters().get(f"cluster.{name}", 0)

    def reaches(self, name: str, value: int) -> Callable[[], bool]:
        """For `wait`: the counter is at least that."""
        return lambda: self.stat(name) >= value

    def more(self, name: str, count: int = 1) -> Callable[[], bool]:
        """For `wait`: the counter has grown."""
        return self.reaches(name, self.stat(name) + count)

    # --- looking

    def stats(self, name: str) -> dict[str, int]:
        """Everything that is counted below `cluster.<name>.` and isn't 0."""
        prefix = f"cluster.{name}."
        found = {k.removeprefix(prefix): v for k, v in self.proxy.counters().items() if k.startswith(prefix) and v}
        return {key: value for key, value in found.items() if not _NOT_OURS.match(key)}

    def hosts(self, name: str) -> dict[str, dict[str, str]]:
        """`/clusters`: host -> key -> value."""
        found: dict[str, dict[str, str]] = {}
        for line in self.proxy.admin("/clusters").splitlines():
            match = re.fullmatch(rf"{name}::(.+?:\d+|/.+?|\w+)::(\w+)::(.*)", line)
            if match:
                host = match[1]
                for address, shown in self.ports.items():
                    host = host.replace(address, shown)
                host = re.sub(rf":{self.apps[0].port}$", ":app0", host)
                found.setdefault(host, {})[match[2]] = match[3]
        return found

    def status(self, name: str) -> dict[str, Any]:
        """`/clusters?format=json`, one cluster."""
        document = json.loads(self.proxy.admin("/clusters?format=json"))
        return next(each for each in document["cluster_statuses"] if each["name"] == name)

    def flags(self, name: str) -> dict[str, str]:
        """host -> health_flags."""
        return {host: seen["health_flags"] for host, seen in self.hosts(name).items() if "health_flags" in seen}

    def served(self) -> list[int]:
        """How many requests each application has had since the last time."""
        return [len(app.drain()) for app in self.apps]
