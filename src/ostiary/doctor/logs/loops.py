"""Sign-ins of one client that succeed one after the other: what an access log shows of a loop.

A browser in a loop asks for a page and is redirected, comes back to the callback and is redirected once more, asks for
the page and is redirected, and so on until it gives up after twenty redirects. So a callback that succeeds is followed
by another redirect, within seconds, and by no page at all. People behind one address are told apart by their browsers,
as far as that goes; each of them gets a page after the callback, which ends the count.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, final

from ostiary.doctor.facts.origin import Origin
from ostiary.doctor.facts.signin import SignInRepeated
from ostiary.doctor.logs.record import Record
from ostiary.model import limits

_CALLBACK: Final = re.compile(r"[?&]code=[^&]+.*&state=|[?&]state=[^&]*.*&code=.")
_REDIRECTS: Final = frozenset({"302", "303", "307"})
_TIMES: Final = 4
"""So many callbacks that succeed, each after a redirect of its own, are no coincidence; browsers make six or seven."""
_SOON: Final = 10.0
"""Seconds within which the next step of a loop comes: nobody types a password that fast again and again."""
_CLOCK: Final = re.compile(r"(?<!\d)(\d\d):(\d\d):(\d\d(?:[.,]\d+)?)")
_PORT: Final = re.compile(r":\d+$")
_DAY: Final = 86400.0


@dataclass(slots=True)
class _Client:
    """One browser, as far as a log tells."""

    at: float
    redirected: bool = False
    """Since the last callback."""
    count: int = 0
    since: float = 0.0
    told: SignInRepeated | None = None


@final
class Loops:
    """What clients did last, as far as it matters. Bounded: the client that was seen first is forgotten."""

    def __init__(self) -> None:
        self._clients: dict[tuple[str, ...], _Client] = {}

    def see(self, record: Record, origin: Origin) -> None:
        """One entry of an access log."""
        client, now = _client(record), _time(record.when)
        if client is None or now is None:
            return
        seen = self._clients.get(client)
        status = record.access.get("response_code", "")
        if status in _REDIRECTS:
            if seen is None:
                seen = self._new(client, now)
            if (now - seen.at) % _DAY > _SOON:
                seen.count, seen.redirected = 0, False
            seen.at = now
            self._redirected(seen, _CALLBACK.search(record.access.get("path", "")) is not None, origin)
        elif seen is not None and status[:1] in "123":
            seen.count, seen.redirected = 0, False

    def _redirected(self, seen: _Client, is_callback: bool, origin: Origin) -> None:
        if not is_callback:
            seen.redirected = True
            return
        if not seen.redirected:
            return
        seen.redirected = False
        seen.since = seen.at if seen.count == 0 else seen.since
        seen.count += 1
        if seen.count >= _TIMES and (seen.told is None or seen.count > seen.told.times):
            seconds = (seen.at - seen.since) % _DAY
            first = seen.told.origin if seen.told is not None else origin
            seen.told = SignInRepeated(origin=first, times=seen.count, seconds=seconds)

    def _new(self, client: tuple[str, ...], now: float) -> _Client:
        if len(self._clients) >= limits.MAX_JOINED:
            oldest = next(iter(self._clients))
            if self._clients[oldest].told is not None:  # what was found is kept until others have pushed it out twice
                self._clients[oldest] = self._clients.pop(oldest)
                oldest = next(iter(self._clients))
            del self._clients[oldest]
        found = self._clients[client] = _Client(now)
        return found

    def finish(self) -> Iterator[SignInRepeated]:
        """The loops."""
        for seen in self._clients.values():
            if seen.told is not None:
                yield seen.told


def _client(record: Record) -> tuple[str, ...] | None:
    """Whose request it was; None where an entry doesn't say."""
    entry = record.access
    address = next((entry[name] for name in _ADDRESSES if entry.get(name, "-") not in ("-", "")), "")
    if not address:
        return None
    return record.place, _PORT.sub("", address), entry.get("user_agent", ""), entry.get("authority", "")


_ADDRESSES: Final = ("x_forwarded_for", "client", "downstream_remote_address")


def _time(when: str) -> float | None:
    found = _CLOCK.search(when)
    if found is None:
        return None
    return int(found[1]) * 3600 + int(found[2]) * 60 + float(found[3].replace(",", "."))
