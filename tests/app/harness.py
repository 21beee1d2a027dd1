"""A doorkeeper in this process, before an upstream of the test's."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from msgspec.structs import replace

from ostiary.admin.server import AdminServer
from ostiary.app.lifecycle import Doorkeeper
from ostiary.model.clusters import Cluster, Endpoint
from ostiary.model.config import Address, Config, HttpConnectionManager, HttpFilter, Listener, Router
from ostiary.model.routes import Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost


def proxy(port: int, *, filters: tuple[HttpFilter, ...] = (), routes: tuple[Route, ...] = (), **http: Any) -> Config:
    """A listener that forwards everything to 127.0.0.1:port."""
    cluster: dict[str, Any] = http.pop("cluster", {})
    listener: dict[str, Any] = http.pop("listener", {})
    default = Route(match=RouteMatch(prefix="/"), action=RouteAction(cluster="app", timeout=http.pop("timeout", 15.0)))
    manager = HttpConnectionManager(
        stat_prefix="test",
        route_config=RouteConfiguration(
            virtual_hosts=(VirtualHost(name="all", domains=("*",), routes=routes or (default,)),)
        ),
        http_filters=(*filters, HttpFilter(name="router", config=Router())),
    )
    return Config(
        dialect="envoy",
        listeners=(
            replace(
                Listener(name="main", address=Address(host="127.0.0.1"), http=replace(manager, **http)), **listener
            ),
        ),
        clusters=(
            replace(
                Cluster(name="app", type="STATIC", endpoints=(Endpoint(address="127.0.0.1", port=port),)), **cluster
            ),
        ),
    )


@contextlib.asynccontextmanager
async def running(config: Config) -> AsyncIterator[Doorkeeper]:
    """The doorkeeper, listening; stopped afterwards."""
    doorkeeper = Doorkeeper(config, admin=AdminServer)
    await doorkeeper.start()
    try:
        yield doorkeeper
    finally:
        await doorkeeper.stop(0)


def address(doorkeeper: Doorkeeper) -> str:
    """Where its first listener listens."""
    return doorkeeper.addresses["main"][0]
