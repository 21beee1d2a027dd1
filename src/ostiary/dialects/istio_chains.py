"""NETWORK_FILTER and HTTP_FILTER patches in one filter chain (istio: .../envoyfilter/listener_patch.go).

Both go in two passes: first what adds, inserts, replaces and removes, in order; then MERGE, for every filter that is
there by then, those that another EnvoyFilter inserted included.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from ostiary.dialects import istio_match as matches
from ostiary.dialects.istio_admission import HTTP_CONNECTION_MANAGER
from ostiary.dialects.istio_clusters import tell
from ostiary.dialects.istio_findings import Active
from ostiary.dialects.istio_match import ANCHOR, FILTER, OPERATION, Run
from ostiary.dialects.istio_merge import Log, Panic, merge_any
from ostiary.dialects.istio_message import ISTIO_TYPES, Message
from ostiary.dialects.yaml_nodes import Node

ROUTER: Final = "envoy.filters.http.router"
_HCM_TYPE: Final = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_OAUTH2_TYPE: Final = "envoy.extensions.filters.http.oauth2.v3.OAuth2"
_JWT_TYPE: Final = "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication"
_ROUTER_TYPE: Final = "envoy.extensions.filters.http.router.v3.Router"

Test = Callable[[Active, Message], bool]


def patch_network_filters(run: Run, owner: Message, chain: Message) -> None:
    """The filters of a chain, and those of its connection managers, in place. Raises Panic."""
    where = f"listener {owner.text('name')}, chain {chain.text('name') or '(unnamed)'}"
    mine = [active for active in run.of("NETWORK_FILTER") if _in_chain(active, owner, chain)]
    filters = chain.messages("filters")
    for active in mine:
        filters = change(active, filters, matches.network_filter, matches.wants_network_filter(active), where)
        chain.put("filters", list(filters))  # an empty list, too: the chain stays
    http = [active for active in run.of("HTTP_FILTER") if _in_chain(active, owner, chain)]
    for each in filters:
        for active in mine:
            if active.operation == "MERGE" and matches.network_filter(active, each):
                _current(run, active)
                merge_filter(active, each, where)
        if each.text("name") == HTTP_CONNECTION_MANAGER:
            _http_filters(run, [a for a in http if matches.network_filter(a, each)], each, where)
    for active in http:
        if not any(
            each.text("name") == HTTP_CONNECTION_MANAGER and matches.network_filter(active, each) for each in filters
        ):
            has = f"(it has: {matches.names(filters)})"
            active.miss(FILTER, "no-filter", f"the chain has no {HTTP_CONNECTION_MANAGER} that it is for {has}")


def _in_chain(active: Active, owner: Message, chain: Message) -> bool:
    return matches.listener(active, owner) and matches.filter_chain(active, owner, chain)


def _current(run: Run, active: Active) -> None:
    run.current[:] = [active]


def change(
    active: Active, filters: list[Message], test: Test, anchored: bool, where: str, *, what: str = "filter"
) -> list[Message]:
    """One patch of the first pass on a list of filters: the list that comes of it. MERGE is left to the second pass."""
    operation, value = active.operation, active.value
    if operation == "MERGE":
        _missing_anchor(active, filters, test, anchored, where)
        return filters
    if operation == "MERGE_AND_REPLACE_LIST":
        text = f"MERGE_AND_REPLACE_LIST of a {active.patch.apply_to} is ignored"
        active.miss(OPERATION, "operation-ignored", f"{text}: use REPLACE")
        return filters
    if operation in ("REPLACE", "REMOVE") and not anchored:
        active.miss(OPERATION, "match-required", f"{operation} without a {what} match does nothing")
        return filters
    if operation != "REMOVE" and value is None:
        return filters
    if operation == "REMOVE":
        kept = [each for each in filters if not test(active, each)]
        if len(kept) < len(filters):
            active.hit(where, f"removed {matches.names([each for each in filters if each not in kept])}")
        return kept if _found(active, kept, filters, where) else filters
    assert value is not None
    position = _position(active, filters, test, anchored, where)
    if position is None:
        return filters
    new, name = value.clone(), value.text("name") or "a filter"
    _already_there(active, filters, name, replaced=position if operation == "REPLACE" else None)
    if operation == "REPLACE":
        active.hit(where, f"replaced {filters[position].text('name')} by {name}")
        return [*filters[:position], new, *filters[position + 1 :]]
    active.hit(where, _inserted(name, filters, position))
    _after_router(active, filters[:position])
    return [*filters[:position], new, *filters[position:]]


def _found(active: Active, kept: Sequence[Message], filters: Sequence[Message], where: str) -> bool:
    if len(kept) == len(filters):
        active.miss(ANCHOR, "anchor-missing", _there_is_no(active, filters, where))
        return False
    return True


def _position(active: Active, filters: list[Message], test: Test, anchored: bool, where: str) -> int | None:
    """Where the new filter goes, or which one it replaces; None, told, if its anchor isn't there."""
    operation = active.operation
    if operation == "INSERT_FIRST" or (operation == "INSERT_BEFORE" and not anchored):
        return 0
    if operation == "ADD" or (operation == "INSERT_AFTER" and not anchored):
        return len(filters)
    found = next((index for index, each in enumerate(filters) if test(active, each)), None)
    if found is None:
        active.miss(ANCHOR, "anchor-missing", _there_is_no(active, filters, where))
        return None
    return found + 1 if operation == "INSERT_AFTER" else found


