"""The proxy that `ostiary run` applies EnvoyFilters to: what istiod makes for a sidecar's inbound traffic, in short.

One listener with Istio's names, one chain for the application's port, the router at its end. The chain is the one that
patches match on (its name, server name, protocols); of several, the first. Filters that Istio puts into it stand there
only where a patch names them: they are places to insert at. After patching whatever nobody patched of them is taken out
again (`without_anchors`), and so is what only chooses among chains; what is left is a bootstrap that Envoy's dialect
reads. For patches with the context GATEWAY the same is made of a gateway's names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from typing import Final

from ostiary.dialects.istio_message import Message, read
from ostiary.dialects.istio_objects import VALUE_TYPES, EnvoyFilter, Patch
from ostiary.dialects.istio_patch import Resources, managers
from ostiary.dialects.istio_selection import Kind
from ostiary.dialects.native_upstreams import cluster_type
from ostiary.dialects.yaml_nodes import Mapping, Node, Scalar, parse
from ostiary.dialects.yaml_nodes import Sequence as SequenceNode
from ostiary.model.clusters import Endpoint

FILE: Final = "the sidecar of `ostiary run`"
"""The file in which the generated parts stand."""
CORS: Final = "envoy.filters.http.cors"
ROUTER: Final = "envoy.filters.http.router"
_HTTP: Final = "envoy.extensions.filters.http"
_ANCHORS: Final = {
    "istio.metadata_exchange": "io.istio.http.peer_metadata.Config",
    "envoy.filters.http.ext_authz": f"{_HTTP}.ext_authz.v3.ExtAuthz",
    "envoy.filters.http.jwt_authn": f"{_HTTP}.jwt_authn.v3.JwtAuthentication",
    "istio_authn": "istio.envoy.config.filter.http.authn.v2alpha1.FilterConfig",
    "envoy.filters.http.rbac": f"{_HTTP}.rbac.v3.RBAC",
    "envoy.filters.http.grpc_stats": f"{_HTTP}.grpc_stats.v3.FilterConfig",
    "envoy.filters.http.fault": f"{_HTTP}.fault.v3.HTTPFault",
    "istio.stats": "stats.PluginConfig",
}
"""Filters of Istio's inbound chain in their order (cors and router, which run here too, apart), and their types."""
_EXT_AUTHZ: Final = "envoy.filters.http.ext_authz"
_MAKERS: Final = {
    _EXT_AUTHZ: "AuthorizationPolicy",
    "envoy.filters.http.jwt_authn": "RequestAuthentication",
    "istio_authn": "RequestAuthentication",
    "envoy.filters.http.rbac": "AuthorizationPolicy",
}
"""Filters that Istio makes only where there is an object of that kind."""
_LISTENER_ANCHORS: Final = {
    "envoy.filters.listener.original_dst": "envoy.extensions.filters.listener.original_dst.v3.OriginalDst",
    "envoy.filters.listener.tls_inspector": "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector",
    "envoy.filters.listener.http_inspector": "envoy.extensions.filters.listener.http_inspector.v3.HttpInspector",
}
_LISTENER_PORT: Final = re.compile(r"\A0\.0\.0\.0_([0-9]{1,5})\Z", re.ASCII)
_LISTENER: Final = """\
name: @NAME@
traffic_direction: @DIRECTION@
address: {socket_address: {address: 0.0.0.0, port_value: @LISTENER_PORT@}}
filter_chains:
- name: 0.0.0.0_@PORT@
  filters:
  - name: envoy.filters.network.http_connection_manager
    typed_config:
      '@type': type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
      stat_prefix: @STAT_PREFIX@
      normalize_path: true
      use_remote_address: @REMOTE@
      server_name: istio-envoy
      upgrade_configs: [{upgrade_type: websocket}]
      route_config:
        name: @ROUTES@
        virtual_hosts:
        - name: @HOST@
          domains: ['*']
          routes:
          - {name: default, match: {prefix: /}, route: {cluster: @CLUSTER@, timeout: 0s}}
      http_filters: []
"""


@dataclass(frozen=True, slots=True)
class Sidecar:
    """One proxy to be patched."""

    kind: Kind
    port: int
    """The application's port, as the patches know it."""
    resources: Resources
    anchors: tuple[tuple[Message, Message | None], ...]
    """What is there only to be named, HTTP filters and listener filters; each with its settings while nobody has
    patched them."""

    @property
    def contexts(self) -> tuple[str, ...]:
        """The contexts whose patches are for it; those for outbound traffic make clusters."""
        return ("GATEWAY",) if self.kind == "gateway" else ("SIDECAR_INBOUND", "SIDECAR_OUTBOUND")


