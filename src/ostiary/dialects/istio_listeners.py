"""LISTENER, LISTENER_FILTER and FILTER_CHAIN patches (istio: .../envoyfilter/listener_patch.go).

A listener is patched from the outside in: itself, its listener filters, its chains, what is in them. Whatever panics
ends the whole call: objects done before stay patched, the rest is served as Istio made it.
"""

from __future__ import annotations

from collections.abc import Sequence

from ostiary.dialects import istio_match as matches
from ostiary.dialects.istio_chains import change, merge_filter, patch_network_filters
from ostiary.dialects.istio_clusters import merge_typed, panicked, siblings_dropped, tell
from ostiary.dialects.istio_findings import Active
from ostiary.dialects.istio_match import OPERATION, Run
from ostiary.dialects.istio_merge import Log, Panic, merge
from ostiary.dialects.istio_message import Message

KINDS = ("LISTENER", "LISTENER_FILTER", "FILTER_CHAIN", "NETWORK_FILTER", "HTTP_FILTER")


def patch_listeners(run: Run, listeners: Sequence[Message], *, skip_adds: bool = False) -> list[Message]:
    """Listeners of one context, patched in place, without those that were removed, with those that were added."""
    try:
        kept = [found for found in listeners if _patch_listener(run, found)]
    except Panic as panic:
        rest = [active for active in run.patches if active.patch.apply_to in KINDS and active not in run.current]
        panicked(run.current[0], panic, rest)
        return list(listeners)
    return kept if skip_adds else kept + added_listeners(run)


def added_listeners(run: Run) -> list[Message]:
    """The listeners that ADD patches make, for one context."""
    found = []
    for active in run.patches:
        is_add = active.patch.apply_to == "LISTENER" and active.operation == "ADD"
        if is_add and active.value is not None and matches.added_here(active, run.context):
            found.append(active.value.clone())
            active.hit("listeners", f"added listener {active.value.text('name')}")
    return found


def _patch_listener(run: Run, found: Message) -> bool:
    """False if a patch removed it."""
    where = f"listener {found.text('name')}"
    for active in run.of("LISTENER"):
        if active.operation == "ADD" or not matches.listener(active, found):
            continue
        if active.operation == "REMOVE":
            active.hit(where, "removed")
            return False
        _merge_whole(run, active, found, where)
    for active in run.of("LISTENER_FILTER"):
        if matches.listener(active, found):
            _listener_filters(run, active, found, where)
    _filter_chains(run, found, where)
    return True


def _merge_whole(run: Run, active: Active, found: Message, where: str) -> None:
    """MERGE into a listener or a chain. Raises Panic."""
    if not active.merges or active.value is None:
        kind = active.patch.apply_to
        text = f"{active.operation} of a {kind} is ignored: it knows MERGE, ADD and REMOVE"
        active.miss(OPERATION, "operation-ignored", text)
        return
    run.current[:] = [active]
    log = Log()
    merge(found, active.value, log, replace_lists=active.operation == "MERGE_AND_REPLACE_LIST")
    active.hit(where, f"merged {', '.join(active.value.fields) or 'nothing'}")
    tell(active, log)


def _listener_filters(run: Run, active: Active, found: Message, where: str) -> None:
    filters = found.messages("listener_filters")
    anchored = matches.wants_listener_filter(active)
    if active.operation != "MERGE":
        what = "listenerFilter"
        found.put_messages(
            "listener_filters", change(active, filters, matches.listener_filter, anchored, where, what=what)
        )
    elif not anchored:
        active.miss(OPERATION, "match-required", "MERGE without a listenerFilter match does nothing")
    else:
        run.current[:] = [active]
        for each in filters:  # into every one, whatever its name: istiod looks only whether a name is written
            merge_filter(active, each, where, rename=False)


def _filter_chains(run: Run, found: Message, where: str) -> None:
    """A chain without filters isn't sent; one whose last filter a patch removed is, and closes its connections."""
    chains = found.messages("filter_chains")
    kept = [chain for chain in chains if chain.messages("filters") and _filter_chain(run, found, chain)]
    default = found.message("default_filter_chain")
    if default is not None and default.messages("filters") and not _filter_chain(run, found, default):
        found.clear("default_filter_chain")
    for active in run.of("FILTER_CHAIN"):
        if active.operation != "ADD" or active.value is None or not matches.listener(active, found):
            continue
        if not active.value.messages("filters"):
            active.miss(OPERATION, "no-filter", "a filter chain without filters isn't sent")
            continue
        kept.append(active.value.clone())
        active.hit(where, f"added filter chain {active.value.text('name')}")
    if kept != chains:
        found.put_messages("filter_chains", kept)


def _filter_chain(run: Run, owner: Message, chain: Message) -> bool:
    """False if a patch removed it."""
    where = f"listener {owner.text('name')}, chain {chain.text('name') or '(unnamed)'}"
    for active in run.of("FILTER_CHAIN"):
        if active.operation == "ADD" or not matches.listener(active, owner):
            continue
        if not matches.filter_chain(active, owner, chain):
            continue
        if active.operation == "REMOVE":
            chain.clear("filters")
            active.hit(where, "removed")
            return False
        if active.merges and active.value is not None and _merge_socket(run, active, active.value, chain, where):
            continue
        _merge_whole(run, active, chain, where)
    patch_network_filters(run, owner, chain)
    return True


def _merge_socket(run: Run, active: Active, patch: Message, chain: Message, where: str) -> bool:
    """True if the patch was about a transport_socket of the same name: then only that is merged. Raises Panic."""
    new, old = patch.message("transport_socket"), chain.message("transport_socket")
    if new is None or old is None or new.text("name") != old.text("name"):
        return False
    run.current[:] = [active]
    siblings_dropped(active, patch)
    log = Log()
    merge_typed(old, new, log, "transport_socket.typed_config")
    active.hit(where, f"merged into transport_socket {new.text('name')}")
    tell(active, log)
    return True
