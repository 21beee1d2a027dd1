"""What one worker is told and all have to know, those included that are started later: a few bytes of shared memory."""

from __future__ import annotations

import mmap
import os
import struct
import time
from typing import Final, final

_HEALTH_FAILED: Final = 0
_LISTENERS_STOPPED: Final = 1
_DRAINING: Final = 2
_QUITTING: Final = 3
_ENDING: Final = 4
_WORKERS: Final = struct.Struct("=I")
_WORKERS_AT: Final = 8
_CLIENTS_AT: Final = 12


@final
class Shared:
    """Made before any fork, by the process that signals go to."""

    def __init__(self, workers: int = 1, room: int = 1) -> None:
        """`room`: how many workers there may come to be."""
        self.main_pid = os.getpid()
        """Whose end is the end of all."""
        self.started_at = time.time()
        """Unix time. Workers come and go: the process is as old as this."""
        self._memory = mmap.mmap(-1, _CLIENTS_AT + room * _WORKERS.size)
        self.workers = workers

    @property
    def workers(self) -> int:
        """How many there should be; their indices are below."""
        found: int = _WORKERS.unpack_from(self._memory, _WORKERS_AT)[0]
        return found

    @workers.setter
    def workers(self, number: int) -> None:
        _WORKERS.pack_into(self._memory, _WORKERS_AT, number)

    def tell_clients(self, index: int, number: int) -> None:
        """A worker has so many."""
        _WORKERS.pack_into(self._memory, _CLIENTS_AT + index * _WORKERS.size, number)

    def clients(self) -> list[int]:
        """What each worker has, as it told last."""
        size = self.workers * _WORKERS.size
        return [number for (number,) in _WORKERS.iter_unpack(self._memory[_CLIENTS_AT : _CLIENTS_AT + size])]

    @property
    def health_failed(self) -> bool:
        """Somebody said that health checks shall fail (`/healthcheck/fail`)."""
        return bool(self._memory[_HEALTH_FAILED])

    @health_failed.setter
    def health_failed(self, failed: bool) -> None:
        self._memory[_HEALTH_FAILED] = failed

    @property
    def listeners_stopped(self) -> bool:
        """Nobody is let in any more (`/drain_listeners`)."""
        return bool(self._memory[_LISTENERS_STOPPED])

    def stop_listeners(self) -> None:
        """For good."""
        self._memory[_LISTENERS_STOPPED] = self._memory[_DRAINING] = 1

    @property
    def is_draining(self) -> bool:
        """Clients are told to come back over another connection."""
        return bool(self._memory[_DRAINING] or self._memory[_HEALTH_FAILED])

    def drain(self) -> bool:
        """Begin to; False if it had begun already."""
        before, self._memory[_DRAINING] = self._memory[_DRAINING], 1
        return not before

    @property
    def is_ending(self) -> bool:
        """The process drains with all its workers: nobody replaces one that ends."""
        return bool(self._memory[_ENDING])

    def end(self) -> None:
        """See `is_ending`."""
        self._memory[_ENDING] = 1

    @property
    def is_quitting(self) -> bool:
        """The process shall end soon rather than when the last request has (`/quitquitquit`)."""
        return bool(self._memory[_QUITTING])

    def quit(self) -> None:
        """See `is_quitting`."""
        self._memory[_QUITTING] = 1
