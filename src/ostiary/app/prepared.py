"""A request head made ready once, for every request that repeats it."""

from __future__ import annotations

from dataclasses import replace
from typing import final

from ostiary.app.chain import Passed
from ostiary.app.replies import response_lines
from ostiary.app.routes import CompiledRoute
from ostiary.core.decision import Request
from ostiary.model.headers import Headers


@final
class Prepared:
    """A request head of which only the request line and the request id are missing."""

    __slots__ = ("counters", "drop", "extra", "head", "new_id", "request", "request_id", "route", "user", "valid_until")

    def __init__(self, route: CompiledRoute, passed: Passed, head: bytes, new_id: bool, request_id: bytes) -> None:
        self.route = route
        self.request = passed.request
        self.head = head
        self.new_id = new_id
        self.request_id = request_id
        """The client's own, where that is kept."""
        self.extra = response_lines(passed.response_set)
        self.drop = dropped(passed)
        self.user = passed.user
        self.counters = passed.counters
        self.valid_until = passed.valid_until


def without(headers: Headers, names: tuple[str, ...]) -> Headers:
    """The headers but those of these names."""
    return Headers.of([item for item in headers if item[0] not in names])


def dropped(passed: Passed) -> frozenset[bytes]:
    """Names of the application's response headers that a filter replaces or hides."""
    return frozenset(name.encode("latin-1") for name in passed.response_remove)


def replace_request(passed: Passed, request: Request) -> Passed:
    """The same answer for a request that was changed on the way."""
    return passed if passed.request is request else replace(passed, request=request)
