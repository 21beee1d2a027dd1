"""What the doorkeeper knows of its admin API, which lies above it: how it is made, started and stopped.

The parent binds its socket. Each worker serves the admin API, and every answer is about all workers: whoever gets a
request asks its `Peers`.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, final

from ostiary.net.inbox import Handler

if TYPE_CHECKING:
    from ostiary.app.lifecycle import Doorkeeper


class Peers(Protocol):
    """The other workers of this process."""

    @property
    def count(self) -> int:
        """How many there are besides this one, alive or not."""

    def start(self) -> None:
        """Answer from now on, on the running loop."""

    async def close(self) -> None:
        """Answer no more."""

    def handle(self, start: str, handler: Handler) -> None:
        """Answer what others ask under paths that start so (`/admin`)."""

    async def ask(self, path: str, body: bytes, patience: float) -> list[bytes]:
        """Their answers. Who doesn't answer within `patience` seconds is left out; raises nothing."""


@final
class Alone:
    """The peers of a process with one worker."""

    count = 0

    def start(self) -> None:
        """Nobody will ask."""

    async def close(self) -> None:
        """Nobody asked."""

    def handle(self, start: str, handler: Handler) -> None:
        """Nobody will ask."""

    async def ask(self, path: str, body: bytes, patience: float) -> list[bytes]:  # noqa: ARG002 - the protocol's shape
        """Nobody answers."""
        return []


class Admin(Protocol):
    """A worker's admin API."""

    async def listen(self, sockets: list[socket.socket]) -> list[str]:
        """Listen there and nowhere else; the addresses. What is asked elsewhere is still answered. Raises OSError."""

    async def stop(self) -> None:
        """Listen no more."""


AdminFactory = Callable[["Doorkeeper"], Admin]
"""Makes the admin API of one worker. Not called where the configuration has no `admin`."""
