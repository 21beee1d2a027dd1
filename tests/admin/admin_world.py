"""A doorkeeper with an admin API, and a client of it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from msgspec.structs import replace

from app.harness import address, proxy, running
from ostiary.app.lifecycle import Doorkeeper
from ostiary.model.config import Address, Config
from wire import Answer, Client, Upstream

HOST = "localhost"


@contextlib.asynccontextmanager
async def doorkeeper(**http: Any) -> AsyncIterator[tuple[Doorkeeper, Upstream]]:
    """One that forwards to an upstream, with an admin API."""
    async with Upstream().running() as app, running(with_admin(proxy(app.port, **http))) as door:
        yield door, app


def with_admin(config: Config) -> Config:
    """The same with an admin API on a free port."""
    return replace(config, admin=Address(host="127.0.0.1"))


async def client(door: Doorkeeper) -> Client:
    """A connection to its admin API."""
    return await Client.connect(door.addresses["admin"][0])


async def ask(door: Doorkeeper, path: str, *headers: str, method: str = "GET", host: str = HOST) -> Answer:
    """One request on a connection of its own."""
    return await (await client(door)).get(path, *headers, method=method, host=host)


async def visit(door: Doorkeeper, path: str = "/") -> Answer:
    """One request to the application."""
    return await (await Client.connect(address(door))).get(path)
