"""Long work lets others have their turns, and returns the same as at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator

from ostiary.app.metrics import Stats
from ostiary.app.slices import in_slices
from ostiary.model import limits
from wire import scenario


@scenario
async def test_statistics_of_many_clusters_hold_up_nobody() -> None:
    stats = Stats(("active",))
    turns = 0

    def slow() -> dict[str, int]:
        time.sleep(limits.SLICE)
        return {"total": turns, "active": 1}

    for number in range(5):
        stats.add_source(f"cluster.{number}", slow)

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    running = asyncio.create_task(others())
    counters, gauges = await in_slices(stats.gather())
    running.cancel()
    assert sorted(set(counters.values())) == sorted(counters.values()), "somebody had a turn after each source"
    assert gauges == {f"cluster.{number}.active": 1 for number in range(5)}


@scenario
async def test_short_work_is_done_at_once() -> None:
    def work() -> Generator[None, None, int]:
        for _ in range(3):
            yield
        return 7

    assert await in_slices(work()) == 7
