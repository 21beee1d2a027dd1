"""`/ready`: not before somebody could sign in, and it says what it waits for."""

from __future__ import annotations

import asyncio
import json
import socket
import time

from msgspec.structs import replace

from admin.admin_world import ask, with_admin
from app.harness import proxy, running
from ostiary.admin.pages.ready import worst
from ostiary.admin.server import AdminServer
from ostiary.admin.state import LEAVES
from ostiary.app.lifecycle import Doorkeeper
from ostiary.dialects import native
from ostiary.model.clusters import DnsRefresh, Endpoint
from ostiary.model.config import Config
from ostiary.net.inbox import Handler
from ostiary.testing.provider import DEMO_CLIENT, DemoProvider
from ports import free_port
from waiting import PATIENCE
from wire import scenario

KUBELETS_PATIENCE = 1.0
"""Seconds: `timeoutSeconds` of a probe, unless it says another."""


def signing_in(provider_port: int) -> Config:
    text = f"""
listen: 127.0.0.1:{free_port()}
upstream: http://127.0.0.1:1
admin: 127.0.0.1:0
provider: {{issuer: 'http://127.0.0.1:{provider_port}', client_id: {DEMO_CLIENT.client_id}, allow_http: true}}
"""
    variables = {"OSTIARY_CLIENT_SECRET": DEMO_CLIENT.client_secret}
    config, found = native.load([("ostiary.yaml", text.encode())], flags={}, env=variables)
    assert config is not None, found
    return config


async def until(door: Doorkeeper, status: int) -> str:
    deadline = time.monotonic() + PATIENCE
    while (answer := await ask(door, "/ready", "Connection: close")).status != status:
        assert time.monotonic() < deadline, answer.body
        await asyncio.sleep(0.05)
    return answer.body.decode()


@scenario
async def test_it_waits_for_the_provider_and_says_so() -> None:
    port = free_port()
    async with running(signing_in(port)) as door:
        state, why = (await until(door, 503)).splitlines()
        assert state == "INITIALIZING"
        assert f"http://127.0.0.1:{port}" in why
        dump = json.loads((await ask(door, "/init_dump")).body)
        assert dump["unready_targets_dumps"][0]["target_names"] == [why]
        assert (await ask(door, "/.ostiary/ready")).status == 503
        assert (await ask(door, "/.ostiary/live")).status == 200
        provider = DemoProvider("127.0.0.1", port)
        await provider.start()
        try:
            assert await until(door, 200) == "LIVE\n"
            assert json.loads((await ask(door, "/init_dump")).body) == {}
        finally:
            await provider.stop()
        assert (await ask(door, "/ready")).status == 200, "what was learnt stays"


@scenario
async def test_it_waits_for_the_hosts_of_clusters() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        endpoints = (Endpoint(address="app.ostiary.test", port=80),)
        by_name = {"dns_resolvers": (silent.getsockname(),), "dns_refresh": DnsRefresh(), "endpoints": endpoints}
        config = with_admin(proxy(1))
        config = replace(config, clusters=(replace(config.clusters[0], type="STRICT_DNS", **by_name),))
        async with running(config) as door:
            state, why = (await until(door, 503)).splitlines()
            assert (state, why.endswith(": app")) == ("PRE_INITIALIZING", True)
            found = (await ask(door, "/stats?filter=warming_(state|clusters)")).body
            assert found == b"cluster.app.warming_state: 1\ncluster_manager.warming_clusters: 1\n"
            silent.close()  # it is told that nobody listens there: with such an answer Envoy is content, too
            await until(door, 200)


def test_of_several_workers_the_one_furthest_from_serving_speaks() -> None:
    live, starting = ("LIVE", ""), ("PRE_INITIALIZING", "it starts")
    assert worst([live, starting, live]) == starting
    assert worst([("DRAINING", "why"), live]) == ("DRAINING", "why")
    assert worst([live]) == live
    leaves = ("DRAINING", LEAVES)
    assert worst([leaves, live]) == live, "one that is being replaced makes nobody unready"
    assert worst([leaves, leaves]) == leaves
    assert worst([leaves]) == live, "it has heard of no other"


class Hanging:
    """A worker beside this one that answers nobody."""

    count = 1

    def __init__(self) -> None:
        self.waited: list[float] = []

    def start(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Nothing to do."""

    def handle(self, start: str, handler: Handler) -> None:
        """Nothing to do."""

    async def ask(self, path: str, body: bytes, patience: float) -> list[bytes]:
        """No answer."""
        self.waited.append(patience)
        return []


@scenario
async def test_a_worker_that_hangs_fails_no_probe() -> None:
    peers = Hanging()
    door = Doorkeeper(with_admin(proxy(free_port())), admin=AdminServer, peers=peers)
    await door.start()
    try:
        for path in ("/ready", "/.ostiary/ready", "/.ostiary/live"):
            assert (await ask(door, path)).status == 200
    finally:
        await door.stop(0)
    assert len(peers.waited) == 2
    assert max(peers.waited) < KUBELETS_PATIENCE
