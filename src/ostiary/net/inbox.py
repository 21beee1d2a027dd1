"""How anyone in a family of processes asks one of its workers something: the parent, a worker another, a worker itself.

The parent makes, before it forks, a pair of datagram sockets for each worker's index and keeps both ends, so that a
question that comes while a worker is dead waits for its successor. Whoever asks sends one end of a new stream pair to
it (SCM_RIGHTS), with further descriptors if the question is about some; question and answer then run over that pair,
and nobody else's can mix with them. A worker that dies over a question closes its end: the asker knows at once.

On the stream: 4 bytes of length and the path, 4 and the body; back come one byte (0 done, 1 failed) and 4 and the
answer. Only the family holds these sockets, so what arrives is believed; bounds are against defects, not enemies.
"""

from __future__ import annotations

import array
import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, final

from ostiary.model import limits
from ostiary.net.log import log

_LOG: Final = log("main")
_LENGTH: Final = 4
_FULL_AGAIN: Final = 0.01
"""Between two tries to reach an inbox that is full: it empties in a moment, or never."""

Handler = Callable[[str, bytes, list[int]], Awaitable[bytes]]
"""(path, body, descriptors) -> answer. Descriptors still in the list at its end are closed: take out what you keep."""


class InboxError(Exception):
    """A worker gave no answer: it is gone, hangs, or failed; the text says which."""


