"""The life of one `ostiary run`: start, serve, reload, drain, stop, in one process or in several."""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
import sys
from typing import Final, final

from ostiary._version import __version__
from ostiary.app import logs, reload, workers
from ostiary.app.administration import AdminFactory
from ostiary.app.descriptors import raise_limit
from ostiary.app.diagnosis import Explain
from ostiary.app.family import Family
from ostiary.app.heartbeat import Heart, Heartbeats
from ostiary.app.lifecycle import EXIT_INTERRUPTED, Doorkeeper, bind_admin
from ostiary.app.peers import Colleagues
from ostiary.app.reloader import Reloader, Vote
from ostiary.app.serving import bind_all
from ostiary.app.shared import Shared
from ostiary.app.tally import Tally
from ostiary.model import limits
from ostiary.model.config import Config
from ostiary.model.errors import OstiaryError
from ostiary.model.process import Process
from ostiary.net import service_manager
from ostiary.net.inbox import Inboxes
from ostiary.net.log import log

_LOG: Final = log("main")
GC_THRESHOLD: Final = 20_000
"""Allocations between two looks for garbage: a request leaves none in cycles, so looking often finds nothing."""


def run(
    config: Config,
    process: Process,
    admin: AdminFactory | None = None,
    source: reload.Source | None = None,
    explain: Explain | None = None,
) -> int:
    """Run until SIGTERM (exit code 0) or SIGINT (130). What stops the start is said on stderr (code 2).

    `admin` makes the admin API and `explain` says why a provider can't be reached; both lie above this package.
    `source` gives the configuration again; None: it holds until the end.
    """
    for number in (signal.SIGUSR1, signal.SIGHUP):  # until there is something to open or to read again
        signal.signal(number, signal.SIG_IGN)
    logs.configure(process.log_level, process.component_log_level, process.log_format)
    _LOG.info("ostiary %s starts", __version__)
    raise_limit()
    count = workers.count(process.workers)
    if count == 1:
        return _run_one(_Alone(Doorkeeper(config, process, admin=admin, explain=explain), source))
    try:
        servers = bind_all(config.listeners)
        admin_sockets = bind_admin(config.admin)
    except OSError as error:
        return _refused(error)
    room = max(count, limits.ROOM_FOR_WORKERS)
    inboxes, heartbeats, shared = Inboxes(room), Heartbeats(room), Shared(count, room)
    family = Family(config, process, servers, admin_sockets, inboxes, source, shared)

    def work(index: int, desk: socket.socket) -> int:
        shared.tell_clients(index, 0)  # whatever its predecessor had
        peers = Colleagues(inboxes, index, shared)
        door = Doorkeeper(
            family.config,
            family.process,
            None,
            family.servers,
            desk,
            admin,
            peers,
            family.admin_sockets,
            shared,
            explain,
            Tally(shared, index),
        )
        return _run_one(_Worker(door, heartbeats, index))

    return workers.supervise(count, work, family.close, family, heartbeats)


class _Life:
    """A process that serves: its signals, from the start to the end."""

    def __init__(self, door: Doorkeeper) -> None:
        self.door = door
        self._asked = asyncio.Event()
        self._again = asyncio.Event()
        self._rotated = False
        self._code = 0

    def end(self, number: int = signal.SIGTERM) -> None:
        """As a signal asks for it; a second one means at once."""
        self._code = EXIT_INTERRUPTED if number == signal.SIGINT else self._code
        (self._again if self._asked.is_set() else self._asked).set()

    def _reopen(self) -> None:
        """Log files have been rotated: perhaps while the start was about to open them."""
        self._rotated = True
        self.door.reopen_logs()

    def starting(self) -> None:
        """The loop runs, nothing else yet."""

    def started(self) -> None:
        """The listeners are open."""

    def draining(self) -> None:
        """The end has begun."""

    async def serve(self) -> int:
        """From the start to the end; the exit code."""
        loop = asyncio.get_running_loop()
        door = self.door
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.end, number)
        loop.add_signal_handler(signal.SIGUSR1, self._reopen)
        door.leave = self.end
        self.starting()
        await door.start()
        assert door.serving is not None
        if self._rotated:
            door.reopen_logs()
        for difference in door.config.differences:
            _LOG.info("%s", difference)
        door.serving.lasting.connector()  # imported now, after the listener is open, and not while a request waits
        gc.collect()
        gc.freeze()
        gc.set_threshold(GC_THRESHOLD, 20, 50)
        gc.enable()
        self.started()
        await self._asked.wait()
        self.draining()
        _LOG.info("draining: running requests may finish; a second signal stops at once")
        idle = 0.0 if self._code else limits.DRAIN_IDLE  # somebody sits there and waits
        stopping = asyncio.ensure_future(door.stop(door.patience, idle))
        impatient = asyncio.ensure_future(self._again.wait())
        await asyncio.wait((stopping, impatient), return_when=asyncio.FIRST_COMPLETED)
        impatient.cancel()
        if stopping.done():
            cut = stopping.result()
        else:
            stopping.cancel()
            cut = await door.stop(0)
        _LOG.info("stopped%s", f"; {cut} connections were cut" if cut else "")
        return self._code


@final
class _Alone(_Life):
    """The only process: it reads its configuration itself, and speaks to the service manager."""

    def __init__(self, door: Doorkeeper, source: reload.Source | None) -> None:
        super().__init__(door)
        self._source = source
        self._reloader: Reloader | None = None
        self._hung_up = False

    def starting(self) -> None:
        """The loop runs, nothing else yet."""
        if self._source is not None:
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._hang_up)

    def _hang_up(self) -> None:
        if self._reloader is not None:
            self._reloader.ask("SIGHUP")
        else:
            self._hung_up = True

    def started(self) -> None:
        """The listeners are open."""
        assert self.door.serving is not None
        if self._source is not None:
            self._reloader = Reloader(self.door, self._source)
            self.door.serving.lasting.ticker.idle.add(self._reloader)
            if self._hung_up:
                self._hang_up()
        service_manager.notify("READY=1")
        interval = service_manager.watchdog_interval()
        if interval is not None:
            self._pat(interval)

    def _pat(self, interval: float) -> None:
        service_manager.notify("WATCHDOG=1")
        asyncio.get_running_loop().call_later(interval, self._pat, interval)

    def draining(self) -> None:
        """The end has begun."""
        service_manager.notify("STOPPING=1")


@final
class _Worker(_Life):
    """One of several: its parent reads the configuration, and is told that it lives."""

    def __init__(self, door: Doorkeeper, heartbeats: Heartbeats, index: int) -> None:
        super().__init__(door)
        self._heartbeats = heartbeats
        self._index = index

    def starting(self) -> None:
        """A new configuration may be offered already."""
        self._vote: asyncio.Future[Vote] = asyncio.get_running_loop().create_future()
        self.door.peers.handle("/reload", self._answer)

    async def _answer(self, path: str, body: bytes, fds: list[int]) -> bytes:
        return await (await asyncio.shield(self._vote)).handle(path, body, fds)

    def started(self) -> None:
        """The listeners are open."""
        door = self.door
        assert door.serving is not None
        self._vote.set_result(Vote(door, first=self._index == 0))
        door.serving.lasting.ticker.idle.add(Heart(self._heartbeats, self._index))


def _run_one(life: _Life) -> int:
    import uvloop

    try:
        with logs.in_background(), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(life.serve())
    except (OstiaryError, OSError, ValueError) as error:
        return _refused(error)


def _refused(error: Exception) -> int:
    print(f"ostiary: error: {reload.reason(error)}", file=sys.stderr)
    return 2
