"""A worker's way to the desk.

Whoever gets no answer runs the flow: a desk that is gone, silent or full makes workers as independent as they were
without one, and nobody hangs.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Callable
from typing import Self, final

from ostiary.core.leases import Ask, Done, Granted, Message, Queued, Release, Reply, Settled
from ostiary.model import limits
from ostiary.net.lease_wire import FrameReader, WireError, frame, reply_reader


@final
class _Question:
    """One question on its way."""

    __slots__ = ("answer", "queued")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.queued = False
        self.answer: asyncio.Future[Granted | Settled | None] = loop.create_future()


@final
class DeskLease:
    """A `core.leases.Lease`; `client` is None if the desk knows nothing of it."""

    __slots__ = ("_client", "_number", "outcome")

    def __init__(self, outcome: bytes | None, client: LeaseClient | None = None, number: int = 0) -> None:
        self.outcome = outcome
        self._client = client
        self._number = number

    def done(self, outcome: bytes, grace: float) -> None:
        """Hand it over; too large a one is kept to oneself."""
        message = Done(self._number, outcome, grace)
        if len(outcome) > limits.MAX_LEASE_MESSAGE_BYTES - 64:
            self.release()
        elif self._client is not None:
            self._client.send(message)

    def release(self) -> None:
        """Let the next one try."""
        if self._client is not None:
            self._client.send(Release(self._number))


@final
class LeaseClient(asyncio.Protocol):
    """A `core.leases.Leases` over this worker's end of the socket pair. `lost` is called if the desk goes away."""

    def __init__(self, lost: Callable[[], None]) -> None:
        self._lost = lost
        self._transport: asyncio.WriteTransport | None = None
        self._reader: FrameReader[Reply] = reply_reader()
        self._numbers = itertools.count(1)
        self._questions: dict[int, _Question] = {}

    @classmethod
    async def connect(cls, sock: socket.socket, lost: Callable[[], None]) -> Self:
        """Take over the socket."""
        client = cls(lost)
        sock.setblocking(False)
        await asyncio.get_running_loop().create_unix_connection(lambda: client, sock=sock)
        return client

    async def ask(self, key: bytes, longest: float) -> DeskLease:
        """Wait for an outcome, or for the lease. A holder may die, and so may the next: twice `longest` is the end of
        patience."""
        if self._transport is None:
            return DeskLease(None)
        number = next(self._numbers)
        question = self._questions[number] = _Question(asyncio.get_running_loop())
        self.send(Ask(number, key, longest))
        reply: Granted | Settled | None = None
        try:
            answer = (question.answer,)
            await asyncio.wait(answer, timeout=limits.LEASE_ANSWER_TIMEOUT)
            if question.queued and not question.answer.done():
                await asyncio.wait(answer, timeout=2 * longest)
            reply = question.answer.result() if question.answer.done() else None
        finally:
            del self._questions[number]
            if reply is None:
                self.send(Release(number))
        if isinstance(reply, Settled):
            return DeskLease(reply.outcome)
        return DeskLease(None, self if reply is not None else None, number)

    def send(self, message: Message) -> None:
        """Tell the desk, if it is there."""
        if self._transport is not None:
            self._transport.write(frame(message))

    def close(self) -> None:
        """Ask no more; what was written still goes out."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.close()
        self._give_up()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is ours."""
        self._transport = transport  # type: ignore[assignment] # a stream's transport, uvloop's has no such base

    def data_received(self, data: bytes) -> None:
        """Replies."""
        try:
            replies = self._reader.feed(data)
        except WireError:
            if self._transport is not None:
                self._transport.abort()
            return
        for reply in replies:
            question = self._questions.get(reply.number)
            if question is None:
                continue  # no longer waited for, and said so
            if isinstance(reply, Queued):
                question.queued = True
            elif not question.answer.done():
                question.answer.set_result(reply)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's shape
        """The desk is gone, or this worker is closing."""
        if self._transport is not None:
            self._transport = None
            self._lost()
        self._give_up()

    def _give_up(self) -> None:
        for question in self._questions.values():
            if not question.answer.done():
                question.answer.set_result(None)
