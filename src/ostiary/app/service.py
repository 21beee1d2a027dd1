"""What happens to the requests of one listener.

The hot path is `dispatch`: the session is known, the path is an ordinary one. Then what was decided is ready-made
bytes (app/prepared.py). Whatever else a request may be goes to the judge (app/judge.py), and what that makes of it
becomes the next `Prepared`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, final

from ostiary.app import narrate
from ostiary.app.clients import Clients
from ostiary.app.flows import Flows
from ostiary.app.judge import Judge
from ostiary.app.observe import Observer
from ostiary.app.prepared import PreparedHeads
from ostiary.app.routes import RouteTable
from ostiary.app.sender import Sender
from ostiary.app.targets import TargetReader
from ostiary.core.decision import Counter, Entropy
from ostiary.core.forwarding import Forwarder
from ostiary.core.http1 import HeadReader
from ostiary.model.config import HttpConnectionManager
from ostiary.net.clusters import ClusterPool
from ostiary.net.exchange import Exchange
from ostiary.net.http1 import Downstream
from ostiary.net.log import log
from ostiary.net.server_settings import ServerSettings
from ostiary.net.ticker import Ticker

if TYPE_CHECKING:
    from ostiary.app.tracing import Tracer

_LOG: Final = log("http")


@final
class HttpService:
    """One listener's `Service` (net/http1.py)."""

    def __init__(
        self,
        http: HttpConnectionManager,
        settings: ServerSettings,
        ticker: Ticker,
        table: RouteTable,
        flows: Flows,
        observer: Observer,
        clusters: Callable[[str], ClusterPool | None],
        counter: Callable[[str], Counter],
        entropy: Entropy,
        max_connections: int,
        tracer: Tracer | None = None,
    ) -> None:
        self.http, self.settings, self.ticker, self.most_connections = http, settings, ticker, max_connections
        self.draining, self.counts, self.traffic = False, observer.counts, observer.stats.traffic
        self._clients = Clients(settings.tls, max_connections, counter)
        self.connections, self.handshakes = self._clients.connections, observer.stats.handshakes
        self.successor: HttpService | None = None
        self._observer, self._single = observer, table.single
        chains = [route.chain for route in table.routes]
        forwarder = Forwarder(http, frozenset[str]().union(*(chain.strip for chain in chains)))
        reads = frozenset[str]().union(*(chain.reads for chain in chains))
        self._prepared = PreparedHeads(http, forwarder, reads)
        self.heads = HeadReader(max_lines=http.max_headers_count, classify=self._prepared.classify)
        self._reader = TargetReader(http, lambda path: all(chain.is_ordinary(path) for chain in chains))
        sender = Sender(http, entropy, tracer)
        self._judge = Judge(
            http, ticker, table, flows, observer, clusters, counter, entropy, forwarder, self._prepared, sender, tracer
        )  # fmt: skip
        self._send, self._found = sender.send, self._judge.found

    # --- the hot path

    def dispatch(self, exchange: Exchange) -> None:
        """Forward at once what is known; judge the rest."""
        target = self._reader.get(exchange.target) or self._reader.read(exchange.target)
        exchange.path = target.text
        if _LOG.debugs:
            narrate.begun(exchange)
        if target.ordinary:
            route = self._single or self._found.get((exchange.head.host, exchange.target))
            if route is not None:
                prepared = self._prepared.find(exchange, route)
                if prepared is not None and prepared.valid_until > self.ticker.wall:
                    for counter in prepared.counters:
                        counter.value += 1
                    if narrate.OAUTH2.debugs:
                        narrate.admitted(exchange, prepared.via)
                    self._send(exchange, prepared, target)
                    return
        self._judge.judge(exchange, target)

    # --- connections

    def opened(self, connection: Downstream) -> bool:
        """A client connected."""
        return self._clients.opened(connection)

    def adopt(self, connection: Downstream) -> None:
        """A connection comes over from the service before this one."""
        self._clients.add(connection)

    def hand_over(self, successor: HttpService) -> None:
        """Another one serves our clients from their next request on."""
        self.successor = successor
        for connection in list(self.connections):
            if connection.exchange is None and not connection.closing:
                connection.move()

    @property
    def is_busy(self) -> bool:
        """Whether there is anybody it serves, or something it still does for somebody."""
        return bool(self.connections or self._judge.tasks)

    def closed(self, connection: Downstream, *, local: bool, active: bool) -> None:
        """A client's connection is gone."""
        self._clients.remove(connection)
        self._observer.closed(connection, local=local, active=active)

    def informed(self, status: int) -> None:
        """A 1xx answer was sent."""
        self._observer.informed(status)

    def finished(self, exchange: Exchange) -> None:
        """The exchange is over. Whatever goes wrong with its log line must not reach a connection."""
        try:
            self._observer.finished(exchange)
        except Exception:  # noqa: BLE001 - see above
            _LOG.exception("an access-log line could not be written")

    def forget(self) -> None:
        """A secret changed: nothing that was made ready holds any more."""
        self._prepared.clear()

    def reopen_logs(self) -> None:
        """Open access-log files anew."""
        self._observer.reopen()

    def close(self) -> None:
        """Cancel what still runs, write the last log lines."""
        for task in list(self._judge.tasks):
            task.cancel()
        self._observer.close()
