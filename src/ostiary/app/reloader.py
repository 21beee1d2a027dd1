"""Taking over a new configuration: in the only process there is, or as one worker's vote (app/family.py)."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Final, final

from ostiary.app import reload, workers
from ostiary.app.changes import changes, needs_restart
from ostiary.app.handover import unpack
from ostiary.app.lifecycle import Doorkeeper, bind_admin
from ostiary.app.serving import Proposal, bind_all, close_bound, kept
from ostiary.model.config import Config
from ostiary.model.errors import OstiaryError
from ostiary.model.process import Process
from ostiary.net import service_manager
from ostiary.net.inbox import InboxError
from ostiary.net.listener import ListenerServer
from ostiary.net.log import log

_LOG: Final = log("config")
UNUSABLE: Final = (OstiaryError, OSError, ValueError)
"""What building a configuration raises."""


_ALONE: Final = (
    "the number of workers has changed too; that needs a restart: a single worker has no parent that could start others"
)
LEAVING: Final = b"leaving"
"""What a worker answers that drains: it has no vote."""


@final
class Reloader:
    """Of a process without workers."""

    def __init__(self, door: Doorkeeper, source: reload.Source) -> None:
        assert door.serving is not None
        self._door = door
        self._source = source
        self._count = reload.Count(door.serving.lasting.stats)
        self._watch = reload.Watch(source.files)
        self._task: asyncio.Task[None] | None = None
        self._again = ""

    def check_deadlines(self, now: float) -> None:  # noqa: ARG002 - Timed's shape
        """Once a second: have the files changed?"""
        if self._door.process.watch and self._task is None and self._watch.changed():
            self.ask("its files have changed")

    def ask(self, why: str) -> None:
        """Read the configuration again; once more if that is under way."""
        if self._task is not None:
            self._again = why
            return
        self._task = asyncio.get_running_loop().create_task(self._reload(why))
        self._task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if not task.cancelled() and (error := task.exception()) is not None:
            _LOG.error("a reload failed unexpectedly: %r", error)
        again, self._again = self._again, ""
        if again:
            self.ask(again)

    async def _reload(self, why: str) -> None:
        began = time.monotonic()
        service_manager.reloading()
        try:
            self._watch.note()
            found = await asyncio.to_thread(reload.loaded, self._source, why)
            reason = await self._switch(*found, began) if found is not None else "it has errors"
        finally:
            service_manager.notify("READY=1")
        if reason:
            reload.refuse(reason)
            self._count.rejected()
        else:
            self._count.accepted()

    async def _switch(self, config: Config, process: Process, began: float) -> str:
        """Why it can't be used; empty if it is in use."""
        door, serving = self._door, self._door.serving
        if serving is None:
            return "it has stopped"
        before, was = door.config, door.process
        there = kept(serving.servers, config)
        fresh: list[ListenerServer] = []
        admin: list[socket.socket] = []
        try:
            fresh = bind_all(each for each in config.listeners if each.name not in there)
            admin = bind_admin(config.admin) if config.admin != before.admin else []
            await take_over(door, await door.prepare(config, fresh, admin), process)
        except UNUSABLE as error:
            close_bound(fresh, admin)
            return reload.reason(error)
        restart = needs_restart(before, config)
        if process.workers != was.workers and workers.count(process.workers) > 1:
            restart.append(_ALONE)
        reload.accept(changes(before, config), time.monotonic() - began, restart)
        return ""


async def take_over(door: Doorkeeper, proposal: Proposal, process: Process) -> None:
    """Commit, or leave nothing of it. Raises what `commit` raises."""
    try:
        await door.commit(proposal, process)
    except BaseException:
        await (proposal.runtime.close() if door.serving is None else door.serving.abandon(proposal))
        raise


@final
class Vote:
    """What a worker answers its parent."""

    def __init__(self, door: Doorkeeper, *, first: bool) -> None:
        """`first`: this worker counts what happens to all of them."""
        assert door.serving is not None
        self._door = door
        self._count = reload.Count(door.serving.lasting.stats) if first else None
        self._offered: tuple[Proposal, Process] | None = None

    async def handle(self, path: str, body: bytes, fds: list[int]) -> bytes:
        """Prepare, then commit or abandon. Raises InboxError with the reason."""
        try:
            if self._door.stopping:  # its clients end with what it has, and its successor starts with what holds then
                await self._abandon()
                return LEAVING
            if path == "/reload/prepare":
                await self._prepare(body, fds)
            elif path == "/reload/commit" and self._offered is not None:
                (proposal, process), self._offered = self._offered, None
                await take_over(self._door, proposal, process)
                if self._count is not None:
                    self._count.accepted()
            elif path == "/reload/commit":
                raise InboxError("nothing is prepared")
            else:
                await self._abandon()
                if self._count is not None:
                    self._count.rejected()
        except UNUSABLE as error:
            raise InboxError(reload.reason(error)) from error
        return b""

    async def _prepare(self, body: bytes, fds: list[int]) -> None:
        await self._abandon()
        config, process, sockets, admin = unpack(body)
        listeners = {each.name: each for each in config.listeners}
        fresh = []
        for name, count in sockets:
            own = [socket.socket(fileno=fds.pop(0)) for _ in range(count)]
            for sock in own:
                sock.setblocking(False)
            fresh.append(ListenerServer(listeners[name], own, owner=False))
        admin_sockets = [socket.socket(fileno=fds.pop(0)) for _ in range(admin)]
        try:
            self._offered = await self._door.prepare(config, fresh, admin_sockets), process
        except BaseException:
            close_bound(fresh, admin_sockets)
            raise

    async def _abandon(self) -> None:
        offered, self._offered = self._offered, None
        if offered is not None and self._door.serving is not None:
            await self._door.serving.abandon(offered[0])
