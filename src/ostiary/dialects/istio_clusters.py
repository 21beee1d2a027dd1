"""CLUSTER patches (istio: pilot/pkg/networking/core/envoyfilter/cluster_patch.go).

MERGE and REMOVE see the clusters that Istio generates; those that an EnvoyFilter ADDs come afterwards and are never
seen by another patch. A MERGE whose value holds a `transport_socket` merges that and drops everything beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ostiary.dialects import istio_match as matches
from ostiary.dialects.istio_findings import Active
from ostiary.dialects.istio_match import OPERATION, Run
from ostiary.dialects.istio_merge import Log, Panic, merge, merge_any
from ostiary.dialects.istio_message import Message
from ostiary.dialects.yaml_nodes import Node

_DNS: Final = ("STRICT_DNS", "LOGICAL_DNS")
_REPLACE: Final = "REPLACE the whole, or write the list into the object that made it"


def patch_cluster(run: Run, found: Message, hosts: Sequence[str] = ()) -> Message | None:
    """One cluster with MERGE and REMOVE patches applied, in place; None if one removed it."""
    where = f"cluster {found.text('name')}"
    patches = run.of("CLUSTER")
    for index, active in enumerate(patches):
        if active.operation == "ADD" or not matches.cluster(active, found, hosts):
            continue
        if active.operation == "REMOVE":
            active.hit(where, "removed")
            return None
        if not active.merges:
            text = f"{active.operation} of a CLUSTER is ignored: it knows MERGE, ADD and REMOVE"
            active.miss(OPERATION, "operation-ignored", text)
            continue
        try:
            _merge(active, found, where)
        except Panic as panic:
            panicked(active, panic, patches[index + 1 :])
            break
    return found


def _merge(active: Active, found: Message, where: str) -> None:
    assert active.value is not None
    log = Log()
    if "transport_socket" in active.value.fields:
        _merge_socket(active, active.value, found, where, log)
    else:
        merge(found, active.value, log, replace_lists=active.operation == "MERGE_AND_REPLACE_LIST")
        active.hit(where, f"merged {', '.join(active.value.fields) or 'nothing'}")
    tell(active, log)


def _merge_socket(active: Active, patch: Message, found: Message, where: str, log: Log) -> None:
    """Only the socket is merged."""
    siblings_dropped(active, patch)
    socket = patch.message("transport_socket")
    assert socket is not None
    target, name = found.message("transport_socket"), socket.text("name")
    if of_matches := found.messages("transport_socket_matches"):
        sockets = [each for match in of_matches if (each := match.message("transport_socket")) is not None]
        target = next((each for each in sockets if each.text("name") == name), None)
        if target is None:
            text = f"{where} has transport_socket_matches and none of them is {name}: the patch is dropped"
            active.miss(OPERATION, "transport-socket-dropped", text)
            return
    if target is None or target.text("name") != name:
        found.put("transport_socket", socket.clone(), patch.keys["transport_socket"])
        active.hit(where, f"replaced transport_socket by {name}")
    else:
        merge_typed(target, socket, log, "transport_socket.typed_config")
        active.hit(where, f"merged into transport_socket {name}")


def merge_typed(target: Message, patch: Message, log: Log, path: str = "typed_config") -> None:
    """Merge `typed_config` of one extension into another's, if both have one. Raises Panic for two types."""
    old, new = target.message("typed_config"), patch.message("typed_config")
    if old is not None and new is not None:
        target.put("typed_config", merge_any(old, new, log, path))


def siblings_dropped(active: Active, patch: Message) -> None:
    """Say which fields beside a transport_socket are lost."""
    lost = [name for name in patch.fields if name not in ("transport_socket", "name")]
    if lost:
        text = f"{', '.join(lost)} dropped: of a MERGE with a transport_socket Istio merges the socket alone"
        key = patch.keys[lost[0]]
        active.note("siblings-dropped", "error", key, text, "write them into a patch of their own", value_path=lost[0])


def tell(active: Active, log: Log) -> None:
    """What a merge did that people don't expect."""
    for node, path in log.appended:
        text = "MERGE appends to a list: what was in it stays"
        active.note("list-appended", "warning", node, text, _REPLACE, value_path=path)
    for node, path, lost in log.replaced:
        text = f"MERGE replaces an entry of a map as a whole: what was in this one is lost ({lost})"
        active.note("map-replaced", "warning", node, text, "write the whole entry", value_path=path)
    for node, path in log.unwritten:
        text = (
            "MERGE can't write this value over the one that is there: to protobuf it means 'not set', in a wrapper too"
        )
        active.note("zero-not-written", "error", node, text, "REPLACE the whole", value_path=path)


def panicked(active: Active, panic: Panic, rest: Sequence[Active]) -> None:
    """istiod catches its panic and goes on without what it was at."""
    text = f"istiod panics on this patch ({panic}), and the patches at hand don't take effect"
    active.note("panic", "error", "patch.value", text, "give the value the '@type' of what it is merged into")
    for other in rest:
        other.miss(OPERATION, "lost-to-panic", f"istiod panics on a patch before it ({active.owner.name})")


