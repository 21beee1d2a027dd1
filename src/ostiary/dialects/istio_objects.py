"""`EnvoyFilter` objects, as values (https://istio.io/latest/docs/reference/config/networking/envoy-filter/).

The value of a patch stays a node here: what it means depends on `applyTo`, and `istio_admission` reads it.
"""

from __future__ import annotations

from collections.abc import Mapping as MappingType
from dataclasses import dataclass, field
from typing import Final

from ostiary.dialects.yaml_nodes import Node
from ostiary.model.errors import Diagnostic

VALUE_TYPES: Final[MappingType[str, str]] = {
    "LISTENER": "envoy.config.listener.v3.Listener",
    "LISTENER_FILTER": "envoy.config.listener.v3.ListenerFilter",
    "FILTER_CHAIN": "envoy.config.listener.v3.FilterChain",
    "NETWORK_FILTER": "envoy.config.listener.v3.Filter",
    "HTTP_FILTER": "envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter",
    "ROUTE_CONFIGURATION": "envoy.config.route.v3.RouteConfiguration",
    "VIRTUAL_HOST": "envoy.config.route.v3.VirtualHost",
    "HTTP_ROUTE": "envoy.config.route.v3.Route",
    "CLUSTER": "envoy.config.cluster.v3.Cluster",
    "EXTENSION_CONFIG": "envoy.config.core.v3.TypedExtensionConfig",
    "BOOTSTRAP": "envoy.config.bootstrap.v3.Bootstrap",
}
"""`applyTo`, and the message that its patches are."""
OPERATIONS: Final = (
    "MERGE", "ADD", "REMOVE", "INSERT_BEFORE", "INSERT_AFTER", "INSERT_FIRST", "REPLACE", "MERGE_AND_REPLACE_LIST",
)  # fmt: skip
INSERTS: Final = ("INSERT_BEFORE", "INSERT_AFTER", "INSERT_FIRST")
CONTEXTS: Final = ("ANY", "SIDECAR_INBOUND", "SIDECAR_OUTBOUND", "GATEWAY", "WAYPOINT")


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterMatch:
    """`listener.filterChain.filter`: a network filter and, in it, an HTTP filter."""

    name: str = ""
    sub_filter: str | None = None
    """None where `subFilter` isn't written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterChainMatch:
    """`listener.filterChain`."""

    name: str = ""
    sni: str = ""
    transport_protocol: str = ""
    transport_socket: str = ""
    """In the API, and read by no code of Istio."""
    application_protocols: str = ""
    destination_port: int = 0
    filter: FilterMatch | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerMatch:
    """`match.listener`."""

    name: str = ""
    port_number: int = 0
    port_name: str = ""
    listener_filter: str = ""
    filter_chain: FilterChainMatch | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterMatch:
    """`match.cluster`."""

    name: str = ""
    service: str = ""
    subset: str = ""
    port_number: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteMatch:
    """`match.routeConfiguration.vhost.route`."""

    name: str = ""
    action: str = "ANY"


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtualHostMatch:
    """`match.routeConfiguration.vhost`."""

    name: str = ""
    domain_name: str = ""
    route: RouteMatch | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteConfigurationMatch:
    """`match.routeConfiguration`."""

    name: str = ""
    port_number: int = 0
    port_name: str = ""
    gateway: str = ""
    vhost: VirtualHostMatch | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyMatch:
    """`match.proxy`."""

    version: str = ""
    metadata: MappingType[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """`configPatches[].match`; all of it empty matches everything."""

    context: str = "ANY"
    proxy: ProxyMatch | None = None
    listener: ListenerMatch | None = None
    cluster: ClusterMatch | None = None
    route_configuration: RouteConfigurationMatch | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Patch:
    """One of `spec.configPatches`."""

    index: int
    place: Node
    apply_to: str
    operation: str
    """As it is written; `istio_patch` knows what Istio makes of it."""
    match: Match = field(default_factory=Match)
    value: Node | None = None
    keys: MappingType[str, Node] = field(default_factory=dict)
    """The places of keys by their path, as in `match.listener.portName`."""
    filter_class: str = ""

    @property
    def path(self) -> str:
        """Where it stands in its object."""
        return f"spec.configPatches[{self.index}]"

    def at(self, key: str) -> Node:
        """The place of a key, or of the patch."""
        return self.keys.get(key, self.place)


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetRef:
    """One of `spec.targetRefs`."""

    group: str = ""
    kind: str = ""
    name: str = ""
    namespace: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EnvoyFilter:
    """One object. Those with `problems` of severity error never get past the API server."""

    name: str
    namespace: str
    """Empty where it isn't written: kubectl puts it where the user is."""
    place: Node
    priority: int = 0
    created: float = 0.0
    """metadata.creationTimestamp, seconds since 1970; 0 if it isn't written."""
    selector: MappingType[str, str] | None = None
    target_refs: tuple[TargetRef, ...] = ()
    patches: tuple[Patch, ...] = ()
    problems: tuple[Diagnostic, ...] = ()

    @property
    def full_name(self) -> str:
        """`namespace/name`."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OtherObject:
    """An object of another kind in the same file."""

    api_version: str
    kind: str
    name: str
    place: Node
