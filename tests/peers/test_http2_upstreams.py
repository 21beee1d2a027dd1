"""HTTP/2 applications that others wrote: Node's server, nginx and the real Envoy, behind Ostiary."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import hashlib
import json
import os
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml

from app.harness import address, proxy, running
from ostiary.app.lifecycle import Doorkeeper
from ostiary.model.clusters import HealthChecking, Http2, HttpHealthCheck
from ostiary.model.tls import CertificateValidationContext, DataSource, UpstreamTlsContext
from peers.doorkeeper import doorkeeper
from peers.person import Person
from peers.proxies import Proxy, envoy_arguments, ostiary_arguments
from peers.recorders import Application
from peers.same_yaml import bootstrap, cluster, fill
from peers.strict_provider import CLIENT_SECRET, Place, sign_in
from ports import free_port
from waiting import PATIENCE
from wire import Client, scenario

pytestmark = pytest.mark.peer

HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: app.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


@contextlib.contextmanager
def listening(argv: list[Any], port: int, log: Path) -> Iterator[None]:
    """A program, from when its port is open."""
    with log.open("ab") as out:
        process = subprocess.Popen([str(each) for each in argv], stdout=out, stderr=out, stdin=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def node_app(node: Path, directory: Path, *files: Path) -> Iterator[int]:
    port = free_port()
    script = Path(__file__).with_name("h2_app.mjs")
    with listening([node, script, port, *files], port, directory / "node.log"):
        yield port


@contextlib.asynccontextmanager
async def door_to(port: int, **cluster: Any) -> AsyncIterator[Doorkeeper]:
    config = proxy(port, cluster={"http2": Http2(), **cluster}, upgrade_types={"websocket": True}, timeout=0)
    async with running(config) as door:
        yield door


def certificates(directory: Path) -> tuple[UpstreamTlsContext, Path, Path]:
    """What a cluster trusts, a key and its certificate."""
    authority = trustme.CA()
    issued = authority.issue_cert("app.test")
    key, chain, trusted = directory / "key.pem", directory / "chain.pem", directory / "ca.pem"
    issued.private_key_pem.write_to_path(key)
    chain.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
    authority.cert_pem.write_to_path(trusted)
    validation = CertificateValidationContext(trusted_ca=DataSource(filename=str(trusted)))
    tls = UpstreamTlsContext(sni="app.test", alpn_protocols=("h2", "http/1.1"), validation_context=validation)
    return tls, key, chain


# --- Node


def test_node(node: Path, tmp_path: Path) -> None:
    @scenario
    async def run() -> None:
        with node_app(node, tmp_path) as port:
            async with door_to(port) as door:
                client = await Client.connect(address(door))
                answer = await client.get("/a?b", "Cookie: a=b; c=d", "X-A: caf\xe9")
                told = json.loads(answer.body)
                assert answer.all("set-cookie") == ["a=1", "b=2"]
                assert (told["headers"][":path"], told["headers"]["cookie"]) == ("/a?b", "a=b; c=d")
                assert (told["headers"][":authority"], told["headers"][":scheme"]) == ("app.test", "http")
                client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
                assert json.loads((await client.answer()).body)["body"] == "abc"
                found = await client.get("/trailers", "TE: trailers")
                assert (found.body, found.trailers) == (b"body", [b"grpc-status: 0", b"grpc-message: fine"])
                assert (await client.get("/hints")).informational == [103]
                assert (await client.get("/", method="HEAD")).status == 200
                clients = [await Client.connect(address(door)) for _ in range(120)]  # more than one connection takes
                answers = await asyncio.gather(*(each.get(f"/{n}") for n, each in enumerate(clients)))
                assert [json.loads(each.body)["headers"][":path"] for each in answers] == [f"/{n}" for n in range(120)]

    run()


def test_a_websocket_to_node(node: Path, tmp_path: Path) -> None:
    @scenario
    async def run() -> None:
        with node_app(node, tmp_path) as port:
            async with door_to(port) as door:
                client = await Client.connect(address(door))
                client.send(HANDSHAKE)
                answer = await client.answer()
                assert (answer.status, answer.get("sec-websocket-accept")) == (101, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
                data = os.urandom(2_000_000)
                client.send(data)
                assert await client.reader.readexactly(len(data)) == data

    run()


@pytest.mark.parametrize("spoken", ["h2", "http/1.1"])
def test_alpn_with_node(spoken: str, node: Path, tmp_path: Path) -> None:
    tls, key, chain = certificates(tmp_path)
    if spoken == "http/1.1":
        tls = UpstreamTlsContext(
            sni=tls.sni, alpn_protocols=("http/1.1",), validation_context=tls.validation_context
        )  # fmt: skip

    @scenario
    async def run() -> None:
        with node_app(node, tmp_path, key, chain) as port:
            async with door_to(port, http2=Http2(negotiate=True), transport_socket=tls) as door:
                answer = await (await Client.connect(address(door))).get("/x")
                assert answer.status == 200
                assert (answer.body == b"HTTP/1.1") == (spoken == "http/1.1")

    run()


def test_health_checks_of_an_http_2_application_speak_http_1_1(node: Path, tmp_path: Path) -> None:
    tls, key, chain = certificates(tmp_path)
    checking = HealthChecking(
        timeout=5.0, interval=0.05, unhealthy_threshold=1, healthy_threshold=1, check=HttpHealthCheck(path="/healthz"),
        no_traffic_interval=0.05, no_traffic_healthy_interval=0.05, unhealthy_interval=0.05,
        unhealthy_edge_interval=0.05, healthy_edge_interval=0.05,
    )  # fmt: skip

    @scenario
    async def run() -> None:
        with node_app(node, tmp_path, key, chain) as port:
            options = {"http2": Http2(negotiate=True), "transport_socket": tls, "health_checking": checking}
            async with door_to(port, **options) as door:
                answer = await (await Client.connect(address(door))).get("/x")
                assert json.loads(answer.body)["headers"][":path"] == "/x"  # of HTTP/2
                stats = door.runtime.stats.values()
                assert (stats["cluster.app.health_check.failure"], stats["cluster.app.membership_healthy"]) == (0, 1)
                assert stats["cluster.app.health_check.success"] >= 1

    run()


# --- nginx

NGINX = """
daemon off; worker_processes 1; user {user}; pid {directory}/nginx.pid; error_log {directory}/error.log;
events {{ worker_connections 512; }}
http {{
  access_log off; keepalive_requests 20; client_max_body_size 0;
  client_body_temp_path {directory}/t1; proxy_temp_path {directory}/t2; fastcgi_temp_path {directory}/t3;
  uwsgi_temp_path {directory}/t4; scgi_temp_path {directory}/t5;
  server {{
    listen 127.0.0.1:{plain} http2;
    listen 127.0.0.1:{encrypted} ssl http2;
    ssl_certificate {directory}/chain.pem; ssl_certificate_key {directory}/key.pem;
    location /file {{ root {directory}; }}
    location / {{ return 200 "$server_protocol $scheme $http_host$http_x_a"; }}
  }}
}}
"""


@contextlib.contextmanager
def nginx_app(nginx: Path, directory: Path) -> Iterator[tuple[int, int, UpstreamTlsContext]]:
    tls, _, _ = certificates(directory)
    plain, encrypted = free_port(), free_port()
    config = directory / "nginx.conf"
    config.write_text(NGINX.format(directory=directory, plain=plain, encrypted=encrypted, user=getpass.getuser()))
    argv = [nginx, "-p", directory, "-e", directory / "error.log", "-c", config]
    with listening(argv, plain, directory / "nginx.log"):
        yield plain, encrypted, tls


def test_nginx(nginx: Path, tmp_path: Path) -> None:
    content = os.urandom(30_000_000)
    (tmp_path / "file").write_bytes(content)

    @scenario
    async def run() -> None:
        with nginx_app(nginx, tmp_path) as (plain, encrypted, tls):
            async with door_to(plain) as door:
                client = await Client.connect(address(door))
                assert (await client.get("/", "X-A: !")).body == b"HTTP/2.0 http app.test!"
                found = await client.get("/file")
                assert (found.status, len(found.body)) == (200, len(content))
                assert hashlib.sha256(found.body).digest() == hashlib.sha256(content).digest()
                assert (await client.get("/none", method="DELETE")).status == 200
                # Every connection ends after 20 requests, with GOAWAY, whatever is under way.
                clients = [await Client.connect(address(door)) for _ in range(40)]
                for _ in range(10):
                    answers = await asyncio.gather(*(each.get("/") for each in clients))
                    assert {answer.status for answer in answers} == {200}
                assert door.runtime.stats.values()["cluster.app.upstream_cx_http2_total"] >= 20
            async with door_to(encrypted, http2=Http2(negotiate=True), transport_socket=tls) as door:
                client = await Client.connect(address(door))
                assert (await client.get("/")).body == b"HTTP/2.0 https app.test"

    run()


# --- the real Envoy behind us


def test_envoy_as_the_application(envoy: Path, tmp_path: Path) -> None:
    assert envoy.exists()
    tree = bootstrap(
        manager={
            "codec_type": "HTTP2",
            "http2_protocol_options": {"allow_connect": True},
            "upgrade_configs": [{"upgrade_type": "websocket"}],
        }
    )
    tree["static_resources"]["clusters"] = [cluster("app", "@APP@")]  # type: ignore[arg-type]

    @scenario
    async def run() -> None:
        with Application() as app:
            port, admin = free_port(), free_port()
            values = {"PORT": port, "ADMIN": admin, "APP": app.port, "LOG": str(tmp_path / "access.log")}
            config = tmp_path / "envoy.yaml"
            config.write_text(yaml.safe_dump(fill(tree, values)))
            inner = Proxy("envoy", envoy_arguments(config), (port,), admin, tmp_path / "envoy.log").start()
            try:
                async with door_to(port) as door:
                    client = await Client.connect(address(door))
                    client.send(
                        b"POST /f HTTP/1.1\r\nHost: app.test\r\nContent-Length: 300000\r\n\r\n" + b"x" * 300_000
                    )
                    assert (await client.answer()).status == 200
                    [got] = app.drain()
                    assert (got.request_line, len(got.body)) == ("POST /f HTTP/1.1", 300_000)
                    client.send(HANDSHAKE)
                    answer = await client.answer()
                    assert answer.status == 101
                    client.send(b"there and back")
                    assert await client.reader.readexactly(14) == b"there and back"
                    [got] = app.drain()
                    assert got.get("sec-websocket-key") == "dGhlIHNhbXBsZSBub25jZQ=="
                counted = await asyncio.to_thread(inner.counters)
                assert counted["http.ing.downstream_cx_http2_total"] == 1
                assert counted.get("http2.rx_messaging_error", 0) == 0
            finally:
                inner.stop()

    run()


# --- memory


def peak(pid: int) -> int:
    """The most memory a process has had, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads memory from /proc")
