"""What the pools of one cluster share: what is in use, for its circuit breakers, and how long things took."""

from __future__ import annotations

from collections import Counter
from typing import final

from ostiary.core.histogram import Histogram
from ostiary.model.clusters import CircuitBreakers
from ostiary.net.traffic import Traffic


@final
class Load:
    """What the pools of one cluster have in use, and how much they may."""

    __slots__ = (
        "breakers", "connect_time", "connections", "internal", "internal_time", "lengths", "max_requests", "pending",
        "request_time", "requests", "traffic",
    )  # fmt: skip

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
        """How long clients' requests took from their end to the end of their answer."""
        self.internal_time = Histogram()
        """The same of our own: what sign-in asks a provider."""
        self.internal: Counter[int] = Counter()
        """What our own requests came to, by status. Pools count them, too."""
        self.lengths = Histogram()
        """How long connections lasted."""
        self.traffic = Traffic()
