"""Files whose content the running process uses: secrets, keys, certificates. Read at start, read again on change.

Once a second each file's identity (inode, size, modification time) is compared, which also sees the symlink swap by
which Kubernetes replaces a mounted Secret. A file that has become unreadable or invalid keeps its last good content,
and a warning says so once.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final, Generic, TypeVar, final

from ostiary.model.errors import OstiaryError
from ostiary.model.tls import DataSource
from ostiary.net.log import log
from ostiary.net.ticker import Ticker

_LOG: Final = log("secret")
T = TypeVar("T")

MAX_FILE_BYTES = 4 * 1024 * 1024
"""Secrets, certificates and CA bundles are kilobytes; a bundle of every public root is 300 KiB."""

Signature = tuple[int, int, int]


class FileUnreadable(OstiaryError):
    """A file that the configuration names can't be read or used."""


def read_file(path: str) -> bytes:
    """The file's content. Raises FileUnreadable with the path and the reason."""
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise FileUnreadable(f"can't read {path}: {error.strerror}") from error
    if len(data) > MAX_FILE_BYTES:
        raise FileUnreadable(f"{path} is larger than {MAX_FILE_BYTES} bytes")
    return data


def signature(path: str) -> Signature | None:
    """What changes when the file does; None if it is not there."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


@final
class Watched(Generic[T]):
    """A value made from a file, remade when the file changes."""

    __slots__ = ("_failed", "_make", "_signature", "path", "value")

    def __init__(self, path: str, make: Callable[[bytes], T]) -> None:
        self.path = path
        self._make = make
        self._signature = signature(path)
        self._failed: Signature | None = None
        self.value = make(read_file(path))

    def poll(self) -> bool:
        """Look at the file; True if there is a new value."""
        found = signature(self.path)
        if found in (self._signature, None, self._failed):
            return False
        try:
            self.value = self._make(read_file(self.path))
        except (OstiaryError, ValueError) as error:
            self._failed = found
            _LOG.warning("%s changed but can't be used, its last content stays in use: %s", self.path, error)
            return False
        self._signature, self._failed = found, None
        _LOG.info("%s changed and is in use", self.path)
        return True


@final
class Files:
    """Every watched file of the process."""

    def __init__(self) -> None:
        self._watched: list[Watched[object]] = []
        self.on_change: list[Callable[[], None]] = []
        """Called after one or more values changed."""

    def watch(self, path: str, make: Callable[[bytes], T]) -> Watched[T]:
        """Read a file now and whenever it changes. Raises FileUnreadable, or what `make` raises, for the first read."""
        watched = Watched(path, make)
        self._watched.append(watched)  # type: ignore[arg-type] # Watched is invariant; poll() needs no T
        return watched

    @staticmethod
    def read(path: str) -> bytes:
        """A file that another one names, read once. Raises FileUnreadable."""
        return read_file(path)

    def source(self, source: DataSource, strip: bool = False) -> Callable[[], bytes]:
        """A function that gives the present content of a data source."""
        if source.inline is not None:
            inline = source.inline.reveal()
            return lambda: inline
        assert source.filename is not None
        watched = self.watch(source.filename, bytes.strip if strip else bytes)
        return lambda: watched.value

    def start(self, ticker: Ticker) -> None:
        """Poll once a second from now on."""
        ticker.idle.add(self)

    def stop(self, ticker: Ticker) -> None:
        """Poll no more."""
        ticker.idle.discard(self)

    def check_deadlines(self, now: float) -> None:  # noqa: ARG002 - Timed's shape
        """Once a second."""
        self.look()

    def look(self) -> bool:
        """Read what has changed, now; True if something has."""
        changed = [watched for watched in self._watched if watched.poll()]
        if changed:
            for callback in self.on_change:
                callback()
        return bool(changed)
