"""What a listener's connection manager says about its connections."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ostiary.core.header_lines import KIND_COUNT
from ostiary.model import limits


@dataclass(slots=True, kw_only=True)
class ServerSettings:
    """Times in seconds, 0 = off."""

    tls: bool = False
    buffer_limit: int = limits.WRITE_HIGH_WATER
    """Bytes waiting to be written to a client before its upstream is not read any more."""
    max_head_bytes: int = limits.MAX_REQUEST_HEADERS_BYTES
    idle_timeout: float = limits.IDLE_TIMEOUT
    stream_idle_timeout: float = limits.STREAM_IDLE_TIMEOUT
    request_timeout: float = 0.0
    request_headers_timeout: float = limits.REQUEST_HEADERS_TIMEOUT
    max_connection_duration: float = 0.0
    max_requests_per_connection: int = limits.MAX_REQUESTS_PER_CONNECTION
    delayed_close_timeout: float = 1.0
    via_line: bytes = b""
    """`via: ...` to every forwarded response, or nothing."""
    accept_http_10: bool = True
    server_line: bytes = b""
    """`server: ...` to every response, or nothing."""
    server_if_absent: bool = False
    """Only where the application sent no Server of its own."""
    max_stream_duration: float = 0.0
    underscores: Literal["ALLOW", "REJECT_REQUEST", "DROP_HEADER"] = "ALLOW"
    """What happens to request headers with `_` in their name."""
    service_time: bool = False
    """Add `x-envoy-upstream-service-time`."""
    keep: tuple[bool, ...] = (True,) * KIND_COUNT
    """Kind of an upstream's header line -> forwarded to the client."""
