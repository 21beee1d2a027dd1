"""What the parent of several workers holds: the configuration that a new worker starts with, and the sockets.

A new configuration is taken over by all or by none. The parent reads it and binds what is new, then every worker builds
it (prepare), and only when all have, each switches (commit); a worker that finds something it can't use refuses it for
all. A worker that drains or dies meanwhile has no vote: its successor is started from what the parent holds by then, so
none is started in between. One that has built it and then does not switch is replaced.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Final, final

from ostiary.app import reload, workers
from ostiary.app.changes import changes, needs_restart
from ostiary.app.handover import pack
from ostiary.app.lifecycle import bind_admin
from ostiary.app.reloader import LEAVING
from ostiary.app.serving import bind_all, close_bound, kept
from ostiary.app.shared import Shared
from ostiary.model import limits
from ostiary.model.config import Config
from ostiary.model.process import Process
from ostiary.net import service_manager
from ostiary.net.canvass import Answers, Canvass
from ostiary.net.inbox import Inboxes
from ostiary.net.listener import ListenerServer
from ostiary.net.log import log

_LOG: Final = log("config")
Question = tuple[str, bytes, list[int]]


@final
@dataclass(slots=True, kw_only=True)
class _Offer:
    """A configuration on its way to the workers."""

    config: Config
    process: Process
    servers: list[ListenerServer]
    fresh: list[ListenerServer]
    fresh_admin: list[socket.socket]
    began: float
    voters: Collection[int] = field(default=())


@final
class Family:
    """The parent's side of reloading."""

    def __init__(
        self,
        config: Config,
        process: Process,
        servers: list[ListenerServer],
        admin_sockets: list[socket.socket],
        inboxes: Inboxes,
        source: reload.Source | None,
        shared: Shared,
    ) -> None:
        self.config = config
        self.process = process
        self.servers = servers
        self.admin_sockets = admin_sockets
        self.inboxes = inboxes
        self._source = source
        self._shared = shared
        self._watch = reload.Watch(source.files) if source is not None else None
        self._looked = time.monotonic()
        self._offer: _Offer | None = None
        self._canvass: Canvass | None = None
        self._again = ""
        self._selector: selectors.BaseSelector | None = None
        self._alive: Callable[[], Collection[int]] = tuple
        self._kill: Callable[[int, str], None] = lambda _index, _why: None
        self._resize: Callable[[int], None] = lambda _number: None

    def attach(
        self,
        selector: selectors.BaseSelector,
        alive: Callable[[], Collection[int]],
        kill: Callable[[int, str], None],
        resize: Callable[[int], None],
    ) -> None:
        """The supervisor's loop; who of the workers lives; how one is replaced, with the reason for the log; and how
        their number is changed."""
        self._selector, self._alive, self._kill, self._resize = selector, alive, kill, resize

    @property
    def is_busy(self) -> bool:
        """No worker may be started now: it would not know which configuration holds."""
        return self._offer is not None

    def deadline(self, now: float) -> float | None:
        """When `tick` should be called."""
        if self._canvass is not None:
            return self._canvass.deadline(now)
        return self._looked + 1.0 if self._watch is not None and self.process.watch else None

    def tick(self, now: float) -> None:
        """Whatever is due."""
        if self._canvass is not None:
            self._canvass.tick(now)
        elif self._watch is not None and self.process.watch and now >= self._looked + 1.0:
            self._looked = now
            if self._watch.changed():
                self.reload("its files have changed")

    def gone(self, index: int) -> None:
        """A worker has died: nobody waits for its vote."""
        if self._canvass is not None:
            self._canvass.gone(index)

    def reload(self, why: str) -> None:
        """Read the configuration again and offer it to the workers."""
        if self._source is None:
            return
        if self._offer is not None or self._canvass is not None:
            self._again = why
            return
        began = time.monotonic()
        service_manager.reloading()
        if self._watch is not None:
            self._watch.note()
        found = reload.loaded(self._source, why)
        if found is None:
            reload.refuse("it has errors")
            self._tell_refused()
            return
        try:
            offer = self._offer = self._bound(*found, began)
        except OSError as error:
            reload.refuse(reload.reason(error))
            self._tell_refused()
            return
        offer.voters = self._alive()
        sockets = [(server.listener.name, len(server.sockets)) for server in offer.fresh]
        fds = [sock.fileno() for server in offer.fresh for sock in server.sockets]
        fds += [sock.fileno() for sock in offer.fresh_admin]
        try:
            packed = pack(offer.config, offer.process, sockets, len(offer.fresh_admin))
            question = ("/reload/prepare", packed, fds)
            self._ask(offer.voters, question, self._prepared)
        except ValueError as error:
            self._refuse_offer(offer, reload.reason(error))

    def _bound(self, config: Config, process: Process, began: float) -> _Offer:
        """The offer, with what is new bound. Raises OSError."""
        there = kept(self.servers, config)
        fresh = bind_all(each for each in config.listeners if each.name not in there)
        admin: list[socket.socket] = []
        try:
            if config.admin != self.config.admin:
                admin = bind_admin(config.admin)
        except OSError:
            close_bound(fresh, ())
            raise
        servers = list(kept([*self.servers, *fresh], config).values())
        return _Offer(config=config, process=process, servers=servers, fresh=fresh, fresh_admin=admin, began=began)

    def _ask(self, indices: Collection[int], question: Question, done: Callable[[Answers], None]) -> None:
        if not indices:
            self._canvass = None
            done({})
            return
        assert self._selector is not None
        until = time.monotonic() + limits.RELOAD_TIMEOUT
        self._canvass = Canvass(self.inboxes, self._selector, indices, question, until, done)
        self._canvass.tick(time.monotonic())

    def _prepared(self, answers: Answers) -> None:
        offer = self._offer
        assert offer is not None
        votes = {index: answer for index, answer in answers.items() if answer != (False, LEAVING)}
        silent = [index for index, answer in votes.items() if answer is None]
        offer.voters = votes.keys() - silent
        reasons = {reason.decode(errors="replace") for failed, reason in filter(None, votes.values()) if failed}
        if not reasons and (any(votes.values()) or not votes):  # nobody lives: that may be what is mended
            self._commit(offer)
            for index in silent:  # dead already, or it hangs and would serve the old one
                self._kill(index, "it did not build the new configuration")
            return
        self._refuse_offer(offer, "; ".join(sorted(reasons)) or "no worker answers")

    def _refuse_offer(self, offer: _Offer, why: str) -> None:
        close_bound(offer.fresh, offer.fresh_admin)
        reload.refuse(why)
        self._ask(offer.voters, ("/reload/abandon", b"", []), self._finished)

    def _commit(self, offer: _Offer) -> None:
        said = changes(self.config, offer.config)
        was, restart = self.process, needs_restart(self.config, offer.config)
        gone = [server for server in self.servers if server not in offer.servers]
        gone_admin: list[socket.socket] = []
        if offer.config.admin != self.config.admin:
            gone_admin, self.admin_sockets = self.admin_sockets, offer.fresh_admin
        self.config, self.process, self.servers = offer.config, offer.process, offer.servers
        reload.set_log(was, offer.process)

        def committed(answers: Answers) -> None:
            for index, answer in answers.items():
                if answer is None or answer[0]:
                    self._kill(index, "it did not take over the new configuration")
            close_bound(gone, gone_admin)
            if offer.process.workers != was.workers:
                restart.extend(self._resized(workers.count(offer.process.workers)))
            reload.accept(said, time.monotonic() - offer.began, restart)
            self._finished(answers)

        self._ask(offer.voters, ("/reload/commit", b"", []), committed)

    def _resized(self, number: int) -> list[str]:
        """Have so many workers; or why that can't be, as sentences for the log."""
        if number > (room := len(self.inboxes)):
            text = "the number of workers has changed too; that needs a restart: this process has room for %d"
            return [text % room]
        self._shared.workers = number
        self._resize(number)
        return []

    def _tell_refused(self) -> None:
        """The first worker counts it."""
        self._ask((0,), ("/reload/refused", b"", []), self._finished)

    def _finished(self, _answers: Answers) -> None:
        self._offer = self._canvass = None
        service_manager.notify("READY=1")
        again, self._again = self._again, ""
        if again:
            self.reload(again)

    def close(self) -> None:
        """It ends: offer nothing more, and close the parent's sockets."""
        self._shared.end()
        if self._canvass is not None:
            self._canvass.cancel()
        self._offer = self._canvass = self._watch = self._source = None
        close_bound(self.servers, self.admin_sockets)
