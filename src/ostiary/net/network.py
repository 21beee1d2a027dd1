"""Has the network changed? Linux tells through netlink: links, addresses, routes and rules, without privileges.

Nobody has to wait for that: what was learnt about a network matters when the next connection is made, so the messages
are read then, all that have come. One socket serves the process; a child after a fork opens its own. Elsewhere than on
Linux nothing is ever reported, and what was learnt lives as long as it would anyway.

Only news counts: routers announce the same prefix every few minutes, wireless links their signal. A message about
something that was already announced in the same words is none.
"""

from __future__ import annotations

import atexit
import errno
import os
import socket
import struct
from contextlib import suppress
from typing import Final

_GROUPS: Final = 0x1 | 0x10 | 0x40 | 0x80 | 0x100 | 0x400 | 0x40000
"""RTMGRP_LINK, _IPV4_IFADDR, _IPV4_ROUTE, _IPV4_RULE, _IPV6_IFADDR, _IPV6_ROUTE, and RTNLGRP_IPV6_RULE."""
_HEADER: Final = struct.Struct("=IHHII")
_ATTRIBUTE: Final = struct.Struct("=HH")
_LINK: Final = struct.Struct("=BxHiII")
_ADDRESS: Final = struct.Struct("=BBBBI")
_ROUTE: Final = struct.Struct("=BBBBBBBBI")
_NEWLINK, _DELLINK, _NEWADDR, _DELADDR, _NEWROUTE, _DELROUTE = 16, 17, 20, 21, 24, 25
_UP_AND_RUNNING: Final = 0x1 | 0x40
_LOCAL_KINDS: Final = frozenset((2, 3, 4, 5))
"""Routes of the host's own addresses, broadcast and multicast: they follow from the addresses."""
_CLONED: Final = 0x200
_ROUTE_ATTRIBUTES: Final = frozenset((1, 4, 5, 6, 7, 9, 15))
"""RTA_DST, _OIF, _GATEWAY, _PRIORITY, _PREFSRC, _MULTIPATH, _TABLE."""
_ADDRESS_ATTRIBUTES: Final = frozenset((1, 2, 8))
"""IFA_ADDRESS, _LOCAL, _FLAGS."""
_MAX_KNOWN: Final = 4096
_BUFFER: Final = 64 * 1024


class NetworkWatch:
    """Counts the changes. `generation` is cheap (one system call) and never blocks; `close` it at the end."""

    __slots__ = ("_generation", "_known", "_socket")

    def __init__(self) -> None:
        self._generation = 0
        self._known: dict[bytes, bytes] = {}
        """What was announced: what it is about -> how it is."""
        self._socket = _open()

    @property
    def reports(self) -> bool:
        """Whether changes are told here."""
        return self._socket is not None

    def generation(self) -> int:
        """A number that grows with each change."""
        if self._socket is None:
            return 0
        changed = False
        while True:
            try:
                data = self._socket.recv(_BUFFER)
            except BlockingIOError:
                break
            except OSError as error:
                changed = True
                if error.errno == errno.ENOBUFS:  # more happened than could be told
                    continue
                self.close()
                break
            changed = self.changed_by(data) or changed
        self._generation += changed
        return self._generation

    def changed_by(self, data: bytes) -> bool:
        """Take in one datagram; True if it tells news."""
        news = False
        while len(data) >= _HEADER.size:
            length, kind, *_ = _HEADER.unpack_from(data)
            if length < _HEADER.size or length > len(data):
                return True  # not understood: better ask anew than trust
            with suppress(struct.error):
                news = self._message(kind, data[_HEADER.size : length]) or news
            data = data[(length + 3) & ~3 :]
        return news

    def close(self) -> None:
        """Listen no longer."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _message(self, kind: int, body: bytes) -> bool:
        if kind in (_NEWLINK, _DELLINK):
            _, _, index, flags, _ = _LINK.unpack_from(body)
            return self._announced(kind == _DELLINK, b"link%d" % index, b"%d" % (flags & _UP_AND_RUNNING))
        if kind in (_NEWADDR, _DELADDR):
            family, length, _flags, _scope, index = _ADDRESS.unpack_from(body)
            words = _attributes(body[_ADDRESS.size :], _ADDRESS_ATTRIBUTES)
            subject = b"address%d/%d/%d" % (family, length, index) + words.get(1, b"")
            return self._announced(kind == _DELADDR, subject, words.get(2, b"") + words.get(8, b""))
        if kind in (_NEWROUTE, _DELROUTE):
            fields = _ROUTE.unpack_from(body)
            if fields[7] in _LOCAL_KINDS or fields[8] & _CLONED:
                return False
            words = _attributes(body[_ROUTE.size :], _ROUTE_ATTRIBUTES)
            told = b"".join(b"%d:%b;" % item for item in sorted(words.items()))
            return self._announced(kind == _DELROUTE, b"route%d/%d/%d:" % (fields[0], fields[1], fields[7]) + told, b"")
        return True  # rules

    def _announced(self, gone: bool, subject: bytes, words: bytes) -> bool:
        if gone:
            self._known.pop(subject, None)
            return True
        if self._known.get(subject) == words:
            return False
        if len(self._known) >= _MAX_KNOWN:
            self._known.clear()
        self._known[subject] = words
        return True


def _attributes(data: bytes, wanted: frozenset[int]) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while len(data) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data)
        if length < _ATTRIBUTE.size:
            break
        if kind in wanted:
            found[kind] = data[_ATTRIBUTE.size : length]
        data = data[(length + 3) & ~3 :]
    return found


def _open() -> socket.socket | None:
    family = getattr(socket, "AF_NETLINK", None)
    if family is None:
        return None
    sock = None
    try:
        sock = socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, 0)
        sock.bind((0, _GROUPS))
    except OSError:  # a sandbox that forbids netlink
        if sock is not None:
            sock.close()
        return None
    return sock


_watch: NetworkWatch | None = None


def watch() -> NetworkWatch:
    """The process's own."""
    global _watch  # noqa: PLW0603 # one socket a process, opened with the first connection
    if _watch is None:
        _watch = NetworkWatch()
    return _watch


def _forget() -> None:
    """What the parent is told is not told to the child too."""
    global _watch  # noqa: PLW0603
    if _watch is not None:
        _watch.close()
        _watch = None


os.register_at_fork(after_in_child=_forget)
atexit.register(_forget)
