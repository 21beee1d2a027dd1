"""Access-log lines, handed on in batches: once a second or per 64 KiB instead of once a request."""

from __future__ import annotations

import os
import sys
from typing import Final, final

from ostiary.model import limits
from ostiary.model.access_log import AccessLog
from ostiary.net.log import log
from ostiary.net.sink import Sink
from ostiary.net.ticker import Ticker

_LOG: Final = log("file")


@final
class LogWriter:
    """One logger. Several may share a file; each holds its own O_APPEND descriptor."""

    __slots__ = ("_lines", "_name", "_path", "_sink", "_size", "_ticker")

    def __init__(self, log: AccessLog, ticker: Ticker) -> None:
        """Raises OSError, with the path, if the file can't be opened."""
        self._path = log.path if log.sink == "file" else ""
        self._name = self._path or log.sink
        self._lines: list[bytes] = []
        self._size = 0
        self._ticker = ticker
        fd = self._open() if self._path else (sys.stdout if log.sink == "stdout" else sys.stderr).fileno()
        self._sink = Sink(fd, owned=bool(self._path), report=self._trouble)
        ticker.idle.add(self)

    def _trouble(self, what: str) -> None:
        _LOG.warning("access log %s %s", self._name, what)

    def _open(self) -> int:
        try:  # O_NONBLOCK: a pipe that nobody reads is an error now, and not a wait for whoever may come
            fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o644)
        except OSError as error:
            text = f"can't open the access log {self._path}: {error.strerror}"
            raise OSError(error.errno, text) from error
        os.set_blocking(fd, True)
        return fd

    def write(self, line: bytes) -> None:
        """Add one line (with its newline)."""
        self._lines.append(line)
        self._size += len(line)
        if self._size >= limits.ACCESS_LOG_BUFFER:
            self.flush()

    def flush(self) -> None:
        """Hand on what there is."""
        if self._lines:
            self._sink.write(b"".join(self._lines))
            self._lines.clear()
            self._size = 0

    def reopen(self) -> None:
        """After log rotation. A file that can't be opened leaves the old one in use."""
        if not self._path:
            return
        self.flush()
        try:
            self._sink.replace(self._open())
        except OSError as error:
            _LOG.warning("%s; the old file stays in use", error.strerror)

    def check_deadlines(self, now: float) -> None:  # noqa: ARG002 - Timed's shape
        """Once a second."""
        self.flush()

    def close(self) -> None:
        """Flush and close."""
        self._ticker.idle.discard(self)
        self.flush()
        self._sink.close()
