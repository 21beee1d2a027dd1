"""What is known about one exchange: the input of every format string, of the access log and of header mutations.

The attributes are class-level defaults, not slots: a record is made per request and most of its fields are never set,
so a bare instance plus what is known costs a fraction of forty assignments. Times are Unix seconds; durations are
milliseconds, None where it never came to that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol, final

from ostiary.core.decision import Request
from ostiary.model.headers import Headers

_NO_HEADERS = Headers()
_NONE: Mapping[str, str] = {}


class Fields(Protocol):
    """Header fields that can be asked for: `Headers`, or what answers without collecting them."""

    def get(self, name: str) -> str | None:
        """The first value of `name` (lower case), or None."""

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Every name and value, in order."""


@final
class Record:
    """One request and what became of it. Everything may be missing; see the module for units."""

    start_time: float = 0.0
    method: str = ""
    path: str = ""
    """The target, query included, as it is now (after a rewrite)."""
    authority: str = ""
    scheme: str = ""
    protocol: str = ""
    """`HTTP/1.1`."""
    request_headers: Fields = _NO_HEADERS
    request_set: Mapping[str, str] = _NONE
    """Request headers (lower case) that were set on the way and shadow those of `request_headers`."""

    response_code: int = 0
    """0: none was sent."""
    response_code_details: str = ""
    response_flags: str = ""
    """Envoy's short flags, comma separated (`UF,URX`)."""
    response_headers: Fields = _NO_HEADERS
    response_set: Mapping[str, str] = _NONE
    response_trailers: Headers = _NO_HEADERS
    connection_termination_details: str = ""

    bytes_received: int = 0
    bytes_sent: int = 0
    duration: int | None = None
    """From the first byte received to the last one sent."""
    request_duration: int | None = None
    """To the last byte of the request received."""
    request_tx_duration: int | None = None
    """To the last byte of the request sent upstream."""
    response_duration: int | None = None
    """To the first byte of the upstream's response."""
    response_tx_duration: int | None = None
    """From the first byte of the upstream's response to the last one sent."""

    upstream_host: str = ""
    """`10.0.0.1:8080` or `[::1]:8080`, like every address here."""
    upstream_host_name: str = ""
    upstream_cluster: str = ""
    upstream_local_address: str = ""
    upstream_protocol: str = ""
    upstream_transport_failure_reason: str = ""
    upstream_request_attempt_count: int = 0
    upstream_connection_id: int | None = None
    upstream_tls_version: str = ""
    upstream_tls_cipher: str = ""

    downstream_remote_address: str = ""
    """The client, by trusted hops."""
    downstream_direct_remote_address: str = ""
    """The peer of the connection."""
    downstream_local_address: str = ""
    downstream_transport_failure_reason: str = ""
    downstream_tls_version: str = ""
    downstream_tls_cipher: str = ""
    requested_server_name: str = ""
    connection_id: int | None = None
    stream_id: str = ""
    """The request id, as far as it is one of ours."""
    trace_id: str = ""
    """W3C's, where the listener traces; recorded or not."""
    route_name: str = ""
    decorator: str = ""
    """What the route says that it does, for traces."""
    hostname: str = ""

    user: str = ""
    """Who signed in; for the native JSON log."""
    health_check: bool = False

    @classmethod
    def of(cls, request: Request, now: float = 0.0) -> Record:
        """The record of a request that has just come in."""
        record = cls()
        record.start_time = now
        record.method = request.method
        record.path = request.target
        record.authority = request.authority
        record.scheme = request.scheme
        record.request_headers = request.headers
        record.downstream_remote_address = request.client
        return record

    def __repr__(self) -> str:
        return f"<Record {self.method} {self.authority} {self.response_code}>"  # a path may hold secrets
