"""Several worker processes behind the same listening sockets.

The parent binds and forks, and does nothing else: a worker that dies is replaced (after a pause that grows while they
die young), signals are passed on. Workers share the sockets, so a connection that waits to be accepted is lost by no
worker's death. The first worker serves the admin API, which so shows that worker's part.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from typing import Final

from ostiary.app.logs import logger

_log = logger("main")
_YOUNG: Final = 10.0
"""A worker that lived shorter than this died young."""
_MAX_PAUSE: Final = 30.0
EXIT_CONFIGURATION: Final = 2
_PASSED_ON: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


def count(wanted: int) -> int:
    """0 means one per CPU that this process may use."""
    return wanted or len(os.sched_getaffinity(0))


def supervise(number: int, work: Callable[[int], int], on_stop: Callable[[], None]) -> int:
    """Run `work(index)` in `number` processes until SIGTERM or SIGINT; the worst exit code of the last ones.

    `on_stop` closes the parent's copies of the sockets: while one is open, connections queue up that nobody takes.
    """
    return _Supervisor(number, work, on_stop).run()


class _Supervisor:
    def __init__(self, number: int, work: Callable[[int], int], on_stop: Callable[[], None]) -> None:
        self._number = number
        self._work = work
        self._on_stop = on_stop
        self._children: dict[int, tuple[int, float]] = {}
        self._handlers: dict[signal.Signals, object] = {}
        self._stopping = False
        self._proven = False
        """A worker has lived: the configuration can start."""

    def run(self) -> int:
        self._handlers = {what: signal.signal(what, self._pass_on) for what in _PASSED_ON}
        try:
            for index in range(self._number):
                self._spawn(index)
            return self._reap()
        finally:
            for what, handler in self._handlers.items():
                signal.signal(what, handler)  # type: ignore[arg-type] # what signal() gave back

    def _pass_on(self, what: int, _frame: object) -> None:
        if what != signal.SIGUSR1 and not self._stopping:
            self._stopping = True
            self._on_stop()
        for child in list(self._children):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, what)

    def _reap(self) -> int:
        worst, pause = 0, 0.0
        while self._children:
            child, status = os.waitpid(-1, 0)
            if child not in self._children:
                continue
            index, born = self._children.pop(child)
            code = os.waitstatus_to_exitcode(status)
            lived = time.monotonic() - born
            self._proven = self._proven or lived > _YOUNG
            if self._stopping:
                worst = max(worst, abs(code))
            elif code == EXIT_CONFIGURATION and not self._proven:
                worst = code  # it can't start at all: neither could its successor
                self._pass_on(signal.SIGTERM, None)
            else:
                _log.error("worker %d ended with %d and is replaced", index, code)
                pause = _pause(pause, lived)
                self._sleep(pause)
                if not self._stopping:
                    self._spawn(index)
        return worst

    def _sleep(self, pause: float) -> None:
        end = time.monotonic() + pause
        while not self._stopping and time.monotonic() < end:
            time.sleep(0.05)

    def _spawn(self, index: int) -> None:
        child = os.fork()
        if child:
            self._children[child] = (index, time.monotonic())
            return
        code = 70
        try:
            for what, handler in self._handlers.items():
                signal.signal(what, handler)  # type: ignore[arg-type] # what signal() gave back
            code = self._work(index)
        except BaseException:  # noqa: BLE001 - said, then the process ends
            _log.exception("worker %d failed", index)
        finally:
            os._exit(code)


def _pause(before: float, lived: float) -> float:
    if lived > _YOUNG:
        return 0.0
    return min(max(before * 2, 0.5), _MAX_PAUSE)