@final
class Inboxes:
    """The inboxes of all workers, by index. Made before any fork; everyone may `ask`, each worker serves its own."""

    def __init__(self, count: int) -> None:
        self._pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(count)]
        for ends in self._pairs:
            for end in ends:
                end.setblocking(False)

    def __len__(self) -> int:
        return len(self._pairs)

    def inbox(self, index: int) -> Inbox:
        """In the worker of this index: what it is asked. The others' ends are closed in this process."""
        for other, (_, theirs) in enumerate(self._pairs):
            if other != index:
                theirs.close()
        return Inbox(self._pairs[index][1])

    async def ask(
        self,
        index: int,
        path: str,
        body: bytes = b"",
        fds: Sequence[int] = (),
        patience: float = limits.INBOX_TIMEOUT,
    ) -> bytes:
        """Ask one worker. `fds` stay the caller's. Raises InboxError (no answer within `patience` seconds, or a failed
        one) and ValueError (a question over MAX_INBOX_BYTES or MAX_INBOX_DESCRIPTORS)."""
        question = pack_question(path, body, fds)
        try:
            ours, theirs = socket.socketpair()
        except OSError as error:  # this process may open no more files
            raise InboxError(f"worker {index} can't be asked: {error.strerror}") from error
        try:
            ours.setblocking(False)
            async with asyncio.timeout(patience):
                with theirs:
                    while not self.deliver(index, theirs, fds):  # noqa: ASYNC110 - no event tells of it
                        await asyncio.sleep(_FULL_AGAIN)
                loop = asyncio.get_running_loop()
                await loop.sock_sendall(ours, question)
                failed = (await _exactly(ours, 1)) != b"\0"
                answer = await _part(ours)
        except TimeoutError:
            raise InboxError(f"worker {index} doesn't answer within {patience:g} s") from None
        except OSError:
            raise InboxError(f"worker {index} ended before it answered") from None
        finally:
            ours.close()
        if failed:
            raise InboxError(f"worker {index}: {answer.decode(errors='replace')}")
        return answer

    def deliver(self, index: int, stream: socket.socket, fds: Sequence[int]) -> bool:
        """Put one end of a stream pair, and what belongs to it, into an inbox; False while that is full."""
        rights = array.array("i", [stream.fileno(), *fds])
        try:
            self._pairs[index][0].sendmsg([b"?"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        """Close every end that this process has."""
        for ends in self._pairs:
            for end in ends:
                end.close()


@final
class Inbox:
    """A worker's own."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._tasks: set[asyncio.Task[None]] = set()
        self._handler: Handler | None = None

    def serve(self, handler: Handler) -> None:
        """Answer from now on, on the running loop; what waits is answered first."""
        self._handler = handler
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._arrived)

    async def close(self) -> None:
        """Answer no more; questions that come wait for a successor."""
        asyncio.get_running_loop().remove_reader(self._socket.fileno())
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _arrived(self) -> None:
        while len(self._tasks) < limits.MAX_INBOX_QUESTIONS:
            try:
                _, fds, flags, _ = socket.recv_fds(
                    self._socket, 1, limits.MAX_INBOX_DESCRIPTORS + 1, socket.MSG_CMSG_CLOEXEC
                )
            except OSError:  # nothing more
                return
            if flags & socket.MSG_CTRUNC or not fds:  # this process may open no more files
                for fd in fds:
                    os.close(fd)
                continue
            stream = socket.socket(fileno=fds.pop(0))
            task = asyncio.get_running_loop().create_task(self._answer(stream, fds))
            self._tasks.add(task)
            task.add_done_callback(partial(self._answered, stream, fds))
        asyncio.get_running_loop().remove_reader(self._socket.fileno())  # the rest waits

    def _answered(self, stream: socket.socket, fds: list[int], task: asyncio.Task[None]) -> None:
        stream.close()
        for fd in fds:
            os.close(fd)
        if len(self._tasks) >= limits.MAX_INBOX_QUESTIONS and not task.cancelled():
            asyncio.get_running_loop().add_reader(self._socket.fileno(), self._arrived)
        self._tasks.discard(task)

    async def _answer(self, stream: socket.socket, fds: list[int]) -> None:
        try:
            stream.setblocking(False)
            async with asyncio.timeout(limits.INBOX_ASKER_TIMEOUT):
                path = (await _part(stream)).decode()
                body = await _part(stream)
            reply = await self._handled(path, body, fds)
            async with asyncio.timeout(limits.INBOX_ASKER_TIMEOUT):
                await asyncio.get_running_loop().sock_sendall(stream, reply)
        except OSError:  # whoever asked waits no more (TimeoutError is one)
            pass

    async def _handled(self, path: str, body: bytes, fds: list[int]) -> bytes:
        assert self._handler is not None
        try:
            answer = await self._handler(path, body, fds)
        except InboxError as error:
            return pack_answer(str(error).encode(), failed=True)
        except Exception:  # noqa: BLE001 - a defect of ours must not leave anybody waiting
            _LOG.exception("a question about %s could not be answered", path)
            return pack_answer(b"it failed, see its log", failed=True)
        if len(answer) > limits.MAX_INBOX_BYTES:
            return pack_answer(b"the answer is too large", failed=True)
        return pack_answer(answer)


def pack_question(path: str, body: bytes, fds: Sequence[int]) -> bytes:
    """A question's bytes. Raises ValueError for what no worker would take."""
    name = path.encode()
    if len(name) + len(body) > limits.MAX_INBOX_BYTES:
        raise ValueError(f"a question of more than {limits.MAX_INBOX_BYTES} bytes")
    if len(fds) > limits.MAX_INBOX_DESCRIPTORS:
        raise ValueError(f"a question with more than {limits.MAX_INBOX_DESCRIPTORS} descriptors")
    return b"".join((_length(name), name, _length(body), body))


def pack_answer(answer: bytes, *, failed: bool = False) -> bytes:
    """An answer's bytes."""
    return b"".join((b"\1" if failed else b"\0", _length(answer), answer))


def _length(data: bytes) -> bytes:
    return len(data).to_bytes(_LENGTH, "big")


async def _part(stream: socket.socket) -> bytes:
    length = int.from_bytes(await _exactly(stream, _LENGTH), "big")
    if length > limits.MAX_INBOX_BYTES:
        raise ConnectionError(f"a message of {length} bytes")
    return await _exactly(stream, length)


async def _exactly(stream: socket.socket, count: int) -> bytes:
    loop = asyncio.get_running_loop()
    parts: list[bytes] = []
    while count:
        data = await loop.sock_recv(stream, min(count, 256 * 1024))
        if not data:
            raise ConnectionError("it ended")
        parts.append(data)
        count -= len(data)
    return b"".join(parts)
