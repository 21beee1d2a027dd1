"""Which connections are opened for one request to a provider: for whoever wants to tell its story.

A pool dials in a task of its own, and a task inherits the context it is made in: so whoever submits a request says in
its context that it wants to know, and whoever dials looks there. Nobody else pays for it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final, Protocol, final

if TYPE_CHECKING:
    from ostiary.core.trace import ConnectTrace
    from ostiary.core.tracing import SpanContext


class OnFailure(Protocol):
    """Told of each connection to a host of a cluster that could not be made; `checks`: for a health check."""

    def __call__(self, cluster: str, trace: ConnectTrace, *, checks: bool = False) -> None: ...


@final
class Watched:
    """What happened for one request so far."""

    __slots__ = ("connects", "tries")

    def __init__(self) -> None:
        self.tries = 1
        self.connects: list[Callable[[], ConnectTrace]] = []
        """Each gives a copy of a connection's trace as it is then."""


WATCHED: Final[ContextVar[Watched | None]] = ContextVar("watched", default=None)

TRACED: Final[ContextVar[SpanContext | None]] = ContextVar("traced", default=None)
"""The recorded request that a task works for: what it asks of a provider belongs to its trace."""
