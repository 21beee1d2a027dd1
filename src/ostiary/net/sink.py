"""Where log lines go, written by a thread of its own: a reader that stalls or a disk that hangs holds up nobody.

`write` to a full pipe blocks, and with it would every connection of the worker. What can't be written at once waits, up
to LOG_BACKLOG_BYTES; what is beyond it, or fails (a full disk), is lost and counted, and that is said once.
"""

from __future__ import annotations

import contextlib
import os
import select
import stat
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Final, final

from ostiary.model import limits

_STOP: Final = -1


@final
class Sink:
    """Lines to a descriptor. Not to be made before a fork: threads don't survive it."""

    __slots__ = ("_fd", "_lock", "_owned", "_queue", "_report", "_stopped", "_thread", "_waiting", "lost")

    def __init__(self, fd: int, *, owned: bool, report: Callable[[str], object]) -> None:
        """`owned`: close `fd` at the end. `report` is told, from any thread, when lines begin and cease to be lost."""
        self._fd = fd
        self._owned = owned
        self._report = report
        self._lock = threading.Lock()
        self._queue: SimpleQueue[bytes | int] = SimpleQueue()
        self._waiting = 0
        self._stopped = False
        self.lost = 0
        """Lines lost since it last went well."""
        self._thread = threading.Thread(target=self._run, name="ostiary-log", daemon=True)
        self._thread.start()

    def write(self, lines: bytes) -> None:
        """Write whole lines, soon."""
        with self._lock:
            fits = not self._stopped and self._waiting + len(lines) <= limits.LOG_BACKLOG_BYTES
            self._waiting += len(lines) if fits else 0
        if fits:
            self._queue.put(lines)
        else:
            self._lose(lines, "it is read too slowly")

    def replace(self, fd: int) -> None:
        """What comes from now on goes to `fd`, and the old descriptor is closed."""
        self._queue.put(fd)

    def close(self, patience: float = limits.LOG_PATIENCE) -> bool:
        """Write what waits, for `patience` seconds. False if that was not enough; then the rest is lost."""
        self._stopped = True
        self._queue.put(_STOP)
        self._thread.join(patience)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (item := self._queue.get()) != _STOP:
            if isinstance(item, bytes):
                self._put(item)
            else:
                self._let_go()
                self._fd = item
        self._let_go()

    def _put(self, lines: bytes) -> None:
        left = lines
        try:
            while left:
                left = left[self._some(left) :]
        except OSError as error:
            self._lose(left, error.strerror)
        with self._lock:
            self._waiting -= len(lines)
            well = not left and self._waiting <= limits.LOG_BACKLOG_BYTES // 2  # not after each batch of a slow reader
            lost, self.lost = self.lost, 0 if well else self.lost
        if lost and well:
            self._report(f"can be written again; {lost} lines were lost")

    def _some(self, lines: bytes) -> int:
        """Write the first of them, or what the descriptor takes."""
        if len(lines) > select.PIPE_BUF and stat.S_ISFIFO(os.fstat(self._fd).st_mode):
            # Others write to this pipe too: only so much goes in whole, so lines are not torn.
            lines = lines[: lines.rfind(b"\n", 0, select.PIPE_BUF) + 1 or len(lines)]
        try:
            return os.write(self._fd, lines)
        except BlockingIOError:  # somebody else has made it non-blocking
            select.select((), (self._fd,), ())
            return 0

    def _lose(self, lines: bytes, why: str | None) -> None:
        with self._lock:
            first = not self.lost
            self.lost += max(lines.count(b"\n"), 1)
        if first:
            self._report(f"can't be written ({why}): lines are lost until it can")

    def _let_go(self) -> None:
        if self._owned:
            with contextlib.suppress(OSError):
                os.close(self._fd)
