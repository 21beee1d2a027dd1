"""Ports for programs that are told where to listen.

Below the range from which the system takes ports for outgoing connections: between the moment a port is chosen here
and the moment the program listens, no other connection of this machine can get it by chance.
"""

from __future__ import annotations

import random
import socket
from typing import Final

_RANGE: Final = range(20_000, 32_000)
_given: set[int] = set()


def free_port() -> int:
    """A loopback port that nobody listens on, given out once."""
    for port in random.sample(_RANGE, len(_RANGE)):
        if port in _given:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port
    raise RuntimeError(f"no port is free in {_RANGE}")
