"""What the log says about a pool's connections, in Envoy's words under Envoy's loggers."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from ostiary.net.log import log

if TYPE_CHECKING:
    from ostiary.core.trace import ConnectTrace

CLIENT: Final = log("client")
CONNECTION: Final = log("connection")
POOL: Final = log("pool")
UPSTREAM: Final = log("upstream")


def queued(*, ready: int, busy: int, connecting: int) -> None:
    """A request waits for a connection."""
    text = "queueing stream due to no available connections (ready=%d busy=%d connecting=%d)"
    POOL.debug(text, ready, busy, connecting)


def dials(connecting: int) -> None:
    """One more connection, beside so many that are on their way."""
    POOL.debug("trying to create new connection")
    POOL.debug("creating a new connection (connecting=%d)", connecting)


def failed(error: Exception, trace: ConnectTrace | None) -> None:
    """It did not come about."""
    number = trace.number if trace is not None else 0
    if isinstance(error, TimeoutError):
        POOL.debug("connect timeout", connection=number)
    CLIENT.debug("disconnect. resetting 0 pending requests", connection=number)
    POOL.debug("client disconnected, failure reason: %s", cause(error), connection=number)


def unreachable(name: str, error: Exception) -> None:
    """The host can't be reached, for the first time; unless the log has the reason already."""
    if not getattr(error, "told", False):
        UPSTREAM.warning("upstream %s: %s", name, error)


def released(number: int, active: int) -> None:
    """An answer is complete."""
    POOL.debug("response complete", connection=number)
    POOL.debug("destroying stream: %d active remaining", active, connection=number)


def lost(number: int, *, local: bool) -> None:
    """A connection is closed."""
    if not local:
        CONNECTION.debug("remote close", connection=number)
    CONNECTION.debug("closing socket: %d", local, connection=number)
    POOL.debug("client disconnected, failure reason: ", connection=number)


def cause(error: BaseException | None) -> str:
    """Why a connection failed, as Envoy's logs say it; empty if time ran out, or nothing is known."""
    from ostiary.core.explain import telling_attempt  # rarely needed: a start must not wait for it
    from ostiary.net.attempt import transport_failure

    trace: ConnectTrace | None = getattr(error, "trace", None)
    attempt = telling_attempt(trace) if trace is not None else None
    if attempt is not None:
        return transport_failure(attempt)
    if isinstance(error, TimeoutError) or not isinstance(error, OSError):
        return ""
    return f"delayed connect error: {os.strerror(error.errno) if error.errno else error}"
