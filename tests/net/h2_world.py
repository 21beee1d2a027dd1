"""A doorkeeper before a scripted HTTP/2 application, and what it counts."""

from __future__ import annotations

import asyncio
from typing import Any

from app.harness import proxy
from h2_server import H2Server
from ostiary.app.lifecycle import Doorkeeper
from ostiary.model.clusters import Http2
from ostiary.model.config import Config


def before(server: H2Server, *, timeout: float = 15.0, http: dict[str, Any] | None = None, **cluster: Any) -> Config:
    """A doorkeeper's configuration before that server."""
    return proxy(server.port, cluster={"http2": Http2(), **cluster}, timeout=timeout, **(http or {}))


def stats(door: Doorkeeper, *names: str) -> tuple[int, ...]:
    """Counters of its cluster."""
    values = door.runtime.stats.values()
    return tuple(values.get(f"cluster.app.{name}", 0) for name in names)


async def until(condition: Any) -> None:
    """Wait for what other tasks bring about; the test's own bound ends what never comes."""
    while not condition():
        await asyncio.sleep(0.01)
