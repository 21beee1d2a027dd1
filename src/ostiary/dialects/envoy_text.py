"""An Envoy bootstrap out of the model: everything that the model holds, for Envoy 1.39.

What was read with `dialects.envoy` and written here reads as the same model again.
"""

from __future__ import annotations

from typing import Final

import msgspec

from ostiary.dialects.envoy_telemetry import FLUSH_INTERVAL
from ostiary.dialects.envoy_text_cluster import cluster
from ostiary.dialects.envoy_text_listener import listener
from ostiary.dialects.envoy_text_telemetry import stats_sink
from ostiary.dialects.envoy_text_values import Secrets, Tree, address, duration_unless, given, some
from ostiary.model.config import Config, HealthCheck
from ostiary.model.oauth2 import EnvoyOAuth2, OAuth2Config, RuntimeFlags

_FLAG: Final = "envoy.reloadable_features."
_NODE: Final = "ostiary"


def bootstrap(config: Config, secrets: Secrets) -> Tree:
    """config.bootstrap.v3.Bootstrap. Filters of the native profile have to be translated before."""
    names = frozenset(each.name for each in config.clusters)
    listeners = [listener(each, names, secrets) for each in config.listeners]
    clusters = [cluster(each, secrets) for each in config.clusters]
    sinks = [stats_sink(each, secrets) for each in config.metrics if each.collector.cluster]
    static = [{"name": name, "generic_secret": value} for name, value in secrets.static.items()]
    return given(
        node=_node(config),
        admin={"address": address(config.admin)} if config.admin is not None else None,
        layered_runtime=runtime(config),
        stats_sinks=sinks or None,
        stats_flush_interval=duration_unless(config.metrics[0].interval, FLUSH_INTERVAL) if sinks else None,
        static_resources=given(
            listeners=listeners or None,
            clusters=clusters or None,
            secrets=static or None,
        ),
    )


def _filters(config: Config) -> list[object]:
    return [link.config for each in config.listeners for link in each.http.http_filters]


def _node(config: Config) -> Tree | None:
    """Answers to health checks name the cluster, spans the rest; Envoy takes no secret from a file without both."""
    traced = next((each.http.tracing for each in config.listeners if each.http.tracing is not None), None)
    if traced is not None and (traced.node_id or traced.zone):
        health = max((each.cluster for each in _filters(config) if isinstance(each, HealthCheck)), default="")
        locality = {"zone": traced.zone} if traced.zone else None
        return given(id=some(traced.node_id), cluster=health or _NODE, locality=locality)
    named = {each.cluster for each in _filters(config) if isinstance(each, HealthCheck)}
    if named:
        cluster = max(named)
        return {"id": _NODE, "cluster": cluster} if cluster else None
    return {"id": _NODE, "cluster": _NODE} if any(map(_delivered, oauth2_configs(config))) else None


def _delivered(config: OAuth2Config) -> bool:
    credentials = config.credentials
    token = credentials.token_secret
    return credentials.hmac_secret.path is not None or (token is not None and token.path is not None)


def oauth2_configs(config: Config) -> list[OAuth2Config]:
    """Every configuration of an OAuth2 filter: in chains, and on routes."""
    found = [each.config for each in _filters(config) if isinstance(each, EnvoyOAuth2) and each.config is not None]
    for each in config.listeners:
        routes = each.http.route_config
        on_routes = [routes.typed_per_filter_config]
        for host in routes.virtual_hosts:
            on_routes += [host.typed_per_filter_config, *(route.typed_per_filter_config for route in host.routes)]
        found += [one for configs in on_routes for one in configs.values() if isinstance(one, OAuth2Config)]
    return found


def runtime(config: Config) -> Tree | None:
    """config.bootstrap.v3.LayeredRuntime: the flags that differ from Envoy's own; the model has them with each filter,
    though there is one runtime."""
    flags: dict[str, bool] = {}
    for each in _filters(config):
        if isinstance(each, EnvoyOAuth2):
            for field in msgspec.structs.fields(RuntimeFlags):
                if (value := getattr(each.runtime, field.name)) != field.default:
                    flags[_FLAG + field.name] = value
    return {"layers": [{"name": "static", "static_layer": flags}]} if flags else None
