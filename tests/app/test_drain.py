"""The end of a process, and of a worker: what is promised, counted under load."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from pathlib import Path

import pytest

from app.harness import address, proxy
from app.harness import running as in_process
from app.reload_world import Run, envoy, listening, native, running, two_applications
from load import WEBSOCKET, Load
from ostiary.app.reloader import take_over
from ostiary.model.errors import OstiaryError
from ports import free_port
from wire import Client, Upstream, scenario


@scenario
async def test_a_rolling_restart_on_the_same_address_loses_no_request(tmp_path: Path) -> None:
    """Envoy's listeners share their port (reuse_port): a successor starts before its predecessor ends."""
    port = free_port()
    async with two_applications() as (one, _two):
        runs = []
        for number in range(3):
            (tmp_path / str(number)).mkdir()
            runs.append(Run(tmp_path / str(number), "--drain-timeout", "20s"))
            runs[-1].write(envoy(port, one))
        runs[0].start()
        await runs[0].until(lambda: listening(port))
        load = Load(f"127.0.0.1:{port}")
        async with load.running(websockets=0):
            for before, after in ((runs[0], runs[1]), (runs[1], runs[2])):
                after.start()
                await after.hears("all dependencies initialized")
                assert await before.stop() == 0
                await load.progress()
        assert load.failures == []
        assert load.closed >= 8, "who was connected was told to come back"
        assert await runs[2].stop() == 0
        assert all(run.said("were cut") == 0 for run in runs)


@scenario
async def test_a_worker_that_is_told_to_end_loses_no_request(tmp_path: Path) -> None:
    port = free_port()
    async with two_applications() as (one, _two), running(tmp_path, native(port, one), port, "--workers", "2") as run:
        load = Load(f"127.0.0.1:{port}")
        async with load.running(websockets=0):
            for ended in (1, 2):
                os.kill(run.children()[0], signal.SIGTERM)
                await run.hears("ended with 0 and is replaced", ended)
                await load.progress()
        assert load.failures == []


@scenario
async def test_a_worker_that_is_killed_loses_what_it_was_answering_and_nothing_else(tmp_path: Path) -> None:
    """Each client meets one broken connection at most for each death, and none if it sends a GET again."""
    port = free_port()
    async with two_applications() as (one, _two), running(tmp_path, native(port, one), port, "--workers", "2") as run:
        load, again = Load(f"127.0.0.1:{port}"), Load(f"127.0.0.1:{port}", retries=True)
        async with load.running(websockets=0, streams=1), again.running(websockets=0, streams=0, posts=0):
            for died in (1, 2, 3):
                os.kill(run.children()[0], signal.SIGKILL)  # the oldest: in the end none is left of the first ones
                await run.hears("ended with -9 and is replaced", died)
                await run.until(lambda: len(run.children()) == 2)
                await again.progress()
        assert again.failures == [], "an idempotent request that is sent again succeeds"
        assert again.retried > 0, "otherwise nothing was tested"
        assert len(load.failures) <= 3 * load.clients, load.failures
        assert all("Incomplete" in failure or "Reset" in failure for failure in load.failures), load.failures


@scenario
async def test_connections_that_wait_to_be_accepted_are_lost_by_no_death(tmp_path: Path) -> None:
    port = free_port()
    async with two_applications() as (one, _two), running(tmp_path, native(port, one), port, "--workers", "2") as run:
        await run.until(lambda: len(run.children()) == 2)
        for pid in run.children():
            os.kill(pid, signal.SIGSTOP)
        waiting = [await Client.connect(f"127.0.0.1:{port}") for _ in range(20)]
        for client in waiting:
            client.send(b"GET /get/1 HTTP/1.1\r\nHost: app.test\r\n\r\n")
        for pid in run.children():
            os.kill(pid, signal.SIGKILL)
        assert [(await client.answer()).status for client in waiting] == [200] * 20


@scenario
async def test_a_client_that_connects_in_the_moment_of_a_drain_is_answered() -> None:
    """The loop accepts it and would tell its connection a moment later, when the drain has begun and found nobody."""
    async with Upstream().running() as app, in_process(proxy(app.port)) as door:
        host, _, port = address(door).rpartition(":")
        begun = asyncio.Event()

        async def drain() -> int:
            await begun.wait()
            return await door.stop(10)

        draining = asyncio.create_task(drain())
        await asyncio.sleep(0)
        with socket.create_connection(
            (host, int(port)), timeout=10
        ) as client:  # the kernel connects it, without the loop
            client.sendall(b"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n")
            begun.set()
            answer = await asyncio.to_thread(client.recv, 65536)
        assert answer.startswith(b"HTTP/1.1 200 "), answer
        assert await draining == 0


