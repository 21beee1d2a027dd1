"""The pages about the process itself, and those that change it. What ends or drains it is tested on a real process."""

from __future__ import annotations

import http.client
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from admin.admin_world import ask, doorkeeper, visit
from ostiary.model.config import HealthCheck, HttpFilter
from ostiary.model.matchers import HeaderMatcher, StringMatcher
from peers.proxies import Proxy, ostiary_arguments
from peers.recorders import Application
from peers.same_yaml import bootstrap, fill
from ports import free_port
from waiting import PATIENCE
from wire import Client, scenario

CHECK = HealthCheck(headers=(HeaderMatcher(name=":path", string_match=StringMatcher("exact", "/healthz")),))


@scenario
async def test_server_info_listeners_memory() -> None:
    async with doorkeeper() as (door, _):
        info = json.loads((await ask(door, "/server_info")).body)
        assert info["state"] == "LIVE"
        assert info["version"].split("/")[1].count(".") == 2
        assert info["uptime_current_epoch"].endswith("s")
        assert info["command_line_options"]["concurrency"] == 1
        address = door.addresses["main"][0]
        assert (await ask(door, "/listeners")).body.decode() == f"main::{address}\n"
        (listener,) = json.loads((await ask(door, "/listeners?format=json")).body)["listener_statuses"]
        assert listener["local_address"]["socket_address"]["port_value"] == int(address.rpartition(":")[2])
        assert int(json.loads((await ask(door, "/memory")).body)["total_physical_bytes"]) > 1_000_000
        assert json.loads((await ask(door, "/init_dump")).body) == {}
        assert (await ask(door, "/hot_restart_version")).body == b"disabled"


@scenario
async def test_health_checks_can_be_told_to_fail() -> None:
    async with doorkeeper(filters=(HttpFilter(name="health", config=CHECK),)) as (door, _):
        assert (await visit(door, "/healthz")).status == 200
        assert (await ask(door, "/healthcheck/fail")).status == 405
        assert (await ask(door, "/healthcheck/fail", method="POST")).body == b"OK\n"
        assert (await visit(door, "/healthz")).status == 503
        ready = await ask(door, "/ready")
        assert (ready.status, ready.body.split(b"\n")[0]) == (503, b"DRAINING")
        assert b"/healthcheck/fail" in ready.body
        answer = await visit(door)
        assert (answer.status, answer.get("connection")) == (200, "close"), "clients look for another instance"
        assert (await ask(door, "/stats?filter=server.state")).body == b"server.state: 1\n"
        await ask(door, "/healthcheck/ok", method="POST")
        assert (await visit(door, "/healthz")).status == 200
        assert (await visit(door)).get("connection") is None
        assert (await ask(door, "/ready")).body == b"LIVE\n"


@scenario
async def test_counters_can_be_reset_and_gauges_stay() -> None:
    async with doorkeeper() as (door, _):
        opened = await Client.connect(door.addresses["main"][0])
        await opened.get()
        await ask(door, "/reset_counters", method="POST")
        text = (await ask(door, "/stats")).body.decode()
        assert "http.test.downstream_rq_total: 0\n" in text
        assert "cluster.app.upstream_rq_total: 0\n" in text
        assert "http.test.downstream_cx_active: 1\n" in text
        await opened.get()
        assert (await ask(door, "/stats?filter=app.upstream_rq_total")).body.endswith(b": 1\n")


@scenario
async def test_a_form_says_what_a_query_says() -> None:
    async with doorkeeper() as (door, _):
        client = await Client.connect(door.addresses["admin"][0])
        form = b"skip_exit=1"
        client.send(
            b"POST /drain_listeners HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(form), form)
        )
        answer = await client.answer()
        assert (answer.status, answer.body) == (400, b"skip_exit requires graceful\n")


@pytest.fixture(params=[1, 2])
def proxy(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Proxy]:
    with Application() as app:
        port, admin = free_port(), free_port()
        values = {"PORT": port, "ADMIN": admin, "APP": app.port, "IDP": 1, "LOG": str(tmp_path / "access.log")}
        config = tmp_path / "envoy.json"
        config.write_text(json.dumps(fill(bootstrap(), values)))
        argv = ostiary_arguments(config, workers=request.param)
        running = Proxy("ostiary", argv, (port,), admin, tmp_path / "log").start()
        try:
            yield running
        finally:
            running.stop()


def is_open(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except ConnectionRefusedError:
        return False
    return True


def test_drained_listeners_let_nobody_in_and_keep_who_is(proxy: Proxy) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", proxy.ports[0], timeout=PATIENCE)
    connection.request("GET", "/")
    connection.getresponse().read()
    assert proxy.admin("/drain_listeners", "POST") == "OK\n"
    assert not is_open(proxy.ports[0])
    connection.request("GET", "/")
    assert connection.getresponse().status == 200
    connection.close()
    assert proxy.admin("/listeners") == ""
    assert proxy.admin("/stats?filter=total_listeners_active") == "listener_manager.total_listeners_active: 0\n"
    assert proxy.alive()


def test_quitquitquit_ends_all(proxy: Proxy) -> None:
    assert proxy.process is not None
    children = Path(f"/proc/{proxy.process.pid}/task/{proxy.process.pid}/children").read_text().split()
    assert proxy.admin("/quitquitquit", "POST") == "OK\n"
    assert proxy.process.wait(PATIENCE) == 0, proxy.output()
    assert not [child for child in children if os.path.exists(f"/proc/{child}")]
