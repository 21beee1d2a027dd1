"""A worker's peers over the inboxes that its parent made (net/inbox.py)."""

from __future__ import annotations

import asyncio
from typing import Final, final

from ostiary.app.shared import Shared
from ostiary.net.inbox import Handler, Inbox, InboxError, Inboxes
from ostiary.net.log import log

_LOG: Final = log("main")


@final
class Colleagues:
    """The other workers: a `Peers`."""

    def __init__(self, inboxes: Inboxes, index: int, shared: Shared) -> None:
        """In the worker of this index. `shared` says how many there are."""
        self._inboxes = inboxes
        self._index = index
        self._shared = shared
        self._inbox: Inbox = inboxes.inbox(index)
        self._handlers: dict[str, Handler] = {}

    @property
    def count(self) -> int:
        """How many there are, alive or not."""
        return len(self._others())

    def _others(self) -> list[int]:
        return [other for other in range(self._shared.workers) if other != self._index]

    def start(self) -> None:
        """Answer from now on, on the running loop."""
        self._inbox.serve(self._handle)

    async def close(self) -> None:
        """Answer no more."""
        await self._inbox.close()

    def handle(self, start: str, handler: Handler) -> None:
        """Answer what others ask under paths that start so."""
        self._handlers[start] = handler

    async def ask(self, path: str, body: bytes, patience: float) -> list[bytes]:
        """Their answers; who gives none within `patience` seconds is left out, and said in the log."""
        asked = (self._inboxes.ask(other, path, body, patience=patience) for other in self._others())
        answers = await asyncio.gather(*asked, return_exceptions=True)
        found: list[bytes] = []
        for answer in answers:
            if isinstance(answer, bytes):
                found.append(answer)
            elif isinstance(answer, InboxError):
                _LOG.warning("its part of %s is missing: %s", path, answer)
            elif isinstance(answer, BaseException):
                raise answer
        return found

    async def _handle(self, path: str, body: bytes, descriptors: list[int]) -> bytes:
        for start, handler in self._handlers.items():
            if path.startswith(start):
                return await handler(path, body, descriptors)
        raise InboxError(f"nobody here answers {path} yet")
