"""The demo provider behind a socket, in a thread of the test, so that its faults can be switched while it serves."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ostiary.testing.provider import DEMO_CLIENT, DemoProvider


@contextmanager
def demo_provider(port: int = 0, again: DemoProvider | None = None, **settings: Any) -> Iterator[DemoProvider]:
    """A running provider; settings are DemoProvider's. `again` starts a stopped one with the same keys."""
    provider = again or DemoProvider(port=port, **settings)
    loop = asyncio.new_event_loop()
    started, stop = threading.Event(), asyncio.Event()

    async def serve() -> None:
        async with provider:
            started.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    assert started.wait(10), "the provider did not start"
    try:
        yield provider
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()


def settings_for(issuer: str) -> dict[str, Any]:
    """The doorkeeper's `provider` section."""
    return {
        "issuer": issuer,
        "client_id": DEMO_CLIENT.client_id,
        "client_secret": DEMO_CLIENT.client_secret,
        "timeout": "2s",
    }