def _missing_anchor(active: Active, filters: Sequence[Message], test: Test, anchored: bool, where: str) -> None:
    if anchored and not any(test(active, each) for each in filters):
        active.miss(ANCHOR, "anchor-missing", _there_is_no(active, filters, where))


def _there_is_no(active: Active, filters: Sequence[Message], where: str) -> str:
    match = active.patch.match.listener
    wanted = matches.sub_filter(active)
    if active.patch.apply_to == "LISTENER_FILTER":
        wanted = match.listener_filter if match is not None else ""
    elif (
        wanted is None
        and match is not None
        and match.filter_chain is not None
        and match.filter_chain.filter is not None
    ):
        wanted = match.filter_chain.filter.name
    return f"{where} has no filter {wanted} (it has: {matches.names(filters)})"


def _inserted(name: str, filters: Sequence[Message], position: int) -> str:
    if position < len(filters):
        return f"inserted {name} before {filters[position].text('name')}"
    return f"added {name} after {filters[-1].text('name')}" if filters else f"added {name}"


def _already_there(active: Active, filters: Sequence[Message], name: str, *, replaced: int | None) -> None:
    if any(each.text("name") == name for index, each in enumerate(filters) if index != replaced):
        text = f"a filter {name} is there already: now there are two (is the patch in this configuration already?)"
        active.note("already-there", "warning", "patch.value", text)


def _after_router(active: Active, before: Sequence[Message]) -> None:
    if active.patch.apply_to == "HTTP_FILTER" and any(is_type(each, _ROUTER_TYPE, ROUTER) for each in before):
        text = "the filter comes after the router, which must be the last: Envoy refuses the whole listener"
        mend = f"use INSERT_BEFORE with subFilter {ROUTER}, or INSERT_FIRST"
        active.note("after-router", "error", "patch.operation", text, mend)


def is_type(found: Message, type_name: str, name: str = "") -> bool:
    """By its type, or by its name where it has no config of its own."""
    typed = found.message("typed_config")
    return typed.type_name == type_name if typed is not None else bool(name) and found.text("name") == name


