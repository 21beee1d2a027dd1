"""`EnvoyFilter` objects out of a file of Kubernetes objects: several documents, `List`s, other kinds among them.

What the API server refuses for its form (an unknown key, a word where a number belongs) is an error at its place; what
Istio's admission webhook refuses is `istio_admission`'s.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from collections.abc import Sequence as SequenceType
from dataclasses import replace
from typing import Final

from ostiary.dialects.istio_objects import (
    CONTEXTS,
    OPERATIONS,
    VALUE_TYPES,
    ClusterMatch,
    EnvoyFilter,
    FilterChainMatch,
    FilterMatch,
    ListenerMatch,
    Match,
    OtherObject,
    Patch,
    ProxyMatch,
    RouteConfigurationMatch,
    RouteMatch,
    TargetRef,
    VirtualHostMatch,
)
from ostiary.dialects.schema import nearest
from ostiary.dialects.yaml_nodes import Mapping, Node, Scalar, Sequence, kind, parse_all
from ostiary.model.errors import Diagnostic, Severity

_ACTIONS: Final = ("ANY", "ROUTE", "REDIRECT", "DIRECT_RESPONSE")
_CLASSES: Final = ("UNSPECIFIED", "AUTHN", "AUTHZ", "STATS")
_GROUP: Final = "networking.istio.io"
_VERSION: Final = f"{_GROUP}/v1alpha3"
_MAX_TARGET_REFS: Final = 16
_MAX_LABEL: Final = 63
"""Characters of a label's value (the CustomResourceDefinition says so, as it says of `targetRefs`)."""
_OF_OLD: Final = {
    "spec.filters": "this was the form before Istio 1.3: write configPatches",
    "spec.workloadLabels": "write workloadSelector: {labels: {...}}",
}


def read_objects(text: bytes, file: str) -> tuple[list[EnvoyFilter], list[OtherObject]]:
    """The objects in `text`, in the order in which they stand; problems of an EnvoyFilter are its own.

    Raises ConfigError for text that is not YAML.
    """
    filters: list[EnvoyFilter] = []
    others: list[OtherObject] = []
    for node in _objects(parse_all(text, file)):
        version, name = _text_of(node, "apiVersion"), _text_of(node, "kind")
        if name == "EnvoyFilter" and version.partition("/")[0] in ("", _GROUP) and isinstance(node, Mapping):
            filters.append(_Reader().envoy_filter(node))
        else:
            metadata = node.get("metadata") if isinstance(node, Mapping) else None
            others.append(OtherObject(api_version=version, kind=name, name=_text_of(metadata, "name"), place=node))
    return filters, others


def _objects(documents: SequenceType[Node]) -> Iterator[Node]:
    """Documents, and the items of those that are lists (`kubectl get -o yaml`)."""
    for document in documents:
        items = document.get("items") if isinstance(document, Mapping) else None
        if isinstance(items, Sequence) and _text_of(document, "kind").endswith("List"):
            yield from items
        else:
            yield document


def _text_of(node: Node | None, key: str) -> str:
    found = node.get(key) if isinstance(node, Mapping) else None
    return found.text if isinstance(found, Scalar) and not found.is_null else ""


