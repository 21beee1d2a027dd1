"""EnvoyFilters applied to a proxy's configuration: what istiod would have made of it.

The pieces in the order in which istiod makes them: clusters; routes; listeners, from the outside in; extension
configurations that a filter waits for. What cannot apply is told too, so that each patch has one outcome.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from ostiary.dialects.istio_added import explain_added
from ostiary.dialects.istio_chains import token_cluster
from ostiary.dialects.istio_clusters import added_clusters, patch_cluster, without_duplicates
from ostiary.dialects.istio_findings import Active, Outcome, outcome
from ostiary.dialects.istio_listeners import patch_listeners
from ostiary.dialects.istio_match import OBJECT, OPERATION, VIRTUAL, Run
from ostiary.dialects.istio_message import Message
from ostiary.dialects.istio_objects import EnvoyFilter
from ostiary.dialects.istio_routes import KINDS as ROUTE_KINDS
from ostiary.dialects.istio_routes import patch_routes
from ostiary.dialects.istio_selection import Proxy, in_order, select
from ostiary.dialects.schema import nearest
from ostiary.dialects.yaml_nodes import Mapping, Scalar
from ostiary.dialects.yaml_nodes import Sequence as SequenceNode

_SIDECAR: Final = ("SIDECAR_INBOUND", "SIDECAR_OUTBOUND")
"""Of a waypoint, too (istio: pilot/pkg/networking/core/{listener_builder,cluster}.go)."""
_UNPATCHED: Final = ("main_internal", "connect_originate", "inner_connect_originate", "outer_connect_originate",
                     "sds-external")  # fmt: skip
"""What istiod makes after patching; a waypoint's listeners of these names it makes before."""


@dataclass(slots=True)
class Resources:
    """What istiod makes for one proxy. Patching changes the messages in place and replaces the lists."""

    clusters: list[Message] = field(default_factory=list)
    listeners: list[Message] = field(default_factory=list)
    routes: list[Message] = field(default_factory=list)
    """Route configurations that are discovered on their own; inline ones are in the listeners."""
    extensions: list[Message] = field(default_factory=list)
    """Extension configurations that patches add for filters with `config_discovery`."""


def apply(filters: Sequence[EnvoyFilter], proxy: Proxy, resources: Resources) -> list[Outcome]:
    """Patch `resources` in place; what came of each patch, in the order in which they apply."""
    reaching, left_out = select(filters, proxy)
    contexts = ("GATEWAY",) if proxy.kind == "gateway" else _SIDECAR
    runs = {name: Run(name, reaching, waypoint=proxy.kind == "waypoint") for name in contexts}
    _clusters(runs, resources)
    _routes(runs, resources)
    _listeners(runs, resources)
    _extensions(reaching, resources)
    for active in reaching:
        _never(active)
        _unknown_cluster(active, resources)
    explain_added(reaching)
    order = {id(found): index for index, found in enumerate(in_order(filters, proxy.root_namespace))}
    tried = sorted([*reaching, *left_out], key=lambda active: (order[id(active.owner)], active.patch.index))
    return [outcome(active) for active in tried]


def cluster_context(found: Message) -> str:
    """The context of a cluster of a sidecar, told from Istio's name for it."""
    name = found.text("name")
    return "SIDECAR_INBOUND" if name.startswith(("inbound|", "InboundPassthrough")) else "SIDECAR_OUTBOUND"


def listener_context(found: Message) -> str:
    """The context of a listener of a sidecar. One that says nothing serves: it is inbound."""
    outbound = found.text("traffic_direction") == "OUTBOUND" or found.text("name") == "virtualOutbound"
    return "SIDECAR_OUTBOUND" if outbound else "SIDECAR_INBOUND"


def _clusters(runs: dict[str, Run], resources: Resources) -> None:
    """In istiod's order, which decides between two of one name: each direction's own, then what is added to it."""
    kept: dict[str, list[Message]] = {name: [] for name in reversed(runs)}  # outbound first
    made: list[Message] = []
    for found in resources.clusters:
        run = _run(runs, cluster_context(found))
        own = found.text("name").startswith("outbound|") if run.waypoint else found.text("name") not in _UNPATCHED
        patched = patch_cluster(run, found, _services(found)) if own else found
        if patched is not None:
            kept[run.context].append(patched)
            made.append(patched)
    added = {name: added_clusters(runs[name]) for name in runs}
    ordered = [each for name in kept for each in (*kept[name], *added[name])]
    winners = {id(each) for each in without_duplicates(ordered, next(iter(runs.values())).patches)}
    resources.clusters = [each for each in (*made, *(c for name in runs for c in added[name])) if id(each) in winners]


def _run(runs: dict[str, Run], context: str) -> Run:
    return runs.get(context) or runs["GATEWAY"]


def _services(found: Message) -> list[str]:
    """The hosts of an inbound cluster, which Istio writes into its metadata."""
    metadata = found.message("metadata")
    by_filter = metadata.fields.get("filter_metadata") if metadata is not None else None
    istio = by_filter["istio"][1] if isinstance(by_filter, dict) and "istio" in by_filter else None
    services = istio.get("services") if isinstance(istio, Mapping) else None
    hosts = (
        [each.get("host") for each in services if isinstance(each, Mapping)]
        if isinstance(services, SequenceNode)
        else []
    )
    return [host.text for host in hosts if isinstance(host, Scalar)]


