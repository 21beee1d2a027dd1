"""Names that the operating system resolves: hosts, mDNS, and whatever else its name service switch knows.

`getaddrinfo` can't be cancelled and may hang for long. It runs in threads of our own, one family at a time: a hanging
one must not block the default executor, nor the end of the program, nor the other family. A few may hang at once; who
comes then waits for a place.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from typing import Final

from ostiary.core.addresses import RecordType
from ostiary.core.trace import DnsQuery
from ostiary.model import limits
from ostiary.net.dns_exchange import Answer, close

_AGAIN: Final = 0.1
"""Seconds before EAI_AGAIN is tried again."""


class SystemLookups:
    """One per event loop."""

    __slots__ = ("_running", "_waiting")

    def __init__(self) -> None:
        self._running = 0
        self._waiting: list[asyncio.Future[None]] = []

    async def ask(self, records: list[DnsQuery], name: str, record_type: RecordType, retries: int | None = 0) -> Answer:
        """One type of a name; `retries` None means as long as there is time."""
        record = DnsQuery(name=f"{name}.", type=record_type, server="system", started=time.monotonic())
        records.append(record)
        if record_type == "HTTPS":
            return close(record, Answer("empty"), message="the system's resolver has no HTTPS records")
        try:
            async with asyncio.timeout(limits.DNS_QUERY_TIMEOUT):
                while True:
                    answer, again = await self._call(name, record_type)
                    if not again or retries == 0:
                        return close(record, answer)
                    retries = None if retries is None else retries - 1
                    await asyncio.sleep(_AGAIN)
        except TimeoutError:
            return close(record, Answer("timeout"))

    async def _call(self, name: str, record_type: RecordType) -> tuple[Answer, bool]:
        loop = asyncio.get_running_loop()
        while self._running >= limits.MAX_SYSTEM_LOOKUPS:
            place: asyncio.Future[None] = loop.create_future()
            self._waiting.append(place)
            try:
                await place
            finally:
                self._waiting.remove(place)
                self._wake()  # of several who were woken one takes the place, and one may have given up meanwhile
        result: asyncio.Future[tuple[Answer, bool]] = loop.create_future()

        def finish(answer: tuple[Answer, bool]) -> None:
            self._running -= 1
            self._wake()
            if not result.done():
                result.set_result(answer)

        def work() -> None:
            try:
                answer = _getaddrinfo(name, record_type)
            except Exception:  # noqa: BLE001 - whoever waits must hear of it
                answer = (Answer("failed"), False)
            with contextlib.suppress(RuntimeError):  # the loop may be gone by then
                loop.call_soon_threadsafe(finish, answer)

        thread = threading.Thread(target=work, name="ostiary-getaddrinfo", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # this process may have no more threads
            return Answer("failed"), True
        self._running += 1
        return await result

    def _wake(self) -> None:
        free = limits.MAX_SYSTEM_LOOKUPS - self._running
        for place in self._waiting[: max(free, 0)]:
            if not place.done():
                place.set_result(None)


def _getaddrinfo(name: str, record_type: RecordType) -> tuple[Answer, bool]:
    """The answer, and whether asking again may help."""
    family = socket.AF_INET if record_type == "A" else socket.AF_INET6
    try:
        found = socket.getaddrinfo(name, None, family, socket.SOCK_STREAM)
    except socket.gaierror as error:
        absent = error.errno in (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))
        return Answer("empty" if absent else "failed"), error.errno == socket.EAI_AGAIN
    except (OSError, UnicodeError):
        return Answer("failed"), False
    addresses = tuple(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))
    return Answer("answered" if addresses else "empty", addresses[: limits.MAX_DNS_ANSWERS]), False