def test_memory_stays_flat_whoever_is_slow(node: Path, tmp_path: Path) -> None:
    tree = bootstrap(routes=[{"match": {"prefix": "/"}, "route": {"cluster": "app", "timeout": "0s"}}])
    tree["static_resources"]["clusters"] = [cluster("app", "@APP@", http2_protocol_options={})]  # type: ignore[arg-type]
    size = 400_000_000

    @scenario
    async def run() -> None:
        with node_app(node, tmp_path) as app:
            port, admin = free_port(), free_port()
            values = {"PORT": port, "ADMIN": admin, "APP": app, "LOG": "/dev/null"}
            config = tmp_path / "ostiary.yaml"
            config.write_text(yaml.safe_dump(fill(tree, values)))
            door = Proxy("ostiary", ostiary_arguments(config), (port,), admin, tmp_path / "ostiary.log").start()
            try:
                client = await Client.connect(f"127.0.0.1:{port}")
                assert (await client.get("/count")).body == b"0"
                before = peak(door.pid)
                slow = [await Client.connect(f"127.0.0.1:{port}") for _ in range(20)]
                for each in slow[:10]:
                    each.send(b"GET /pour/%d HTTP/1.1\r\nHost: a\r\n\r\n" % size)
                for each in slow[10:]:
                    each.send(b"POST /ignore HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size)
                    with contextlib.suppress(TimeoutError):
                        while True:
                            each.send(b"x" * 262_144)
                            await asyncio.wait_for(each.writer.drain(), 0.3)
                client.send(b"GET /pour/%d HTTP/1.1\r\nHost: a\r\n\r\n" % size)  # meanwhile, somebody quick
                head = await client.reader.readuntil(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 200")
                left = size
                while left:
                    left -= len(await client.reader.read(1 << 20))
                client.send(b"POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size)
                for _ in range(size // 1_000_000):
                    client.send(b"y" * 1_000_000)
                    await client.writer.drain()
                assert (await client.answer()).body == b"%d" % size
                assert peak(door.pid) - before < 40_000_000
            finally:
                door.stop()

    run()


# --- signing in


def test_signing_in_before_an_http_2_application(place: Place, node: Path, tmp_path: Path) -> None:
    provider = {
        "issuer": place.issuer, "client_id": "ostiary", "client_secret": CLIENT_SECRET,
        "scopes": "openid profile email groups offline_access",
    }  # fmt: skip
    with node_app(node, tmp_path) as port:
        upstream = {"url": f"http://127.0.0.1:{port}", "http2": True}
        with doorkeeper(tmp_path, provider, 0, port=place.port, upstream=upstream):
            page = sign_in(Person(), f"{place.url}/reports", "jane")
            told = json.loads(page.text)["headers"]
            assert (page.status, told[":path"], told["x-forwarded-user"]) == (200, "/reports", "jane")
            assert (told[":scheme"], told["x-forwarded-email"]) == ("http", "jane@example.com")
            assert "ostiary" not in told.get("cookie", "")
