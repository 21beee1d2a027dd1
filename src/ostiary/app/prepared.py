"""What was decided about a request, made ready for every request that differs only in what nobody looks at.

A session's requests differ from one another in the target, in Referer, in trace headers. Nothing of that is looked at
on an ordinary path, so the decision and the header lines it leads to are made once, and remembered under the lines that
matter (`RequestHead.relevant`), the peer, the method and the route. The other lines go on as they came.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import replace
from typing import final

from ostiary.app.chain import Passed
from ostiary.app.replies import pairs, response_lines
from ostiary.app.routes import CompiledRoute
from ostiary.core.decision import Request
from ostiary.core.forwarding import Forwarder
from ostiary.core.generations import Generations
from ostiary.core.header_lines import CONTEXT_HEADERS, FORWARDED, RELEVANT, SET_PER_REQUEST, HeaderLine, is_framing
from ostiary.core.http1 import RequestHead
from ostiary.model import limits
from ostiary.model.config import HttpConnectionManager
from ostiary.model.headers import Headers
from ostiary.net.exchange import Exchange

Key = tuple[object, bytes, CompiledRoute, tuple[HeaderLine, ...]]
"""Peer, method, route, and the lines that matter; peers and lines by identity."""


@final
class Prepared:
    """A request head, but for the request line, the lines that go on as they are, and the request id."""

    __slots__ = (
        "cluster_name",
        "counters",
        "drop",
        "extra",
        "items",
        "lines",
        "request",
        "route",
        "user",
        "valid_until",
        "values",
        "via",
    )

    def __init__(self, route: CompiledRoute, passed: Passed, items: list[tuple[str, str]]) -> None:
        self.route = route
        self.cluster_name = route.cluster.cluster.name if route.cluster is not None else ""
        self.request = passed.request
        self.items = items
        self.values = dict(reversed(items))
        """The first value of each name."""
        self.lines = b"".join(pairs(items)) + route.tail
        self.extra = response_lines(passed.response_set)
        self.drop = dropped(passed)
        self.user = passed.user
        self.via = passed.via
        self.counters = passed.counters
        self.valid_until = passed.valid_until


@final
class SentFields:
    """The header fields that the application got: `core.record.Fields`, collected only for who wants all of them."""

    __slots__ = ("_head", "_prepared")

    def __init__(self, prepared: Prepared, head: RequestHead) -> None:
        self._prepared = prepared
        self._head = head

    def get(self, name: str) -> str | None:
        """The first value of `name` (lower case), or None."""
        value = self._prepared.values.get(name)
        if value is None:
            found = self._head.first_forwarded(name.encode("latin-1"))
            value = None if found is None else found.decode("latin-1")
        return value

    def __iter__(self) -> Iterator[tuple[str, str]]:
        yield from self._prepared.items
        yield from (line.pair for line in self._head.lines if line.role == FORWARDED)


@final
class PreparedHeads:
    """The prepared heads of one listener, and what makes a header line matter."""

    def __init__(self, http: HttpConnectionManager, forwarder: Forwarder, reads: frozenset[str]) -> None:
        self._reads = reads
        self._forwarder = forwarder
        self._per_request = CONTEXT_HEADERS if http.tracing is not None else frozenset[str]()
        self._underscores = http.underscores_in_headers != "ALLOW"
        self._roles: dict[str, int] = {}
        self._raw_roles: dict[bytes, int] = {}
        self._memory: Generations[Key, Prepared] = Generations(limits.HEAD_CACHE_ENTRIES, limits.HEAD_CACHE_BYTES)

    def find(self, exchange: Exchange, route: CompiledRoute) -> Prepared | None:
        """What was remembered for requests like this one."""
        key = (exchange.downstream.forward_key, exchange.method, route, exchange.head.relevant)
        memory = self._memory
        found = memory.young.get(key)
        if found is None:
            found = memory.older(key)
            if found is not None:
                memory.put(key, found, len(found.lines))
        return found

    def keep(self, exchange: Exchange, prepared: Prepared) -> None:
        """Remember it for requests like this one."""
        key = (exchange.downstream.forward_key, exchange.method, prepared.route, exchange.head.relevant)
        self._memory.put(key, prepared, len(prepared.lines))

    def clear(self) -> None:
        """A secret changed: no decision holds any more."""
        self._memory.clear()

    def make(self, exchange: Exchange, route: CompiledRoute, passed: Passed) -> Prepared | None:
        """The request as it goes on; None if it is one of its kind and has to be written out."""
        request = passed.request
        head = exchange.head
        if head.names_fields or head.host is None or request.upgrade:
            return None
        items = [("host", request.authority)]
        passed_on: list[tuple[str, str]] = []
        for item in request.headers:
            role = self._role(item[0])
            if role == FORWARDED:
                passed_on.append(item)
            elif role == RELEVANT and item[0] not in ("host", "expect"):
                items.append(item)
        if passed_on != [line.pair for line in head.lines if line.role == FORWARDED]:
            return None  # a filter changed what should go on as it is
        if head.chunked:
            items.append(("transfer-encoding", "chunked"))
        return Prepared(route, passed, items)

    def classify(self, name: bytes) -> int:
        """The role of a request's header line (core/http1.py)."""
        role = self._raw_roles.get(name)
        if role is None:
            role = self._role(name.decode("latin-1"))
            if len(self._raw_roles) > limits.HEAD_CACHE_ENTRIES:
                self._raw_roles.clear()
            self._raw_roles[name] = role
        return role

    def _role(self, name: str) -> int:
        role = self._roles.get(name)
        if role is None:
            role = self._roles[name] = self._new_role(name)
            if len(self._roles) > limits.HEAD_CACHE_ENTRIES:
                self._roles.clear()
        return role

    def _new_role(self, name: str) -> int:
        if name == "x-request-id" or name in self._per_request:
            return SET_PER_REQUEST
        if name == "content-length":
            return FORWARDED
        odd = self._underscores and "_" in name
        looked_at = odd or name in self._reads or is_framing(name) or self._forwarder.is_special(name)
        return RELEVANT if looked_at else FORWARDED


def without(headers: Headers, names: Container[str]) -> Headers:
    """The headers but those of these names."""
    return Headers.of([item for item in headers if item[0] not in names])


def dropped(passed: Passed) -> frozenset[bytes]:
    """Names of the application's response headers that a filter replaces or hides."""
    return frozenset(name.encode("latin-1") for name in passed.response_remove)


def replace_request(passed: Passed, request: Request) -> Passed:
    """The same answer for a request that was changed on the way."""
    return passed if passed.request is request else replace(passed, request=request)
