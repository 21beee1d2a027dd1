"""Start, serve, drain, stop: the life of one `ostiary run`."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import os
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING, Final, final

from ostiary._version import __version__
from ostiary.app import logs, workers
from ostiary.app.administration import Admin, AdminFactory, Alone, Peers
from ostiary.app.descriptors import raise_limit
from ostiary.app.flights import Recorder
from ostiary.app.peers import Colleagues
from ostiary.app.runtime import Runtime
from ostiary.app.shared import Shared
from ostiary.model import limits
from ostiary.model.config import Config
from ostiary.model.errors import OstiaryError
from ostiary.model.process import Process
from ostiary.net.http1 import Downstream
from ostiary.net.inbox import Inboxes
from ostiary.net.listener import ListenerServer, bind
from ostiary.net.log import log, next_connection_id

if TYPE_CHECKING:
    from ostiary.net.connector import Connector
    from ostiary.net.lease_client import LeaseClient

_CONFIG, _LOG = log("config"), log("main")
GC_THRESHOLD: Final = 20_000
"""Allocations between two looks for garbage: a request leaves none in cycles, so looking often finds nothing."""
EXIT_INTERRUPTED: Final = 130


@final
class Doorkeeper:
    """The doorkeeper within one process: build it, `start` it, `stop` it. Needs a running loop."""

    def __init__(
        self,
        config: Config,
        process: Process | None = None,
        connector: Connector | None = None,
        servers: list[ListenerServer] | None = None,
        desk: socket.socket | None = None,
        admin: AdminFactory | None = None,
        peers: Peers | None = None,
        admin_sockets: list[socket.socket] | None = None,
        shared: Shared | None = None,
    ) -> None:
        """`servers` and `admin_sockets` are bound already by a parent process, `desk` leads to where it grants leases.
        `admin` makes the admin API. `shared` is what all workers know."""
        self.config = config
        self.process = process or Process()
        self._connector = connector
        self.runtime: Runtime | None = None
        self.addresses: dict[str, list[str]] = {}
        """Listener name -> where it listens; `admin` is the admin API. Known after `start`."""
        self.servers: list[ListenerServer] = servers or []
        self.peers = peers or Alone()
        self.admin_sockets = admin_sockets
        self.shared = shared or Shared()
        self.started_at = time.time()
        self.stopping = False
        self._admin_factory = admin
        self.flights = Recorder(os.getpid(), with_users=self.process.flight_users)
        """Outlives what it recorded."""
        self._admin: Admin | None = None
        self._desk = desk
        self._leases: LeaseClient | None = None

    async def start(self) -> None:
        """Bind, build, accept. Raises OSError (address) or OstiaryError (configuration)."""
        servers = self.servers = self.servers or bind_all(self.config)
        self.peers.start()
        try:
            if self.config.admin is not None and self._admin_factory is not None:
                self._admin = self._admin_factory(self)
                self.addresses["admin"] = await self._admin.start()
                log("admin").info("admin address: %s", ", ".join(self.addresses["admin"]))
            if self._desk is not None:
                from ostiary.net.lease_client import LeaseClient

                self._leases = await LeaseClient.connect(self._desk, _desk_lost)
            _CONFIG.info("loading %d cluster(s)", len(self.config.clusters))
            _CONFIG.info("loading %d listener(s)", len(self.config.listeners))
            runtime = self.runtime = Runtime(self.config, self._connector, self._leases, self.flights, self.shared)
            for server in servers:
                service = runtime.services[server.listener.name]
                context = runtime.server_tls(server.listener.tls) if server.listener.tls is not None else None
                server.connections = service.connections
                if self.shared.listeners_stopped:
                    server.shut()
                    continue
                await server.start(lambda service=service: Downstream(service, next_connection_id()), context)  # type: ignore[misc]
                self.addresses[server.listener.name] = server.addresses
                _LOG.info("listening on %s", ", ".join(server.addresses))
            runtime.start()
            _CONFIG.info("all dependencies initialized. starting workers")
        except BaseException:
            await self.stop(0)
            raise

    async def stop(self, patience: float) -> int:
        """Accept no more, let running requests finish for `patience` seconds. Returns how many were cut."""
        self.stopping = True
        end = asyncio.get_running_loop().time() + patience
        for server in self.servers:
            server.stop_accepting()
        cut = 0
        if self.runtime is not None:
            for service in self.runtime.services.values():
                service.draining = True
            cut = sum(await asyncio.gather(*(server.drain(patience) for server in self.servers)))
            await self.runtime.finish(max(0.0, end - asyncio.get_running_loop().time()))
            await self.runtime.close()
            self.runtime = None
        if self._admin is not None:
            await self._admin.stop()
        if self._leases is not None:
            self._leases.close()
        await self.peers.close()
        for server in self.servers:
            server.close()
        self.servers = []
        return cut

    @property
    def patience(self) -> float:
        """Seconds that running requests have to end with the process."""
        return limits.QUIT_TIMEOUT if self.shared.is_quitting else self.process.drain_timeout

    def drain_listeners(self, *, graceful: bool) -> None:
        """Let nobody in any more, for good: at once, or after clients have been told to leave for `drain_timeout`
        seconds. Who is connected stays connected."""
        if graceful:
            self.start_draining()
            asyncio.get_running_loop().call_later(self.process.drain_timeout, self._stop_listening)
        else:
            self._stop_listening()

    def start_draining(self) -> None:
        """Tell clients to come back over another connection."""
        self.shared.drain()
        self._follow()

    def _stop_listening(self) -> None:
        self.shared.stop_listeners()
        for server in self.servers:
            server.shut()
        self._follow()

    def fail_health_checks(self, failed: bool) -> None:
        """Be told by health checks and `/ready` as draining, or no longer."""
        self.shared.health_failed = failed
        self._follow()

    def _follow(self) -> None:
        for service in self.runtime.services.values() if self.runtime is not None else ():
            service.draining = self.shared.is_draining

    def end(self) -> None:
        """End the process, with all its workers: as SIGTERM does, but within limits.QUIT_TIMEOUT."""
        self.shared.quit()
        os.kill(self.shared.main_pid, signal.SIGTERM)


def bind_all(config: Config) -> list[ListenerServer]:
    """Bind every listener. Raises OSError with the address."""
    servers: list[ListenerServer] = []
    with contextlib.ExitStack() as undo:
        for each in config.listeners:
            server = ListenerServer(each, bind(each.address, each.tcp_backlog_size, reuse_port=each.reuse_port))
            undo.callback(server.close)
            servers.append(server)
        undo.pop_all()
    return servers


async def _serve(doorkeeper: Doorkeeper) -> int:
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()
    again = asyncio.Event()

    code = 0

    def stop(number: signal.Signals) -> None:
        nonlocal code
        code = EXIT_INTERRUPTED if number == signal.SIGINT else code
        (again if asked.is_set() else asked).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)
    await doorkeeper.start()
    runtime = doorkeeper.runtime
    assert runtime is not None
    loop.add_signal_handler(signal.SIGUSR1, runtime.reopen_logs)
    for difference in doorkeeper.config.differences:
        _LOG.info("%s", difference)
    runtime.connector()  # imported now, after the listener is open, and not while the first request waits
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 20, 50)
    gc.enable()
    await asked.wait()
    _LOG.info("draining: running requests may finish; a second signal stops at once")
    stopping = asyncio.ensure_future(doorkeeper.stop(doorkeeper.patience))
    impatient = asyncio.ensure_future(again.wait())
    await asyncio.wait((stopping, impatient), return_when=asyncio.FIRST_COMPLETED)
    impatient.cancel()
    cut = 0
    if stopping.done():
        cut = stopping.result()
    else:
        stopping.cancel()
        cut = await doorkeeper.stop(0)
    _LOG.info("stopped%s", f"; {cut} connections were cut" if cut else "")
    return code


def run(config: Config, process: Process, admin: AdminFactory | None = None) -> int:
    """Run until SIGTERM (exit code 0) or SIGINT (130). What stops the start is said on stderr (code 2).

    `admin` makes the admin API, which lies above this package.
    """
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # until logs are open there is nothing to open again
    logs.configure(process.log_level, process.component_log_level, process.log_format)
    _LOG.info("ostiary %s starts", __version__)
    raise_limit()
    number = workers.count(process.workers)
    if number == 1:
        return _run_one(Doorkeeper(config, process, admin=admin))
    admin_sockets: list[socket.socket] = []
    try:
        servers = bind_all(config)
        if admin is not None and config.admin is not None:
            admin_sockets = bind(config.admin, limits.MAX_ADMIN_CONNECTIONS)
    except OSError as error:
        return _refused(error)
    inboxes, shared = Inboxes(number), Shared()

    def work(index: int, desk: socket.socket) -> int:
        peers = Colleagues(inboxes, index)
        return _run_one(Doorkeeper(config, process, None, servers, desk, admin, peers, admin_sockets, shared))

    return workers.supervise(number, work, lambda: _close_all(servers, admin_sockets))


def _desk_lost() -> None:
    _LOG.error("the process that started the workers is gone: each refreshes sessions on its own now")


def _close_all(servers: list[ListenerServer], sockets: list[socket.socket]) -> None:
    for server in servers:
        server.stop_accepting()
        server.close()
    for sock in sockets:
        sock.close()


def _run_one(doorkeeper: Doorkeeper) -> int:
    import uvloop

    try:
        with logs.in_background(), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_serve(doorkeeper))
    except (OstiaryError, OSError, ValueError) as error:
        return _refused(error)


def _refused(error: Exception) -> int:
    text = error.strerror if isinstance(error, OSError) and error.strerror else error
    mend = ""
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        mend = " (choose another address, or end the program that listens there: `ss -ltnp` names it)"
    print(f"ostiary: error: {text}{mend}", file=sys.stderr)
    return 2
