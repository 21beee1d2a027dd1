"""What becomes of a request that nothing is ready-made for: forwarding rules, routing, filters, what they decide."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, final

from msgspec.structs import replace

from ostiary.app import narrate
from ostiary.app.chain import Passed, Pending
from ostiary.app.faults import effective_authority, head_fault
from ostiary.app.flows import Flows
from ostiary.app.observe import Observer
from ostiary.app.prepared import PreparedHeads, dropped, replace_request, without
from ostiary.app.replies import local_reply, response_lines
from ostiary.app.routes import CompiledRoute, RouteTable
from ostiary.app.sender import WITHOUT_LENGTH, Sender
from ostiary.app.targets import Target
from ostiary.core.decision import Allow, Counter, Entropy, Request, Respond
from ostiary.core.forwarding import Forwarder, Peer
from ostiary.core.header_lines import CONTEXT_HEADERS
from ostiary.core.rewriting import Rewritten, with_host
from ostiary.model import limits
from ostiary.model.config import HttpConnectionManager
from ostiary.model.headers import Headers
from ostiary.model.routes import DirectResponseAction, RedirectAction, RouteAction
from ostiary.net.clusters import ClusterPool
from ostiary.net.exchange import Exchange
from ostiary.net.log import log
from ostiary.net.status import PLAIN_TEXT, reason_phrase
from ostiary.net.ticker import Ticker

if TYPE_CHECKING:
    from ostiary.app.tracing import Tracer

_LOG: Final = log("http")


@final
class Judge:
    """Judges the requests of one listener."""

    def __init__(
        self,
        http: HttpConnectionManager,
        ticker: Ticker,
        table: RouteTable,
        flows: Flows,
        observer: Observer,
        clusters: Callable[[str], ClusterPool | None],
        counter: Callable[[str], Counter],
        entropy: Entropy,
        forwarder: Forwarder,
        prepared: PreparedHeads,
        sender: Sender,
        tracer: Tracer | None,
    ) -> None:
        self._http, self._ticker = http, ticker
        self._table, self._flows = table, flows
        self._observer, self._clusters = observer, clusters
        self._entropy, self._forwarder = entropy, forwarder
        self._prepared, self._sender, self._tracer = prepared, sender, tracer
        self.found: dict[tuple[bytes | None, bytes], CompiledRoute] = {}
        """The routes of requests like those that came before, where only host and target decide."""
        self.tasks: set[asyncio.Task[None]] = set()
        """Sign-in steps on their way."""
        names = ("no_route", "no_cluster", "rq_direct_response")
        self._no_route, self._no_cluster, self._direct = (counter(name) for name in names)
        self._rewritten = frozenset(("host", "expect", *(CONTEXT_HEADERS if tracer is not None else ())))

    def judge(self, exchange: Exchange, target: Target) -> None:
        """Answer it, forward it, or fetch first what that takes."""
        fault = head_fault(exchange, target, self._http)
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
        exchange.route = route.matched
        if route.cluster is not None:
            exchange.cluster = route.cluster.cluster.name
        if request.upgrade and self._http.profile == "envoy" and not self._may_upgrade(route, request):
            self._reply(exchange, route, Respond(status=403, details="upgrade_failed", local_reply=True))
            return
        outcome = narrate.judged(exchange, route.chain.run(request, self._ticker.wall))
        self._proceed(exchange, route, target, outcome)

    def _request(self, exchange: Exchange, target: Target) -> Request:
        downstream = exchange.downstream
        headers = exchange.head.as_headers()
        if self._http.underscores_in_headers == "DROP_HEADER":
            headers = Headers.of([item for item in headers if "_" not in item[0]])
        authority = target.authority if target.authority is not None else exchange.head.host or b""
        if target.authority is not None:
            headers = headers.copy()
            headers.set("host", authority.decode("latin-1"))
        peer = downstream.forward_key
        assert isinstance(peer, Peer)
        forwarded = self._forwarder.forward(headers, peer, self._sender.ids)
        # RFC 9110 section 7.8; with a body, the tunnel's first bytes could not be told from it.
        upgrade = bool(forwarded.upgrade) and not exchange.http10 and not exchange.head.has_body
        exchange.request_id = forwarded.request_id.encode("latin-1")
        self._sender.tell_id(exchange)
        return Request(
            method=exchange.method.decode("latin-1"),
            target=target.text,
            path=target.path,
            query=target.query,
            scheme=forwarded.scheme,
            authority=effective_authority(authority.decode("latin-1"), self._http, downstream.local_port),
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
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
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
            self._proceed(exchange, route, target, route.chain.resume(pending, result, self._ticker.wall))

    def _pass(self, exchange: Exchange, route: CompiledRoute, target: Target, passed: Passed) -> None:
        request = passed.request
        hidden = self._forwarder.not_for_applications
        if hidden and any(name in hidden for name, _ in request.headers):
            request = replace(request, headers=without(request.headers, hidden))
            passed = replace_request(passed, request)
        exchange.request_headers = request
        exchange.user = passed.user
        exchange.route = route.matched
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
            if target.ordinary and passed.valid_until > self._ticker.wall and not exchange.http10:
                self._prepared.keep(exchange, prepared)
                self._remember_route(exchange, route)
            self._sender.send(exchange, prepared, target)
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
        self._sender.forward(exchange, cluster, wire, route.timeout)

    def _remember_route(self, exchange: Exchange, route: CompiledRoute) -> None:
        fits = len(exchange.target) <= limits.MAX_REMEMBERED_TARGET_BYTES
        if self._table.single is None and self._table.by_target and fits:
            if len(self.found) >= limits.SESSION_CACHE_ENTRIES:
                self.found.clear()
            self.found[(exchange.head.host, exchange.target)] = route

    def _lines(self, exchange: Exchange, route: CompiledRoute, headers: Headers, authority: str) -> bytes:
        """Every header line of the forwarded head, `host` first, framing ours."""
        items = [f"host: {authority}\r\n"]
        items += [f"{name}: {value}\r\n" for name, value in headers if name not in self._rewritten]
        if exchange.head.chunked:
            items.append("transfer-encoding: chunked\r\n")
        elif exchange.head.content_length is None and exchange.method not in WITHOUT_LENGTH:
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
