"""What `istioctl proxy-config` and `pilot-agent` ask for, read the way they do: the same calls, the same keys."""

from __future__ import annotations

import json
from typing import Any

from admin.admin_world import ask, doorkeeper, visit
from ostiary.app.lifecycle import Doorkeeper
from wire import scenario


async def dump(door: Doorkeeper, mask: str) -> dict[str, Any]:
    """Kind -> dump. istioctl finds each by the type in `@type`."""
    configs = json.loads((await ask(door, f"/config_dump?mask={mask}")).body)["configs"]
    return {each["@type"].rpartition(".")[2]: each for each in configs}


@scenario
async def test_proxy_config_cluster() -> None:
    async with doorkeeper() as (door, _):
        found = await dump(door, "dynamic_active_clusters,dynamic_warming_clusters,static_clusters")
        (cluster,) = found["ClustersConfigDump"]["static_clusters"]
        assert cluster["cluster"]["@type"] == "type.googleapis.com/envoy.config.cluster.v3.Cluster"
        assert (cluster["cluster"]["name"], cluster["cluster"]["type"]) == ("app", "STATIC")


@scenario
async def test_proxy_config_listener_and_route() -> None:
    async with doorkeeper() as (door, _):
        found = await dump(door, "dynamic_listeners,static_listeners")
        (listener,) = (each["listener"] for each in found["ListenersConfigDump"]["static_listeners"])
        assert listener["name"] == "main"
        assert listener["address"]["socket_address"]["address"] == "127.0.0.1"
        (manager,) = listener["filter_chains"][0]["filters"]
        assert manager["name"] == "envoy.filters.network.http_connection_manager"
        assert [each["name"] for each in manager["typed_config"]["http_filters"]] == ["router"]
        found = await dump(door, "dynamic_route_configs,static_route_configs")
        (routes,) = (each["route_config"] for each in found["RoutesConfigDump"]["static_route_configs"])
        (host,) = routes["virtual_hosts"]
        assert (host["name"], host["domains"]) == ("all", ["*"])
        assert host["routes"][0]["match"] == {"prefix": "/"}
        assert host["routes"][0]["route"]["cluster"] == "app"


@scenario
async def test_proxy_config_endpoint() -> None:
    async with doorkeeper() as (door, app):
        await visit(door)
        (cluster,) = json.loads((await ask(door, "/clusters?format=json")).body)["cluster_statuses"]
        (host,) = cluster["host_statuses"]
        address = host["address"]["socket_address"]
        assert address == {"address": "127.0.0.1", "port_value": app.port}
        assert (host["health_status"]["eds_health_status"], cluster["name"]) == ("HEALTHY", "app")


@scenario
async def test_proxy_config_bootstrap_and_all() -> None:
    async with doorkeeper() as (door, _):
        found = await dump(door, "bootstrap")
        assert list(found) == ["BootstrapConfigDump"]
        assert {"node", "admin", "static_resources"} <= found["BootstrapConfigDump"]["bootstrap"].keys()
        configs = json.loads((await ask(door, "/config_dump?include_eds=true")).body)["configs"]
        assert [each["@type"].rpartition(".")[2] for each in configs] == [
            "BootstrapConfigDump",
            "ClustersConfigDump",
            "EndpointsConfigDump",
            "ListenersConfigDump",
            "ScopedRoutesConfigDump",
            "RoutesConfigDump",
            "SecretsConfigDump",
        ]


@scenario
async def test_pilot_agents_readiness() -> None:
    async with doorkeeper() as (door, _):
        wanted = r"^(server\.state|listener_manager\.workers_started)"
        text = (await ask(door, f"/stats?usedonly&filter={wanted}")).body.decode()
        assert text == "listener_manager.workers_started: 1\nserver.state: 0\n"
