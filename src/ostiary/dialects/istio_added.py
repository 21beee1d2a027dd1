"""Patches that are meant for what another patch makes, and never see it.

What an ADD makes is put in after the patches of that kind, and of all that is inside it, have been applied: nothing can
change it or insert into it. What an insert makes is there for those that apply after it: of two objects, that goes by
priority and age, so that an anchor may be missing although it comes later.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from ostiary.dialects.istio_findings import Active, Code
from ostiary.dialects.istio_match import OPERATION
from ostiary.dialects.istio_objects import INSERTS, Patch

_FILTERS: Final = ("LISTENER_FILTER", "NETWORK_FILTER", "HTTP_FILTER")
_NOUNS: Final = {"CLUSTER": "cluster", "LISTENER": "listener", "FILTER_CHAIN": "filter chain",
                 "VIRTUAL_HOST": "virtual host", "HTTP_ROUTE": "route"}  # fmt: skip


def explain_added(patches: Sequence[Active]) -> None:
    """Say of each patch that hit nothing whether another patch makes what it names."""
    made = {(active.patch.apply_to, _name(active)): active for active in reversed(patches) if _makes(active)}
    for active in patches:
        if active.hits:
            continue
        for kind, name in _named(active.patch):
            maker = made.get((kind, name))
            if maker is None or maker is active:
                continue
            place = f"{maker.patch.place.file}:{maker.patch.place.line}"
            if kind not in _FILTERS and not (kind == "HTTP_ROUTE" and active.operation in INSERTS):
                verb = "never reaches into" if kind != active.patch.apply_to else "never sees"
                text = (
                    f"an EnvoyFilter adds this {_NOUNS[kind]} ({place}), and {active.operation} {verb} what an ADD made"
                )
                code: Code = "added-cluster" if kind == "CLUSTER" else "added-object"
                active.miss(OPERATION, code, f"{text}: change the value there")
            elif patches.index(maker) > patches.index(active):
                what = "route" if kind == "HTTP_ROUTE" else "filter"
                text = f"{name} is not there yet: the {what} is put in by a patch that applies later ({place})"
                active.miss(OPERATION, "added-later", text)


def _makes(active: Active) -> bool:
    kind = active.patch.apply_to
    operations = (*INSERTS, "ADD", "REPLACE") if kind in _FILTERS else (*INSERTS, "ADD")
    return bool(active.hits) and active.operation in operations and bool(_name(active))


def _name(active: Active) -> str:
    return active.value.text("name") if active.value is not None else ""


def _named(patch: Patch) -> Iterator[tuple[str, str]]:
    """Kinds and names of what a patch's match names, the outermost first."""
    match = patch.match
    if match.cluster is not None and patch.operation != "ADD":
        yield "CLUSTER", match.cluster.name or match.cluster.service
    if match.listener is not None:
        yield "LISTENER", match.listener.name
        chain = match.listener.filter_chain
        yield "FILTER_CHAIN", chain.name if chain is not None else ""
        yield "LISTENER_FILTER", match.listener.listener_filter if patch.apply_to == "LISTENER_FILTER" else ""
        found = chain.filter if chain is not None else None
        yield "NETWORK_FILTER", found.name if found is not None else ""
        yield "HTTP_FILTER", found.sub_filter or "" if found is not None else ""
    if match.route_configuration is not None and (host := match.route_configuration.vhost) is not None:
        yield "VIRTUAL_HOST", host.name
        yield "HTTP_ROUTE", host.route.name if host.route is not None else ""
