"""A connection that failed, as an exception that carries everything that was tried and says what that means."""

from __future__ import annotations

import errno
import time
from typing import Final, final

from ostiary.core.explain import error_text, telling_errno
from ostiary.core.trace import ConnectTrace
from ostiary.model import limits
from ostiary.net.log import log

_LOG: Final = log("happy_eyeballs")


class ConnectError(OSError):
    """No connection. `trace` is everything that was tried, the text is its summary.

    `errno` is that of the attempt that tells most: EPROTO for TLS, EHOSTUNREACH when there was no address.
    """

    def __init__(self, number: int, trace: ConnectTrace) -> None:
        super().__init__(number, trace.summary)
        self.trace = trace
        self.told = False
        """The log has a warning about it already."""

    def __str__(self) -> str:
        return self.trace.summary


class ConnectTimeoutError(ConnectError, TimeoutError):
    """No connection in time."""


@final
class Failures:
    """Makes the errors of one connector, and tells the log of those that a configuration would mend."""

    __slots__ = ("_warned",)

    def __init__(self) -> None:
        self._warned: dict[str, float] = {}
        """Targets whose mistake was logged, until when that is enough."""

    def of(self, trace: ConnectTrace) -> ConnectError:
        """The error for a trace that is complete."""
        trace.error = error_text(trace)
        mendable = trace.other_family or (trace.hurried and any(a.outcome == "timeout" for a in trace.attempts))
        (_LOG.warning if mendable and self._is_news(trace.target) else _LOG.debug)("%s", trace.summary)
        error = _error(trace)
        error.told = bool(mendable)
        return error

    def _is_news(self, target: str) -> bool:
        """Whether a warning was not given lately: a busy doorkeeper must not fill the log with one mistake."""
        now = time.monotonic()
        if len(self._warned) >= limits.MAX_OUTCOMES:
            self._warned.clear()
        if now < self._warned.get(target, 0.0):
            return False
        self._warned[target] = now + limits.WARN_AGAIN
        return True


def _error(trace: ConnectTrace) -> ConnectError:
    failed = [a for a in trace.attempts if a.outcome in ("failed", "timeout")]
    late = any(a.outcome == "timeout" for a in failed) or any(q.outcome == "pending" for q in trace.dns)
    number = telling_errno(trace)
    if number is None:
        number = errno.EPROTO if any(a.stage == "tls" and a.outcome == "failed" for a in failed) else None
    if late and number is None:
        return ConnectTimeoutError(errno.ETIMEDOUT, trace)
    return ConnectError(number if number is not None else errno.EHOSTUNREACH, trace)
