"""Which server name is sent to an upstream with TLS."""

from __future__ import annotations

import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml

from peers import rawhttp
from peers.proxies import Proxy, envoy_arguments, ostiary_arguments
from peers.same_yaml import HOST, TYPES, Tree, bootstrap, cluster, fill, route
from ports import free_port

pytestmark = pytest.mark.peer


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        connection = self.request
        assert isinstance(connection, ssl.SSLSocket)
        while self.rfile.readline() not in (b"\r\n", b""):
            pass
        name = str(getattr(connection, "server_name", "")).encode()
        self.wfile.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(name) + name)


class _Server(socketserver.ThreadingTCPServer):
    """Answers with the name that the client sent."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.context = context

    def get_request(self) -> tuple[Any, Any]:
        connection, address = super().get_request()
        return self.context.wrap_socket(connection, server_side=True, do_handshake_on_connect=True), address


@contextmanager
def upstream() -> Iterator[int]:
    """Its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("anything.example").configure_cert(context)

    def note(connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: ssl.SSLContext) -> None:
        connection.server_name = name or "none"  # type: ignore[union-attr]

    context.sni_callback = note
    server = _Server(context)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


def tls_cluster(name: str, port: int, kind: str, hostname: str, **settings: Any) -> Tree:
    """A cluster that trusts anyone: names that are verified can't be compared, Envoy verifies none."""
    address = "127.0.0.1" if kind == "STATIC" else "localhost"
    endpoint: Tree = {"address": {"socket_address": {"address": address, "port_value": port}}}
    if hostname:
        endpoint["hostname"] = hostname
    context = {"validation_context": {"trust_chain_verification": "ACCEPT_UNTRUSTED"}}
    typed = {
        "@type": f"{TYPES}.transport_sockets.tls.v3.UpstreamTlsContext",
        "common_tls_context": context,
        **settings,
    }
    changes: Tree = {
        "type": kind,
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": endpoint}]}]},
        "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": typed},
    }
    return cluster(name, port, **changes, **({} if kind == "STATIC" else {"dns_lookup_family": "V4_ONLY"}))


CASES: dict[str, tuple[str, str, Tree]] = {
    "sni": ("STATIC", "", {"sni": "a.example"}),
    "sni-and-hostname": ("STATIC", "host.example", {"sni": "a.example"}),
    "auto": ("STATIC", "host.example", {"auto_host_sni": True}),
    "auto-before-sni": ("STATIC", "host.example", {"sni": "a.example", "auto_host_sni": True}),
    "auto-without-hostname": ("STATIC", "", {"sni": "a.example", "auto_host_sni": True}),
    "none": ("STATIC", "", {}),
    "dns-sni": ("STRICT_DNS", "", {"sni": "a.example"}),
    "dns-auto": ("STRICT_DNS", "", {"sni": "a.example", "auto_host_sni": True}),
    "logical-dns-auto": ("LOGICAL_DNS", "", {"sni": "a.example", "auto_host_sni": True}),
    "dns-auto-hostname": ("STRICT_DNS", "host.example", {"sni": "a.example", "auto_host_sni": True}),
}


def test_both_send_the_same_server_name(envoy: Path, tmp_path: Path) -> None:
    with upstream() as port:
        clusters = [tls_cluster(name, port, kind, host, **more) for name, (kind, host, more) in CASES.items()]
        routes = [route(f"/{name}/", cluster=name) for name in CASES]
        tree = bootstrap(routes=routes, clusters=clusters)
        seen = {}
        for kind, arguments in (("envoy", envoy_arguments), ("ostiary", ostiary_arguments)):
            listen, admin = free_port(), free_port()
            values = {"PORT": listen, "ADMIN": admin, "APP": 1, "IDP": 1, "LOG": str(tmp_path / f"{kind}.access")}
            config = tmp_path / f"{kind}.yaml"
            config.write_text(yaml.safe_dump(fill(tree, values)))
            proxy = Proxy(kind, arguments(config), (listen,), admin, tmp_path / f"{kind}.log").start()
            try:
                asked = {name: rawhttp.request("GET", f"/{name}/", host=HOST) for name in CASES}
                seen[kind] = {name: rawhttp.exchange(listen, data).body.decode() for name, data in asked.items()}
            finally:
                proxy.stop()
    assert seen["ostiary"] == seen["envoy"]
    assert (seen["envoy"]["auto-before-sni"], seen["envoy"]["dns-auto"]) == ("host.example", "localhost")
