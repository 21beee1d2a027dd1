"""Has this host a route to an address, and from where? Asked of the kernel without sending a packet.

A UDP `connect` makes the kernel choose route and source address (3 to 40 us, no privileges); its errors are those that
a TCP connect would meet at once. A source that can't reach the destination (a link-local one for a global address)
counts as no route.
"""

from __future__ import annotations

import errno
import socket
from typing import Final

from ostiary.core.addresses import Candidate, Destination, is_usable_source

_NO_ROUTE: Final = frozenset(
    {
        errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EACCES, errno.EPERM,
        errno.EINVAL,
    }
)  # fmt: skip
"""EADDRNOTAVAIL is what `disable_ipv6=1` gives, EACCES a `prohibit` route, EINVAL a `blackhole` one (Linux)."""


def check(destination: Destination) -> Candidate:
    """The destination with its source address. An error that says nothing about routes leaves it routable."""
    family = socket.AF_INET6 if destination.family == "v6" else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(destination)
            source = str(probe.getsockname()[0])
    except OSError as error:
        return Candidate(destination=destination, routable=error.errno not in _NO_ROUTE)
    if is_usable_source(destination.address, source):
        return Candidate(destination=destination, source=source)
    return Candidate(destination=destination, source=source, routable=False)


def is_local_error(number: int | None) -> bool:
    """Whether an error that connect() gave at once came from this host's own routes, before any packet."""
    return number in _NO_ROUTE
