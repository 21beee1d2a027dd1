"""What is wrong with a request's head, beyond its syntax, and the authority it is for."""

from __future__ import annotations

from ostiary.app.targets import Target
from ostiary.core.names import is_valid_authority
from ostiary.core.routing import without_port
from ostiary.model.config import HttpConnectionManager
from ostiary.net.exchange import Exchange


def head_fault(exchange: Exchange, target: Target, http: HttpConnectionManager) -> tuple[int, str, str] | None:
    """(status, response code details, response flag) of a request that must not go on, or None."""
    host = exchange.head.host
    if exchange.method == b"CONNECT" and not target.rejected:
        return 400, "connect_is_not_supported", ""
    if target.rejected:
        if http.profile == "envoy" and exchange.method == b"CONNECT":
            return 404, "route_not_found", "NR"
        if exchange.target == b"*":  # speaks of this server, not of an application behind it
            return 404, "absolute_path_rejected", ""
        return 400, f"path_normalization_failed:_{target.rejected}".replace(" ", "_"), ""
    if host is None:
        return None if exchange.http10 else (400, "missing_host_header", "")
    if http.underscores_in_headers == "REJECT_REQUEST" and any(b"_" in line.name for line in exchange.head.lines):
        return 400, "http1.unexpected_underscore", "DPE"
    authority = host if target.authority is None else target.authority
    return None if is_valid_authority(authority.decode("latin-1")) else (400, "invalid_host_header", "")


def effective_authority(authority: str, http: HttpConnectionManager, local_port: str) -> str:
    """The authority that routes and filters see, after strip_trailing_host_dot and the strip_*_host_port options."""
    if http.strip_trailing_host_dot:
        host, colon, port = authority.partition(":")
        authority = host.removesuffix(".") + colon + port
    matching = http.strip_matching_host_port and authority.rpartition(":")[2] == local_port
    return without_port(authority) if http.strip_any_host_port or matching else authority
