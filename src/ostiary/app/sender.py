"""The forwarded request's head, put together of what is ready-made and what is this request's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from ostiary.app import narrate
from ostiary.app.prepared import Prepared
from ostiary.app.targets import Target
from ostiary.core.decision import Entropy
from ostiary.core.entropy import BufferedEntropy
from ostiary.core.forwarding import uuid4
from ostiary.model.config import HttpConnectionManager
from ostiary.net.clusters import ClusterPool
from ostiary.net.exchange import Exchange

if TYPE_CHECKING:
    from ostiary.app.tracing import Tracer


WITHOUT_LENGTH: Final = frozenset((b"GET", b"HEAD", b"DELETE", b"TRACE", b"CONNECT"))
"""Methods whose requests say nothing of a body that is not there (RFC 9110 section 8.6)."""


@final
class Sender:
    """Sends the requests of one listener."""

    def __init__(self, http: HttpConnectionManager, entropy: Entropy, tracer: Tracer | None) -> None:
        self._http, self._tracer = http, tracer
        self.ids = BufferedEntropy(entropy)
        """For the ids of requests."""
        self._renews_id = http.use_remote_address and http.generate_request_id and not http.preserve_external_request_id

    def send(self, exchange: Exchange, prepared: Prepared, target: Target) -> None:
        """Prepared lines, then those of this request that go on as they are."""
        route = prepared.route
        cluster = route.cluster
        assert cluster is not None
        exchange.sent = prepared
        exchange.response_extra, exchange.response_drop = prepared.extra, prepared.drop
        exchange.idle_timeout = route.idle_timeout
        method = exchange.method
        parts = [method, b" ", target.wire, b" HTTP/1.1\r\n", prepared.lines, exchange.head.forwarded]
        request_id = b"" if self._renews_id else exchange.head.request_id
        if not request_id and self._http.generate_request_id:
            request_id = uuid4(self.ids).encode()
        if request_id:
            exchange.request_id = request_id
            self.tell_id(exchange)
            parts += (b"x-request-id: ", request_id, b"\r\n")
        if self._tracer is not None:
            parts.append(self._tracer.forward(exchange))
        if method not in WITHOUT_LENGTH and exchange.head.content_length is None and not exchange.head.chunked:
            parts.append(b"content-length: 0\r\n")
        parts.append(b"\r\n")
        self.forward(exchange, cluster, b"".join(parts), route.timeout)

    def tell_id(self, exchange: Exchange) -> None:
        """The client learns the request's id, where that is configured."""
        if self._http.always_set_request_id_in_response and exchange.request_id:
            exchange.response_extra += b"x-request-id: %b\r\n" % exchange.request_id

    def forward(self, exchange: Exchange, cluster: ClusterPool, wire: bytes, timeout: float) -> None:
        """To one of the cluster's hosts."""
        if narrate.ROUTER.debugs:
            narrate.routed(exchange, cluster.cluster.name)
        pool = exchange.pool or cluster.pick()
        if pool is None:
            cluster.refuse(exchange)
        else:
            exchange.forward(pool, wire, timeout)
