"""What happens to the requests of one listener.

The hot path is `dispatch`: the session is known, the path is an ordinary one. Then what was decided is ready-made
bytes (app/prepared.py). Whatever else a request may be goes through `_judge`: forwarding rules, routing, filters; and
what they make of it becomes the next `Prepared`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, final

from msgspec.structs import replace

from ostiary.app import narrate
from ostiary.app.chain import Passed, Pending
from ostiary.app.clients import Clients
from ostiary.app.faults import effective_authority, head_fault
from ostiary.app.flows import Flows
from ostiary.app.observe import Observer
from ostiary.app.prepared import Prepared, PreparedHeads, dropped, replace_request, without
from ostiary.app.replies import local_reply, response_lines
from ostiary.app.routes import CompiledRoute, RouteTable
from ostiary.app.targets import Target, TargetReader
from ostiary.core.decision import Allow, Counter, Entropy, Request, Respond
from ostiary.core.entropy import BufferedEntropy
from ostiary.core.forwarding import Forwarder, Peer, uuid4
from ostiary.core.header_lines import CONTEXT_HEADERS
from ostiary.core.http1 import HeadReader
from ostiary.core.rewriting import Rewritten, with_host
from ostiary.model import limits
from ostiary.model.config import HttpConnectionManager
from ostiary.model.headers import Headers
from ostiary.model.routes import DirectResponseAction, RedirectAction, RouteAction
from ostiary.net.clusters import ClusterPool
from ostiary.net.exchange import Exchange
from ostiary.net.http1 import Downstream
from ostiary.net.log import log
from ostiary.net.server_settings import ServerSettings
from ostiary.net.status import PLAIN_TEXT, reason_phrase
from ostiary.net.ticker import Ticker

if TYPE_CHECKING:
    from ostiary.app.tracing import Tracer

_LOG: Final = log("http")
_WITHOUT_LENGTH: Final = frozenset((b"GET", b"HEAD", b"DELETE", b"TRACE", b"CONNECT"))


@final
class HttpService:
    """One listener's `Service` (net/http1.py)."""

    def __init__(
        self,
        http: HttpConnectionManager,
        settings: ServerSettings,
        ticker: Ticker,
        table: RouteTable,
        flows: Flows,
        observer: Observer,
        clusters: Callable[[str], ClusterPool | None],
        counter: Callable[[str], Counter],
        entropy: Entropy,
        max_connections: int,
        tracer: Tracer | None = None,
    ) -> None:
        self.http, self.settings, self.ticker = http, settings, ticker
        self.draining, self.counts = False, observer.counts
        self._clients = Clients(settings.tls, max_connections, counter)
        self.connections = self._clients.connections
        self.successor: HttpService | None = None
        self._table, self._flows = table, flows
        self._observer, self._clusters = observer, clusters
        self._entropy, self._for_ids = entropy, BufferedEntropy(entropy)
        chains = [route.chain for route in table.routes]
        stripped = frozenset[str]().union(*(chain.strip for chain in chains))
        self._forwarder = Forwarder(http, stripped)
        reads = frozenset[str]().union(*(chain.reads for chain in chains))
        self._prepared = PreparedHeads(http, self._forwarder, reads)
        self.heads = HeadReader(max_lines=http.max_headers_count, classify=self._prepared.classify)
        self._reader = TargetReader(http, lambda path: all(chain.is_ordinary(path) for chain in chains))
        self._found: dict[tuple[bytes | None, bytes], CompiledRoute] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._single, self._tracer = table.single, tracer
        names = ("no_route", "no_cluster", "rq_direct_response")
        self._no_route, self._no_cluster, self._direct = (counter(name) for name in names)
        self._rewritten = frozenset(("host", "expect", *(CONTEXT_HEADERS if tracer is not None else ())))
        self._renews_id = http.use_remote_address and http.generate_request_id and not http.preserve_external_request_id

    # --- the hot path

    def dispatch(self, exchange: Exchange) -> None:
        """Forward at once what is known; judge the rest."""
        target = self._reader.get(exchange.target) or self._reader.read(exchange.target)
        exchange.path = target.text
        if _LOG.debugs:
            narrate.begun(exchange)
        if target.ordinary:
            route = self._single or self._found.get((exchange.head.host, exchange.target))
            if route is not None:
                prepared = self._prepared.find(exchange, route)
                if prepared is not None and prepared.valid_until > self.ticker.wall:
                    for counter in prepared.counters:
                        counter.value += 1
                    if narrate.OAUTH2.debugs:
                        narrate.admitted(exchange, prepared.via)
                    self._send(exchange, prepared, target)
                    return
        self._judge(exchange, target)

    def _send(self, exchange: Exchange, prepared: Prepared, target: Target) -> None:
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
        if not request_id and self.http.generate_request_id:
            request_id = uuid4(self._for_ids).encode()
        if request_id:
            exchange.request_id = request_id
            self._tell_id(exchange)
            parts += (b"x-request-id: ", request_id, b"\r\n")
        if self._tracer is not None:
            parts.append(self._tracer.forward(exchange))
        if method not in _WITHOUT_LENGTH and exchange.head.content_length is None and not exchange.head.chunked:
            parts.append(b"content-length: 0\r\n")
        parts.append(b"\r\n")
        self._forward(exchange, cluster, b"".join(parts), route.timeout)

    def _tell_id(self, exchange: Exchange) -> None:
        if self.http.always_set_request_id_in_response and exchange.request_id:
            exchange.response_extra += b"x-request-id: %b\r\n" % exchange.request_id

    def _forward(self, exchange: Exchange, cluster: ClusterPool, wire: bytes, timeout: float) -> None:
        if narrate.ROUTER.debugs:
            narrate.routed(exchange, cluster.cluster.name)
        pool = exchange.pool or cluster.pick()
        if pool is None:
            cluster.refuse(exchange)
        else:
            exchange.forward(pool, wire, timeout)

    # --- everything else

    def _judge(self, exchange: Exchange, target: Target) -> None:
        fault = head_fault(exchange, target, self.http)
        if fault:
            status, details, flag = fault
            exchange.close = details != "absolute_path_rejected"
            self._no_route.value += flag == "NR"
            body = reason_phrase(status) if flag == "DPE" else b""
            exchange.respond(status, PLAIN_TEXT if body else (), body, details, flag)
            return
        if target.redirect:
            exchange.respond(307, ((b"location", target.redirect.encode("latin-1")),), b"", "path_normalization_failed")
            return
        exchange.sensitive_target = not target.ordinary
        request = self._request(exchange, target)
        route = self._table.find(request)
        if route is None:
            exchange.request_headers = request
            self._no_route.value += 1
            exchange.respond(404, (), b"", "route_not_found", "NR")
            return
        exchange.request_headers = request
        exchange.route = route.matched.name
        if route.cluster is not None:
            exchange.cluster = route.cluster.cluster.name
        if request.upgrade and self.http.profile == "envoy" and not self._may_upgrade(route, request):
            self._reply(exchange, route, Respond(status=403, details="upgrade_failed", local_reply=True))
            return
        outcome = narrate.judged(exchange, route.chain.run(request, self.ticker.wall))
        self._proceed(exchange, route, target, outcome)

    def _request(self, exchange: Exchange, target: Target) -> Request:
        downstream = exchange.downstream
        headers = exchange.head.as_headers()
        if self.http.underscores_in_headers == "DROP_HEADER":
            headers = Headers.of([item for item in headers if "_" not in item[0]])
        authority = target.authority if target.authority is not None else exchange.head.host or b""
        if target.authority is not None:
            headers = headers.copy()
            headers.set("host", authority.decode("latin-1"))
        peer = downstream.forward_key
        assert isinstance(peer, Peer)
        forwarded = self._forwarder.forward(headers, peer, self._for_ids)
        # RFC 9110 section 7.8; with a body, the tunnel's first bytes could not be told from it.
        upgrade = bool(forwarded.upgrade) and not exchange.http10 and not exchange.head.has_body
        exchange.request_id = forwarded.request_id.encode("latin-1")
        self._tell_id(exchange)
        return Request(
            method=exchange.method.decode("latin-1"),
            target=target.text,
            path=target.path,
            query=target.query,
            scheme=forwarded.scheme,
            authority=effective_authority(authority.decode("latin-1"), self.http, downstream.local_port),
            headers=forwarded.headers if upgrade else without(forwarded.headers, ("connection", "upgrade")),
            client=forwarded.client,
            external_scheme=forwarded.scheme,
            upgrade=upgrade,
        )

    def _proceed(
        self, exchange: Exchange, route: CompiledRoute, target: Target, outcome: Passed | Respond | Pending
    ) -> None:
        if isinstance(outcome, Pending):
            task = asyncio.get_running_loop().create_task(self._wait(exchange, route, target, outcome))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            exchange.on_abandon = task.cancel
        elif isinstance(outcome, Respond):
            self._reply(exchange, route, outcome)
        else:
            self._pass(exchange, route, target, outcome)

    def _reply(self, exchange: Exchange, route: CompiledRoute, answer: Respond) -> None:
        """Answer; the route adds its headers to what Envoy calls a local reply."""
        self._observer.decided(exchange, answer)
        if answer.local_reply and route.matched.response_mutations:
            exchange.rewrite_response = self._rewriter(route)
        local_reply(exchange, answer)

    async def _wait(self, exchange: Exchange, route: CompiledRoute, target: Target, pending: Pending) -> None:
        if self._tracer is not None:
            self._tracer.enter(exchange)
        try:
            result = await self._flows.run(pending.start, exchange.downstream.tags, self._observer.left(exchange))
        except Exception:  # noqa: BLE001 - a defect of ours must neither leave a page hanging nor let anyone in
            _LOG.exception("a sign-in step failed unexpectedly")
            result = Respond(status=500, body=b"internal error", details="internal_error")
        exchange.on_abandon = None
        if isinstance(result, Allow):
            self._observer.decided(exchange, result)
        if exchange.downstream.exchange is exchange:
            self._proceed(exchange, route, target, route.chain.resume(pending, result, self.ticker.wall))

    def _pass(self, exchange: Exchange, route: CompiledRoute, target: Target, passed: Passed) -> None:
        request = passed.request
        hidden = self._forwarder.not_for_applications
        if hidden and any(name in hidden for name, _ in request.headers):
            request = replace(request, headers=without(request.headers, hidden))
            passed = replace_request(passed, request)
        exchange.request_headers = request
        exchange.user = passed.user
        exchange.route = route.matched.name
        exchange.response_extra += response_lines(passed.response_set)
        exchange.response_drop = dropped(passed)
        for counter in passed.counters:
            counter.value += 1
        if route.matched.response_mutations:
            exchange.rewrite_response = self._rewriter(route)
        action = route.action
        if isinstance(action, RedirectAction):
            assert route.matched.redirector is not None
            self._direct.value += 1
            location = route.matched.redirector.location(request).encode("latin-1", "replace")
            exchange.respond(action.response_code, ((b"location", location),), b"", "direct_response")
        elif isinstance(action, DirectResponseAction):
            self._direct.value += 1
            headers = list(PLAIN_TEXT) if action.body else []
            if action.status == 201:
                created = f"{request.scheme}://{request.authority}{request.target}"
                headers.append((b"location", created.encode("latin-1")))
            exchange.respond(action.status, headers, action.body, "direct_response")
        else:
            self._route(exchange, route, action, target, passed)

    def _route(
        self, exchange: Exchange, route: CompiledRoute, action: RouteAction, target: Target, passed: Passed
    ) -> None:
        request = passed.request
        name = route.matched.pick_cluster(request, self._entropy)
        cluster = route.cluster or (self._clusters(name) if name else None)
        if cluster is None:
            self._no_cluster.value += 1
            exchange.respond(action.cluster_not_found_response_code, (), b"", "cluster_not_found", "NC")
            return
        exchange.cluster = cluster.cluster.name
        exchange.idle_timeout = route.idle_timeout
        exchange.may_upgrade = request.upgrade and self._may_upgrade(route, request)
        if request.upgrade and not exchange.may_upgrade:
            request = replace(request, upgrade=False, headers=without(request.headers, ("connection", "upgrade")))
        plain = route.simple and target.authority is None
        prepared = self._prepared.make(exchange, route, replace_request(passed, request)) if plain else None
        if prepared is not None:
            if target.ordinary and passed.valid_until > self.ticker.wall and not exchange.http10:
                self._prepared.keep(exchange, prepared)
                self._remember_route(exchange, route)
            self._send(exchange, prepared, target)
            return
        rewriter = route.matched.rewriter
        assert rewriter is not None
        record = self._observer.record(exchange)
        head = Rewritten(request.target, request.authority, request.headers)
        if not rewriter.is_identity:
            head = rewriter.apply(request, record)
        if action.auto_host_rewrite and cluster.cluster.endpoints:
            chosen = exchange.pool = cluster.pick()
            if chosen is None:
                cluster.refuse(exchange)
                return
            endpoint = cluster.cluster.endpoints[0]
            name = chosen.hostname or endpoint.hostname or endpoint.address
            head = with_host(head, name, action.append_x_forwarded_host, keep_original=not self._table.suppress)
        exchange.path = head.target
        exchange.request_headers = replace(request, authority=head.authority, headers=head.headers)
        lines = self._lines(exchange, route, head.headers, head.authority)
        wire = f"{request.method} {head.target} HTTP/1.1\r\n".encode("latin-1") + lines + b"\r\n"
        self._forward(exchange, cluster, wire, route.timeout)

    def _remember_route(self, exchange: Exchange, route: CompiledRoute) -> None:
        fits = len(exchange.target) <= limits.MAX_REMEMBERED_TARGET_BYTES
        if self._single is None and self._table.by_target and fits:
            if len(self._found) >= limits.SESSION_CACHE_ENTRIES:
                self._found.clear()
            self._found[(exchange.head.host, exchange.target)] = route

    def _lines(self, exchange: Exchange, route: CompiledRoute, headers: Headers, authority: str) -> bytes:
        """Every header line of the forwarded head, `host` first, framing ours."""
        items = [f"host: {authority}\r\n"]
        items += [f"{name}: {value}\r\n" for name, value in headers if name not in self._rewritten]
        if exchange.head.chunked:
            items.append("transfer-encoding: chunked\r\n")
        elif exchange.head.content_length is None and exchange.method not in _WITHOUT_LENGTH:
            items.append("content-length: 0\r\n")
        context = b"" if self._tracer is None else self._tracer.forward(exchange)
        return "".join(items).encode("latin-1", "replace") + route.tail + context

    def _may_upgrade(self, route: CompiledRoute, request: Request) -> bool:
        return route.upgrades.get((request.headers.get("upgrade") or "").lower(), False)

    def _rewriter(self, route: CompiledRoute) -> Callable[[Exchange, Headers], None]:
        def rewrite(exchange: Exchange, headers: Headers) -> None:
            record = self._observer.record(exchange)
            record.response_headers = headers
            for mutation in route.matched.response_mutations:
                mutation.apply(headers, record)
            exchange.response_headers = headers

        return rewrite

    # --- connections

    def opened(self, connection: Downstream) -> bool:
        """A client connected."""
        return self._clients.opened(connection)

    def adopt(self, connection: Downstream) -> None:
        """A connection comes over from the service before this one."""
        self._clients.add(connection)

    def hand_over(self, successor: HttpService) -> None:
        """Another one serves our clients from their next request on."""
        self.successor = successor
        for connection in list(self.connections):
            if connection.exchange is None and not connection.closing:
                connection.move()

    @property
    def is_busy(self) -> bool:
        """Whether there is anybody it serves, or something it still does for somebody."""
        return bool(self.connections or self._tasks)

    def closed(self, connection: Downstream, *, local: bool, active: bool) -> None:
        """A client's connection is gone."""
        self._clients.remove(connection)
        self._observer.closed(local=local, active=active)

    def informed(self, status: int) -> None:
        """A 1xx answer was sent."""
        self._observer.informed(status)

    def finished(self, exchange: Exchange) -> None:
        """The exchange is over. Whatever goes wrong with its log line must not reach a connection."""
        try:
            self._observer.finished(exchange)
        except Exception:  # noqa: BLE001 - see above
            _LOG.exception("an access-log line could not be written")

    def forget(self) -> None:
        """A secret changed: nothing that was made ready holds any more."""
        self._prepared.clear()

    def reopen_logs(self) -> None:
        """Open access-log files anew."""
        self._observer.reopen()

    def close(self) -> None:
        """Cancel what still runs, write the last log lines."""
        for task in list(self._tasks):
            task.cancel()
        self._observer.close()
