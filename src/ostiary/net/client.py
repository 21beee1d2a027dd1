"""The HTTP client that speaks to providers: what a sign-in flow asks for as `Fetch`, done.

It uses the proxy's own pools and connector, so that everything that makes a connection work (and explains why one
doesn't) holds for providers too. A provider given by URL gets a cluster of its own: LOGICAL_DNS, all families, TLS
verified.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, final
from urllib.parse import urlsplit

from msgspec.structs import replace

from ostiary.core.decision import NO_HOST, Fetch, Fetched, FetchFailed
from ostiary.core.header_lines import HeaderLine
from ostiary.core.response import ResponseHead
from ostiary.model import limits
from ostiary.model.clusters import Cluster, Endpoint, Http2
from ostiary.model.headers import Headers
from ostiary.model.tls import UpstreamTlsContext
from ostiary.net import pool_log
from ostiary.net.log import log, next_connection_id, stream_id
from ostiary.net.watched import WATCHED

if TYPE_CHECKING:
    from ostiary.core.trace import ConnectTrace
    from ostiary.net.clusters import ClusterPool
    from ostiary.net.load import Load
    from ostiary.net.roles import Carrier, Owner

_HTTP, _ROUTER = log("http"), log("router")
_Answer = tuple[ResponseHead, bytes, list[HeaderLine]]
"""Head, body, trailers."""


@final
class _Call:
    """One request to a provider; an `Answered`."""

    __slots__ = (
        "__weakref__",
        "_load",
        "_parts",
        "_request",
        "_size",
        "connection",
        "future",
        "head",
        "is_head",
        "pool",
        "replayable",
        "request_complete",
        "sent_at",
        "stream",
    )

    def __init__(self, request: bytes, future: asyncio.Future[_Answer], replayable: bool, load: Load) -> None:
        self._load = load
        self._request = request
        self.future = future
        self.is_head = False
        self.pool: Owner | None = None
        self.replayable = replayable
        self.request_complete = True
        self.head: ResponseHead | None = None
        self.connection: Carrier | None = None
        self._parts: list[bytes] = []
        self._size = 0
        self.sent_at = 0.0
        self.stream = stream_id(0, next_connection_id()) if _ROUTER.debugs or _HTTP.debugs else 0

    def on_upstream(self, connection: Carrier) -> None:
        self.connection = connection
        self.sent_at = time.monotonic()
        _ROUTER.debug("pool ready", stream=self.stream)
        connection.write(self._request)

    def on_dialled(self, trace: ConnectTrace) -> None:
        """See net/watched.py."""

    def on_response(self, head: ResponseHead, body: bytes, done: bool) -> None:
        if head.status < 200:
            return
        self.head = head
        self._load.internal[head.status] += 1
        text = "async http request response headers (end_stream=%s): ':status', '%d'"
        _HTTP.debug(text, str(done and not body).lower(), head.status, stream=self.stream)
        self.on_body(body, done, [])

    def on_body(self, data: bytes, done: bool, trailers: list[HeaderLine]) -> None:
        self._size += len(data)
        if self._size > limits.MAX_PROVIDER_RESPONSE_BYTES:
            self.cancel()
            self._settle(
                FetchFailed("too_large", f"answer of more than {limits.MAX_PROVIDER_RESPONSE_BYTES} bytes", 0.0)
            )
            return
        self._parts.append(data)
        if done and self.head is not None and not self.future.done():
            self.connection = None
            self._load.internal_time.record(int((time.monotonic() - self.sent_at) * 1000))
            self.future.set_result((self.head, b"".join(self._parts), trailers))

    def on_tunnel(self, data: bytes) -> None:  # noqa: ARG002 - Answered's shape
        self.cancel()
        self._settle(FetchFailed("protocol", "answered by switching protocols", 0.0))

    def on_failure(self, flag: str, details: str, reason: str, cause: BaseException | None = None) -> None:  # noqa: ARG002
        self.connection = None
        if self.head is None:
            self._load.internal[502 if flag == "UPE" else 503] += 1
        kind = {"UF": "connect", "UH": "connect", "UO": "connect", "UT": "timeout"}.get(flag, "protocol")
        why = NO_HOST if flag == "UH" else pool_log.cause(cause)
        text = "upstream reset: reset reason: %s, transport failure reason: %s"
        _ROUTER.debug(text, reason, why, stream=self.stream)
        self._settle(FetchFailed(kind, str(cause) if cause is not None else reason, 0.0, cause, why))

    def _settle(self, error: FetchFailed) -> None:
        if not self.future.done():
            self.future.set_exception(error)

    def cancel(self) -> None:
        """Give up: the connection can't be used again."""
        connection, self.connection = self.connection, None
        if connection is not None and connection.client is self:
            connection.abort()

    def pause(self) -> None:
        """Requests to providers are small."""

    def resume(self) -> None:
        """Requests to providers are small."""


ClusterMaker = Callable[[Cluster], "ClusterPool"]