class _Reader:
    """One object: what is wrong with it, and where its keys are."""

    def __init__(self) -> None:
        self.problems: list[Diagnostic] = []
        self._keys: dict[str, Node] = {}
        self._base = ""

    def envoy_filter(self, node: Mapping) -> EnvoyFilter:
        # metadata, status and what else the API server writes are its own business
        metadata = node.get("metadata")
        version = node.get("apiVersion")
        if not _text_of(node, "apiVersion"):
            self._problem(node, "apiVersion", "missing", f"write {_VERSION}")
        elif version is not None and _text_of(node, "apiVersion") != _VERSION:
            text, mend = (
                "the API server has no EnvoyFilter of this version, so that kubectl refuses it",
                f"write {_VERSION}",
            )
            self._problem(version, "apiVersion", text, mend, severity="warning")
        self._mapping(node, "", ("apiVersion", "kind", "metadata", "spec", "status"))
        spec = self._mapping(node.get("spec"), "spec", ("workloadSelector", "targetRefs", "configPatches", "priority"))
        selector = None
        if "workloadSelector" in spec:
            inner = self._mapping(spec["workloadSelector"], "spec.workloadSelector", ("labels",))
            selector = self._strings(inner.get("labels"), "spec.workloadSelector.labels")
            if any(len(value) > _MAX_LABEL for value in selector.values()):
                text = f"a label's value has {_MAX_LABEL} characters at most"
                self._problem(inner["labels"], "spec.workloadSelector.labels", text)
        refs = tuple(
            self._target_ref(item, path) for item, path in self._items(spec.get("targetRefs"), "spec.targetRefs")
        )
        if len(refs) > _MAX_TARGET_REFS:
            self._problem(spec["targetRefs"], "spec.targetRefs", f"there may be {_MAX_TARGET_REFS} at most")
        if refs and selector is not None:
            self._problem(
                spec["targetRefs"], "spec.targetRefs", "only one of targetRefs and workloadSelector may be set"
            )
        patches = tuple(
            self._patch(item, path, index)
            for index, (item, path) in enumerate(self._items(spec.get("configPatches"), "spec.configPatches"))
        )
        return EnvoyFilter(
            name=_text_of(metadata, "name"),
            namespace=_text_of(metadata, "namespace"),
            place=node,
            priority=self._integer(spec, "priority", "spec.priority", negative=True),
            created=self._time(metadata),
            selector=selector,
            target_refs=refs,
            patches=patches,
            problems=tuple(self.problems),
        )

    def _patch(self, node: Node, path: str, index: int) -> Patch:
        self._keys, self._base = {}, f"{path}."
        found = self._mapping(node, path, ("applyTo", "match", "patch"))
        patch = self._mapping(found.get("patch"), f"{path}.patch", ("operation", "value", "filterClass"))
        return Patch(
            index=index,
            place=node,
            apply_to=self._word(found, "applyTo", f"{path}.applyTo", tuple(VALUE_TYPES)),
            operation=self._word(patch, "operation", f"{path}.patch.operation", OPERATIONS),
            match=self._match(found.get("match"), f"{path}.match"),
            value=None if isinstance(v := patch.get("value"), Scalar) and v.is_null else v,
            keys=self._keys,
            filter_class=self._word(patch, "filterClass", f"{path}.patch.filterClass", _CLASSES),
        )

    def _match(self, node: Node | None, path: str) -> Match:
        names = ("context", "proxy", "listener", "cluster", "routeConfiguration", "waypoint")
        found = self._mapping(node, path, names)
        objects = [name for name in names[2:] if name in found]
        if len(objects) > 1:
            text = f"only one of {' and '.join(objects)} may be set"
            self._problem(found[objects[1]], f"{path}.{objects[1]}", text)
        context = self._word(found, "context", f"{path}.context", CONTEXTS) or "ANY"
        if "waypoint" in found:
            if context != "WAYPOINT":
                text = "a waypoint match needs the context WAYPOINT (no code of Istio applies it then, either)"
                self._problem(found["waypoint"], f"{path}.waypoint", text)
            self._waypoint(found["waypoint"], f"{path}.waypoint")
        return Match(
            context=context,
            proxy=self._proxy(found["proxy"], f"{path}.proxy") if "proxy" in found else None,
            listener=self._listener(found["listener"], f"{path}.listener") if "listener" in found else None,
            cluster=self._cluster(found["cluster"], f"{path}.cluster") if "cluster" in found else None,
            route_configuration=self._routes(found["routeConfiguration"], f"{path}.routeConfiguration")
            if "routeConfiguration" in found
            else None,
        )

    def _waypoint(self, node: Node, path: str) -> None:
        """Nothing in Istio applies it: only its form is looked at."""
        found = self._mapping(node, path, ("filter", "portNumber", "route"))
        if "portNumber" in found and not 0 < self._integer(found, "portNumber", f"{path}.portNumber") < 1 << 16:
            self._problem(found["portNumber"], f"{path}.portNumber", "a port from 1 to 65535 is expected here")
        for key, names in (("filter", ("name", "subFilter")), ("route", ("name",))):
            inner = self._mapping(found.get(key), f"{path}.{key}", names)
            self._text(inner, "name", f"{path}.{key}")
            if "subFilter" in inner:
                at = f"{path}.{key}.subFilter"
                self._text(self._mapping(inner["subFilter"], at, ("name",)), "name", at)

    def _proxy(self, node: Node, path: str) -> ProxyMatch:
        found = self._mapping(node, path, ("proxyVersion", "metadata"))
        return ProxyMatch(
            version=self._text(found, "proxyVersion", path),
            metadata=self._strings(found.get("metadata"), f"{path}.metadata"),
        )

    def _listener(self, node: Node, path: str) -> ListenerMatch:
        found = self._mapping(node, path, ("portNumber", "portName", "name", "listenerFilter", "filterChain"))
        return ListenerMatch(
            name=self._text(found, "name", path),
            port_number=self._integer(found, "portNumber", f"{path}.portNumber"),
            port_name=self._text(found, "portName", path),
            listener_filter=self._text(found, "listenerFilter", path),
            filter_chain=self._chain(found["filterChain"], f"{path}.filterChain") if "filterChain" in found else None,
        )

    def _chain(self, node: Node, path: str) -> FilterChainMatch:
        names = ("name", "sni", "transportProtocol", "transportSocket", "applicationProtocols", "filter",
                 "destinationPort")  # fmt: skip
        found = self._mapping(node, path, names)
        inner = None
        if "filter" in found:
            at = f"{path}.filter"
            keys = self._mapping(found["filter"], at, ("name", "subFilter"))
            sub = None
            if "subFilter" in keys:
                sub = self._text(
                    self._mapping(keys["subFilter"], f"{at}.subFilter", ("name",)), "name", f"{at}.subFilter"
                )
            inner = FilterMatch(name=self._text(keys, "name", at), sub_filter=sub)
        return FilterChainMatch(
            name=self._text(found, "name", path),
            sni=self._text(found, "sni", path),
            transport_protocol=self._text(found, "transportProtocol", path),
            transport_socket=self._text(found, "transportSocket", path),
            application_protocols=self._text(found, "applicationProtocols", path),
            destination_port=self._integer(found, "destinationPort", f"{path}.destinationPort"),
            filter=inner,
        )

    def _cluster(self, node: Node, path: str) -> ClusterMatch:
        found = self._mapping(node, path, ("portNumber", "service", "subset", "name"))
        return ClusterMatch(
            name=self._text(found, "name", path),
            service=self._text(found, "service", path),
            subset=self._text(found, "subset", path),
            port_number=self._integer(found, "portNumber", f"{path}.portNumber"),
        )

    def _routes(self, node: Node, path: str) -> RouteConfigurationMatch:
        found = self._mapping(node, path, ("portNumber", "portName", "gateway", "vhost", "name"))
        vhost = None
        if "vhost" in found:
            at = f"{path}.vhost"
            keys = self._mapping(found["vhost"], at, ("name", "domainName", "route"))
            route = None
            if "route" in keys:
                inner = self._mapping(keys["route"], f"{at}.route", ("name", "action"))
                action = self._word(inner, "action", f"{at}.route.action", _ACTIONS) or "ANY"
                route = RouteMatch(name=self._text(inner, "name", f"{at}.route"), action=action)
            vhost = VirtualHostMatch(
                name=self._text(keys, "name", at), domain_name=self._text(keys, "domainName", at), route=route
            )
        return RouteConfigurationMatch(
            name=self._text(found, "name", path),
            port_number=self._integer(found, "portNumber", f"{path}.portNumber"),
            port_name=self._text(found, "portName", path),
            gateway=self._text(found, "gateway", path),
            vhost=vhost,
        )

    def _target_ref(self, node: Node, path: str) -> TargetRef:
        found = self._mapping(node, path, ("group", "kind", "name", "namespace"))
        group, named, name, namespace = (self._text(found, key, path) for key in ("group", "kind", "name", "namespace"))
        for key, value in (("kind", named), ("name", name)):
            if not value:
                self._problem(node, f"{path}.{key}", f"{key} is required")
        if namespace:
            self._problem(
                found["namespace"], f"{path}.namespace", "a targetRef can't name another namespace", "remove it"
            )
        return TargetRef(group=group, kind=named, name=name, namespace=namespace)

    def _mapping(self, node: Node | None, path: str, known: tuple[str, ...]) -> dict[str, Node]:
        """Key -> value of what is written and known."""
        if node is None or (isinstance(node, Scalar) and node.is_null):
            return {}
        if not isinstance(node, Mapping):
            self._problem(node, path, f"a mapping is expected here, not {kind(node)}")
            return {}
        found: dict[str, Node] = {}
        for key, value in node:
            at = f"{path}.{key.text}" if path else key.text
            if key.text not in known:
                near = nearest(key.text, known)
                mend = f"did you mean '{near}'?" if near else f"it has {', '.join(known)}"
                mend = _OF_OLD.get(at, mend)
                self._problem(
                    key, at[:200], "no such field in an EnvoyFilter: the API server refuses or drops it", mend
                )
                continue
            self._keys[at.removeprefix(self._base)] = key
            if not (isinstance(value, Scalar) and value.is_null):
                found[key.text] = value
        return found

    def _items(self, node: Node | None, path: str) -> list[tuple[Node, str]]:
        if node is None:
            return []
        if not isinstance(node, Sequence):
            self._problem(node, path, f"a list is expected here, not {kind(node)}")
            return []
        return [(item, f"{path}[{index}]") for index, item in enumerate(node)]

    def _text(self, found: dict[str, Node], key: str, path: str) -> str:
        node = found.get(key)
        if node is None:
            return ""
        if isinstance(node, Scalar) and isinstance(node.value, str):
            return node.text
        mend = "put it in quotes" if isinstance(node, Scalar) else ""
        self._problem(node, f"{path}.{key}", f"text is expected here, not {kind(node)}", mend)
        return ""

    def _strings(self, node: Node | None, path: str) -> dict[str, str]:
        known = tuple(key.text for key, _ in node) if isinstance(node, Mapping) else ()
        found = self._mapping(node, path, known)
        return {key: self._text(found, key, path) for key in found}

    def _integer(self, found: dict[str, Node], key: str, path: str, *, negative: bool = False) -> int:
        node = found.get(key)
        if node is None:
            return 0
        value = node.value if isinstance(node, Scalar) else None
        low, high = (-(1 << 31), (1 << 31) - 1) if negative else (0, (1 << 32) - 1)
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        self._problem(node, path, f"a whole number from {low} to {high} is expected here")
        return 0

    def _word(self, found: dict[str, Node], key: str, path: str, known: tuple[str, ...]) -> str:
        text = self._text(found, key, path.rpartition(".")[0])
        if text and text not in known:
            near = nearest(text.upper(), known)
            self._problem(found[key], path, f"no such value: '{text[:60]}'", near or f"one of {', '.join(known)}")
            return ""
        return text

    def _time(self, metadata: Node | None) -> float:
        text = _text_of(metadata, "creationTimestamp")
        if not text:
            return 0.0
        try:
            when = datetime.datetime.fromisoformat(text)
        except ValueError:
            assert isinstance(metadata, Mapping)
            node = metadata.get("creationTimestamp") or metadata
            self._problem(node, "metadata.creationTimestamp", "not a time", "as in 2026-01-02T15:04:05Z")
            return 0.0
        return (when if when.tzinfo else when.replace(tzinfo=datetime.UTC)).timestamp()

    def _problem(self, node: Node, path: str, message: str, mend: str = "", *, severity: Severity = "error") -> None:
        self.problems.append(replace(node.problem(path, message, mend), severity=severity))
