"""Ask several workers the same and hear them all, on a selector, without waiting: for the parent, which must not."""

from __future__ import annotations

import contextlib
import selectors
import socket
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, final

from ostiary.model import limits
from ostiary.net.inbox import Inboxes, pack_question

_AGAIN: Final = 0.05
"""Between two tries to reach an inbox that is full."""
_STOOD_STILL: Final = 2.0
"""Who looks so late was held up itself, and so were those who were asked: they get a moment more."""
_HEAD: Final = 5

Answers = Mapping[int, tuple[bool, bytes] | None]
"""Worker -> (it failed, its answer or the reason); None for one that is gone or said nothing in time."""


@final
class Canvass:
    """One question to several workers. `done` is called once, from `tick` or from within the selector's turn."""

    def __init__(
        self,
        inboxes: Inboxes,
        selector: selectors.BaseSelector,
        indices: Collection[int],
        question: tuple[str, bytes, Sequence[int]],
        until: float,
        done: Callable[[Answers], None],
    ) -> None:
        """`question` is path, body and descriptors, which stay the caller's and must be open until the end; `until` is
        monotonic. Raises ValueError for a question that is too large."""
        self._inboxes = inboxes
        self._selector = selector
        self._fds = question[2]
        self._packed = pack_question(*question)
        self._until = until
        self._extended = False
        self._done = done
        self._undelivered = set(indices)
        self._asked: dict[int, _Asked] = {}
        self._answers: dict[int, tuple[bool, bytes] | None] = {}

    def deadline(self, now: float) -> float:
        """When `tick` should be called."""
        return min(self._until, now + _AGAIN) if self._undelivered else self._until

    def tick(self, now: float) -> None:
        """Deliver what could not be delivered; end when it is time."""
        for index in list(self._undelivered):
            try:
                ours, theirs = socket.socketpair()
            except OSError:  # no descriptor to be had: that may pass, and must not end the parent
                continue
            try:
                with theirs:
                    delivered = self._inboxes.deliver(index, theirs, self._fds)
            except OSError:
                ours.close()
                self._settle(index, None)
                continue
            if not delivered:
                ours.close()
                continue
            self._undelivered.discard(index)
            ours.setblocking(False)
            self._asked[index] = _Asked(ours, self._packed)
            events = selectors.EVENT_READ | selectors.EVENT_WRITE
            self._selector.register(ours, events, lambda events, index=index: self._ready(index, events))
        if now >= self._until + _STOOD_STILL and not self._extended:
            self._extended = True
            self._until = now + limits.INBOX_TIMEOUT
        if now >= self._until:
            for index in [*self._asked, *self._undelivered]:
                self._settle(index, None)

    def _ready(self, index: int, events: int) -> None:
        asked = self._asked[index]
        try:
            if events & selectors.EVENT_WRITE and asked.send():
                data = self._selector.get_key(asked.socket).data
                self._selector.modify(asked.socket, selectors.EVENT_READ, data)
            if events & selectors.EVENT_READ and asked.receive():
                self._settle(index, asked.answer)
        except BlockingIOError:
            return
        except OSError:
            self._settle(index, None)

    def _settle(self, index: int, answer: tuple[bool, bytes] | None) -> None:
        self._undelivered.discard(index)
        self._drop(index)
        self._answers[index] = answer
        if not self._asked and not self._undelivered:
            self._done(self._answers)

    def _drop(self, index: int) -> None:
        asked = self._asked.pop(index, None)
        if asked is not None:
            with contextlib.suppress(KeyError):
                self._selector.unregister(asked.socket)
            asked.socket.close()

    def gone(self, index: int) -> None:
        """This worker has died: its question would wait for a successor."""
        if index in self._undelivered or index in self._asked:
            self._settle(index, None)

    def cancel(self) -> None:
        """Wait for nobody any more."""
        self._undelivered.clear()
        for index in list(self._asked):
            self._drop(index)


@final
class _Asked:
    """One worker's stream."""

    __slots__ = ("_received", "_unsent", "socket")

    def __init__(self, sock: socket.socket, question: bytes) -> None:
        self.socket = sock
        self._unsent = memoryview(question)
        self._received = bytearray()

    def send(self) -> bool:
        """True once all is sent."""
        self._unsent = self._unsent[self.socket.send(self._unsent) :]
        return not self._unsent

    def receive(self) -> bool:
        """True once the answer is complete. Raises ConnectionError if it won't be."""
        data = self.socket.recv(64 * 1024)
        self._received += data
        length = _HEAD + int.from_bytes(self._received[1:_HEAD], "big")
        if not data or length > _HEAD + limits.MAX_INBOX_BYTES:
            raise ConnectionError("it ended")
        return len(self._received) >= max(length, _HEAD)

    @property
    def answer(self) -> tuple[bool, bytes]:
        """(it failed, what it said)."""
        return self._received[0] != 0, bytes(self._received[_HEAD:])
