"""How clients are spread over workers that accept at the same sockets."""

from __future__ import annotations

import asyncio
import contextlib
import re
from pathlib import Path

import pytest

from app.reload_world import Run, native, running, two_applications
from ostiary.app.shared import Shared
from ostiary.app.tally import Tally
from ports import free_port
from wire import Client, scenario


@pytest.mark.parametrize(
    ("clients", "ahead"),
    [
        ((0, 0), False),
        ((1, 0), False),  # one more is no more than chance
        ((2, 0), False),
        ((3, 0), True),
        ((51, 50), False),
        ((60, 50), True),
        ((50, 60), False),
        ((0, 100), False),
    ],
)
def test_who_has_more_than_its_share_is_ahead(clients: tuple[int, int], ahead: bool) -> None:
    shared = Shared(2, room=4)
    tally = Tally(shared, 0)
    tally.count = lambda: clients[0]
    shared.tell_clients(1, clients[1])
    shared.tell_clients(2, 1000)  # left behind by one that is not needed any more
    assert tally.is_ahead() is ahead
    assert shared.clients() == list(clients)


def test_one_that_is_not_needed_any_more_is_always_ahead() -> None:
    shared = Shared(1, room=2)
    assert Tally(shared, 1).is_ahead()


def clients_of(pid: int, port: int) -> int:
    """Connections that a process has accepted at a port."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    inodes = {line[9] for line in lines if line[1].endswith(f":{port:04X}") and line[3] == "01"}
    found = 0
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            match = re.fullmatch(r"socket:\[(\d+)\]", str(entry.readlink()))
            found += match is not None and match[1] in inodes
    return found


@scenario
async def test_clients_that_stay_are_spread_over_the_workers(tmp_path: Path) -> None:
    port = free_port()
    async with two_applications() as (one, _two), running(tmp_path, native(port, one), port, "--workers", "3") as run:
        await run.hears("all dependencies initialized", 3)
        clients: list[Client] = []

        def found(run: Run = run) -> list[int]:
            return [clients_of(pid, port) for pid in run.children()]

        async with asyncio.timeout(30):
            while len(clients) < 60 or min(found()) < max(found()) / 2:  # a busy machine may need a few more
                clients.append(await Client.connect(f"127.0.0.1:{port}"))
                assert (await clients[-1].get("/get/1")).status == 200
        for client in clients:
            client.close()
