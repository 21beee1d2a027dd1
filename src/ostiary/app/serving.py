"""One worker's present configuration, and how another one takes its place without a lost request.

`prepare` builds everything beside what runs and binds nothing; what can't be used is known then, and nothing is left of
it. `commit` switches: listeners that stay keep their sockets, new ones accept before old ones stop, and a client's
connection goes on with the new configuration from its next request. What is under way ends where it began. Where a
connection can't go on (its listener is gone, or has other TLS settings) its next answer says `connection: close`. The
configuration that was replaced is closed once nobody uses it, after the drain timeout at the latest.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, final

from ostiary.app.lasting import Lasting
from ostiary.app.runtime import Runtime
from ostiary.app.service import HttpService
from ostiary.app.tally import Tally
from ostiary.model import limits
from ostiary.model.config import Config, Listener
from ostiary.model.errors import OstiaryError
from ostiary.net.listener import Acceptor, ListenerServer, bind, close_idle, cut, drain
from ostiary.net.log import log

_LOG: Final = log("main")
DRAINING: Final = "it is draining"
"""Why no other configuration is taken over any more."""


def bind_all(listeners: Iterable[Listener]) -> list[ListenerServer]:
    """Bind every listener. Raises OSError with the address."""
    servers: list[ListenerServer] = []
    with contextlib.ExitStack() as undo:
        for each in listeners:
            server = ListenerServer(each, bind(each.address, each.tcp_backlog_size, reuse_port=each.reuse_port))
            undo.callback(server.close)
            servers.append(server)
        undo.pop_all()
    return servers


def close_bound(servers: Iterable[ListenerServer], sockets: Iterable[socket.socket]) -> None:
    """Close what was bound for a configuration that is not used."""
    for server in servers:
        server.close()
    for sock in sockets:
        sock.close()


def kept(servers: Iterable[ListenerServer], config: Config) -> dict[str, ListenerServer]:
    """Name of a listener of `config` -> the socket that is bound to its address already."""
    bound = list(servers)
    found: dict[str, ListenerServer] = {}
    for listener in config.listeners:
        server = next((each for each in bound if str(each.listener.address) == str(listener.address)), None)
        if server is not None:
            bound.remove(server)
            found[listener.name] = server
    return found


@final
@dataclass(slots=True, kw_only=True)
class Proposal:
    """A configuration that is built and could be served."""

    runtime: Runtime
    servers: dict[str, ListenerServer]
    """Listener -> its socket, bound."""
    admin_sockets: list[socket.socket] = field(default_factory=list)
    """Bound, if the admin API gets an address that it has not yet."""


@final
class Serving:
    """The listeners of one worker and what serves their clients."""

    def __init__(self, lasting: Lasting, tally: Tally | None = None) -> None:
        """`tally`: other workers accept at the same sockets."""
        self.lasting = lasting
        self._is_ahead: Callable[[], bool] | None = None
        if tally is not None:
            tally.count, self._is_ahead = self._clients, tally.is_ahead
            lasting.ticker.active.add(tally)
        self.runtime: Runtime | None = None
        self.servers: list[ListenerServer] = []
        self.drain_timeout = limits.DRAIN_TIMEOUT
        self._retired: dict[Runtime, asyncio.Task[None]] = {}

    async def prepare(self, config: Config, fresh: Iterable[ListenerServer]) -> Proposal:
        """Build it beside what runs. `fresh` are the sockets of addresses that are new. Raises OSError, OstiaryError or
        ValueError for what can't be used."""
        runtime = Runtime(config, self.lasting, self.runtime)
        if self.runtime is not None:
            await runtime.warm(limits.WARM_TIMEOUT)
        return Proposal(runtime=runtime, servers=kept([*self.servers, *fresh], config))

    async def abandon(self, proposal: Proposal) -> None:
        """It won't be served."""
        await proposal.runtime.close()
        fresh = [server for server in proposal.servers.values() if server not in self.servers]
        close_bound(fresh, proposal.admin_sockets)

    async def commit(self, proposal: Proposal) -> None:
        """Serve it from now on. Raises OSError if a listener can't be opened, and OstiaryError if a drain has begun
        meanwhile; then nothing has changed."""
        runtime, servers = proposal.runtime, proposal.servers
        opened = []
        try:
            for listener in runtime.config.listeners:
                tls = runtime.server_tls.get(listener.name)
                service = runtime.services[listener.name]
                context = tls.context if tls is not None else None
                opened.append(await servers[listener.name].ready(listener, service, context, self._is_ahead))
            if self.lasting.leaving:
                raise OstiaryError(DRAINING)
        except BaseException:
            for server, acceptor in zip(servers.values(), opened, strict=False):
                server.dismiss(acceptor)
            raise
        runtime.start()
        before, self.runtime = self.runtime, runtime
        heirs = _heirs(self.servers, before, proposal) if before is not None else {}
        leaving = [server.acceptor for server in self.servers if server.acceptor not in opened]
        for listener, acceptor in zip(runtime.config.listeners, opened, strict=True):
            servers[listener.name].serve(listener, runtime.services[listener.name], acceptor)
        gone = [server for server in self.servers if server not in servers.values()]
        self.servers = list(servers.values())
        for server in gone:
            server.stop_accepting()
        if before is not None:
            before.retire(runtime, heirs)
            for service in self._services():
                _shorten(service)
            self._retired[before] = asyncio.get_running_loop().create_task(self._see_off(before, leaving))

    async def _see_off(self, runtime: Runtime, acceptors: list[Acceptor | None]) -> None:
        """Close what was replaced, once nobody uses it."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self.drain_timeout
        with contextlib.suppress(asyncio.CancelledError):
            while loop.time() < end:
                await asyncio.sleep(limits.RETIRED_LOOK)  # first: who was accepted last is not among them yet
                if _is_done(runtime, acceptors):
                    break
            for service in runtime.services.values():
                close_idle(service.connections)
            await asyncio.sleep(limits.RETIRED_LOOK if runtime.is_unused else 1.0)
        for service in runtime.services.values():
            cut(service.connections)
        await runtime.close()
        del self._retired[runtime]
        if gc.get_freeze_count():  # what was frozen is no garbage to the collector
            gc.unfreeze()
            gc.collect()
            gc.freeze()

    def reopen_logs(self) -> None:
        """Open access-log files anew, after rotation."""
        for runtime in self._runtimes():
            runtime.reopen_logs()

    def follow(self) -> None:
        """Whether answers say `connection: close` may have changed (app/shared.py)."""
        for service in self.runtime.services.values() if self.runtime is not None else ():
            service.draining = self.lasting.shared.is_draining

    def stop_listening(self, *, for_all: bool) -> None:
        """Let nobody in who has not connected yet; `for_all`: by any process that shares the sockets."""
        for server in self.servers:
            server.stop_accepting(for_all=for_all)

    async def drain(self, patience: float, idle: float = limits.DRAIN_IDLE) -> int:
        """Accept no more, let running requests finish for `patience` seconds, and idle connections be for `idle`.
        Returns how many were cut."""
        self.lasting.leaving = True
        end = asyncio.get_running_loop().time() + patience
        for service in self._services():
            service.draining = True
        self.stop_listening(for_all=False)
        acceptors = [server.acceptor for server in self.servers if server.acceptor is not None]
        cut_off = await drain([service.connections for service in self._services()], acceptors, patience, idle)
        for runtime in self._runtimes():
            await runtime.finish(max(0.0, end - asyncio.get_running_loop().time()))
        return cut_off

    def _runtimes(self) -> list[Runtime]:
        return [*self._retired, *([self.runtime] if self.runtime is not None else [])]

    def _clients(self) -> int:
        arriving = sum(each.acceptor.arriving for each in self.servers if each.acceptor is not None)
        return arriving + sum(len(service.connections) for service in self._services())

    def _services(self) -> list[HttpService]:
        return [service for runtime in self._runtimes() for service in runtime.services.values()]

    async def close(self) -> None:
        """Close everything."""
        for task in self._retired.values():
            task.cancel()
        await asyncio.gather(*self._retired.values(), return_exceptions=True)
        if self.runtime is not None:
            await self.runtime.close()
            self.runtime = None
        for server in self.servers:
            server.close()
        self.servers = []
        await asyncio.sleep(0)  # what was said last goes out,
        self.lasting.close()
        await asyncio.sleep(0)  # and what was cut is gone before the loop


def _shorten(service: HttpService) -> None:
    """Point at the last successor: a service that a WebSocket keeps for days must not keep all that came after it."""
    while service.successor is not None and service.successor.successor is not None:
        service.successor = service.successor.successor


def _is_done(runtime: Runtime, acceptors: Iterable[Acceptor | None]) -> bool:
    return runtime.is_unused and not any(each is not None and each.is_busy for each in acceptors)


def _heirs(servers: Iterable[ListenerServer], before: Runtime, proposal: Proposal) -> Mapping[str, str]:
    """Old listener -> the new one on its socket, if that has the same TLS settings."""
    after = {server: name for name, server in proposal.servers.items()}
    names = {server.listener.name: after[server] for server in servers if server in after}
    tls = proposal.runtime.server_tls
    return {old: new for old, new in names.items() if before.server_tls.get(old) is tls.get(new)}