def added_clusters(run: Run) -> list[Message]:
    """The clusters that ADD patches make, for one context."""
    found = []
    for active in run.patches:
        if active.patch.apply_to != "CLUSTER" or active.operation != "ADD" or active.value is None:
            continue
        if run.waypoint and active.patch.match.context != "SIDECAR_INBOUND":
            text = "a waypoint gets added clusters of the context SIDECAR_INBOUND only"
            active.miss(matches.CONTEXT, "context-mismatch", text)
        elif matches.added_here(active, run.context):
            found.append(active.value.clone())
            active.hit("clusters", f"added cluster {active.value.text('name')}")
            check_cluster(active, active.value)
    return found


def check_cluster(active: Active, found: Message) -> None:
    """What Istio sets on its own clusters and never on those of an EnvoyFilter."""
    name = found.text("name")
    kind, place = found.text("type"), _at(found, "type")
    if kind in _DNS and found.text("dns_lookup_family") in ("", "AUTO"):
        family = "is AUTO" if found.text("dns_lookup_family") else "isn't written, so it is AUTO"
        text = f"cluster {name}: dns_lookup_family {family}: IPv6 alone, wherever the name has an IPv6 address"
        mend = "write ALL (both families race), or V4_ONLY where IPv6 can't come"
        active.note("no-lookup-family", "warning", place, text, mend, value_path="dns_lookup_family")
    socket = found.message("transport_socket")
    typed = socket.message("typed_config") if socket is not None else None
    if typed is not None and typed.type_name.endswith(".UpstreamTlsContext") and not _verifies(typed):
        text = f"cluster {name} verifies no certificate: without a validation context anybody can be its server"
        mend = "add common_tls_context.validation_context with trusted_ca and match_typed_subject_alt_names"
        node = typed.url or typed.place
        active.note("not-verified", "warning", node, text, mend, value_path="transport_socket.typed_config")
    elif typed is not None and (context := _nameless(typed)) is not None:
        text = f"cluster {name} verifies who issued a certificate, but not whose it is: any name passes"
        mend = "add match_typed_subject_alt_names with the server's name"
        path = "transport_socket.typed_config.common_tls_context.validation_context"
        active.note("not-verified", "warning", context.place, text, mend, value_path=path)


def _at(found: Message, name: str) -> Node:
    return found.keys.get(name, found.place)


def _verifies(tls: Message) -> bool:
    common = tls.message("common_tls_context")
    if common is None:
        return False
    kinds = [name for name in common.fields if "validation_context" in name]
    own = common.message("validation_context")
    if kinds == ["validation_context"] and own is not None:
        return bool({"trusted_ca", "verify_certificate_spki", "verify_certificate_hash", "system_root_certs",
                     "ca_certificate_provider_instance", "custom_validator_config"} & set(own.fields))  # fmt: skip
    return bool(kinds)


def _nameless(tls: Message) -> Message | None:
    """The validation context of an UpstreamTlsContext that trusts a CA, whatever the name."""
    common = tls.message("common_tls_context")
    own = common.message("validation_context") if common is not None else None
    if own is None or not tls.type_name.endswith(".UpstreamTlsContext") or "auto_sni_san_validation" in tls.fields:
        return None
    names = {"match_typed_subject_alt_names", "match_subject_alt_names", "verify_certificate_spki",
             "verify_certificate_hash", "custom_validator_config"}  # fmt: skip
    return own if {"trusted_ca", "system_root_certs"} & set(own.fields) and not names & set(own.fields) else None


def without_duplicates(clusters: Sequence[Message], patches: Sequence[Active]) -> list[Message]:
    """Of two clusters with one name Istio keeps the first.

    Those of services it sends apart, without a look: then there are two, and Envoy refuses the second, or the update.
    """
    found: dict[str, Message] = {}
    for each in clusters:
        name = each.text("name")
        first = found.setdefault(name, each)
        if first is each:
            continue
        if (active := _adder(each, patches)) is not None:
            active.hits.clear()
            text = f"a cluster {name} is there already, and Istio keeps the first"
            if name.startswith("outbound|") and _adder(first, patches) is None:
                text = f"a service has the cluster {name}: Istio sends both, and Envoy refuses two of a name"
            active.miss(OPERATION, "duplicate-name", text)
        elif (active := _adder(first, patches)) is not None:
            text = f"Istio's own cluster {name} comes after this one, and is dropped"
            active.note("duplicate-name", "warning", "patch.value", text, "give it another name", value_path="name")
    return list(found.values())


def _adder(cluster: Message, patches: Sequence[Active]) -> Active | None:
    """The patch that adds a cluster, if one does."""
    adds = [each for each in patches if each.operation == "ADD" and each.patch.apply_to == "CLUSTER"]
    return next((each for each in adds if each.value is not None and each.value.place is cluster.place), None)
