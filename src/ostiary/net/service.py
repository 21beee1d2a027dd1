"""What stands behind the connections of one listener, as far as they know it: app/service.py is one."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ostiary.core.http1 import HeadReader
    from ostiary.net.exchange import Exchange
    from ostiary.net.handshakes import Handshakes
    from ostiary.net.http1 import Downstream
    from ostiary.net.server_settings import ServerSettings
    from ostiary.net.ticker import Ticker
    from ostiary.net.traffic import Traffic


class Service(Protocol):
    """What stands behind the connections of one listener."""

    settings: ServerSettings
    ticker: Ticker
    heads: HeadReader
    draining: bool
    """Every answer says `connection: close`."""
    counts: Counter[str]
    """What happens rarely, under Envoy's names."""
    traffic: Traffic
    handshakes: Handshakes
    connections: set[Downstream]
    most_connections: int

    @property
    def successor(self) -> Service | None:
        """Who serves these connections from their next request on."""

    def dispatch(self, exchange: Exchange) -> None:
        """A request's head is there: forward it, answer it, or start what must come first."""

    def finished(self, exchange: Exchange) -> None:
        """The exchange is over: count and log it."""

    def informed(self, status: int) -> None:
        """A 1xx answer was sent: count it."""

    def opened(self, connection: Downstream) -> bool:
        """A client connected; False closes it at once."""

    def closed(self, connection: Downstream, *, local: bool, active: bool) -> None:
        """A client's connection is gone; `local`: we ended it; `active`: while a request was on it."""

    def adopt(self, connection: Downstream) -> None:
        """A connection comes over from the service before this one."""
