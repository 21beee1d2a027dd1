"""Where requests wait until a cluster knows its hosts: for the first DNS answer, or the first health checks.

Envoy opens its listeners only after that. Here they are open at once, so that one slow name delays nobody else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, final

from ostiary.core.response import ResponseReader
from ostiary.model import limits
from ostiary.net.pool import Pool
from ostiary.net.roles import Answered, Watch
from ostiary.net.traffic import Traffic
from ostiary.net.upstream import UpstreamConnection

_OVERFLOW: Final = "upstream_reset_before_response_started{overflow}"


@final
class Lobby:
    """Stands where a pool does, for as long as there is none."""

    name = hostname = ""
    buffer_limit = limits.WRITE_HIGH_WATER

    def __init__(self, pick: Callable[[], Pool | None], refuse: Callable[[Answered], None], patience: float) -> None:
        """`pick` chooses among the hosts there are, `refuse` answers if there is none after `patience` seconds."""
        self._pick = pick
        self._refuse = refuse
        self._patience = patience
        self._waiting: dict[Answered, bool] = {}
        self._timer: asyncio.TimerHandle | None = None
        self.reader = ResponseReader()
        self.codes: list[int] = []
        self.watch: Watch | None = None
        self.traffic = Traffic()
        self.late = 0
        """Requests whose time ran out here."""

    @property
    def waiting(self) -> int:
        """Requests that wait."""
        return len(self._waiting)

    def submit(self, client: Answered, fresh: bool = False) -> None:
        """Wait."""
        if len(self._waiting) >= limits.MAX_WAITING_FOR_HOSTS:
            client.on_failure("UO", _OVERFLOW, "overflow")
            return
        self._waiting[client] = fresh
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._patience, self.open)

    def withdraw(self, client: Answered) -> None:
        """The client no longer waits."""
        self._waiting.pop(client, None)

    def open(self) -> None:
        """Send everyone on: the hosts are known, or time is up."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting = self._waiting, {}
        for client, fresh in waiting.items():
            pool = self._pick()
            if pool is None:
                self._refuse(client)
            else:
                client.pool = pool
                pool.submit(client, fresh)

    def close(self) -> None:
        """Nobody waits any more."""
        if self._timer is not None:
            self._timer.cancel()
        self._waiting.clear()

    def timed_out(self, *, charged: bool) -> None:
        """The route's time is up."""
        self.late += charged

    # There are no connections here, so nothing that they tell.

    def release(self, connection: UpstreamConnection) -> None: ...

    def lost(self, connection: UpstreamConnection, *, local: bool, active: bool) -> None: ...

    def ended(self) -> None: ...

    def broke(self, status: int, *, charged: bool) -> None: ...

    def noted(self, what: str) -> None: ...
