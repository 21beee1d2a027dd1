"""Reloads and deaths of workers under load for long, as `make soak` starts it:

    python tests/soak [SECONDS] [WORKERS]

Each round reloads twice, ends a worker by SIGTERM and kills one; clients are busy all the time. A request that fails
though nobody was killed is a failure of ours, and so is one that fails again after a death. Memory and descriptors of
every process are printed as they go; they must not grow from the second quarter to the last.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # as pytest has it

from app.reload_world import Run, memory, native, running, two_applications  # noqa: E402
from load import Load  # noqa: E402
from ports import free_port  # noqa: E402

GROWTH = 1.10
"""Memory of the last quarter to that of the second: caches fill, nothing else grows."""
PATIENCE = 60
"""Seconds for a worker to come back: who dies young again and again pauses for 30."""


async def rounds(
    run: Run, ports: tuple[int, int, int], load: Load, workers: int, until: float
) -> list[tuple[int, int]]:
    """(memory of the parent, descriptors of the parent) after each round; workers are too young to tell."""
    port, *apps = ports
    found: list[tuple[int, int]] = []
    while time.monotonic() < until:
        for app in apps:
            await run.reload(native(port, app, timeouts={"route": f"{10 + len(found)}s"}))
            await load.progress()
        if workers > 1:
            for number, code in ((signal.SIGTERM, 0), (signal.SIGKILL, -9)):
                before = run.said(f"ended with {code} and is replaced")
                os.kill(run.children()[0], number)
                await run.hears(f"ended with {code} and is replaced", before + 1)
                await run.until(lambda: len(run.children()) == workers, PATIENCE)
        found.append((memory(run.process.pid), run.descriptors()[0]))
        sizes = [f"{memory(pid) / 1024:.0f} MiB" for pid in (run.process.pid, *run.children())]
        said = f"{sum(load.answers.values())} answers, {load.retried} sent again, {len(load.failures)} failures"
        line = f"round {len(found)}: {said}; {', '.join(sizes)}; descriptors {run.descriptors()}"
        print(line, file=sys.stderr)
    return found


async def main(seconds: float, workers: int) -> int:
    """0 if all went well."""
    port = free_port()
    async with two_applications() as (one, two):
        with tempfile.TemporaryDirectory() as directory:
            arguments = (Path(directory), native(port, one), port, "--workers", str(workers), "--drain-timeout", "1h")
            async with running(*arguments) as run:
                load = Load(f"127.0.0.1:{port}", retries=workers > 1)
                kinds = {"websockets": 0, "posts": 0, "streams": 0} if workers > 1 else {}
                async with load.running(**kinds):
                    found = await rounds(run, (port, one, two), load, workers, time.monotonic() + seconds)
    quarter = max(1, len(found) // 4)
    second, last = found[quarter : 2 * quarter] or found, found[-quarter:]
    grown = max(size for size, _ in last) / max(size for size, _ in second)
    more = max(count for _, count in last) - max(count for _, count in second)
    print(f"{len(found)} rounds, {len(load.failures)} failures, memory x{grown:.3f}, descriptors {more:+d}")
    for failure in load.failures[:20]:
        print(failure)
    return int(bool(load.failures) or grown > GROWTH or more > 8)


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main(float((sys.argv[1:2] or ["300"])[0]), int((sys.argv[2:3] or ["2"])[0]))))