@final
class ProviderClient:
    """Does what flows ask for."""

    def __init__(
        self,
        clusters: Callable[[str], ClusterPool | None],
        make: ClusterMaker,
        *,
        tls: UpstreamTlsContext | None = None,
        connect_timeout: float = limits.CONNECT_TIMEOUT,
        dns_resolvers: tuple[tuple[str, int], ...] = (),
        user_agent: str = "",
    ) -> None:
        self._clusters = clusters
        self._make = make
        self._tls = tls or UpstreamTlsContext()
        self._connect_timeout = connect_timeout
        self._dns_resolvers = dns_resolvers
        self._user_agent = user_agent
        self._origins: dict[tuple[str, str, int, bool], ClusterPool] = {}

    async def fetch(self, fetch: Fetch) -> Fetched:
        """One answer, whatever its status. Raises FetchFailed; `fetch.timeout` covers every try."""
        pool, request = self._prepare(fetch)
        try:
            async with asyncio.timeout(fetch.timeout or None):
                return await self._tries(fetch, pool, request)
        except TimeoutError:
            reason = f"no complete answer within {fetch.timeout:g} s"
            raise FetchFailed("timeout", reason, time.time()) from None

    async def _tries(self, fetch: Fetch, pool: ClusterPool, request: bytes) -> Fetched:
        # A code or a rotating refresh token may be used once: it is never sent twice, and so it travels on a connection
        # of its own, not on an idle one that the provider may just be closing.
        once = fetch.method != "GET" and not fetch.repeatable
        attempt = 0
        watched = WATCHED.get()
        while True:
            try:
                head, body, trailers = await self._once(pool, request, once)
            except FetchFailed as error:
                if attempt >= fetch.retries:
                    error.now = time.time()
                    raise
            else:
                if head.status < 500 or attempt >= fetch.retries:
                    return Fetched(
                        status=head.status,
                        headers=Headers.of([line.pair for line in head.lines]),
                        body=body,
                        now=time.time(),
                        trailers=Headers.of([line.pair for line in trailers]),
                    )
            await asyncio.sleep(min(fetch.retry_base_interval * 2**attempt, fetch.retry_max_interval))
            attempt += 1
            if watched is not None:
                watched.tries = attempt + 1

    async def _once(self, pool: ClusterPool, request: bytes, once: bool) -> _Answer:
        future: asyncio.Future[_Answer] = asyncio.get_running_loop().create_future()
        call = _Call(request, future, not once, pool.load)
        if _ROUTER.debugs:
            path = request.split(b" ", 2)[1].partition(b"?")[0].decode("latin-1")  # a query may hold a collector's key
            _ROUTER.debug("cluster '%s' match for URL '%s'", pool.cluster.name, path, stream=call.stream)
        pool.submit(call, fresh=once)
        try:
            return await future
        finally:
            if call.pool is not None:
                call.pool.withdraw(call)
            call.cancel()

    def _prepare(self, fetch: Fetch) -> tuple[ClusterPool, bytes]:
        if fetch.cluster:
            pool = self._clusters(fetch.cluster)
            if pool is None:
                raise FetchFailed("no_cluster", f"there is no cluster {fetch.cluster!r}", time.time())
            return pool, self._request(fetch, fetch.authority, fetch.path)
        parts = urlsplit(fetch.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise FetchFailed("protocol", f"not an http(s) URL: {fetch.url!r}", time.time())
        port = parts.port or (443 if parts.scheme == "https" else 80)
        pool = self._origin(parts.scheme, parts.hostname, port, fetch.http2)
        path = parts.path or "/"
        authority = parts.netloc.rpartition("@")[2]
        return pool, self._request(fetch, authority, f"{path}?{parts.query}" if parts.query else path)

    def _request(self, fetch: Fetch, authority: str, path: str) -> bytes:
        lines = [f"{fetch.method} {path} HTTP/1.1", f"host: {authority}"]
        if self._user_agent:
            lines.append(f"user-agent: {self._user_agent}")
        lines += [f"{name}: {value}" for name, value in fetch.headers]
        if fetch.body or fetch.method == "POST":
            lines.append(f"content-length: {len(fetch.body)}")
        head = "\r\n".join(lines)
        if any(c in head.replace("\r\n", "") for c in "\r\n\0"):
            raise FetchFailed("protocol", "a header value has a line break", time.time())
        return head.encode("latin-1", "replace") + b"\r\n\r\n" + fetch.body

    def _origin(self, scheme: str, host: str, port: int, http2: bool) -> ClusterPool:
        key = (scheme, host, port, http2)
        pool = self._origins.get(key)
        if pool is None:
            tls = self._tls if scheme == "https" else None
            if tls is not None and http2:
                tls = replace(tls, alpn_protocols=("h2",))
            cluster = Cluster(
                name=f"{scheme}://{host}:{port}",
                type="LOGICAL_DNS",
                connect_timeout=self._connect_timeout,
                endpoints=(Endpoint(address=host, port=port),),
                transport_socket=tls,
                http2=Http2(scheme_of_client=False) if http2 else None,
                dns_resolvers=self._dns_resolvers,
                idle_timeout=limits.PROVIDER_IDLE_TIMEOUT,
            )
            pool = self._origins[key] = self._make(cluster)
        return pool

    @property
    def pools(self) -> Iterable[ClusterPool]:
        """Clusters that were made for URLs."""
        return self._origins.values()

    def close(self) -> None:
        """Close every connection to providers; for whoever made its clusters for nobody else."""
        for pool in self._origins.values():
            pool.close()
