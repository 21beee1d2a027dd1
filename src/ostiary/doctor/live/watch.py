"""One sign-in, watched: levels are raised, somebody signs in, the log is read meanwhile, and the levels go back.

At their usual levels proxies say that a sign-in failed, and seldom why. Levels go back whatever ends the watch.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ostiary.app.follow import Write, follow_file, follow_pod
from ostiary.app.level_memory import LevelMemory
from ostiary.app.level_session import LevelSession
from ostiary.core.level_change import Wanted
from ostiary.doctor.logs import read
from ostiary.doctor.report import Evidence, Found
from ostiary.net.admin_client import AdminClient, PodAdmin

_LOGGERS: Final = (
    "oauth2", "router", "pool", "connection", "client", "dns", "happy_eyeballs", "multi_connection", "upstream",
    "secret", "config", "jwt",
)  # fmt: skip
_ENOUGH: Final = ("debug", "trace")
_MAX_BYTES: Final = 64 << 20
"""Of one log; what comes after it is not of one sign-in."""
_FAILED: Final = "Responding with "
_AFTER: Final = 1.0
"""Seconds that are still read after a sign-in has failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """What was ordered."""

    seconds: float
    announce: Callable[[str], None]
    """Told when somebody shall sign in."""
    file: Path | None = None
    """The log of the admin ports' proxies; pods have theirs."""


async def watch(clients: Sequence[AdminClient], order: Watch) -> Found:
    """What the logs say meanwhile. Raises AdminError, OSError."""
    logs: dict[str, bytearray] = {}
    over = asyncio.Event()
    async with AsyncExitStack() as stack:
        for client in clients:
            await stack.enter_async_context(_raised(client))
        work = [follow_pod(c.pod, _writes(logs, c.where, over)) for c in clients if isinstance(c, PodAdmin)]
        if order.file is not None:
            work.append(follow_file(order.file, _writes(logs, str(order.file), over)))
        followers = [asyncio.ensure_future(each) for each in work]
        try:
            order.announce(f"sign in now, once: the log is read for {order.seconds:g} s at most")
            await _until(over, followers, order.seconds)
        finally:
            for follower in followers:
                follower.cancel()
            await asyncio.gather(*followers, return_exceptions=True)
    found = Found()
    for name, lines in logs.items():
        reading = await asyncio.to_thread(read, io.BytesIO(lines), name, lambda _count: None)
        told = f"{reading.lines:,} lines of one sign-in, {len(reading.facts):,} distinct facts"
        found.add(Found(list(reading.facts), [Evidence(kind="log", source=name, summary=told)]))
    return found


async def _until(over: asyncio.Event, followers: Sequence[asyncio.Future[None]], seconds: float) -> None:
    """Until a sign-in has failed and its last lines have come, or the time is up. Raises what ended a follower."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            ended: asyncio.Future[object] = asyncio.ensure_future(over.wait())
            waited: list[asyncio.Future[object]] = [ended, *followers]  # type: ignore[list-item] # results don't matter
            done, _ = await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            ended.cancel()
            for each in done:
                await each
            await asyncio.sleep(_AFTER)


def _writes(logs: dict[str, bytearray], name: str, over: asyncio.Event) -> Write:
    kept = logs.setdefault(name, bytearray())

    def write(line: str) -> None:
        if len(kept) < _MAX_BYTES:
            kept.extend(line.encode() + b"\n")
        if _FAILED in line:
            over.set()

    return write


@asynccontextmanager
async def _raised(client: AdminClient) -> AsyncIterator[None]:
    """Levels that are lower are raised to debug inside the block, and are what they were after it."""
    session = LevelSession(client, LevelMemory(client.where))
    levels = await session.read()
    single = {name: "debug" for name in _LOGGERS if levels.get(name, "debug") not in _ENOUGH}
    if not single:
        yield
        return
    changing = asyncio.ensure_future(session.change(Wanted(None, single)))
    try:
        changed = await asyncio.shield(changing)
    except asyncio.CancelledError:
        await session.put_back(await changing)  # what is on its way arrives: only then it can be undone
        raise
    try:
        yield
    finally:
        await asyncio.shield(session.put_back(changed))
