"""What a reload changes of the process itself: its log, its admin API, how many workers it has."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.reload_world import Run, envoy, native, running, two_applications
from load import WEBSOCKET, Load
from peers.crew import state
from ports import free_port
from wire import Client, scenario


async def asked(admin: int) -> int:
    """What the admin API there answers, in a number."""
    client = await Client.connect(f"127.0.0.1:{admin}")
    answer = await client.get("/server_info", host="127.0.0.1")
    client.close()
    return answer.status


def at(port: int, app: int, admin: int | None, **more: object) -> dict[str, object]:
    return native(port, app, **({} if admin is None else {"admin": f"127.0.0.1:{admin}"}), **more)


@pytest.mark.parametrize("workers", [1, 2])
@scenario
async def test_the_log_changes_its_levels_and_its_format(tmp_path: Path, workers: int) -> None:
    port = free_port()
    async with (
        two_applications() as (one, _two),
        running(tmp_path, native(port, one), port, "--workers", str(workers)) as run,
    ):
        await run.reload(native(port, one, log={"level": "debug", "format": "json"}), "in use after")
        client = await Client.connect(f"127.0.0.1:{port}")
        await client.get()
        await run.hears('"level": "debug", "scope": "envoy http')
        if workers > 1:  # one that starts later writes like the others
            os.kill(run.children()[0], signal.SIGKILL)
            await run.hears('"msg": "worker 0 ended with -9 and is replaced"')
            await run.hears('"msg": "all dependencies initialized. starting workers"')
        mark = len(run.log.read_text())
        await run.reload(native(port, one, log={"format": "istio"}), "in use after")
        await run.hears("\tinfo\tenvoy config ")
    lines = run.log.read_text()[mark:].splitlines()
    assert [line for line in lines[-3:] if "\tenvoy " not in line] == [], "to the end"


@pytest.mark.parametrize("workers", [1, 2])
@scenario
async def test_the_admin_api_moves_comes_and_goes(tmp_path: Path, workers: int) -> None:
    port, first, second = free_port(), free_port(), free_port()
    arguments = (port, "--workers", str(workers))
    async with two_applications() as (one, _two), running(tmp_path, at(port, one, first), *arguments) as run:
        load = Load(f"127.0.0.1:{port}")
        async with load.running(websockets=0, streams=1):
            idle = await Client.connect(f"127.0.0.1:{first}")
            await run.reload(at(port, one, second))
            assert await asked(second) == 200
            with pytest.raises(ConnectionRefusedError):
                await Client.connect(f"127.0.0.1:{first}")
            assert await idle.reader.read() == b"", "who waits for nothing is told at once"
            if workers > 1:
                os.kill(run.children()[0], signal.SIGTERM)
                await run.hears("all dependencies initialized", 3)
                assert [await asked(second) for _ in range(8)] == [200] * 8, "a new worker listens there, too"
            await run.reload(at(port, one, None))
            await run.hears("admin address: none any more", workers)
            with pytest.raises(ConnectionRefusedError):
                await Client.connect(f"127.0.0.1:{second}")
            await run.reload(at(port, one, first))
            assert await asked(first) == 200
            with socket.create_server(("127.0.0.1", second)):
                await run.reload(at(port, one, second), "stays in use: can't listen on")
            assert await asked(first) == 200
            await load.progress()
        assert load.failures == []


async def pids(run: Run, number: int) -> list[int]:
    await run.until(lambda: len(run.children()) == number)
    return run.children()


@scenario
async def test_workers_come_and_go_without_a_lost_request(tmp_path: Path) -> None:
    port, admin = free_port(), free_port()
    async with two_applications() as (one, two):
        async with running(tmp_path, at(port, one, admin, workers=2), port) as run:
            load = Load(f"127.0.0.1:{port}")
            async with load.running(websockets=0, streams=2):
                before = await pids(run, 2)
                for number, app in ((4, two), (3, one), (1, two), (2, one)):
                    await run.reload(at(port, app, admin, workers=number))
                    now = await pids(run, number)
                    assert set(now) >= set(before[:number]), "those that stay are the same"
                    before = now
                    await load.progress()
                    answer = await whole(run, admin, number)
                    assert answer == f"{number}/{number}"
            assert load.failures == []
        log = run.log.read_text()
        assert log.count("it is not needed any more") == 3
        assert "needs a restart" not in log and "[error]" not in log


async def whole(run: Run, admin: int, number: int) -> str | None:
    """How many workers of how many answer the admin API, as soon as all do."""
    found: str | None = None
    async with asyncio.timeout(20):
        while found != f"{number}/{number}":
            client = await Client.connect(f"127.0.0.1:{admin}")
            answer = await client.get("/server_info", host="127.0.0.1")
            concurrency = json.loads(answer.body)["command_line_options"]["concurrency"]
            found = answer.get("x-ostiary-workers") or f"{concurrency}/{concurrency}"
            client.close()
            await asyncio.sleep(0.05)
    return found


@scenario
async def test_the_end_lets_a_worker_finish_that_drains_already(tmp_path: Path) -> None:
    port = free_port()
    async with two_applications() as (one, _two), running(tmp_path, native(port, one, workers=2), port) as run:
        await run.hears("all dependencies initialized", 2)
        client: Client | None = None
        async with at_worker(run, run.children()[1]):
            client = await Client.connect(f"127.0.0.1:{port}")
            client.send(b"GET /stream/1 HTTP/1.1\r\nHost: app.test\r\n\r\n")
            await client.reader.readuntil(b"0001")
        await run.reload(native(port, one, workers=1))
        await run.hears("draining: running requests may finish")
        run.process.send_signal(signal.SIGTERM)
        assert (await client.reader.read()).endswith(b"0\r\n\r\n"), "the end of the stream"
        assert await asyncio.to_thread(run.process.wait, 20) == 0
        assert run.said("were cut") == 0


@scenario
async def test_one_worker_alone_says_why_it_can_start_no_other(tmp_path: Path) -> None:
    port = free_port()
    async with two_applications() as (one, _two), running(tmp_path, native(port, one), port) as run:
        await run.reload(native(port, one, workers=2))
        await run.hears("[warning][config]")
        assert (
            run.said("the number of workers has changed too; that needs a restart: a single worker has no parent") == 1
        )
        await run.reload(native(port, one, workers=1))
    assert run.said("needs a restart") == 1


@scenario
async def test_a_worker_that_is_told_to_end_is_replaced_at_once_however_young(tmp_path: Path) -> None:
    port = free_port()
    async with two_applications() as (one, _two), running(tmp_path, native(port, one), port, "--workers", "2") as run:
        load = Load(f"127.0.0.1:{port}")
        async with load.running(websockets=0, streams=0):
            for round_ in range(1, 6):  # as one that dies young, the sixth would be there after 15 s
                await pids(run, 2)
                await run.hears("all dependencies initialized", 1 + round_)
                os.kill(run.children()[-1], signal.SIGTERM)
                await run.hears("ended with 0 and is replaced: it was told to end", round_)
            await pids(run, 2)
        assert load.failures == []
    assert "[error]" not in run.log.read_text()


@contextlib.asynccontextmanager
async def at_worker(run: Run, pid: int) -> AsyncIterator[None]:
    """Whoever connects meanwhile comes to this worker."""
    others = [each for each in run.children() if each != pid]
    for each in others:
        os.kill(each, signal.SIGSTOP)
    try:
        await run.until(lambda: all(state(each) == "T" for each in others))
        yield
    finally:
        for each in others:
            os.kill(each, signal.SIGCONT)


@scenario
async def test_a_worker_that_is_not_needed_drains_as_long_as_it_takes_and_makes_nobody_unready(tmp_path: Path) -> None:
    port, admin = free_port(), free_port()
    address = {"socket_address": {"address": "127.0.0.1", "port_value": admin}}
    async with contextlib.AsyncExitStack() as stack:
        one, _two = await stack.enter_async_context(two_applications())
        document = {**envoy(port, one), "admin": {"address": address}}
        run = await stack.enter_async_context(running(tmp_path, document, port, "--workers", "2"))
        await run.hears("all dependencies initialized", 2)
        stays, leaves = run.children()
        async with at_worker(run, leaves):
            client = await Client.connect(f"127.0.0.1:{port}")
            assert (await client.get("/ws", *WEBSOCKET)).status == 101
        os.kill(leaves, signal.SIGTERM)
        await run.hears("draining: running requests may finish")
        for _ in range(20):
            asks = await Client.connect(f"127.0.0.1:{admin}")
            answer = await asks.get("/ready", host="127.0.0.1")
            asks.close()
            assert (answer.status, answer.body) == (200, b"LIVE\n")
        client.send(b"still here")
        assert await client.reader.readexactly(10) == b"still here"
        assert run.children() == [stays, leaves]
        client.close()