def make_sidecar(filters: Sequence[EnvoyFilter], kinds: Set[str], scheme: str, endpoint: Endpoint) -> Sidecar:
    """The proxy before patching; the application is at `endpoint`. `kinds`: the other objects that are there."""
    patches = [patch for each in filters for patch in each.patches]
    contexts = {patch.match.context for patch in patches}
    kind: Kind = "gateway" if "GATEWAY" in contexts and not contexts & {"SIDECAR_INBOUND"} else "sidecar"
    port = _port(patches, endpoint)
    inbound, names = kind == "sidecar", _names(patches)
    cluster = f"inbound|{port}||" if inbound else f"outbound|{port}||application"
    text = _LISTENER
    for name, value in {
        "NAME": "virtualInbound" if inbound else f"0.0.0.0_{port}",
        "DIRECTION": "INBOUND" if inbound else "OUTBOUND",
        "LISTENER_PORT": "15006" if inbound else str(port),
        "STAT_PREFIX": f"inbound_0.0.0.0_{port}" if inbound else f"outbound_0.0.0.0_{port}",
        "ROUTES": cluster if inbound else names.get("routes", f"http.{port}"),
        "HOST": f"inbound|http|{port}" if inbound else names.get("host", f"*:{port}"),
        "CLUSTER": cluster,
        "REMOTE": str(not inbound).lower(),
        "PORT": str(port),
    }.items():
        text = text.replace(f"@{name}@", f"'{value}'" if name in ("HOST", "CLUSTER", "ROUTES") else value)
    listener = read(parse(text.encode(), FILE), VALUE_TYPES["LISTENER"])
    _match_chain(patches, listener.messages("filter_chains")[0], port if inbound else 0)
    anchors = [*_http_anchors(patches, kinds, listener), *_listener_anchors(patches, listener)]
    resources = Resources(clusters=[_cluster(cluster, scheme, endpoint)], listeners=[listener])
    return Sidecar(kind, port, resources, tuple((each, each.message("typed_config")) for each in anchors))


def _read(text: str, name: str) -> Message:
    return read(parse(text.encode(), FILE), name)


def _match_chain(patches: Sequence[Patch], chain: Message, port: int) -> None:
    """Make the chain the one that patches match on: of several values the first, so that others find nothing."""
    wanted = [listener.filter_chain for patch in _here(patches) if (listener := patch.match.listener) is not None]
    found = [each for each in wanted if each is not None]
    first = {
        "server_names": next((each.sni for each in found if each.sni), ""),
        "transport_protocol": next((each.transport_protocol for each in found if each.transport_protocol), ""),
        "application_protocols": next((each.application_protocols for each in found if each.application_protocols), ""),
    }
    tree: dict[str, object] = {key: value.split(",") for key, value in first.items() if value}
    tree["transport_protocol"] = first["transport_protocol"] or ("tls" if tree else "raw_buffer")
    if port:
        tree["destination_port"] = port
    chain.put("filter_chain_match", _read(json.dumps(tree), "envoy.config.listener.v3.FilterChainMatch"))
    if name := next((each.name for each in found if each.name), ""):
        chain.put("name", _scalar(chain.place, name))


def _here(patches: Sequence[Patch]) -> Iterator[Patch]:
    """Those that may be for the listener."""
    return (patch for patch in patches if patch.match.context in ("SIDECAR_INBOUND", "ANY", "GATEWAY"))


def _names(patches: Sequence[Patch]) -> dict[str, str]:
    """A gateway's route configuration and virtual host, where patches match on their names."""
    found: dict[str, str] = {}
    for patch in _here(patches):
        if (routes := patch.match.route_configuration) is not None:
            named = {"routes": routes.name, "host": routes.vhost.name if routes.vhost is not None else ""}
            found = {key: name for key, name in named.items() if name and "'" not in name} | found
    return found


def _port(patches: Sequence[Patch], endpoint: Endpoint) -> int:
    """The application's port, as patches name it: with another one they would find nothing."""
    named = []
    for patch in _here(patches):
        listener, routes = patch.match.listener, patch.match.route_configuration
        if listener is not None:
            named += [listener.port_number, *(int(port) for port in _LISTENER_PORT.findall(listener.name))]
            named += [listener.filter_chain.destination_port] if listener.filter_chain else []
        named += [routes.port_number] if routes is not None else []
    ports = [port for port in named if port and port != 15006]
    own = endpoint.port or 80
    return own if own in ports or not ports else ports[0]


def _cluster(name: str, scheme: str, endpoint: Endpoint) -> Message:
    """The application."""
    address = f"{{socket_address: {{address: '{endpoint.address}', port_value: {endpoint.port}}}}}"
    if endpoint.pipe is not None:
        path = endpoint.pipe.replace("'", "''")
        address = f"{{pipe: {{path: '{path}'}}}}"
    text = f"""\
name: '{name}'
type: {cluster_type((endpoint,))}
dns_lookup_family: ALL
load_assignment: {{cluster_name: '{name}', endpoints: [{{lb_endpoints: [{{endpoint: {{address: {address}}}}}]}}]}}
"""
    if scheme == "https":
        text += f"""\
transport_socket:
  name: envoy.transport_sockets.tls
  typed_config:
    '@type': type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
    sni: '{endpoint.address}'
"""
    if scheme == "h2c":
        text += """\
typed_extension_protocol_options:
  envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
    '@type': type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
    explicit_http_config: {http2_protocol_options: {}}
"""
    return _read(text, VALUE_TYPES["CLUSTER"])


