"""Endpoints of a cluster: addresses, weights, priorities, and what the configuration says of their health."""

from __future__ import annotations

from typing import Final, get_args

from ostiary.core.addresses import is_ip_address
from ostiary.dialects.envoy_common import socket_address
from ostiary.dialects.schema_tree import Message
from ostiary.model.clusters import ClusterType, Endpoint, EndpointHealthCheck, HealthStatus, Locality

_STATUSES: Final[tuple[HealthStatus, ...]] = get_args(HealthStatus)


def endpoints(message: Message, kind: ClusterType) -> tuple[Endpoint, ...]:
    """load_assignment, flattened over its localities."""
    assignment = message.message("load_assignment")
    if assignment is None:
        if kind == "LOGICAL_DNS":
            message.problem("load_assignment", "a LOGICAL_DNS cluster needs a load_assignment")
        message.problem("load_assignment", "no endpoint: every request will fail", severity="warning")
        return ()
    assignment.take("cluster_name")
    found: list[Endpoint] = []
    for locality in assignment.messages("endpoints"):
        locality.ignore("metadata", "load_balancing_weight")  # without locality_weighted_lb_config nobody reads it
        where = locality.optional("locality")
        place = Locality(region=where.text("region"), zone=where.text("zone"), sub_zone=where.text("sub_zone"))
        written = locality.integer("priority")
        priority = 0 if kind == "LOGICAL_DNS" else written  # a single host needs none; Envoy does the same
        for item in locality.messages("lb_endpoints"):
            item.ignore("metadata")
            status = item.choice("health_status", _STATUSES)
            weight = item.integer("load_balancing_weight", 1)
            if (endpoint := item.message("endpoint")) is not None:
                found.append(_endpoint(endpoint, kind, weight, priority, status, place))
    if kind == "LOGICAL_DNS" and len(found) != 1:
        text = "LOGICAL_DNS clusters must have a single locality_lb_endpoint and a single lb_endpoint"
        assignment.problem(None, text, "use STRICT_DNS for several names")
    return tuple(found)


def _endpoint(
    message: Message, kind: ClusterType, weight: int, priority: int, status: HealthStatus, locality: Locality
) -> Endpoint:
    message.ignore("observability_name")
    address = message.required("address")
    others = tuple(
        found
        for item in message.messages("additional_addresses")
        if (found := _host(item.required("address"), kind)) is not None
    )
    if others and kind != "STATIC":
        text = f"does nothing in a {kind} cluster, as in Envoy"
        message.problem("additional_addresses", text, "a name brings its addresses along", severity="warning")
        others = ()
    pipe = address.message("pipe")
    host, port = "", 0
    if pipe is not None:
        if kind != "STATIC":
            address.problem("pipe", f"a {kind} cluster needs a host name", "use type STATIC")
        pipe.ignore("mode")
    else:
        host, port = _host(address, kind) or ("", 0)
    return Endpoint(
        address=host,
        port=port,
        pipe=pipe.text("path") if pipe is not None else None,
        additional_addresses=others,
        hostname=message.text("hostname"),
        weight=weight,
        priority=priority,
        health_status=status,
        locality=locality,
        health_check=_health_check(message.optional("health_check_config")),
    )


def _health_check(message: Message) -> EndpointHealthCheck:
    return EndpointHealthCheck(
        port=message.integer("port_value"),
        hostname=message.text("hostname"),
        disabled=message.boolean("disable_active_health_check"),
    )


def _host(address: Message, kind: ClusterType) -> tuple[str, int] | None:
    found = address.message("socket_address")
    if found is None:
        return None
    host, port = socket_address(found)
    if kind == "STATIC" and host and not is_ip_address(host):
        mend = "set the cluster's type to LOGICAL_DNS or STRICT_DNS"
        found.problem("address", f"malformed IP address: '{host}'", mend)
    return host, port
