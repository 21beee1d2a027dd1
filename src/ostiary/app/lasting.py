"""What outlives configurations: the clock, the counters, the clusters, what is under way."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING, Final, final

from ostiary.app.diagnosis import Diagnosis, Explain
from ostiary.app.flights import Recorder
from ostiary.app.flows import Running
from ostiary.app.metrics import Stats
from ostiary.app.service_stats import SERVICE_GAUGES, ServiceStats
from ostiary.app.shared import Shared
from ostiary.app.upstreams import Upstreams
from ostiary.net.cluster_stats import GAUGES
from ostiary.net.ticker import Ticker

if TYPE_CHECKING:
    from ostiary.core.leases import Leases
    from ostiary.core.oauth2.envoy.filter import Outcomes
    from ostiary.core.trace import ConnectTrace
    from ostiary.net.connector import Connector

RELOAD_GAUGES: Final = frozenset(("update_time", "config_reload_time_seconds"))


@final
class Lasting:
    """One for each worker; every Runtime of it is built upon this."""

    def __init__(
        self,
        connector: Connector | None = None,
        leases: Leases | None = None,
        flights: Recorder | None = None,
        shared: Shared | None = None,
        explain: Explain | None = None,
    ) -> None:
        """`leases` says which of several processes runs a flow that must run once; None: there is just this one.
        `explain` says why a provider can't be reached."""
        self.shared = shared or Shared()
        self.leaving = False
        """This process is about to end."""
        self._under: dict[str, ServiceStats] = {}
        self.leases = leases
        self.started = time.time()
        self.flights = flights or Recorder()
        self.ticker = Ticker(asyncio.get_running_loop())
        self.stats = Stats(GAUGES | SERVICE_GAUGES | RELOAD_GAUGES)
        self.running: Running = {}
        self.upstreams = Upstreams(self.connector, self.ticker, self.stats)
        self._connector = connector
        self._outcomes: Outcomes | None = None
        self.diagnosis = Diagnosis(explain)

    def connector(self) -> Connector:
        """What dials; made with the first connection, for the DNS library is slow to import."""
        if self._connector is None:
            from ostiary.net.connector import Connector

            self._connector = Connector()
        self._connector.on_failure = self._failed
        return self._connector

    def _failed(self, cluster: str, trace: ConnectTrace, *, checks: bool = False) -> None:
        self.flights.connect_failed(cluster, trace, checks=checks)
        self.diagnosis.failed(cluster, trace)

    def is_draining(self) -> bool:
        """Whether clients had better come back over another connection, to another process."""
        return self.leaving or self.shared.is_draining

    def under(self, stat_prefix: str) -> ServiceStats:
        """What connection managers of this prefix count."""
        found = self._under.get(stat_prefix)
        if found is None:
            lengths = self.stats.histogram(f"http.{stat_prefix}.downstream_cx_length_ms")
            found = self._under[stat_prefix] = ServiceStats(self.stats.scope(f"http.{stat_prefix}"), lengths)
            self.stats.add_source(f"http.{stat_prefix}", found.values)
        return found

    def envoy_outcomes(self) -> Outcomes:
        """What flows of Envoy's filter have come to."""
        if self._outcomes is None:
            from ostiary.core.oauth2.envoy.filter import Outcomes  # the profile's code, only where it is used

            self._outcomes = Outcomes(os.urandom)
        return self._outcomes

    def close(self) -> None:
        """After the last Runtime."""
        if self._connector is not None:
            self._connector.close()
        self.ticker.stop()
