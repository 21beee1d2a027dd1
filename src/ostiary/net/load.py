"""What the pools of one cluster share: what is in use, for its circuit breakers, and how long things took."""

from __future__ import annotations

from typing import final

from ostiary.core.histogram import Histogram
from ostiary.model.clusters import CircuitBreakers


@final
class Load:
    """What the pools of one cluster have in use, and how much they may."""

    __slots__ = ("breakers", "connect_time", "connections", "max_requests", "pending", "request_time", "requests")

    def __init__(self, breakers: CircuitBreakers) -> None:
        self.breakers = breakers
        self.max_requests = breakers.max_requests
        self.connections = 0
        """Open ones, and those on their way."""
        self.pending = 0
        self.requests = 0
        self.connect_time = Histogram()
        """How long connecting took, where it succeeded."""
        self.request_time = Histogram()
        """How long requests took from their end to the end of their answer."""
