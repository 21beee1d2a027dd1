"""Requests to a provider, told as they happen: each becomes a `Call` of the flight it is made for."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from msgspec.structs import replace

from ostiary.core.decision import Allow, Fetch, Fetched, FetchFailed, Respond
from ostiary.net.watched import TRACED, WATCHED, Watched

if TYPE_CHECKING:
    from ostiary.core.flights.note import Note
    from ostiary.core.flights.parts import Call


class Fetcher(Protocol):
    """net.client.ProviderClient, or a test's."""

    async def fetch(self, fetch: Fetch) -> Fetched:
        """One answer. Raises FetchFailed."""


async def told(fetch: Fetch, fetcher: Fetcher, calls: list[Call]) -> Fetched:
    """The answer; what it took is appended to `calls`. Raises FetchFailed."""
    from ostiary.core.flights.parts import call_of

    watched = Watched()
    before = WATCHED.set(watched)
    started = time.monotonic()
    outcome: Fetched | FetchFailed
    try:
        outcome = await fetcher.fetch(fetch)
    except FetchFailed as error:
        outcome = error
    finally:
        WATCHED.reset(before)
    connects = tuple(connect() for connect in watched.connects)
    watched.connects.clear()  # connections that live on hold this context
    calls.append(call_of(fetch, outcome, started, time.monotonic(), tries=watched.tries, connects=connects))
    if (traced := TRACED.get()) is not None:
        traced.calls.append(calls[-1])
    if isinstance(outcome, FetchFailed):
        raise outcome
    return outcome


def with_calls(result: Allow | Respond, calls: list[Call]) -> Allow | Respond:
    """The result; its note tells the calls too."""
    if result.note is None or not calls:
        return result
    note: Note = replace(result.note, calls=tuple(calls))
    return replace(result, note=note)
