"""The filters that the requests of one route pass, in order, and what they made of a request.

Filters answer with edits. `run` applies them one after the other, so that each filter sees what the ones before it
left, and stops where one of them answers itself (`Respond`) or must fetch something first (`Pending`, which `resume`
takes on).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

from msgspec.structs import replace

from ostiary.core.decision import FOREVER, Allow, Counter, Filter, Request, Respond, Start
from ostiary.model.headers import Headers

_ASIDE: Final = ("cors", "health_check")
"""Filters that ask nobody who they are."""


@final
@dataclass(slots=True, kw_only=True)
class Passed:
    """A request that every filter let through."""

    request: Request
    """With the headers that the application gets."""
    response_remove: frozenset[str] = frozenset()
    response_set: tuple[tuple[str, str], ...] = ()
    user: str = ""
    via: str = ""
    """Why it was let through, in a word (see Allow)."""
    counters: tuple[Counter, ...] = ()
    valid_until: float = FOREVER


@final
@dataclass(slots=True, kw_only=True)
class Pending:
    """A filter must fetch something first."""

    start: Start
    at: int
    passed: Passed


@final
class Chain:
    """The filters of one route."""

    __slots__ = ("filters", "reads", "strip")

    def __init__(self, filters: tuple[Filter, ...]) -> None:
        self.filters = filters
        self.strip: frozenset[str] = frozenset().union(*(f.request_headers_to_strip() for f in filters))
        """Identity headers that no client may send."""
        self.reads: frozenset[str] = frozenset().union(*(f.reads() for f in filters))
        """Headers that an answer for an ordinary path may depend on."""

    def is_ordinary(self, path: str) -> bool:
        """True if an answer for this path may be used again for the same headers."""
        return all(f.is_ordinary(path) for f in self.filters)

    def run(self, request: Request, now: float) -> Passed | Respond | Pending:
        """Ask every filter."""
        return self._from(0, Passed(request=request), now)

    def resume(self, pending: Pending, result: Allow | Respond, now: float) -> Passed | Respond | Pending:
        """Go on after what a filter waited for."""
        if isinstance(result, Respond):
            return result
        return self._from(pending.at + 1, apply(pending.passed, result), now)

    def _from(self, index: int, passed: Passed, now: float) -> Passed | Respond | Pending:
        for at in range(index, len(self.filters)):
            decision = self.filters[at].decide(passed.request, now)
            if isinstance(decision, Respond):
                return decision
            if isinstance(decision, Start):
                return Pending(start=decision, at=at, passed=passed)
            passed = apply(passed, decision)
        return passed


def apply(passed: Passed, allow: Allow) -> Passed:
    """The request as this filter leaves it."""
    request = passed.request
    if allow.remove or allow.set or allow.cookie is not None:
        request = replace(request, headers=edited(request.headers, allow))
    return Passed(
        request=request,
        response_remove=passed.response_remove | allow.response_remove,
        response_set=passed.response_set + allow.response_set,
        user=allow.user or passed.user,
        via=passed.via if allow.via in _ASIDE else allow.via or passed.via,
        counters=passed.counters + allow.counters,
        valid_until=min(passed.valid_until, allow.valid_until),
    )


def edited(headers: Headers, allow: Allow) -> Headers:
    """The request's headers after one filter's edits."""
    drop = allow.remove.union(name for name, _ in allow.set)
    if allow.cookie is not None:
        drop |= {"cookie"}
    items = [item for item in headers if item[0] not in drop]
    items += allow.set
    if allow.cookie or (allow.cookie is not None and allow.keep_empty_cookie):
        items.append(("cookie", allow.cookie))
    return Headers.of(items)