@pytest.mark.parametrize("workers", [1, 2])
@scenario
async def test_idle_connections_hear_of_a_drain_and_are_closed_without_a_reset(tmp_path: Path, workers: int) -> None:
    port = free_port()
    async with (
        two_applications() as (one, _two),
        running(tmp_path, native(port, one), port, "--workers", str(workers)) as run,
    ):
        asks, silent = [await Client.connect(f"127.0.0.1:{port}") for _ in range(2)]
        for client in (asks, silent):
            assert (await client.get()).get("connection") is None
        run.process.send_signal(signal.SIGTERM)
        await run.hears("draining: running requests may finish", workers)
        answer = await asks.get("/get/1")
        assert (answer.status, answer.get("connection")) == (200, "close"), "it is served, and told"
        assert await silent.reader.read() == b"", "an end of file, and not a reset"
        assert await asyncio.to_thread(run.process.wait, 20) == 0


@scenario
async def test_the_service_manager_is_told(tmp_path: Path) -> None:
    """sd_notify(3), as for `Type=notify-reload`."""
    for workers in ("1", "2"):
        port, address = free_port(), tmp_path / f"notify-{workers}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(str(address))
            manager.setblocking(False)

            async def told() -> str:
                return (await asyncio.get_running_loop().sock_recv(manager, 4096)).decode()

            environment = {"NOTIFY_SOCKET": str(address), "WATCHDOG_USEC": "200000"}
            (tmp_path / workers).mkdir()
            async with (
                two_applications() as (one, _two),
                running(tmp_path / workers, native(port, one), port, "--workers", workers, **environment) as run,
            ):
                heard = [await told()]
                while heard.count("WATCHDOG=1") < 2:
                    heard.append(await told())
                assert heard[0] == "READY=1"
                before = time.monotonic_ns() // 1000
                run.process.send_signal(signal.SIGHUP)
                while "READY=1" not in heard[1:]:
                    heard.append(await told())
                began = next(each for each in heard if each.startswith("RELOADING=1\nMONOTONIC_USEC="))
                assert before <= int(began.rpartition("=")[2]) <= time.monotonic_ns() // 1000
                run.process.send_signal(signal.SIGTERM)
                while "STOPPING=1" not in heard:
                    heard.append(await told())
                assert await asyncio.to_thread(run.process.wait, 20) == 0


@scenario
async def test_a_worker_that_drains_holds_up_no_reload(tmp_path: Path) -> None:
    """It lets its clients finish with what it has; its successor starts with what is new."""
    port = free_port()
    async with (
        two_applications() as (one, two),
        running(tmp_path, native(port, one), port, "--workers", "2") as run,
    ):
        await run.hears("all dependencies initialized", 2)
        ending = run.children()
        held = []
        for other in reversed(ending):  # a WebSocket in each
            os.kill(other, signal.SIGSTOP)
            held.append(await Client.connect(f"127.0.0.1:{port}"))
            assert (await held[-1].get("/ws", *WEBSOCKET)).status == 101
            os.kill(other, signal.SIGCONT)
        for number, app in ((1, two), (2, one)):
            os.kill(ending[number - 1], signal.SIGTERM)
            await run.hears("draining: running requests may finish", number)
            await run.reload(native(port, app))
        assert (run.children(), run.said("is refused")) == (ending, 0), run.log.read_text()
        for client in held:
            client.send(b"still there")
            assert await client.reader.readexactly(11) == b"still there"
            client.close()
        await run.hears("ended with 0 and is replaced", 2)
        fresh = await Client.connect(f"127.0.0.1:{port}")
        assert (await fresh.get("/get/1")).get("x-app") == "one"


@scenario
async def test_a_drain_that_begins_while_a_configuration_is_built_ends_that(tmp_path: Path) -> None:
    """Its clients would be served by something that nobody drains."""
    async with two_applications() as (one, two), in_process(proxy(one)) as door:
        client = await Client.connect(address(door))
        client.send(b"GET /stream/1 HTTP/1.1\r\nHost: app.test\r\n\r\n")
        await client.reader.readuntil(b"0001")
        proposal = await door.prepare(proxy(two), [], [])
        stopping = asyncio.ensure_future(door.stop(20))
        await asyncio.sleep(0)
        with pytest.raises(OstiaryError, match="it is draining"):
            await take_over(door, proposal, door.process)
        assert (await client.reader.readuntil(b"0\r\n\r\n")).endswith(b"0039\r\n0\r\n\r\n")
        assert await stopping == 0
