"""How many bytes went over connections: what was said, not what TLS made of it."""

from __future__ import annotations

from typing import final


@final
class Traffic:
    """Of the connections that are counted together. A connection adds to it as it reads and writes."""

    __slots__ = ("received", "sent")

    def __init__(self) -> None:
        self.received = 0
        self.sent = 0
