"""ROUTE_CONFIGURATION, VIRTUAL_HOST and HTTP_ROUTE patches (istio: .../envoyfilter/rc_patch.go).

Istio patches routes when it makes them: those of an inbound listener before the listener itself is patched, the others
in their own discovery responses.
"""

from __future__ import annotations

from typing import Final

from ostiary.dialects.istio_clusters import panicked, tell
from ostiary.dialects.istio_findings import Active
from ostiary.dialects.istio_match import ANCHOR, OBJECT, OPERATION, PART, UNPRIVILEGED, Run, names, subset_key
from ostiary.dialects.istio_merge import Log, Panic, merge
from ostiary.dialects.istio_message import Message
from ostiary.dialects.istio_objects import RouteConfigurationMatch, VirtualHostMatch

KINDS: Final = ("ROUTE_CONFIGURATION", "VIRTUAL_HOST", "HTTP_ROUTE")
_ACTIONS: Final = {"route": "ROUTE", "redirect": "REDIRECT", "direct_response": "DIRECT_RESPONSE"}


def patch_routes(run: Run, found: Message) -> None:
    """One route configuration, in place."""
    where = f"routes {found.text('name') or '(unnamed)'}"
    try:
        for active in run.of("ROUTE_CONFIGURATION"):
            if not active.merges:
                text = f"{active.operation} of a ROUTE_CONFIGURATION is ignored: it knows MERGE only"
                active.miss(OPERATION, "operation-ignored", text)
            elif _matches(run, active, found):
                _merge(run, active, found, where)
        _virtual_hosts(run, found, where)
    except Panic as panic:
        panicked(run.current[0], panic, [a for a in run.patches if a.patch.apply_to in KINDS and a not in run.current])


def _merge(run: Run, active: Active, target: Message, where: str) -> None:
    if active.value is None:
        return
    run.current[:] = [active]
    log = Log()
    merge(target, active.value, log, replace_lists=active.operation == "MERGE_AND_REPLACE_LIST")
    active.hit(where, f"merged {', '.join(active.value.fields) or 'nothing'}")
    tell(active, log)


def _matches(run: Run, active: Active, found: Message) -> bool:
    """`match.routeConfiguration`, but for what is inside."""
    match, name = active.patch.match.route_configuration, found.text("name")
    if match is None:
        return True
    failed = _failed(run.context, match, name)
    if not failed and run.context == "GATEWAY" and match.port_number not in (0, gateway_route(name)[0]):
        text = f"taken to be the Gateway's port {match.port_number}: routes {name} have the pod's port in their name"
        active.note("not-checked", "info", "match.routeConfiguration.portNumber", text)
    if failed:
        active.miss(OBJECT, "no-route-configuration", f"routes {name or '(unnamed)'}: {failed}")
    return not failed


def _failed(context: str, match: RouteConfigurationMatch, name: str) -> str:
    if match.name and match.name != name:
        return f"not called {match.name}"
    if context != "GATEWAY":
        port = (
            subset_key(name)[1] if name.startswith("inbound") else int(name) if name.isascii() and name.isdigit() else 0
        )
        return f"not for port {match.port_number}" if match.port_number and match.port_number != port else ""
    port, port_name, gateway = gateway_route(name)
    if match.port_name and match.port_name != port_name:
        return f"not for a port called {match.port_name}"
    if match.gateway and match.gateway != gateway:
        return f"not of gateway {match.gateway}"
    plain = name.startswith("http.")
    if not match.port_number or match.port_number == port or (plain and match.port_number + UNPRIVILEGED == port):
        return ""
    hint = ": istiod compares the Gateway's own port, and the dump has the pod's" if plain else ""
    return f"not for port {match.port_number}{hint}"


def gateway_route(name: str) -> tuple[int, str, str]:
    """Port, port name and gateway of `http.80` or `https.443.https.my-gateway.my-namespace`."""
    if name.startswith("http."):
        return _port(name.removeprefix("http.")), "", ""
    parts = name.split(".")
    if parts[0] != "https" or len(parts) != 5:
        return 0, "", ""
    return _port(parts[1]), parts[2], f"{parts[4]}/{parts[3]}"


