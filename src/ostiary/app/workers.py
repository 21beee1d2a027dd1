"""Several worker processes behind the same listening sockets.

The parent binds and forks, and does nothing else: a worker that dies is replaced (after a pause that grows while they
die young), signals are passed on. Workers share the sockets, so a connection that waits to be accepted is lost by no
worker's death. The first worker serves the admin API, which so shows that worker's part.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from typing import Final

from ostiary.app.logs import logger

_log = logger("main")
_YOUNG: Final = 10.0
"""A worker that lived shorter than this died young."""
_MAX_PAUSE: Final = 30.0
_PASSED_ON: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


def count(wanted: int) -> int:
    """0 means one per CPU that this process may use."""
    return wanted or len(os.sched_getaffinity(0))


def supervise(number: int, work: Callable[[int], int]) -> int:
    """Run `work(index)` in `number` processes until SIGTERM or SIGINT; the worst exit code of the last ones."""
    children: dict[int, tuple[int, float]] = {}
    state = {"stopping": False, "pause": 0.0}

    def pass_on(what: int, _frame: object) -> None:
        if what != signal.SIGUSR1:
            state["stopping"] = True
        for child in list(children):
            os.kill(child, what)

    old = {what: signal.signal(what, pass_on) for what in _PASSED_ON}
    try:
        for index in range(number):
            children[_spawn(index, work, old)] = (index, time.monotonic())
        worst = 0
        while children:
            child, status = os.waitpid(-1, 0)
            if child not in children:
                continue
            index, born = children.pop(child)
            code = os.waitstatus_to_exitcode(status)
            if state["stopping"]:
                worst = max(worst, abs(code))
            elif code == 2 and time.monotonic() - born < _YOUNG:
                worst = 2  # it can't start at all: neither could its successor
                pass_on(signal.SIGTERM, None)
            else:
                _log.error("worker %d ended with %d and is replaced", index, code)
                state["pause"] = _pause(float(state["pause"]), time.monotonic() - born)
                time.sleep(state["pause"])
                if not state["stopping"]:
                    children[_spawn(index, work, old)] = (index, time.monotonic())
        return worst
    finally:
        for what, handler in old.items():
            signal.signal(what, handler)


def _pause(before: float, lived: float) -> float:
    if lived > _YOUNG:
        return 0.0
    return min(max(before * 2, 0.5), _MAX_PAUSE)


def _spawn(index: int, work: Callable[[int], int], handlers: Mapping[signal.Signals, object]) -> int:
    child = os.fork()
    if child:
        return child
    code = 70
    try:
        for what, handler in handlers.items():
            signal.signal(what, handler)  # type: ignore[arg-type] # what signal() gave back
        code = work(index)
    finally:
        os._exit(code)
