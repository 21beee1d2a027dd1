"""Where clusters and filters stand in anything that holds Envoy's configuration.

A bootstrap, a config_dump, an EnvoyFilter's patch and a fragment that somebody pasted hold the same messages at
different depths. So they are looked for by what they are: whatever has the type of an OAuth2 filter is one, and a
cluster is what stands in a list called `clusters`, in a dump's `cluster`, or in a patch that adds one.
"""

from __future__ import annotations

from typing import Final, NamedTuple, TypeGuard

from ostiary.dialects.schema_values import Unfit, duration
from ostiary.dialects.yaml_nodes import Mapping, Node, Scalar, Sequence
from ostiary.doctor.finding import Where

_OAUTH2: Final = ("oauth2.v3.OAuth2", "oauth2.v3.OAuth2PerRoute")
_ADDS: Final = ("ADD", "INSERT_FIRST", "INSERT_BEFORE", "INSERT_AFTER", "REPLACE")


class Seen(NamedTuple):
    """A message and its place."""

    node: Mapping
    path: str
    document: int

    @property
    def where(self) -> Where:
        """Its place, for people."""
        return Where(file=self.node.file, line=self.node.line, path=self.path)


class Walked(NamedTuple):
    """What was found."""

    clusters: list[Seen]
    oauth2: list[Seen]
    chains: list[Seen]
    """Connection managers: their `http_filters` are an order."""


def walk(documents: list[Node]) -> Walked:
    """Everything of interest in the documents, in their order."""
    found = Walked([], [], [])
    for number, document in enumerate(documents):
        if isinstance(document, Sequence):  # `istioctl proxy-config cluster -o json`
            listed = ((item, f"[{index}]") for index, item in enumerate(document))
            found.clusters.extend(Seen(item, place, number) for item, place in listed if _is_cluster(item))
        _visit(document, "", number, found)
    return found


def field(node: Node | None, name: str) -> Node | None:
    """A field by its name, in either spelling (`load_assignment`, `loadAssignment`)."""
    if not isinstance(node, Mapping):
        return None
    found = node.get(name)
    if found is None and "_" in name:
        head, *rest = name.split("_")
        found = node.get(head + "".join(part.capitalize() for part in rest))
    return found


def at(node: Node | None, *names: str) -> Node | None:
    """A field of a field."""
    for name in names:
        node = field(node, name)
    return node


def text(node: Node | None, *names: str) -> str:
    """A scalar's text; empty if it is not there or no scalar."""
    found = at(node, *names)
    return found.text if isinstance(found, Scalar) and not found.is_null else ""


def items(node: Node | None, *names: str) -> tuple[Node, ...]:
    """A list's items; one item may stand for a list of one."""
    found = at(node, *names)
    if isinstance(found, Sequence):
        return found.items
    return () if found is None or (isinstance(found, Scalar) and found.is_null) else (found,)


def seconds(node: Node | None, otherwise: float) -> float:
    """A duration; `otherwise` if it is not there or none."""
    if node is None:
        return otherwise
    try:
        return duration(node)
    except Unfit:
        return otherwise


def type_of(node: Node | None) -> str:
    """The type of an Any, without the host of its URL."""
    return text(node, "@type").rpartition("/")[2] if isinstance(node, Mapping) else ""


def _visit(node: Node, path: str, document: int, found: Walked) -> None:
    if isinstance(node, Sequence):
        for index, item in enumerate(node):
            _visit(item, f"{path}[{index}]", document, found)
    if not isinstance(node, Mapping):
        return
    kind = type_of(node)
    if kind.endswith(_OAUTH2):
        found.oauth2.append(Seen(node, path, document))
    if field(node, "http_filters") is not None:
        found.chains.append(Seen(node, path, document))
    if text(node, "applyTo") == "CLUSTER" and text(node, "patch", "operation") in _ADDS:
        value = at(node, "patch", "value")
        if isinstance(value, Mapping):
            found.clusters.append(Seen(value, _join(path, "patch.value"), document))
    for key, value in node:
        below = _join(path, key.text)
        if key.text == "clusters":
            listed = ((item, f"{below}[{index}]") for index, item in enumerate(items(value)))
            found.clusters.extend(Seen(item, place, document) for item, place in listed if _is_cluster(item))
        elif key.text == "resources":  # a file of xDS
            listed = ((item, f"{below}[{index}]") for index, item in enumerate(items(value)))
            of_type = ((item, place) for item, place in listed if type_of(item).endswith(".Cluster"))
            found.clusters.extend(Seen(item, place, document) for item, place in of_type if _is_cluster(item))
        elif key.text == "cluster" and _is_cluster(value):
            found.clusters.append(Seen(value, below, document))
        _visit(value, below, document, found)


def _is_cluster(node: Node) -> TypeGuard[Mapping]:
    marks = ("load_assignment", "connect_timeout", "type", "cluster_type", "transport_socket", "dns_lookup_family")
    return isinstance(node, Mapping) and bool(text(node, "name")) and any(field(node, name) for name in marks)


def _join(path: str, key: str) -> str:
    if not key.replace("_", "").replace("-", "").replace(".", "").isalnum() or "." in key.strip("."):
        key = key if key == "patch.value" else f'["{key}"]'
    return f"{path}{key}" if key.startswith("[") or not path else f"{path}.{key}"
