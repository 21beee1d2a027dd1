"""A cluster's host, in Envoy's terms."""

from __future__ import annotations

from typing import Any

from ostiary.net.hosts import Host


def address_of(host: Host) -> dict[str, Any]:
    """core.v3.Address: the first one, or the path."""
    endpoint = host.endpoint
    if endpoint.pipe is not None:
        return {"pipe": {"path": endpoint.pipe}}
    address, port = host.addresses[0] if host.addresses else (endpoint.address, endpoint.port)
    return {"socket_address": {"address": address, "port_value": port}}