def merge_filter(active: Active, found: Message, where: str, *, rename: bool = True) -> bool:
    """MERGE into one filter, in place; False if it has no typed_config. Raises Panic."""
    target, patch = found.message("typed_config"), active.value
    if target is None:
        text = f"{found.text('name')} has no typed_config, and MERGE only works on one that has"
        active.miss(OPERATION, "no-typed-config", text)
        return False
    assert patch is not None
    log, typed = Log(), patch.message("typed_config")
    merged = None
    if typed is not None and (target.type is not None or target.type_name.startswith(ISTIO_TYPES)):
        merged = merge_any(target, typed, log, "typed_config")
    if typed is not None and target.type is None:
        text = f"{target.type_name} is not of Envoy's API: "
        text += "merged key by key" if merged is not None else "left as it is, unless istiod knows it"
        active.note("not-checked", "info", "patch.value", text)
    active.hit(where, f"merged into {found.text('name')}")
    if rename and patch.text("name"):
        found.put("name", patch.fields["name"], patch.keys["name"])
    if merged is not None:
        found.put("typed_config", merged)
    tell(active, log)
    return True


def token_cluster(active: Active) -> tuple[str, Node] | None:
    """The cluster that an oauth2 filter's tokens come from, and where it is named; None for any other patch."""
    value = active.value
    if active.patch.apply_to != "HTTP_FILTER" or value is None or not active.hits or not is_type(value, _OAUTH2_TYPE):
        return None
    typed = value.message("typed_config")
    config = typed.message("config") if typed is not None else None
    endpoint = config.message("token_endpoint") if config is not None else None
    name = endpoint.text("cluster") if endpoint is not None else ""
    return (name, endpoint.keys["cluster"]) if endpoint is not None and name else None


def _http_filters(run: Run, patches: Sequence[Active], manager: Message, where: str) -> None:
    """The HTTP filters of one connection manager."""
    typed = manager.message("typed_config")
    if typed is None or typed.type_name != _HCM_TYPE:
        for active in patches:
            active.miss(FILTER, "no-typed-config", f"{where}: the connection manager has no configuration of its own")
        return
    before = [(active, len(active.hits)) for active in patches]
    filters = typed.messages("http_filters")
    unpatched = [each.clone() for each in filters] if any(active.operation == "MERGE" for active in patches) else []
    mine: list[tuple[Active, Message]] = []
    try:
        for active in patches:
            was = filters
            filters = change(active, filters, matches.http_filter, _has_sub(active), where, what="subFilter")
            mine += [(active, each) for each in filters if not any(each is old for old in was)]
        for each in filters:
            for active in patches:
                if active.operation == "MERGE" and matches.http_filter(active, each):
                    _current(run, active)
                    merge_filter(active, each, where)
    except Panic:
        typed.put_messages("http_filters", unpatched)  # the manager is written back at the end, which never comes
        for active, count in before:
            del active.hits[count:]
        raise
    typed.put_messages("http_filters", filters)
    for active, each in mine:
        _check(active, each, filters)


def _has_sub(active: Active) -> bool:
    return matches.sub_filter(active) is not None


def _check(active: Active, found: Message, filters: Sequence[Message]) -> None:
    """A sign-in filter that lets everything through, or that jwt_authn never lets be reached."""
    if not is_type(found, _OAUTH2_TYPE):
        return
    typed = found.message("typed_config")
    if typed is not None and "config" not in typed.fields:
        text = "an oauth2 filter without `config` does nothing: every request goes through unauthenticated"
        mend = "write the settings under typed_config.config"
        active.note("no-oauth2-config", "error", typed.url or "patch.value", text, mend)
    position = next(index for index, each in enumerate(filters) if each is found)
    if any(is_type(each, _JWT_TYPE) for each in filters[:position]):
        text = "oauth2 comes after jwt_authn, which answers 401 `Jwt is missing` before anybody can sign in"
        mend = "use INSERT_FIRST, or INSERT_BEFORE with subFilter envoy.filters.http.jwt_authn"
        active.note("not-before-jwt-authn", "error", "patch.operation", text, mend)