def _listener_run(runs: dict[str, Run], listener: Message) -> Run:
    """A waypoint's listeners are all inbound."""
    run = _run(runs, listener_context(listener))
    return runs["SIDECAR_INBOUND"] if run.waypoint else run


def _routes(runs: dict[str, Run], resources: Resources) -> None:
    for found in resources.routes:
        inbound = found.text("name").startswith("inbound|")
        patch_routes(_run(runs, "SIDECAR_INBOUND" if inbound else "SIDECAR_OUTBOUND"), found)
    for listener in resources.listeners:
        run = _listener_run(runs, listener)
        for manager in managers(listener):
            inline = manager.message("route_config")
            if inline is not None and (not run.waypoint or _by_default(run, inline)):
                patch_routes(run, inline)


def _by_default(run: Run, routes: Message) -> bool:
    """Of a waypoint's routes istiod patches those that it makes for want of a VirtualService."""
    hosts = routes.messages("virtual_hosts")
    names = [route.text("name") for host in hosts for route in host.messages("routes")]
    if names == ["default"] and hosts[0].text("name").startswith("inbound|http|"):
        return True
    text = f"routes {routes.text('name')}: those that a VirtualService makes at a waypoint aren't patched"
    for active in [active for kind in ROUTE_KINDS for active in run.of(kind)]:
        active.miss(OBJECT, "no-route-configuration", text)
    return False


def _chains(listener: Message) -> list[Message]:
    default = listener.message("default_filter_chain")
    return [*listener.messages("filter_chains"), *([default] if default is not None else [])]


def managers(listener: Message) -> Iterable[Message]:
    """The connection managers of a listener."""
    for chain in _chains(listener):
        for each in chain.messages("filters"):
            typed = each.message("typed_config")
            if typed is not None and typed.type_name.endswith(".HttpConnectionManager"):
                yield typed


def _listeners(runs: dict[str, Run], resources: Resources) -> None:
    """As istiod calls it: each virtual listener alone, then those of each direction together."""
    groups: dict[tuple[str, str], list[Message]] = {}
    kept: dict[int, Message] = {}
    for found in resources.listeners:
        if found.text("name") in _UNPATCHED and not _run(runs, "SIDECAR_INBOUND").waypoint:
            kept[id(found)] = found
            continue
        context = _listener_run(runs, found).context
        name = found.text("name") if context != "GATEWAY" and found.text("name") in VIRTUAL else ""
        groups.setdefault((context, name), []).append(found)
    for context in runs:
        groups.setdefault((context, ""), [])
    for (context, virtual), group in groups.items():
        for each in patch_listeners(runs[context], group, skip_adds=bool(virtual)):
            kept[id(each)] = each
    old = {id(each) for each in resources.listeners}
    resources.listeners = [
        *(each for each in resources.listeners if id(each) in kept),
        *(each for each in kept.values() if id(each) not in old),
    ]


def _extensions(patches: Sequence[Active], resources: Resources) -> None:
    """EXTENSION_CONFIG: sent for filters that discover their configuration by that name."""
    wanted = {name for listener in resources.listeners for name in _discovered(listener)}
    for active in patches:
        if active.patch.apply_to != "EXTENSION_CONFIG":
            continue
        name = active.value.text("name") if active.value is not None else ""
        if active.operation != "ADD" or active.value is None:
            text = f"{active.operation} of an EXTENSION_CONFIG is ignored: it knows ADD only"
            active.miss(OPERATION, "operation-ignored", text)
        elif name not in wanted:
            has = ", ".join(sorted(wanted)) or "none"
            text = f"no filter has config_discovery and the name {name} (there is: {has})"
            active.miss(OPERATION, "not-subscribed", text)
        else:
            resources.extensions.append(active.value.clone())
            active.hit("extension configurations", f"sent {name}")


def _discovered(listener: Message) -> Iterable[str]:
    """The names of filters with `config_discovery`."""
    links = listener.messages("listener_filters")
    links += [each for chain in _chains(listener) for each in chain.messages("filters")]
    links += [each for manager in managers(listener) for each in manager.messages("http_filters")]
    return [each.text("name") for each in links if "config_discovery" in each.fields]


def _unknown_cluster(active: Active, resources: Resources) -> None:
    """A sign-in whose token endpoint nobody can connect to. A dump may be of listeners alone."""
    names = [found.text("name") for found in resources.clusters]
    if names and (wanted := token_cluster(active)) is not None and wanted[0] not in names:
        text = f"the proxy has no cluster {wanted[0]}: everybody is sent to the provider, and nobody gets in"
        mend = f"name it '{near}'" if (near := nearest(wanted[0], names)) else "add it with a patch of CLUSTER, ADD"
        path = "typed_config.config.token_endpoint.cluster"
        active.note("unknown-cluster", "error", wanted[1], text, mend, value_path=path)


def _never(active: Active) -> None:
    """What no proxy of today gets."""
    if active.patch.apply_to == "BOOTSTRAP":
        text = "Istio applies no BOOTSTRAP patches any more: use the annotation sidecar.istio.io/bootstrapOverride"
        active.miss(OPERATION, "bootstrap-ignored", text)
