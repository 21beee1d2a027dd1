"""A proxy's configuration that EnvoyFilters are applied to: Envoy's bootstrap, or the config_dump of its admin port.

Of a dump, what istiod sends is patched (dynamic clusters, listeners, routes); a dump without any of it is a plain
Envoy's, whose static resources are patched instead. What the proxy is, its node says: namespace, labels, version.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as SequenceType
from dataclasses import dataclass
from typing import Final

from ostiary.dialects.istio_findings import Outcome
from ostiary.dialects.istio_message import Message, read
from ostiary.dialects.istio_objects import VALUE_TYPES, EnvoyFilter
from ostiary.dialects.istio_patch import Resources, apply
from ostiary.dialects.istio_selection import Kind, Proxy
from ostiary.dialects.yaml_nodes import Mapping, Node, Scalar, Sequence
from ostiary.model.errors import ConfigError

_CLUSTER, _LISTENER = VALUE_TYPES["CLUSTER"], VALUE_TYPES["LISTENER"]
_ROUTES: Final = VALUE_TYPES["ROUTE_CONFIGURATION"]
_KINDS: Final[dict[str, Kind]] = {"sidecar": "sidecar", "router": "gateway", "waypoint": "waypoint"}
"""How the id of a node begins: `sidecar~10.1.2.3~pod.namespace~...`."""
_DUMP: Final = "type.googleapis.com/envoy.admin.v3."


@dataclass(frozen=True, slots=True, eq=False)
class Patched:
    """A configuration with its patches applied, and what came of each."""

    after: Node
    outcomes: tuple[Outcome, ...]
    unpatched: Callable[[], Node]

    @property
    def before(self) -> Node:
        """The configuration as it was, in the same spelling; made when somebody wants to compare."""
        return self.unpatched()


@dataclass(frozen=True, slots=True)
class Facts:
    """What a configuration's node says about its proxy; None where it doesn't."""

    kind: Kind | None = None
    namespace: str | None = None
    labels: dict[str, str] | None = None
    version: str = ""
    metadata: dict[str, str] | None = None


def facts(root: Node) -> Facts:
    """What the node of a bootstrap or dump says (Istio: `NAMESPACE`, `LABELS`, `ISTIO_VERSION` of its metadata)."""
    node = _get(_bootstrap(root), "node")
    metadata = _get(node, "metadata")
    scalars = [(key.text, value) for key, value in metadata or () if isinstance(value, Scalar)]
    texts = {key: value.text for key, value in scalars if isinstance(value.value, str)}  # istiod compares with text
    labels = _get(metadata, "LABELS")
    return Facts(
        kind=_KINDS.get(_text(node, "id").split("~")[0]),
        namespace=texts.get("NAMESPACE"),
        labels={key.text: value.text for key, value in labels if isinstance(value, Scalar)} if labels else None,
        version=_text(metadata, "ISTIO_VERSION"),
        metadata=texts or None,
    )


def patch_config(root: Node, filters: SequenceType[EnvoyFilter], proxy: Proxy) -> Patched:
    """The configuration with the filters applied. Raises ConfigError for what is neither a bootstrap nor a dump."""
    if not isinstance(root, Mapping):
        raise ConfigError([root.problem("", "this is no configuration of Envoy", "give a bootstrap or a config_dump")])
    if isinstance(root.get("configs"), Sequence):
        walk = _dump
    elif _get(root, "static_resources") is not None:
        walk = _static
    else:
        mend = "give Envoy's bootstrap, or what its admin port answers to /config_dump"
        raise ConfigError([root.problem("", "neither static_resources nor configs are in it", mend)])
    outcomes: list[Outcome] = []
    after = walk(root, lambda resources: outcomes.extend(apply(filters, proxy, resources)))
    return Patched(after, tuple(outcomes), lambda: walk(root, lambda _resources: None))


Work = Callable[[Resources], None]


def _static(root: Mapping, work: Work) -> Mapping:
    """A bootstrap. Extension configurations have no place in it: they are only told."""
    key = "static_resources" if "static_resources" in root else "staticResources"
    static = _get(root, key)
    assert static is not None
    resources = Resources(
        clusters=[read(node, _CLUSTER) for node in _items(static, "clusters")],
        listeners=[read(node, _LISTENER) for node in _items(static, "listeners")],
    )
    work(resources)
    static = with_list(static, "clusters", [each.node() for each in resources.clusters])
    static = with_list(static, "listeners", [each.node() for each in resources.listeners])
    return with_entry(root, key, static)


def _dump(root: Mapping, work: Work) -> Mapping:
    """A config_dump."""
    names = [_text(each, "@type").removeprefix(_DUMP) for each in _items(root, "configs")]
    found = {name: each for name, each in zip(names, _items(root, "configs"), strict=True) if isinstance(each, Mapping)}
    if (single := _SINGLE.get(names[0] if names else "")) is not None:
        return _of_one_kind(root, *single, work)
    sent = any(_items(found.get(name), each) for name, part in _DYNAMIC.items() for each in part.lists)
    parts = _PARTS | _DYNAMIC if sent else _PARTS
    held = {name: part.read(found.get(name)) for name, part in parts.items()}
    resources = Resources(
        clusters=[each for _, each in held["ClustersConfigDump"]],
        listeners=[each for _, each in held["ListenersConfigDump"]],
        routes=[each for _, each in held["RoutesConfigDump"]],
    )
    work(resources)
    now = {
        "ClustersConfigDump": resources.clusters,
        "ListenersConfigDump": resources.listeners,
        "RoutesConfigDump": resources.routes,
    }
    new = {}
    for name, part in parts.items():
        if held[name] or now[name]:
            new[name] = part.written(found.get(name) or _section(root, name), held[name], now[name])
    if resources.extensions:
        ecds = found.get("EcdsConfigDump") or _section(root, "EcdsConfigDump")
        added = [_mapping(root, (_entry(root, "ecds_filter", each.node()),)) for each in resources.extensions]
        new["EcdsConfigDump"] = with_list(ecds, "ecds_filters", [*_items(ecds, "ecds_filters"), *added])
    kept = [new.pop(name, each) for name, each in zip(names, _items(root, "configs"), strict=True)]
    return with_list(root, "configs", [*kept, *new.values()])


def _of_one_kind(root: Mapping, name: str, part: _Part, work: Work) -> Mapping:
    """An answer to `/config_dump?resource=...`: its configs are the items of one list."""
    held = part.read(root)
    mine = [message for _, message in held]
    resources = Resources(**{name: mine})
    work(resources)
    return part.written(root, held, getattr(resources, name))


def _section(root: Node, name: str) -> Mapping:
    return _mapping(root, (_pair(root, "@type", _DUMP + name),))


@dataclass(frozen=True, slots=True)
class _Part:
    """Where a dump's section holds its messages: lists, and paths from an item to the message, of which the first that
    is there counts. What istiod adds goes to the end of the first list."""

    lists: tuple[str, ...]
    paths: tuple[tuple[str, ...], ...]
    type_name: str

    def _at(self, item: Node) -> tuple[tuple[str, ...], Mapping] | None:
        for path in self.paths:
            at: Node | None = item
            for name in path:
                at = at.get(name) if isinstance(at, Mapping) else None
            if isinstance(at, Mapping):
                return path, at
        return None

    def read(self, section: Mapping | None) -> list[tuple[Mapping, Message]]:
        """Items and their messages; an item without one (a listener that was only rejected) stays as it is, and so does
        one whose name an earlier list has."""
        found: list[tuple[Mapping, Message]] = []
        for name in self.lists:
            before = {message.text("name") for _, message in found}
            for item in _items(section, name):
                if isinstance(item, Mapping) and (place := self._at(item)) is not None:
                    at = place[1]
                    inside = tuple(entry for entry in at if entry[0].text != "@type")
                    message = read(Mapping(at.file, at.line, at.column, inside), self.type_name)
                    url = at.get("@type")
                    message.url = url if isinstance(url, Scalar) else None
                    if message.text("name") not in before:
                        found.append((item, message))
        return found

    def written(self, section: Mapping, held: list[tuple[Mapping, Message]], now: list[Message]) -> Mapping:
        """The section with the messages of now."""
        kept = {id(message) for message in now}
        old = {id(item): message for item, message in held}
        known = {id(message) for _, message in held}
        for name in self.lists:
            items: list[Node] = []
            for item in _items(section, name):
                message, place = old.get(id(item)), self._at(item)
                if message is None or place is None:
                    items.append(item)
                elif id(message) in kept:
                    items.append(_set(item, place[0], message.node()))
            if name == self.lists[0]:
                items += [self._added(message) for message in now if id(message) not in known]
            section = with_list(section, name, items)
        return section

    def _added(self, message: Message) -> Mapping:
        path = self.paths[0]
        named = (_pair(message.place, "name", message.text("name")),) if len(path) > 1 else ()
        return _set(_mapping(message.place, named), path, message.node())


_ACTIVE: Final = (("active_state", "listener"), ("warming_state", "listener"))
"""A listener that is warming for the first time (its secrets are missing, say) is in no active state."""
_DYNAMIC: Final = {
    "ClustersConfigDump": _Part(("dynamic_active_clusters", "dynamic_warming_clusters"), (("cluster",),), _CLUSTER),
    "ListenersConfigDump": _Part(("dynamic_listeners",), _ACTIVE, _LISTENER),
}
_PARTS: Final = {
    "ClustersConfigDump": _Part(("static_clusters",), (("cluster",),), _CLUSTER),
    "ListenersConfigDump": _Part(("static_listeners",), (("listener",),), _LISTENER),
    "RoutesConfigDump": _Part(("dynamic_route_configs",), (("route_config",),), _ROUTES),
}
_SINGLE: Final = {
    "ClustersConfigDump.DynamicCluster": ("clusters", _Part(("configs",), (("cluster",),), _CLUSTER)),
    "ClustersConfigDump.StaticCluster": ("clusters", _Part(("configs",), (("cluster",),), _CLUSTER)),
    "ListenersConfigDump.DynamicListener": ("listeners", _Part(("configs",), _ACTIVE, _LISTENER)),
    "ListenersConfigDump.StaticListener": ("listeners", _Part(("configs",), (("listener",),), _LISTENER)),
    "RoutesConfigDump.DynamicRouteConfig": ("routes", _Part(("configs",), (("route_config",),), _ROUTES)),
}


def _set(item: Node, path: tuple[str, ...], value: Node) -> Mapping:
    assert isinstance(item, Mapping)
    if len(path) == 1:
        return with_entry(item, path[0], value)
    inner = item.get(path[0])
    return with_entry(item, path[0], _set(inner if inner is not None else _mapping(value, ()), path[1:], value))


def with_entry(mapping: Mapping, key: str, value: Node) -> Mapping:
    """The mapping with one entry replaced, or added at its end."""
    if key not in mapping:
        return _mapping(mapping, (*mapping.entries, _entry(mapping, key, value)))
    return _mapping(mapping, tuple((name, value if name.text == key else old) for name, old in mapping))


def with_list(mapping: Mapping, key: str, items: SequenceType[Node]) -> Mapping:
    """The mapping with a list replaced; an empty one is not added."""
    if not items and key not in mapping:
        return mapping
    return with_entry(mapping, key, Sequence(mapping.file, mapping.line, mapping.column, tuple(items)))


def _mapping(place: Node, entries: tuple[tuple[Scalar, Node], ...]) -> Mapping:
    return Mapping(place.file, place.line, place.column, entries)


def _entry(place: Node, key: str, value: Node) -> tuple[Scalar, Node]:
    return Scalar(place.file, place.line, place.column, key, True), value


def _pair(place: Node, key: str, text: str) -> tuple[Scalar, Node]:
    return _entry(place, key, Scalar(place.file, place.line, place.column, text, False))


def _get(node: Node | None, key: str) -> Mapping | None:
    found = node.get(key) if isinstance(node, Mapping) else None
    if found is None and key == "static_resources" and isinstance(node, Mapping):
        found = node.get("staticResources")
    return found if isinstance(found, Mapping) else None


def _items(node: Node | None, key: str) -> tuple[Node, ...]:
    found = node.get(key) if isinstance(node, Mapping) else None
    return found.items if isinstance(found, Sequence) else ()


def _text(node: Node | None, key: str) -> str:
    found = node.get(key) if isinstance(node, Mapping) else None
    return found.text if isinstance(found, Scalar) else ""


def _bootstrap(root: Node) -> Node | None:
    for section in _items(root, "configs"):
        if _text(section, "@type") == f"{_DUMP}BootstrapConfigDump":
            return _get(section, "bootstrap")
    return root
