"""What the pools of one cluster have in use, for its circuit breakers."""

from __future__ import annotations

from typing import final

from ostiary.model.clusters import CircuitBreakers


@final
class Load:
    """What the pools of one cluster have in use, and how much they may."""

    __slots__ = ("breakers", "connections", "max_requests", "pending", "requests")

    def __init__(self, breakers: CircuitBreakers) -> None:
        self.breakers = breakers
        self.max_requests = breakers.max_requests
        self.connections = 0
        """Open ones, and those on their way."""
        self.pending = 0
        self.requests = 0
