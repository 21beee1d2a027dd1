"""Several worker processes behind the same listening sockets.

The parent binds and forks; then it supervises, and keeps the desk where workers ask who may refresh a session
(core/leases.py). A worker that dies is replaced (after a pause that grows while they die young), signals are passed on.
Workers share the sockets, so a connection that waits to be accepted is lost by no worker's death. Each serves the
admin API and asks the others for their part of an answer (app/peers.py).

All happens in one loop, one thing after the other: signals arrive there as bytes of a wakeup socket (a handler would
run in the middle of anything, a fork included), deaths as SIGCHLD, pauses as timeouts.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ostiary.app import logs
from ostiary.app.heartbeat import Health, Heartbeats
from ostiary.net import service_manager
from ostiary.net.log import log

if TYPE_CHECKING:
    from ostiary.app.family import Family

_LOG: Final = log("main")
_YOUNG: Final = 10.0
"""A worker that lived shorter than this died young."""
_MAX_PAUSE: Final = 30.0
EXIT_CONFIGURATION: Final = 2
_PASSED_ON: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
_HANDLED: Final = (*_PASSED_ON, signal.SIGCHLD, signal.SIGHUP)

_INTERRUPTED: Final = 128 + signal.SIGINT
_TOLD_TO_END: Final = {-signal.SIGTERM: 0, -signal.SIGINT: _INTERRUPTED}
"""A worker that gets a signal before it listens to signals ends by it, as it should."""

_AS_TOLD: Final = frozenset((0, _INTERRUPTED, *_TOLD_TO_END))
"""How a worker ends that got a signal of its own; it did not die, however young it was."""

Work = Callable[[int, socket.socket], int]
"""(index, socket to the desk) -> exit code."""


def count(wanted: int) -> int:
    """0 means one per CPU that this process may use."""
    return wanted or len(os.sched_getaffinity(0))


def supervise(
    number: int,
    work: Work,
    on_stop: Callable[[], None],
    family: Family | None = None,
    heartbeats: Heartbeats | None = None,
) -> int:
    """Run `work` in `number` processes until SIGTERM or SIGINT; the worst exit code of the last ones.

    `on_stop` closes the parent's copies of the sockets: while one is open, connections queue up that nobody takes.
    `family` takes over new configurations. `heartbeats`: workers say there that they live.
    """
    with contextlib.closing(_Supervisor(number, work, on_stop, family, heartbeats)) as supervisor:
        return supervisor.run()


@dataclass(frozen=True, slots=True)
class _Child:
    index: int
    born: float
    line: int
    """Its number at the desk."""


class _Supervisor:
    def __init__(
        self,
        number: int,
        work: Work,
        on_stop: Callable[[], None],
        family: Family | None,
        heartbeats: Heartbeats | None,
    ) -> None:
        from ostiary.net.lease_desk import LeaseDesk  # one worker needs none

        self._work = work
        self._on_stop = on_stop
        self._selector = selectors.DefaultSelector()
        self._desk = LeaseDesk(self._selector, time.monotonic, self._cut_off)
        self._family = family
        if family is not None:
            alive = lambda: [child.index for child in self._children.values()]  # noqa: E731
            family.attach(self._selector, alive, self._kill, self._resize)
        self._health = Health(heartbeats, self._kill, number) if heartbeats is not None else None
        self._number = number
        self._dismissed: set[int] = set()
        """Children that drain because there are too many."""
        self._children: dict[int, _Child] = {}
        self._due = dict.fromkeys(range(number), 0.0)
        """Index -> when a worker is to be started there."""
        self._pauses: dict[int, float] = {}
        self._stopping = False
        self._proven = False
        """A worker has lived: the configuration can start."""
        self._worst = 0
        self._woken, self._wakeup = socket.socketpair()
        self._woken.setblocking(False)
        self._wakeup.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ, lambda _: self._signalled())
        # In this order: a signal in between would be taken and told to nobody.
        self._wakeup_before = signal.set_wakeup_fd(self._wakeup.fileno(), warn_on_full_buffer=False)
        self._handlers = {what: signal.signal(what, _noted) for what in _HANDLED}

    def run(self) -> int:
        while self._start() or self._children:
            ready = self._selector.select(self._timeout())
            logs.follow()
            for key, events in ready:
                key.data(events)
            now = time.monotonic()
            self._desk.tick()
            if self._family is not None:
                self._family.tick(now)
            if self._health is not None:
                self._health.tick(now, {child.index: child.born for child in self._children.values()})
            self._reap()
        return self._worst

    def close(self) -> None:
        self._undo_signals()
        self._selector.close()
        self._woken.close()
        self._wakeup.close()

    def _undo_signals(self) -> None:
        signal.set_wakeup_fd(self._wakeup_before)
        for what, handler in self._handlers.items():
            signal.signal(what, handler)

    def _timeout(self) -> float | None:
        now = time.monotonic()
        busy = self._family is not None and self._family.is_busy
        times = [] if busy else [*self._due.values()]
        deadlines = [self._desk.deadline]
        if self._family is not None:
            deadlines.append(self._family.deadline(now))
        if self._health is not None:
            deadlines.append(self._health.deadline)
        times += [deadline for deadline in deadlines if deadline is not None]
        return max(0.0, min(times) - now) if times else None

    def _signalled(self) -> None:
        with contextlib.suppress(BlockingIOError):
            for what in self._woken.recv(4096):
                if what in _PASSED_ON:
                    self._pass_on(what)
                elif what == signal.SIGHUP and self._family is not None:
                    self._family.reload("SIGHUP")

    def _pass_on(self, what: int) -> None:
        spared: set[int] = set()
        if what != signal.SIGUSR1 and not self._stopping:
            self._stopping = True
            spared = self._dismissed
            self._due.clear()
            service_manager.notify("STOPPING=1")
            self._on_stop()
        for child in self._children:  # each is there: nobody else waits for it
            if child in spared and what == signal.SIGTERM:
                continue  # it drains already, and a second signal would cut it short
            os.kill(child, what)

    def _reap(self) -> None:
        for child, status in _ended():
            known = self._children.pop(child, None)
            if known is None:
                continue
            self._desk.dismiss(known.line)
            self._dismissed.discard(child)
            if self._family is not None:
                self._family.gone(known.index)
            code = os.waitstatus_to_exitcode(status)
            lived = time.monotonic() - known.born
            self._proven = self._proven or lived > _YOUNG
            if self._stopping:
                self._worst = max(self._worst, _TOLD_TO_END.get(code, abs(code)))
            elif code == EXIT_CONFIGURATION and not self._proven:
                self._worst = code  # it can't start at all: neither could its successor
                self._pass_on(signal.SIGTERM)
            elif known.index >= self._number:
                _LOG.info("worker %d has ended, it is not needed any more", known.index)
            elif code in _AS_TOLD:
                _LOG.info("worker %d ended with %d and is replaced: it was told to end", known.index, code)
                self._due[known.index] = time.monotonic()
            else:
                _LOG.error("worker %d ended with %d and is replaced", known.index, code)
                pause = self._pauses[known.index] = _pause(self._pauses.get(known.index, 0.0), lived)
                self._due[known.index] = time.monotonic() + pause

    def _resize(self, number: int) -> None:
        """Have so many workers: further ones are started, those that are too many drain."""
        if self._stopping:
            return
        self._number = number
        there = {child.index for child in self._children.values()}
        self._due = {index: due for index, due in self._due.items() if index < number}
        for index in range(number):
            if index not in there:  # one that still drains is replaced when it has ended
                self._due.setdefault(index, 0.0)
        for pid, child in self._children.items():
            if child.index >= number and pid not in self._dismissed:  # a second signal would cut it short
                self._dismissed.add(pid)
                os.kill(pid, signal.SIGTERM)

    def _cut_off(self, line: int, why: str) -> None:
        index = next((child.index for child in self._children.values() if child.line == line), -1)
        _LOG.error("worker %d is cut off from the others and refreshes sessions on its own: %s", index, why)

    def _start(self) -> bool:
        """Start what is due; whether anything still is to be started."""
        now = time.monotonic()
        if self._family is not None and self._family.is_busy:
            return bool(self._due)
        for index in [index for index, due in self._due.items() if due <= now]:
            del self._due[index]
            try:
                self._spawn(index)
            except OSError as error:  # no process or file descriptor to be had: that may pass
                _LOG.error("worker %d can't be started now: %s", index, error)
                self._due[index] = now + _MAX_PAUSE
        return bool(self._due)

    def _kill(self, index: int, why: str) -> None:
        """End a worker that can't end itself; it is replaced."""
        for pid, child in self._children.items():
            if child.index == index:
                _LOG.error("worker %d is killed: %s", index, why)
                os.kill(pid, signal.SIGKILL)

    def _spawn(self, index: int) -> None:
        if self._health is not None:
            self._health.born(index)
        line, channel = self._desk.hire()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)  # the child must not take one for its parent
        child = -1
        try:
            child = os.fork()
        finally:
            if child:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
                channel.close()  # without a child, that is the end of this line
        if child:
            self._children[child] = _Child(index, time.monotonic(), line)
            return
        code = 70
        try:
            self._undo_signals()
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            self._desk.abandon()
            self._selector.close()
            self._woken.close()
            self._wakeup.close()
            code = self._work(index, channel)
        except BaseException:  # noqa: BLE001 - said, then the process ends
            _LOG.exception("worker %d failed", index)
        finally:
            os._exit(code)


def _noted(_number: int, _frame: object) -> None:
    """Python writes the signal's number to the wakeup socket if there is a handler; the loop does the rest."""


def _ended() -> Iterator[tuple[int, int]]:
    """Children that have ended, each once."""
    with contextlib.suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            yield found


def _pause(before: float, lived: float) -> float:
    if lived > _YOUNG:
        return 0.0
    return min(max(before * 2, 0.5), _MAX_PAUSE)
