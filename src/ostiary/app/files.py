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
Make = Callable[[bytes, Callable[[str], bytes]], T]
"""From a file's content to a value; the function reads what else it names."""


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
    """A value made from a file, and from files that it names; remade when one of them changes."""

    __slots__ = ("_make", "_named", "_seen", "path", "value")

    def __init__(self, path: str, make: Make[T]) -> None:
        self.path = path
        self._make = make
        self._named: list[str] = []
        self._seen = self._look()
        self.value = self._made()

    def _look(self) -> list[Signature | None]:
        return [signature(path) for path in (self.path, *self._named)]

    def _made(self) -> T:
        named: dict[str, Signature | None] = {}

        def read(path: str) -> bytes:
            named[path] = signature(path)
            return read_file(path)

        try:
            return self._make(read_file(self.path), read)
        finally:
            self._named = list(named)
            self._seen[1:] = named.values()

    def poll(self) -> bool:
        """Look at the files; True if there is a new value."""
        found = self._look()
        if found[0] is None or found == self._seen:
            return False
        self._seen = found
        try:
            self.value = self._made()
        except (OstiaryError, ValueError) as error:
            _LOG.warning("%s changed but can't be used, its last content stays in use: %s", self.path, error)
            return False
        _LOG.info("%s changed and is in use", self.path)
        return True


@final
class Files:
    """Every watched file of the process."""

    def __init__(self) -> None:
        self._watched: list[Watched[object]] = []
        self.on_change: list[Callable[[], None]] = []
        """Called after one or more values changed."""

    def watch(self, path: str, make: Make[T]) -> Watched[T]:
        """Read a file now and whenever it, or one that it names, changes. Raises FileUnreadable, or what `make` raises,
        for the first read."""
        watched = Watched(path, make)
        self._watched.append(watched)  # type: ignore[arg-type] # Watched is invariant; poll() needs no T
        return watched

    def source(self, source: DataSource, strip: bool = False) -> Callable[[], bytes]:
        """A function that gives the present content of a data source."""
        if source.inline is not None:
            inline = source.inline.reveal()
            return lambda: inline
        assert source.filename is not None
        watched = self.watch(source.filename, lambda data, _: data.strip() if strip else data)
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
