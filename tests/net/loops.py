"""Runs a coroutine on asyncio's own loop, with eager tasks (Python 3.12) and on uvloop: nothing may be left behind."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop

from ostiary.net import network
from waiting import PATIENCE

Run = Callable[[Coroutine[Any, Any, Any]], Any]


def open_sockets() -> set[str]:
    """The sockets of this process, by inode."""
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        try:
            target = os.readlink(entry)
        except OSError:
            continue
        if target.startswith("socket:"):
            found.add(target)
    return found


async def _settle(before: set[str]) -> None:
    """Give closing connections the few turns of the loop they need; then nothing may be left."""
    for _ in range(2000):
        others = asyncio.all_tasks() - {asyncio.current_task()}
        if not others and not open_sockets() - before:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"left behind: tasks {others}, sockets {open_sockets() - before}")


_EAGER = getattr(asyncio, "eager_task_factory", None)


@pytest.fixture(params=["asyncio", "uvloop", *(["eager"] if _EAGER is not None else [])])
def run(request: pytest.FixtureRequest) -> Run:
    """Run a coroutine on a loop of its own."""
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop

    def run_on_loop(coroutine: Coroutine[Any, Any, Any]) -> Any:
        network.watch()  # the process's own socket, opened with its first connection

        async def watched() -> Any:
            if request.param == "eager":
                asyncio.get_running_loop().set_task_factory(_EAGER)
            before = open_sockets()
            result = await asyncio.wait_for(coroutine, 2 * PATIENCE)
            await _settle(before)
            return result

        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(watched())

    return run_on_loop
