"""Does a patch concern this object? Each test says why not (istio: pilot/pkg/networking/core/envoyfilter).

A miss carries a depth, so that the reason which came nearest is the one that is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from ostiary.dialects.istio_findings import Active
from ostiary.dialects.istio_message import Message

VIRTUAL: Final = ("virtualInbound", "virtualOutbound")
"""Istio's listeners that hold a chain for each port: a port is matched against the chain there."""
UNPRIVILEGED: Final = 8000
"""What a gateway's pod adds to ports that it may not open, by convention: 80 of the Gateway is 8080 of the pod. The
routes of plain HTTP are called after the pod's, `portNumber` is the Gateway's, and what maps them is in no dump."""
CONTEXT, OBJECT, PART, FILTER, ANCHOR, OPERATION = range(1, 7)
"""How far a patch came before it missed."""


@dataclass(frozen=True, slots=True)
class Run:
    """The patches of a proxy, on objects of one context."""

    context: str
    """SIDECAR_INBOUND, SIDECAR_OUTBOUND or GATEWAY."""
    patches: Sequence[Active]
    current: list[Active] = field(default_factory=list)
    """The patch at work, for whoever catches a panic."""
    waypoint: bool = False

    def of(self, apply_to: str) -> list[Active]:
        """The patches of one kind that are for this context, in order."""
        return [
            active for active in self.patches if active.patch.apply_to == apply_to and context(active, self.context)
        ]


def context(active: Active, wanted: str) -> bool:
    """`match.context`."""
    written = active.patch.match.context
    if written in ("ANY", wanted):
        return True
    why = "no code of Istio applies it" if written == "WAYPOINT" else f"what is here is {wanted}"
    active.miss(CONTEXT, "context-mismatch", f"its context is {written}, {why}")
    return False


def added_here(active: Active, wanted: str) -> bool:
    """Context of an ADD of a cluster or listener: ANY is outbound and gateway only, so that there is one copy."""
    if active.patch.match.context == "ANY" and wanted == "SIDECAR_INBOUND":
        return False
    return context(active, wanted)


def cluster(active: Active, found: Message, hosts: Sequence[str]) -> bool:
    """`match.cluster`. `hosts`: the services of an inbound cluster, whose name has none."""
    match, name = active.patch.match.cluster, found.text("name")
    if match is None:
        return True
    if match.name:
        if match.name == name:
            return True
        active.miss(OBJECT, "no-cluster", f"no cluster is called {match.name}")
        return False
    direction, port, subset, host = subset_key(name)
    services = list(hosts) if direction == "inbound" and hosts else [host]
    wanted = {"service": match.service, "subset": match.subset, "portNumber": str(match.port_number or "")}
    matches = (
        (not match.subset or match.subset == subset)
        and (not match.service or match.service in services)
        and (not match.port_number or match.port_number == port)
    )
    if not matches:
        written = ", ".join(f"{key} {value}" for key, value in wanted.items() if value)
        active.miss(OBJECT, "no-cluster", f"no cluster has {written} in its name (direction|port|subset|host)")
    return matches


def subset_key(name: str) -> tuple[str, int, str, str]:
    """Direction, port, subset and host of Istio's name of a cluster; empty for any other name."""
    parts = name.split("|") if "|" in name else name.split("_.", 3) if "_." in name else []
    if len(parts) < 4:
        return "", 0, "", ""
    direction, port, subset, host = parts[0].removesuffix("_"), parts[1].strip("_"), parts[2].strip("_"), parts[3]
    return direction, int(port) if port.isascii() and port.isdigit() else 0, subset, host


