"""`/config_dump`: the configuration that runs, as Envoy dumps its own, or parts of it.

Everything that Envoy calls dynamic comes over xDS, which isn't spoken here: what is written is static, and secrets from
files are the one exception.
"""

from __future__ import annotations

import datetime
from typing import Any, Final

from ostiary.admin.field_mask import is_valid, trimmed
from ostiary.admin.hosts import address_of
from ostiary.admin.node import user_agent
from ostiary.admin.page import Page, Parameter, Part, Reply, Request, json_reply
from ostiary.app.lifecycle import Doorkeeper
from ostiary.core.regex import BadRegex, Regex
from ostiary.model.clusters import Locality
from ostiary.model.config import Config
from ostiary.net.clusters import ClusterPool
from ostiary.net.hosts import Host

_PLAIN: Final = "text/plain"
_RESOURCES: Final = {
    "ClustersConfigDump": ("static_clusters", "dynamic_active_clusters", "dynamic_warming_clusters"),
    "EndpointsConfigDump": ("static_endpoint_configs", "dynamic_endpoint_configs"),
    "ListenersConfigDump": ("static_listeners", "dynamic_listeners"),
    "ScopedRoutesConfigDump": ("inline_scoped_route_configs", "dynamic_scoped_route_configs"),
    "RoutesConfigDump": ("static_route_configs", "dynamic_route_configs"),
    "SecretsConfigDump": ("static_secrets", "dynamic_active_secrets", "dynamic_warming_secrets"),
}
"""The repeated fields of each dump."""
_SINGLE: Final = {
    "BootstrapConfigDump": {"bootstrap": "envoy.config.bootstrap.v3.Bootstrap", "last_updated": ""},
    "ClustersConfigDump": {"version_info": ""},
    "ListenersConfigDump": {"version_info": ""},
}
"""Their other fields, with the types of those that are messages."""
_ELEMENTS: Final = {
    "static_clusters": "StaticCluster",
    "static_endpoint_configs": "StaticEndpointConfig",
    "static_listeners": "StaticListener",
    "static_route_configs": "StaticRouteConfig",
    "static_secrets": "StaticSecret",
    "dynamic_active_secrets": "DynamicSecret",
}
"""Repeated field -> the message in it."""
_INNER: Final = ("cluster", "endpoint_config", "listener", "route_config", "secret")


def _collect(worker: Doorkeeper, request: Request) -> Part:
    moment = datetime.datetime.fromtimestamp(max(worker.started_at, _reloaded_at(worker)), datetime.UTC)
    updated = f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"
    endpoints = None
    if request.parameter("include_eds") is not None and worker.runtime is not None:
        endpoints = [_assignment(pool) for pool in worker.runtime.clusters.values()]
    return worker.config, updated, endpoints


def _dumped(config: Config, updated: str, endpoints: list[dict[str, Any]] | None) -> list[dict[str, Any]]:
    from ostiary.dialects.envoy_dump import config_dump  # the writers of Envoy's API, which nothing else needs here

    found = config_dump(config, updated, endpoints=endpoints)
    bootstrap = found[0]["bootstrap"]
    found[0]["bootstrap"] = bootstrap | {"node": {**bootstrap.get("node", {}), **user_agent()}}
    return found


def _reloaded_at(worker: Doorkeeper) -> int:
    """Unix time; 0 before any reload."""
    stats = worker.runtime.stats if worker.runtime is not None else None
    return stats.counter("listener_manager.lds.config_reload_time_seconds").value if stats is not None else 0


def _assignment(pool: ClusterPool) -> dict[str, Any]:
    """config.endpoint.v3.ClusterLoadAssignment: the hosts as they are now."""
    localities: dict[tuple[Locality, int], list[Host]] = {}
    for host in pool.members:
        localities.setdefault((host.endpoint.locality, host.priority), []).append(host)
    endpoints = [
        {
            "locality": {name: value for name in ("region", "zone", "sub_zone") if (value := getattr(locality, name))},
            "lb_endpoints": [_endpoint(host) for host in hosts],
            "load_balancing_weight": 0,
            **({"priority": priority} if priority else {}),
        }
        for (locality, priority), hosts in localities.items()
    ]
    return {
        "cluster_name": pool.cluster.name,
        **({"endpoints": endpoints} if endpoints else {}),
        "policy": {"overprovisioning_factor": 140},
    }


