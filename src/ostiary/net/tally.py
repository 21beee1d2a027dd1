"""What the requests to one host and its connections came to, for statistics and the admin API.

Counters are those of Envoy's connection pool. What happens to each request is a plain attribute; what happens to
connections, which is rare, goes into `counts` under Envoy's name.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from ostiary.net.handshakes import count_handshakes

if TYPE_CHECKING:
    from ostiary.core.trace import ConnectTrace
    from ostiary.net.load import Load
    from ostiary.net.roles import Watch


class Failure(NamedTuple):
    """A connection that could not be made."""

    at: float
    """Unix time."""
    message: str
    trace: ConnectTrace | None


class Tally:
    """What is counted and remembered of one host."""

    kind = "upstream_cx_http1_total"
    """What counts a connection from its first attempt on; empty: what it is will only be known afterwards."""

    __slots__ = ("codes", "counts", "failure", "latest", "load", "total", "traffic", "watch")

    def __init__(self, load: Load) -> None:
        self.load, self.traffic = load, load.traffic
        self.watch: Watch | None = None
        self.total = 0
        """Requests that got a connection."""
        self.codes = [0] * 1000
        """Answers by status, those included that clients got because there was none."""
        self.counts: Counter[str] = Counter()
        self.latest: ConnectTrace | None = None
        """How the last connection came about."""
        self.failure: Failure | None = None
        """The last one that did not."""

    # --- requests

    def ended(self) -> None:
        """A request has lost its connection."""
        self.load.requests -= 1

    def broke(self, status: int, *, charged: bool) -> None:
        """No complete answer."""
        if charged:
            self.codes[status] += 1
        if self.watch is not None:
            self.watch.unreached(status)

    def timed_out(self, *, charged: bool) -> None:
        """The route's time is up."""
        self.counts["upstream_rq_timeout"] += 1
        self.broke(504, charged=charged)

    def noted(self, what: str) -> None:
        """Count what Envoy counts under that name."""
        self.counts[what] += 1

    # --- connections

    def _tried(self, trace: ConnectTrace | None, by_name: bool) -> None:
        """Count a race: like Envoy one connection, and one more for each further attempt."""
        if by_name:
            self._count_one()
        if trace is not None:
            count_handshakes(self.counts, trace)
            self.counts["upstream_cx_total"] += max(0, sum(each.started is not None for each in trace.attempts) - 1)

    def _count_one(self) -> None:
        self.counts["upstream_cx_total"] += 1
        if self.kind:
            self.counts[self.kind] += 1

    def _destroyed(self, *, local: bool, active: bool, opened_at: float = 0.0) -> None:
        """`opened_at`: monotonic; 0: nobody knows."""
        if opened_at:
            self.load.lengths.record(int((time.monotonic() - opened_at) * 1000))
        for side in ("", "_local" if local else "_remote"):
            self.counts[f"upstream_cx_destroy{side}"] += 1
            self.counts[f"upstream_cx_destroy{side}_with_active_rq"] += active