def _http_anchors(patches: Sequence[Patch], kinds: Set[str], listener: Message) -> list[Message]:
    manager = listener.messages("filter_chains")[0].messages("filters")[0].message("typed_config")
    assert manager is not None
    named = {name: patch.place for patch in patches if (name := anchor(patch)) is not None}
    made = {name: listener.place for name, kind in _MAKERS.items() if kind in kinds and name != _EXT_AUTHZ}
    places = made | named
    anchors = [_filter(name, of, places[name]) for name, of in _ANCHORS.items() if name in places]
    cors = _filter(CORS, f"{_HTTP}.cors.v3.Cors", listener.place)
    router = _filter(ROUTER, f"{_HTTP}.router.v3.Router", listener.place)
    manager.put_messages("http_filters", [*anchors, cors, router])
    return anchors


def anchor(patch: Patch) -> str | None:
    """The HTTP filter that a patch names."""
    match = patch.match.listener
    chain = match.filter_chain if match is not None else None
    return chain.filter.sub_filter if chain is not None and chain.filter is not None else None


def _listener_anchors(patches: Sequence[Patch], listener: Message) -> list[Message]:
    named = any(patch.apply_to == "LISTENER_FILTER" for patch in patches)
    kind = VALUE_TYPES["LISTENER_FILTER"]
    anchors = [_filter(name, of, listener.place, kind) for name, of in _LISTENER_ANCHORS.items()] if named else []
    listener.put_messages("listener_filters", anchors)
    return anchors


def _filter(name: str, type_name: str, place: Node, kind: str = VALUE_TYPES["HTTP_FILTER"]) -> Message:
    """A filter without settings, at the place of who names it."""
    key = _scalar(place, "@type")
    typed = _mapping(place, [(key, _scalar(place, f"type.googleapis.com/{type_name}"))])
    entries: list[tuple[Scalar, Node]] = [(_scalar(place, "name"), _scalar(place, name))]
    entries.append((_scalar(place, "typed_config"), typed))
    return read(_mapping(place, entries), kind)


def without_anchors(sidecar: Sidecar) -> list[str]:
    """Take out what was only there to be named and what chooses among chains; the names of HTTP filters that go."""
    originals = {id(each) for each, settings in sidecar.anchors if each.message("typed_config") is settings}
    gone: list[str] = []
    for listener in sidecar.resources.listeners:
        filters = [each for each in listener.messages("listener_filters") if id(each) not in originals]
        listener.put_messages("listener_filters", filters)
        for chain in listener.messages("filter_chains"):
            match = chain.message("filter_chain_match")
            if match is not None and match.place.file == FILE:
                chain.clear("filter_chain_match")
        for manager in managers(listener):
            links = manager.messages("http_filters")
            gone += [link.text("name") for link in links if id(link) in originals]
            manager.put_messages("http_filters", [link for link in links if id(link) not in originals])
    return gone


def inline_extensions(sidecar: Sidecar) -> None:
    """Give filters that discover their configuration what a patch sends them."""
    sent = {each.text("name"): each.message("typed_config") for each in sidecar.resources.extensions}
    for listener in sidecar.resources.listeners:
        for manager in managers(listener):
            for each in manager.messages("http_filters"):
                typed = sent.get(each.text("name"))
                if "config_discovery" in each.fields and typed is not None:
                    each.put("typed_config", typed)


def made_by(name: str) -> str | None:
    """The kind of object without which Istio doesn't make the HTTP filter, None for one that is always there."""
    return _MAKERS.get(name)


def bootstrap(sidecar: Sidecar) -> Mapping:
    """The patched proxy as a bootstrap. It listens wherever: that, `ostiary run` is told."""
    place = parse(b"{}", FILE)
    clusters = SequenceNode(FILE, 1, 1, tuple(each.node() for each in sidecar.resources.clusters))
    listeners = SequenceNode(FILE, 1, 1, tuple(each.node() for each in sidecar.resources.listeners))
    static = _mapping(place, [(_scalar(place, "clusters"), clusters), (_scalar(place, "listeners"), listeners)])
    return _mapping(place, [(_scalar(place, "static_resources"), static)])


def written_address(sidecar: Sidecar) -> Node | None:
    """Where a patch changes the address of the listener, which it can't here."""
    for listener in sidecar.resources.listeners:
        address = listener.message("address")
        if listener.place.file == FILE and address is not None:
            return next((node for node in _leaves(address.node()) if node.file != FILE), None)
    return None


def _leaves(node: Node) -> Iterator[Node]:
    if isinstance(node, Scalar):
        yield node
    else:
        for item in node if isinstance(node, SequenceNode) else (value for _, value in node):
            yield from _leaves(item)


def _scalar(place: Node, text: str) -> Scalar:
    return Scalar(place.file, place.line, place.column, text, False)


def _mapping(place: Node, entries: Sequence[tuple[Scalar, Node]]) -> Mapping:
    return Mapping(place.file, place.line, place.column, tuple(entries))
