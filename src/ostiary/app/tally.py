"""How many clients each worker has, so that one with more than its share lets the others accept first.

Workers accept at the same sockets, and the kernel wakes all of them: whoever runs first gets the client, which may be
one and the same again and again. Of 200 clients that stay, all 200 came to one of four workers. With a socket for each
(SO_REUSEPORT) they would be spread, but what waits in the queue of a worker that dies would be lost.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

from ostiary.app.shared import Shared

_SLACK: Final = 16
"""A worker is ahead with a sixteenth more than its share, and one client."""


@final
class Tally:
    """One worker's view. A `Timed`: what it has is told to the others every period."""

    def __init__(self, shared: Shared, index: int) -> None:
        self._shared = shared
        self._index = index
        self.count: Callable[[], int] = lambda: 0
        """The clients that this worker has."""

    def check_deadlines(self, now: float) -> None:  # noqa: ARG002 - Timed's shape
        """Tell the others."""
        self._shared.tell_clients(self._index, self.count())

    def is_ahead(self) -> bool:
        """Whether others have fewer, and should have the next one."""
        own = self.count()
        self._shared.tell_clients(self._index, own)
        known = self._shared.clients()
        if self._index >= len(known):  # it is not needed any more
            return True
        share = sum(known) / len(known)
        return own > share + share / _SLACK + 1
