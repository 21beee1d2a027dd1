"""Access-log lines, written in batches: one `write` a second or per 64 KiB instead of one a request."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import final

from ostiary.model import limits
from ostiary.model.access_log import AccessLog
from ostiary.net.ticker import Ticker


@final
class LogWriter:
    """One sink. Several loggers may share a file; each holds its own LogWriter on an O_APPEND descriptor."""

    __slots__ = ("_fd", "_lines", "_path", "_size", "_ticker", "dropped")

    def __init__(self, log: AccessLog, ticker: Ticker) -> None:
        self._path = log.path if log.sink == "file" else ""
        self._fd = self._open() if self._path else (sys.stdout if log.sink == "stdout" else sys.stderr).fileno()
        self._lines: list[bytes] = []
        self._size = 0
        self._ticker = ticker
        self.dropped = 0
        ticker.idle.add(self)

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def write(self, line: bytes) -> None:
        """Add one line (with its newline)."""
        self._lines.append(line)
        self._size += len(line)
        if self._size >= limits.ACCESS_LOG_BUFFER:
            self.flush()

    def flush(self) -> None:
        """Hand everything to the system. A full disk loses lines, never requests."""
        if not self._lines:
            return
        data = b"".join(self._lines)
        self._lines.clear()
        self._size = 0
        try:
            while data:
                data = data[os.write(self._fd, data) :]
        except OSError:
            self.dropped += data.count(b"\n")

    def reopen(self) -> None:
        """After log rotation."""
        if self._path:
            self.flush()
            old, self._fd = self._fd, self._open()
            with contextlib.suppress(OSError):
                os.close(old)

    def check_deadlines(self, now: float) -> None:  # noqa: ARG002 - Timed's shape
        """Once a second."""
        self.flush()

    def close(self) -> None:
        """Flush and close."""
        self._ticker.idle.discard(self)
        self.flush()
        if self._path:
            with contextlib.suppress(OSError):
                os.close(self._fd)
