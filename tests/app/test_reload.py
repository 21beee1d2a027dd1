"""A new configuration under load: not one request fails, whatever else happens."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import ssl
import time
import urllib.request
from pathlib import Path

import pytest
import trustme

from app.reload_world import Run, envoy, native, running, two_applications
from load import Load
from ports import free_port
from wire import Client, scenario

DIALECTS = {"native": native, "envoy": envoy}


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("dialect", list(DIALECTS))
@scenario
async def test_reloads_under_load_lose_no_request(tmp_path: Path, dialect: str, workers: int) -> None:
    port, write = free_port(), DIALECTS[dialect]
    async with (
        two_applications() as (one, two),
        running(tmp_path, write(port, one), port, "--workers", str(workers)) as run,
    ):
        load = Load(f"127.0.0.1:{port}")
        async with load.running():
            for app in (two, one, two, two, one, two):
                await run.reload(write(port, app))
                await load.progress()
            load.forget()
            await load.progress()
            assert load.seen.keys() == {"two"}, "every request that begins now is served by the new one"
        assert load.failures == []
        assert load.closed == 0, "no connection was told to close"
        assert run.said("cluster app changed") + run.said("cluster upstream changed") >= 5, run.log.read_text()


@pytest.mark.parametrize("workers", [1, 2])
@scenario
async def test_a_configuration_that_can_not_be_used_is_refused_and_the_old_one_serves_on(
    tmp_path: Path, workers: int
) -> None:
    port, taken, admin = free_port(), free_port(), free_port()
    refused = "the new configuration is refused and the last one stays in use: "
    tls = {"certificate_file": str(tmp_path / "none.pem"), "key_file": str(tmp_path / "none.pem")}
    (tmp_path / "broken.pem").write_text("no certificate")
    broken = {name: str(tmp_path / "broken.pem") for name in tls}
    async with two_applications() as (one, two):
        document = native(port, one, admin=f"127.0.0.1:{admin}")
        async with running(tmp_path, document, port, "--workers", str(workers)) as run:
            load = Load(f"127.0.0.1:{port}")
            with socket.create_server(("127.0.0.1", taken)):
                async with load.running():
                    run.write("upstream: [\n")
                    await run.reload(said=f"{refused}it has errors")
                    bare = {key: value for key, value in document.items() if key != "secret"}
                    await run.reload({**bare, "listn": 1}, f"{refused}it has errors")
                    await run.reload({**document, "tls": tls}, f"{refused}it has errors")
                    await run.reload({**document, "tls": broken}, refused)
                    await run.reload({**document, "listen": f"127.0.0.1:{taken}"}, f"{refused}can't listen on")
                    await load.progress()
            assert load.failures == []
            assert set(load.seen) == {"one"}
            log = run.log.read_text()
            assert re.search(r"\[error\].*\[config\].*ostiary\.yaml:1:\d+: error: listn: .*did you mean listen\?", log)
            assert re.search(r"\[warning\]\[config\].*ostiary\.yaml:1:\d+: warning: secret_file: missing", log)
            assert "broken.pem" in log and "Address already in use (choose another address" in log
            stats = await asyncio.to_thread(stats_of, admin, "lds")
            assert (stats["update_attempt"], stats["update_success"], stats["update_rejected"]) == (5, 0, 5)
            await run.reload(native(port, two, admin=f"127.0.0.1:{admin}"))
            client = await Client.connect(f"127.0.0.1:{port}")
            assert (await load.get(client, 1)).get("x-app") == "two"
            stats = await asyncio.to_thread(stats_of, admin, "lds")
            assert (stats["update_attempt"], stats["update_success"], stats["update_rejected"]) == (6, 1, 5)
            assert (
                abs(stats["update_time"] / 1000 - time.time())
                < 60
                > abs(stats["config_reload_time_seconds"] - time.time())
            )


def stats_of(admin: int, pattern: str) -> dict[str, int]:
    """The admin API's counters whose names match, by the last part of their names."""
    with urllib.request.urlopen(f"http://127.0.0.1:{admin}/stats?filter={pattern}") as answer:
        lines = answer.read().decode().splitlines()
    return {name.rpartition(".")[2]: int(value) for name, _, value in (line.partition(": ") for line in lines)}


@pytest.mark.parametrize("workers", [1, 2])
@scenario
async def test_listeners_come_and_go(tmp_path: Path, workers: int) -> None:
    port, other = free_port(), free_port()
    async with (
        two_applications() as (one, two),
        running(tmp_path, envoy(port, one), port, "--workers", str(workers)) as run,
    ):
        load, more = Load(f"127.0.0.1:{port}"), Load(f"127.0.0.1:{other}")
        async with load.running():
            await run.reload(envoy(port, one, extra=other))
            async with more.running(websockets=0, streams=0, busy=2, calm=1):
                pass
            assert (more.failures, more.answers["get"] > 10) == ([], True)
            left = await Client.connect(f"127.0.0.1:{other}")
            assert (await left.get()).get("connection") is None
            await run.reload(envoy(port, two))
            with pytest.raises(ConnectionRefusedError):
                await Client.connect(f"127.0.0.1:{other}")
            last = await left.get()
            assert (last.status, last.get("x-app"), last.get("connection")) == (200, "one", "close"), "as it was"
            await load.progress()
        assert load.failures == []
        assert f"listener on-{other} added" in run.log.read_text()
        assert f"listener on-{other} removed" in run.log.read_text()


