"""The desk in the parent of all workers: one socket pair for each of them, one `LeaseTable` for all.

It runs inside the parent's own loop over a selector and never blocks. A worker that dies closes its socket, whatever it
died of; one that writes nonsense or doesn't read what it is told is cut off, and refreshes on its own from then on.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
from collections.abc import Callable
from typing import Final, final

from ostiary.core.leases import LeaseTable, Replies
from ostiary.model import limits
from ostiary.net.lease_wire import WireError, frame, message_reader

_READ_BYTES: Final = 256 * 1024


@final
class LeaseDesk:
    """`clock` gives monotonic seconds; `cut_off` is told of workers that misbehave, by the number `hire` gave them."""

    def __init__(
        self, selector: selectors.BaseSelector, clock: Callable[[], float], cut_off: Callable[[int, str], None]
    ) -> None:
        self._selector = selector
        self._clock = clock
        self._cut_off = cut_off
        self._table = LeaseTable()
        self._lines: dict[int, _Line] = {}
        self._hired = 0

    @property
    def deadline(self) -> float | None:
        """When `tick` should be called."""
        return self._table.deadline

    def hire(self) -> tuple[int, socket.socket]:
        """A worker's number, never used before, and its end of a new pair: the caller closes it after the fork."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self._hired += 1
        line = self._lines[self._hired] = _Line(self._hired, ours)
        self._selector.register(ours, selectors.EVENT_READ, lambda events: self._ready(line, events))
        return self._hired, theirs

    def dismiss(self, worker: int) -> None:
        """A worker has ended: what it still said counts, what it held goes to others."""
        with contextlib.suppress(OSError, WireError):
            while (line := self._lines.get(worker)) is not None:
                self._read(line)
        self._drop(worker)

    def tick(self) -> None:
        """Whatever is due."""
        self._tell(self._table.tick(self._clock()))

    def abandon(self) -> None:
        """In a forked child: close the parent's ends, or no worker would see the parent die. The selector isn't
        touched: it belongs to the parent."""
        for line in self._lines.values():
            line.socket.close()

    def _ready(self, line: _Line, events: int) -> None:
        try:
            if events & selectors.EVENT_WRITE:
                self._flush(line)
            if events & selectors.EVENT_READ:
                self._read(line)
        except WireError as error:
            self._cut_off(line.worker, str(error))
            self._drop(line.worker)
        except BlockingIOError:
            return
        except OSError:
            self._drop(line.worker)

    def _read(self, line: _Line) -> None:
        data = line.socket.recv(_READ_BYTES)
        if not data:
            self._drop(line.worker)
            return
        for message in line.reader.feed(data):
            if line.worker not in self._lines:
                break  # cut off in between
            self._tell(self._table.handle(line.worker, message, self._clock()))

    def _drop(self, worker: int) -> None:
        line = self._lines.pop(worker, None)
        if line is not None:
            self._selector.unregister(line.socket)
            line.socket.close()
            self._tell(self._table.left(worker, self._clock()))

    def _tell(self, replies: Replies) -> None:
        for worker, reply in replies:
            line = self._lines.get(worker)
            if line is None:
                continue
            line.backlog += frame(reply)
            try:
                self._flush(line)
            except OSError:
                continue  # its end of file comes next
            if len(line.backlog) > limits.MAX_LEASE_BACKLOG_BYTES:
                self._cut_off(worker, "it doesn't read what it is told")
                self._drop(worker)

    def _flush(self, line: _Line) -> None:
        while line.backlog:
            try:
                del line.backlog[: line.socket.send(line.backlog)]
            except BlockingIOError:
                break
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if line.backlog else 0)
        if wanted != line.events:
            line.events = wanted
            self._selector.modify(line.socket, wanted, self._selector.get_key(line.socket).data)


@final
class _Line:
    """The parent's end of one worker's socket pair."""

    __slots__ = ("backlog", "events", "reader", "socket", "worker")

    def __init__(self, worker: int, sock: socket.socket) -> None:
        self.worker = worker
        self.socket = sock
        self.reader = message_reader()
        self.backlog = bytearray()
        self.events = selectors.EVENT_READ
