"""Has this host a route to an address, and from where? Asked of the kernel without sending a packet.

A UDP `connect` makes the kernel choose route and source address (3 to 40 us, no privileges); its errors are those that
a TCP connect would meet at once. A source that can't reach the destination (a link-local one for a global address)
counts as no route. Where the kernel reports changes, its word is believed until it reports one, or for some seconds.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from typing import Any, Final

from ostiary.core.addresses import Candidate, Destination, family_of, is_usable_source
from ostiary.model import limits

_NO_ROUTE: Final = frozenset(
    {
        errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EACCES, errno.EPERM,
        errno.EINVAL,
    }
)  # fmt: skip
"""EADDRNOTAVAIL is what `disable_ipv6=1` gives, EACCES a `prohibit` route, EINVAL a `blackhole` one (Linux)."""
_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRINUSE})
"""No packet was sent either, but routes have nothing to do with it."""
_BIND_ADDRESS_NO_PORT: Final = 24
"""Linux's IP_BIND_ADDRESS_NO_PORT: the port is chosen at connect, among those free for that destination."""
LocalAddress = tuple[str, int]
"""A local IP address to connect from, and a port (0: any)."""


class Routes:
    """The kernel's word on addresses, remembered while nothing changes."""

    __slots__ = ("_found",)

    def __init__(self) -> None:
        self._found: dict[tuple[Destination, LocalAddress | None], tuple[float, Candidate]] = {}

    def check(self, destination: Destination, local: Sequence[LocalAddress], now: float, *, keep: bool) -> Candidate:
        """As `check`; `keep` says that whoever calls flushes this memory when the network changes."""
        if not keep:
            return check(destination, local)
        key = (destination, local_for(destination.address, local) if local else None)
        found = self._found.get(key)
        if found is not None and now < found[0]:
            return found[1]
        if len(self._found) >= limits.MAX_ROUTES:
            self._found.clear()
        candidate = check(destination, local)
        self._found[key] = (now + limits.ROUTE_MEMORY, candidate)
        return candidate

    def flush(self) -> None:
        """The network has changed."""
        self._found.clear()


def check(destination: Destination, local: Sequence[LocalAddress] = ()) -> Candidate:
    """The destination with its source address. An error that says nothing about routes leaves it routable.

    `local` are the addresses to connect from, where they are given: without one of its family there is no way.
    """
    bound = local_for(destination.address, local)
    if local and bound is None:
        return Candidate(destination, routable=False)
    try:
        with socket.socket(socket_family(destination.address), socket.SOCK_DGRAM) as probe:
            if bound is not None:
                probe.bind(sockaddr(bound[0], 0))
            probe.connect(sockaddr(*destination))
            source = str(probe.getsockname()[0])
    except OSError as error:
        return Candidate(destination, routable=error.errno not in _NO_ROUTE)
    return Candidate(destination, source, routable=is_usable_source(destination.address, source))


def is_local_error(number: int | None) -> bool:
    """Whether an error that connect() gave at once came from this host itself, before any packet."""
    return number in _NO_ROUTE or number in _EXHAUSTED


def local_for(address: str, local: Sequence[LocalAddress]) -> LocalAddress | None:
    """The local address of the family of `address`; None if there is none."""
    family = family_of(address)
    return next((found for found in local if family_of(found[0]) == family), None)


def socket_family(address: str) -> socket.AddressFamily:
    """AF_INET or AF_INET6."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def sockaddr(address: str, port: int) -> Any:
    """The socket address; the zone of a link-local one (`fe80::1%eth0`) as the number of its interface.

    Raises OSError for an interface that does not exist.
    """
    if "%" not in address:
        return (address, port)
    plain, _, zone = address.partition("%")
    return (plain, port, 0, int(zone) if zone.isdigit() else socket.if_nametoindex(zone))


def bind(sock: socket.socket, local: LocalAddress) -> None:
    """Connect from this address. Raises OSError if it is not of this host."""
    if local[1]:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    elif hasattr(socket, "AF_NETLINK"):
        sock.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)  # of both families
    sock.bind(sockaddr(*local))
