"""HTTP/2 upstreams: the real Envoy and Ostiary with the same YAML before the same scripted application."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml

from h2_server import H2Server
from peers.proxies import Proxy, envoy_arguments, ostiary_arguments
from peers.same_yaml import TYPES, Tree, bootstrap, cluster, fill
from ports import free_port
from wire import Client, scenario

pytestmark = pytest.mark.peer

Script = Callable[[H2Server, Proxy], Awaitable[Any]]
COUNTERS = ("upstream_cx_overflow", "upstream_cx_total", "upstream_rq_total", "upstream_rq_200")


async def seen(
    name: str, directory: Path, server: H2Server, script: Script, tls: ssl.SSLContext | None = None, **options: Any
) -> tuple[Any, Any]:
    """What clients of one proxy get by the script, and what the proxy has counted. With TLS the script accepts."""
    async with server.running(tls, accepts=tls is None):
        port, admin = free_port(), free_port()
        tree = bootstrap(routes=[{"match": {"prefix": "/"}, "route": {"cluster": "app"}}])
        tree["static_resources"]["clusters"] = [cluster("app", "@APP@", **options)]  # type: ignore[arg-type]
        config = directory / f"{name}.yaml"
        values = {"PORT": port, "ADMIN": admin, "APP": server.port, "LOG": str(directory / f"{name}.access.log")}
        config.write_text(yaml.safe_dump(fill(tree, values)))
        argv = envoy_arguments(config) if name == "envoy" else ostiary_arguments(config)
        proxy = await asyncio.to_thread(Proxy(name, argv, (port,), admin, directory / f"{name}.log").start)
        try:
            got = await script(server, proxy)
            counted = await asyncio.to_thread(proxy.counters)
            return got, {counter: counted.get(f"cluster.app.{counter}", 0) for counter in COUNTERS}
        finally:
            await asyncio.to_thread(proxy.stop)


def tls_socket(authority: trustme.CA) -> Tree:
    """A transport_socket that trusts that authority and offers HTTP/2."""
    validation = {"trusted_ca": {"inline_string": authority.cert_pem.bytes().decode()}}
    common = {"alpn_protocols": ["h2"], "validation_context": validation}
    config = {"@type": f"{TYPES}.transport_sockets.tls.v3.UpstreamTlsContext", "sni": "app.test"}
    return {"name": "envoy.transport_sockets.tls", "typed_config": {**config, "common_tls_context": common}}


async def waiting(proxy: Proxy) -> int:
    """Requests that have no stream yet."""
    text = await asyncio.to_thread(proxy.admin, "/stats?filter=app.upstream_rq_pending_active")
    return int(text.rpartition(":")[2])


@pytest.mark.parametrize(("streams", "connections", "crowd"), [(1, 1, 4), (2, 1, 6), (1, 2, 5), (100, 1, 5)])
def test_a_crowd_at_a_host_that_may_have_few_connections(
    envoy: Path, tmp_path: Path, streams: int, connections: int, crowd: int
) -> None:
    assert envoy.exists()

    async def one_after_the_other(server: H2Server, proxy: Proxy) -> list[int]:
        clients = [await Client.connect(f"127.0.0.1:{proxy.ports[0]}") for _ in range(crowd)]
        answers = []
        for number, client in enumerate(clients, 1):  # each has a stream or waits before the next one comes
            answers.append(asyncio.ensure_future(client.get()))
            while len(server.got) + await waiting(proxy) < number:
                await asyncio.sleep(0.01)
        await server.accept()
        for number in range(1, crowd + 1):  # of two connections either may be the first, and so may its request
            (await server.request(number)).answer()
            while sum(answer.done() for answer in answers) < number:
                await asyncio.wait([each for each in answers if not each.done()], return_when="FIRST_COMPLETED")
        return [answer.result().status for answer in answers]

    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["h2"])
    authority.issue_cert("app.test").configure_cert(context)

    @scenario
    async def run() -> None:
        found = {}
        for name in ("envoy", "ostiary"):
            found[name] = await seen(
                name,
                tmp_path,
                H2Server(lambda _got: None),
                one_after_the_other,
                context,
                connect_timeout="60s",
                transport_socket=tls_socket(authority),
                http2_protocol_options={"max_concurrent_streams": streams},
                circuit_breakers={"thresholds": [{"max_connections": connections}]},
            )
        assert found["ostiary"] == found["envoy"]

    run()
