"""A DNS server and peers on a loop of their own, for commands that run a loop themselves."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from net.dns_server import DnsServer
from net.peers_on_loopback import Peers
from waiting import PATIENCE


@contextmanager
def running(server: DnsServer, peers: Peers) -> Iterator[None]:
    """Both are up inside the block."""
    ready, stop = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        async with server, peers:
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    try:
        assert ready.wait(PATIENCE)
        yield
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(PATIENCE)
        loop.run_until_complete(_wind_down())
        loop.close()


async def _wind_down() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.sleep(0.02)