def _endpoint(host: Host) -> dict[str, Any]:
    status = host.endpoint.health_status
    named = {"hostname": host.pool.hostname} if host.pool.hostname else {}
    return {
        "endpoint": {"address": address_of(host), "health_check_config": {}, **named},
        "health_status": "HEALTHY" if status == "UNKNOWN" else status,
        "load_balancing_weight": host.weight,
    }


def _render(parts: list[Part], request: Request) -> Reply:
    return shown(_dumped(*parts[0]), request)


def shown(configs: list[dict[str, Any]], request: Request) -> Reply:
    """What of a dump was asked for."""
    name_regex = request.parameter("name_regex")
    if name_regex:
        try:
            pattern = Regex(name_regex)
        except ValueError as error:
            why = error.reason if isinstance(error, BadRegex) else error
            return _refused(f"INVALID_ARGUMENT: Error while parsing name_regex from {name_regex}: {why}")
        configs = [_named(each, pattern) for each in configs]
    paths = [path for path in (request.parameter("mask") or "").split(",") if path]
    resource = request.parameter("resource")
    if resource:
        return _one_resource(configs, resource, paths)
    if paths:
        kept = [trimmed(each, paths) for each in configs if all(_applies(path, each) for path in paths)]
        if not kept:
            return _refused(f"FieldMask {','.join(paths)} could not be successfully applied to any configs.")
        configs = kept
    return json_reply({"configs": configs})


def _refused(text: str, status: int = 400) -> Reply:
    return Reply(text, status, _PLAIN)


def _kind(config: dict[str, Any]) -> str:
    return str(config["@type"]).rpartition(".")[2]


def _applies(path: str, config: dict[str, Any]) -> bool:
    kind = _kind(config)
    return is_valid(path, config, dict.fromkeys(_RESOURCES.get(kind, ()), "") | _SINGLE.get(kind, {}))


def _named(config: dict[str, Any], pattern: Regex) -> dict[str, Any]:
    """What of a dump has such a name; in Envoy static routes have none, and the bootstrap stays whole."""
    if _kind(config) == "BootstrapConfigDump":
        return config
    return {
        key: value if key == "@type" else [each for each in value if pattern.fullmatch(_name(each))]
        for key, value in config.items()
        if key == "@type" or any(pattern.fullmatch(_name(each)) for each in value)
    }


def _name(element: dict[str, Any]) -> str:
    inner: dict[str, Any] = next((element[key] for key in _INNER if key in element and key != "route_config"), {})
    return str(inner.get("name") or inner.get("cluster_name") or "")


def _one_resource(configs: list[dict[str, Any]], resource: str, paths: list[str]) -> Reply:
    for config in configs:
        kind = _kind(config)
        if resource in _SINGLE.get(kind, {}):
            text = f"{resource} is not a repeated field. Use ?mask={resource} to get only this field"
            return _refused(text)
        if resource not in _RESOURCES.get(kind, ()):
            continue
        prefix = config["@type"]
        found = [{"@type": f"{prefix}.{_ELEMENTS[resource]}", **each} for each in config.get(resource, ())]
        for each in found:
            for path in paths:
                if not is_valid(path, each, _element_fields(each)):
                    return _refused(f'FieldMask paths: "{path}"\n could not be successfully used.')
        kept = [trimmed(each, paths) if paths else each for each in found]
        return json_reply({"configs": kept} if kept else {})
    return _refused(f"{resource} not found in config dump", 404)


def _element_fields(element: dict[str, Any]) -> dict[str, str]:
    inner: dict[str, str] = {key: "google.protobuf.Any" for key in _INNER if key in element}
    return {"name": "", "last_updated": "", "version_info": "", "client_status": "", "error_state": ""} | inner


PAGES: Final = (
    Page(
        path="/config_dump",
        help="dump current Envoy configs",
        collect=_collect,
        render=_render,
        large=True,
        alike=True,
        parameters=(
            Parameter("resource", "The resource to dump"),
            Parameter(
                "mask",
                "The mask to apply. When both resource and mask are specified, the mask is applied to every element in "
                "the desired repeated field so that only a subset of fields are returned. The mask is parsed as a "
                "Protobuf::FieldMask",
            ),
            Parameter(
                "name_regex",
                "Dump only the currently loaded configurations whose names match the specified regex. Can be used with "
                "both resource and mask query parameters.",
            ),
            Parameter(
                "include_eds",
                "Dump currently loaded configuration including EDS. See the response definition for more information",
                flag=True,
            ),
        ),
    ),
)