@pytest.mark.parametrize("workers", [1, 2])
@scenario
async def test_other_tls_settings_move_clients_to_new_connections(tmp_path: Path, workers: int) -> None:
    ca, port = trustme.CA(), free_port()
    trusting, between = ssl.create_default_context(), ssl.create_default_context()
    for each in (trusting, between):
        ca.configure_trust(each)
    between.check_hostname = False
    names = []
    for name in ("one.test", "two.test"):
        issued = ca.issue_cert(name)
        (tmp_path / f"{name}.pem").write_bytes(issued.private_key_and_cert_chain_pem.bytes())
        names.append({f"{kind}_file": str(tmp_path / f"{name}.pem") for kind in ("certificate", "key")})
    expected = [(trusting, "one.test")]
    async with two_applications() as (one, _two):
        first, second = (native(port, one, tls=tls) for tls in names)
        async with running(tmp_path, first, port, "--workers", str(workers)) as run:
            load = Load(f"127.0.0.1:{port}", tls=lambda: expected[0])
            async with load.running(websockets=1, streams=1):
                for name, document in (("two.test", second), ("one.test", first), ("two.test", second)):
                    before = load.closed
                    expected[0] = (between, name)  # whoever connects meanwhile may meet either certificate
                    await run.reload(document)
                    expected[0] = (trusting, name)
                    await load.progress()
                    assert load.closed > before, "told to come back"
            assert load.failures == []


@scenario
async def test_files_are_watched(tmp_path: Path) -> None:
    """Also the way Kubernetes does it: a directory is replaced by a symlink's swap."""
    port = free_port()
    async with two_applications() as (one, two):
        for name, app in (("..1", one), ("..2", two)):
            (tmp_path / name).mkdir()
            (tmp_path / name / "ostiary.yaml").write_text(json.dumps(native(port, app)))
        (tmp_path / "..data").symlink_to("..1")
        (tmp_path / "ostiary.yaml").symlink_to("..data/ostiary.yaml")
        run = Run(tmp_path)
        load = Load(f"127.0.0.1:{port}")
        async with run.serving(port), load.running():
            (tmp_path / "..new").symlink_to("..2")
            (tmp_path / "..new").rename(tmp_path / "..data")
            await run.hears("its files have changed: reading the configuration again")
            await run.hears("the new configuration is in use")
            load.forget()
            await load.progress()
            assert load.seen.keys() == {"two"}
            (tmp_path / "..2" / "ostiary.yaml").write_text("{")
            await run.hears("the new configuration is refused")
            await load.progress()
        assert load.failures == []
        assert run.said("reading the configuration again") == 2, "once for each change"


@scenario
async def test_a_worker_that_dies_meanwhile_holds_up_no_reload_and_comes_back_with_the_new_configuration(
    tmp_path: Path,
) -> None:
    port = free_port()
    async with two_applications() as (one, two), running(tmp_path, native(port, one), port, "--workers", "2") as run:
        for app in (two, one, two):
            await run.until(lambda: len(run.children()) == 2)
            os.kill(run.children()[0], signal.SIGKILL)
            await run.reload(native(port, app))
        await run.until(lambda: len(run.children()) == 2)
        await asyncio.sleep(1)
        for _ in range(30):
            client = await Client.connect(f"127.0.0.1:{port}")
            assert (await client.get("/get/1")).get("x-app") == "two"
            client.close()


@pytest.mark.parametrize("workers", [1, 2])
@scenario
async def test_nothing_stays_of_configurations_that_were_replaced(tmp_path: Path, workers: int) -> None:
    port = free_port()
    async with (
        two_applications() as (one, two),
        running(tmp_path, native(port, one), port, "--workers", str(workers)) as run,
    ):
        client = await Client.connect(f"127.0.0.1:{port}")
        await client.get()  # what is imported with the first request is, and what explains why there is no provider
        await run.hears("[ostiary/app/diagnosis.py:", workers)
        for number in range(8):
            await run.reload(native(port, (one, two)[number % 2], timeouts={"route": f"{number + 60}s"}))
        await client.get()
        await asyncio.sleep(1)
        before, sizes = run.descriptors(), run.memory()
        for number in range(30):
            await run.reload(native(port, (one, two)[number % 2], timeouts={"route": f"{number + 60}s"}))
            assert (await client.get()).status == 200
        await run.until(lambda: max(run.descriptors()) <= max(before))
        await run.until(lambda: all(after < 1.03 * size for size, after in zip(sizes, run.memory(), strict=True)))
