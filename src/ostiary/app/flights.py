"""The flight recorder of one worker: what happened lately to sign-ins, and which connections fail and why.

Two rings for the halves of sign-ins and one for each other kind: strangers who never come back from the provider push
out no callback, refusals no sign-in. A failed connection is counted by its cause, so that a flood of one failure is one
entry. Everything is bounded in number and in bytes (model/limits).

Who signed in (e-mail address or subject) is kept, as in the access log: an operator is asked "why can't Ada sign in?".
`flight_users: false` leaves it out.
"""

from __future__ import annotations

import base64
import time
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, final

from ostiary.core.decision import Request
from ostiary.core.flights.note import Note
from ostiary.model import limits
from ostiary.net.exchange import Exchange

if TYPE_CHECKING:
    from ostiary.core.flights.parts import Part, Unreachable
    from ostiary.core.flights.story import Recorded
    from ostiary.core.trace import ConnectTrace

_MOST: Final = {"departure": limits.MAX_FLIGHTS, "arrival": limits.MAX_FLIGHTS}


@final
class _Ring:
    """The newest entries, bounded in number and in bytes."""

    __slots__ = ("_entries", "_most", "_size")

    def __init__(self, most: int) -> None:
        self._most = most
        self._entries: deque[bytes] = deque()
        self._size = 0

    def add(self, entry: bytes) -> None:
        self._entries.append(entry)
        self._size += len(entry)
        while len(self._entries) > self._most or self._size > limits.MAX_FLIGHT_BYTES:
            self._size -= len(self._entries.popleft())

    def newest(self, most: int, holding: bytes) -> Iterator[bytes]:
        found = (entry for entry in islice(reversed(self._entries), most) if holding in entry)
        return reversed(list(found))

    def __len__(self) -> int:
        return len(self._entries)


@final
class Recorder:
    """What one worker recorded. Reloads of the configuration leave it alone."""

    def __init__(self, worker: int = 0, *, with_users: bool = True) -> None:
        self._worker = worker
        self.with_users = with_users
        self._rings: dict[str, _Ring] = {}
        self._unreachable: dict[tuple[str, str, str, bool], Unreachable] = {}
        self._wall = time.time() - time.monotonic()

    def note(self, exchange: Exchange, note: Note, status: int, profile: str) -> None:
        """A decision was made about a request."""
        import msgspec

        part = self._part(exchange, note, status, profile)
        ring = self._rings.get(note.kind)
        if ring is None:
            ring = self._rings[note.kind] = _Ring(_MOST.get(note.kind, limits.MAX_SIDE_FLIGHTS))
        ring.add(msgspec.msgpack.encode(part))

    def connect_failed(self, cluster: str, trace: ConnectTrace, *, checks: bool = False) -> None:
        """A connection to an upstream or a provider failed."""
        from ostiary.core.flights.parts import Unreachable, short, trimmed, words

        now = time.time()
        error = words(trace.error or "no connection")
        key = (cluster, trace.target, error, checks)
        before = self._unreachable.pop(key, None)
        self._unreachable[key] = Unreachable(
            cluster=short(cluster),
            target=short(trace.target),
            error=error,
            count=1 if before is None else before.count + 1,
            first=now if before is None else before.first,
            last=now,
            trace=trimmed(trace),
            checks=checks,
        )
        if len(self._unreachable) > limits.MAX_UNREACHABLE:
            del self._unreachable[next(iter(self._unreachable))]

    def _part(self, exchange: Exchange, note: Note, status: int, profile: str) -> Part:
        from ostiary.core.flights.parts import Part, short, words

        request = exchange.request_headers
        head: dict[str, str] = {}
        if isinstance(request, Request):
            head = {
                "client": short(request.client),
                "agent": short(request.headers.get("user-agent") or ""),
                "host": short(request.authority),
                "path": short(request.path),
            }
        return Part(
            kind=note.kind,
            flight=note.flight,
            outcome=note.outcome,
            at=exchange.started + self._wall,
            clock=exchange.started,
            seconds=time.monotonic() - exchange.started,
            profile=profile,
            worker=self._worker,
            status=status,
            method=short(exchange.method.decode("latin-1")),
            request_id=short(exchange.request_id.decode("latin-1")),
            code=note.code,
            reason=words(note.reason),
            why=short(note.why),
            user=short(note.user) if self.with_users else "",
            asked=short(note.asked.partition("?")[0]),
            restart_of=note.restart_of,
            left_at=note.left_at,
            verified=note.verified,
            cookies=note.cookies,
            cookie_bytes=note.cookie_bytes,
            calls=note.calls,
            **head,
        )

    def export(self, most: int = limits.MAX_FLIGHTS, flight: str = "") -> dict[str, Any]:
        """What JSON can carry to whoever shows flights: the newest `most` of each kind, or of one flight."""
        import msgspec

        return {
            "parts": [_text(entry) for ring in self._rings.values() for entry in ring.newest(most, flight.encode())],
            "unreachable": [_text(msgspec.msgpack.encode(each)) for each in self._unreachable.values()],
        }


def load(exported: Iterable[dict[str, Any] | None]) -> list[Recorded]:
    """What workers exported."""
    import msgspec

    from ostiary.core.flights.parts import Part, Unreachable
    from ostiary.core.flights.story import Recorded

    parts, causes = msgspec.msgpack.Decoder(Part), msgspec.msgpack.Decoder(Unreachable)
    return [
        Recorded(
            [parts.decode(base64.b64decode(text)) for text in each["parts"]],
            [causes.decode(base64.b64decode(text)) for text in each["unreachable"]],
        )
        for each in exported
        if each is not None
    ]


def _text(entry: bytes) -> str:
    return base64.b64encode(entry).decode("ascii")