def listener(active: Active, found: Message) -> bool:
    """`match.listener`, what of it concerns the listener as a whole."""
    match, name = active.patch.match.listener, found.text("name")
    if match is None:
        return True
    if match.name and match.name != name:
        active.miss(OBJECT, "no-listener", f"no listener is called {match.name}, this one is {name}")
        return False
    if active.patch.apply_to != "LISTENER" and name in VIRTUAL:
        return True
    port = listener_port(found)
    if match.port_number and match.port_number != port:
        text = f"listener {name} is on port {port}, not {match.port_number}"
        if port == match.port_number + UNPRIVILEGED:
            text += f" (of a Gateway's port {match.port_number} the pod has {port}: match on that)"
        active.miss(OBJECT, "no-listener", text)
        return False
    return True


def listener_port(found: Message) -> int:
    """The port of a listener's address, 0 if it has none."""
    address = found.message("address")
    socket = address.message("socket_address") if address is not None else None
    return socket.number("port_value") if socket is not None else 0


def filter_chain(active: Active, owner: Message, chain: Message) -> bool:
    """`match.listener.filterChain`; the listener matches already."""
    match = active.patch.match.listener
    if match is None:
        return True
    written = chain.message("filter_chain_match") or Message(None, chain.place)
    where = f"chain {chain.text('name') or 'without a name'} of {owner.text('name')}"
    if owner.text("name") in VIRTUAL and match.port_number and written.number("destination_port") != match.port_number:
        port = written.number("destination_port") or "every port"
        active.miss(PART, "no-filter-chain", f"{where} is for {port}, not for port {match.port_number}")
        return False
    wanted = match.filter_chain
    if wanted is None:
        return True
    protocols = written.texts("application_protocols")
    tests = (
        ("name", wanted.name, not wanted.name or wanted.name == chain.text("name")),
        ("sni", wanted.sni, not wanted.sni or wanted.sni in written.texts("server_names")),
        ("transportProtocol", wanted.transport_protocol,
         not wanted.transport_protocol or wanted.transport_protocol == written.text("transport_protocol")),
        ("applicationProtocols", wanted.application_protocols,
         not wanted.application_protocols or all(p in protocols for p in wanted.application_protocols.split(","))),
        ("destinationPort", wanted.destination_port,
         not wanted.destination_port or wanted.destination_port == written.number("destination_port")),
    )  # fmt: skip
    failed = [f"{key} {value}" for key, value, matches in tests if not matches]
    if failed:
        active.miss(PART, "no-filter-chain", f"{where} hasn't {', '.join(failed)}")
    return not failed


def wants_listener_filter(active: Active) -> bool:
    """`match.listener.listenerFilter` is written."""
    match = active.patch.match.listener
    return match is not None and match.listener_filter != ""


def listener_filter(active: Active, found: Message) -> bool:
    """`match.listener.listenerFilter`."""
    match = active.patch.match.listener
    return match is None or not match.listener_filter or match.listener_filter == found.text("name")


def wants_network_filter(active: Active) -> bool:
    """`match.listener.filterChain.filter` is written."""
    match = active.patch.match.listener
    return match is not None and match.filter_chain is not None and match.filter_chain.filter is not None


def network_filter(active: Active, found: Message) -> bool:
    """`match.listener.filterChain.filter`; the chain matches already."""
    match = active.patch.match.listener
    wanted = match.filter_chain.filter if match is not None and match.filter_chain is not None else None
    return wanted is None or wanted.name == found.text("name")


def sub_filter(active: Active) -> str | None:
    """The name in `match.listener.filterChain.filter.subFilter`, None if it isn't written."""
    match = active.patch.match.listener
    wanted = match.filter_chain.filter if match is not None and match.filter_chain is not None else None
    return wanted.sub_filter if wanted is not None else None


def http_filter(active: Active, found: Message) -> bool:
    """`match.listener.filterChain.filter.subFilter`."""
    return sub_filter(active) in (None, found.text("name"))


def names(messages: Sequence[Message]) -> str:
    """What there is, for a message about what there isn't."""
    shown = [message.text("name") or "one without a name" for message in messages]
    more = f" and {len(shown) - 12} more" if len(shown) > 12 else ""
    return ", ".join(shown[:12]) + more if shown else "none"
