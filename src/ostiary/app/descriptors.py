"""How many files and sockets this process may have open, and how many of them clients may take.

Without a bound of our own, clients could take the last one, and then no upstream can be reached for any of them.
"""

from __future__ import annotations

import contextlib
import resource

from ostiary.model import limits


def raise_limit() -> None:
    """As many as the system allows: the soft limit is low for the sake of programs that use select()."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def for_clients(listeners: int) -> int:
    """Connections that each of so many listeners may have."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed == resource.RLIM_INFINITY:
        return limits.MAX_DOWNSTREAM_CONNECTIONS
    spare = allowed - limits.OWN_DESCRIPTORS
    spare -= min(limits.DESCRIPTOR_RESERVE, spare // 2)
    return max(min(limits.MAX_DOWNSTREAM_CONNECTIONS, spare // max(listeners, 1)), 1)