def _port(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0


def _virtual_hosts(run: Run, routes: Message, where: str) -> None:
    mine = [active for active in run.of("VIRTUAL_HOST") if _matches(run, active, routes)]
    hosts = routes.messages("virtual_hosts")
    removed: set[str] = set()
    for index in range(len(hosts)):
        if _virtual_host(run, mine, routes, hosts, index, where):
            removed.add(hosts[index].text("name"))
    for active in mine:
        if active.operation == "ADD" and active.value is not None:
            name = active.value.text("name")
            if name in removed:
                text = f"{where}: a virtual host {name} is removed after this, by its name: the added one goes, too"
                active.miss(OPERATION, "duplicate-name", text)
                continue
            hosts.append(active.value.clone())
            active.hit(where, f"added virtual host {name}")
    routes.put_messages("virtual_hosts", [host for host in hosts if host.text("name") not in removed])


def _virtual_host(run: Run, mine: list[Active], routes: Message, hosts: list[Message], index: int, where: str) -> bool:
    """True if a patch removed it."""
    for active in mine:
        if active.operation == "ADD" or not _is_host(active, hosts[index]):
            continue
        at = f"{where}, virtual host {hosts[index].text('name')}"
        if active.operation == "REMOVE":
            active.hit(at, "removed")
            return True
        if active.merges:
            _merge(run, active, hosts[index], at)
        elif active.operation == "REPLACE" and active.value is not None:
            hosts[index] = active.value.clone()
            active.hit(at, f"replaced by {active.value.text('name')}")
    _http_routes(run, routes, hosts[index], where)
    return False


def _vhost(active: Active) -> VirtualHostMatch | None:
    match = active.patch.match.route_configuration
    return match.vhost if match is not None else None


def _is_host(active: Active, host: Message) -> bool:
    match = _vhost(active)
    if match is None:
        return True
    named = match.name in ("", host.text("name"))
    if named and (not match.domain_name or match.domain_name in host.texts("domains")):
        return True
    wanted = match.domain_name if named else match.name
    active.miss(PART, "no-virtual-host", f"virtual host {host.text('name')} isn't {wanted}")
    return False


def _http_routes(run: Run, routes: Message, host: Message, where: str) -> None:
    """First what removes and merges, then what adds; a removed route is no anchor any more."""
    where = f"{where}, virtual host {host.text('name')}"
    mine = [a for a in run.of("HTTP_ROUTE") if _matches(run, a, routes) and _is_host(a, host)]
    found: list[Message | None] = list(host.messages("routes"))
    for index, route in enumerate(found):
        assert route is not None
        for active in mine:
            if active.operation not in ("REMOVE", "MERGE", "MERGE_AND_REPLACE_LIST") or not _is_route(active, route):
                continue
            if active.operation == "REMOVE":
                active.hit(where, f"removed route {route.text('name') or index}")
                found[index] = None
                break
            _merge(run, active, route, f"{where}, route {route.text('name') or index}")
    for active in mine:
        _add_route(active, found, where)
    host.put_messages("routes", [route for route in found if route is not None])


def _add_route(active: Active, found: list[Message | None], where: str) -> None:
    operation, value, match = active.operation, active.value, _vhost(active)
    if value is None or operation not in ("ADD", "INSERT_BEFORE", "INSERT_AFTER", "INSERT_FIRST"):
        if operation == "REPLACE":
            active.miss(OPERATION, "operation-ignored", "REPLACE of an HTTP_ROUTE is ignored: REMOVE it, and ADD")
        return
    anchored = match is not None and match.route is not None
    at = 0 if operation in ("INSERT_BEFORE", "INSERT_FIRST") else len(found)
    if anchored and operation != "ADD":
        there = [index for index, route in enumerate(found) if _is_route(active, route)]
        if not there:
            has = names([route for route in found if route is not None])
            active.miss(ANCHOR, "anchor-missing", f"{where} has no such route (it has: {has})")
            return
        at = 0 if operation == "INSERT_FIRST" else there[0] + (operation == "INSERT_AFTER")
    found.insert(at, value.clone())
    active.hit(where, f"put route {value.text('name') or '(unnamed)'} at position {at + 1}")


def _is_route(active: Active, route: Message | None) -> bool:
    match = _vhost(active)
    wanted = match.route if match is not None else None
    if wanted is None:
        return True
    if route is None or wanted.name not in ("", route.text("name")):
        active.miss(ANCHOR, "no-route", f"no route is called {wanted.name}")
        return False
    action = next((_ACTIONS[name] for name in route.fields if name in _ACTIONS), None)
    if wanted.action == "ANY" or action is None or action == wanted.action:
        return True
    active.miss(ANCHOR, "no-route", f"route {route.text('name')} is no {wanted.action}")
    return False
