"""The doorkeeper within one process: start, take over another configuration, drain, stop."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, final

from ostiary.app import reload
from ostiary.app.administration import Admin, AdminFactory, Alone, Peers
from ostiary.app.diagnosis import Explain
from ostiary.app.flights import Recorder
from ostiary.app.lasting import Lasting
from ostiary.app.runtime import Runtime
from ostiary.app.serving import DRAINING, Proposal, Serving, bind_all
from ostiary.app.shared import Shared
from ostiary.app.tally import Tally
from ostiary.model import limits
from ostiary.model.config import Address, Config
from ostiary.model.errors import OstiaryError
from ostiary.model.process import Process
from ostiary.net.listener import ListenerServer, bind
from ostiary.net.log import log

if TYPE_CHECKING:
    from ostiary.net.connector import Connector
    from ostiary.net.lease_client import LeaseClient

_CONFIG, _LOG = log("config"), log("main")
EXIT_INTERRUPTED: Final = 130
_ORPHANED: Final = 1.0
"""After the desk is gone: whether the parent is, too, is known a moment later."""


def bind_admin(address: Address | None) -> list[socket.socket]:
    """The sockets of the admin API, of its own; none without an address. Raises OSError."""
    return bind(address, limits.MAX_ADMIN_CONNECTIONS) if address is not None else []


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
        explain: Explain | None = None,
        tally: Tally | None = None,
    ) -> None:
        """`servers` and `admin_sockets` are bound already by a parent process, `desk` leads to where it grants leases.
        `admin` makes the admin API. `shared` is what all workers know.
        `explain` says why a provider can't be reached. `tally` is there with several workers."""
        self.config = config
        self.process = process or Process()
        self._connector = connector
        self.addresses: dict[str, list[str]] = {}
        """Listener name -> where it listens; `admin` is the admin API. Known after `start`."""
        self._bound = servers
        self.peers = peers or Alone()
        self.admin_sockets = admin_sockets
        self.shared = shared or Shared()
        self.started_at = self.shared.started_at
        self.stopping = False
        self._admin_factory = admin
        self.flights = Recorder(os.getpid(), with_users=self.process.flight_users)
        """Outlives what it recorded."""
        self._admin: Admin | None = None
        self._explain = explain
        self._tally = tally
        self._desk = desk
        self._leases: LeaseClient | None = None
        self.serving: Serving | None = None
        """Known after `start`."""
        self.leave: Callable[[], None] = lambda: None
        """Drains and ends this worker alone."""
        self._parent = os.getppid()

    @property
    def runtime(self) -> Runtime | None:
        """What the present configuration became; None before `start` and after `stop`."""
        return self.serving.runtime if self.serving is not None else None

    @property
    def servers(self) -> list[ListenerServer]:
        """The listeners, bound."""
        return self.serving.servers if self.serving is not None else self._bound or []

    async def start(self) -> None:
        """Bind, build, accept. Raises OSError (address) or OstiaryError (configuration)."""
        servers = self._bound = self._bound if self._bound is not None else bind_all(self.config.listeners)
        self.peers.start()
        try:
            if self._desk is not None:
                from ostiary.net.lease_client import LeaseClient

                self._leases = await LeaseClient.connect(self._desk, self._desk_lost)
            _CONFIG.info("loading %d cluster(s)", len(self.config.clusters))
            _CONFIG.info("loading %d listener(s)", len(self.config.listeners))
            lasting = Lasting(self._connector, self._leases, self.flights, self.shared, self._explain)
            serving = self.serving = Serving(lasting, self._tally)
            serving.drain_timeout = self.process.drain_timeout
            await serving.commit(await serving.prepare(self.config, servers))
            if self.config.admin is not None:
                await self._administer(self.admin_sockets or bind_admin(self.config.admin))
            self._name_addresses()
            if self.shared.listeners_stopped:
                serving.stop_listening(for_all=True)
            for server in serving.servers:
                _LOG.info("listening on %s", ", ".join(server.addresses))
            _CONFIG.info("all dependencies initialized. starting workers")
        except BaseException:
            for server in servers:
                server.close()
            await self.stop(0)
            raise

    async def _administer(self, sockets: list[socket.socket]) -> None:
        """Have the admin API listen there and nowhere else. Raises OSError."""
        if self._admin_factory is None:
            return
        self._admin = self._admin or self._admin_factory(self)
        self.addresses["admin"] = addresses = await self._admin.listen(sockets)
        log("admin").info("admin address: %s", ", ".join(addresses) or "none any more")

    def _name_addresses(self) -> None:
        assert self.serving is not None
        admin = {"admin": addresses} if (addresses := self.addresses.get("admin")) else {}
        self.addresses = {server.listener.name: server.addresses for server in self.serving.servers} | admin

    def _desk_lost(self) -> None:
        asyncio.get_running_loop().call_later(_ORPHANED, self._see_to_parent)  # it may be about to end

    def _see_to_parent(self) -> None:
        """Without its parent a worker is nobody's: no reload, no replacement, and its address is taken."""
        if os.getppid() == self._parent:
            _LOG.error("this worker is cut off from the others and refreshes sessions on its own")
        else:
            _LOG.error("the process that started the workers is gone: this one drains and ends")
            self.leave()

    async def prepare(
        self, config: Config, fresh: list[ListenerServer], admin_sockets: list[socket.socket]
    ) -> Proposal:
        """Build another configuration beside the present one; see Serving."""
        if self.serving is None or self.stopping or self.shared.listeners_stopped:
            raise OstiaryError(DRAINING)
        proposal = await self.serving.prepare(config, fresh)
        proposal.admin_sockets = admin_sockets
        return proposal

    async def commit(self, proposal: Proposal, process: Process) -> None:
        """Serve it from now on. Raises what Serving.commit raises."""
        if self.serving is None:
            raise OstiaryError(DRAINING)
        await self.serving.commit(proposal)
        reload.set_log(self.process, process)
        moves = proposal.runtime.config.admin != self.config.admin
        self.config, self.process = proposal.runtime.config, process
        self.serving.drain_timeout = process.drain_timeout
        self.flights.with_users = process.flight_users
        if moves:
            try:
                await self._administer(proposal.admin_sockets)
            except OSError as error:  # it is bound already: not even this should happen
                _LOG.error("the admin API can't be moved: %s", error)
        self._name_addresses()

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
        if self.serving is not None:
            self.serving.stop_listening(for_all=True)
        self._follow()

    def fail_health_checks(self, failed: bool) -> None:
        """Be told by health checks and `/ready` as draining, or no longer."""
        self.shared.health_failed = failed
        self._follow()

    def _follow(self) -> None:
        if self.serving is not None:
            self.serving.follow()

    def end(self) -> None:
        """End the process, with all its workers: as SIGTERM does, but within limits.QUIT_TIMEOUT."""
        self.shared.quit()
        os.kill(self.shared.main_pid, signal.SIGTERM)

    def reopen_logs(self) -> None:
        """Open access-log files anew, after rotation."""
        if self.serving is not None:
            self.serving.reopen_logs()

    async def stop(self, patience: float, idle: float = limits.DRAIN_IDLE) -> int:
        """Accept no more, let running requests finish for `patience` seconds, and idle connections be for `idle`.
        Returns how many were cut."""
        self.stopping = True
        cut = 0
        if self.serving is not None:
            cut = await self.serving.drain(patience, idle)
            await self.serving.close()
            self.serving = None
        if self._admin is not None:
            await self._admin.stop()
        if self._leases is not None:
            self._leases.close()
        await self.peers.close()
        return cut
