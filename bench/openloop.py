"""Constant-rate load: `python -m bench.openloop PORT RATE SECONDS CONNECTIONS HEAD-FILE` prints one JSON line.

Requests are due at fixed times whether or not earlier ones were answered, and a response's time counts from when its
request was due: a proxy that stalls is charged for everyone who had to wait (no coordinated omission). A plain epoll
loop with a timer descriptor, since event loops round their timers to milliseconds.
"""

from __future__ import annotations

import ctypes
import gc
import json
import select
import socket
import struct
import sys
import time
from collections import deque
from pathlib import Path

CLOCK_MONOTONIC = 1
DRAIN_SECONDS = 3.0
MAX_SECONDS = 60.0
WARM_UP_SECONDS = 0.5
libc = ctypes.CDLL(None, use_errno=True)


class Timer:
    """A descriptor that becomes readable at a given time of the monotonic clock."""

    def __init__(self) -> None:
        self.fd: int = libc.timerfd_create(CLOCK_MONOTONIC, 0)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")

    def set(self, when: float) -> None:
        """Fire at `when`, seconds of time.monotonic()."""
        spec = struct.pack("qqqq", 0, 0, int(when), max(1, int(when % 1 * 1e9)))
        if libc.timerfd_settime(self.fd, 1, spec, None):
            raise OSError(ctypes.get_errno(), "timerfd_settime")


class Connection:
    """One keep-alive connection with at most one request under way."""

    __slots__ = ("due", "missing", "received", "socket")

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 5)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.due = 0.0
        self.received = b""
        self.missing = 0

    def receive(self) -> bool:
        """Read what is there; True once the response is complete. Raises RuntimeError if it is not a success."""
        data = self.socket.recv(262144)
        if not data:
            raise RuntimeError("the proxy closed a connection")
        if self.missing:
            self.missing -= len(data)
            return not self.missing
        self.received += data
        end = self.received.find(b"\r\n\r\n")
        if end < 0:
            return False
        head = self.received[:end].lower()
        if not head.startswith(b"http/1.1 200"):
            raise RuntimeError(f"not a success: {head[:60]!r}")
        at = head.index(b"content-length:") + 15
        length = int(head[at:].split(b"\r\n", 1)[0])
        self.missing = end + 4 + length - len(self.received)
        self.received = b""
        return not self.missing


def run(port: int, rate: float, seconds: float, connections: int, head: bytes) -> dict[str, float]:
    """Send at `rate` for `seconds`; times in seconds. The first half second warms up and is not counted."""
    clients = {c.socket.fileno(): c for c in (Connection(port) for _ in range(connections))}
    poller = select.epoll()
    for fd in clients:
        poller.register(fd, select.EPOLLIN)
    timer = Timer()
    poller.register(timer.fd, select.EPOLLIN)
    free = deque(clients.values())
    times: list[float] = []
    gc.disable()
    start = time.monotonic() + 0.01
    interval, sent = 1 / rate, 0
    total = int(rate * min(seconds, MAX_SECONDS))
    deadline = start + seconds + DRAIN_SECONDS
    answered = 0
    timer.set(start)
    while answered < total and time.monotonic() < deadline:
        for fd, _ in poller.poll(1.0):
            client = clients.get(fd)
            if client is not None and client.receive():
                if client.due - start >= WARM_UP_SECONDS:
                    times.append(time.monotonic() - client.due)
                answered += 1
                free.append(client)
        now = time.monotonic()
        while sent < total and free and (due := start + sent * interval) <= now:
            client = free.popleft()
            client.due = due
            client.socket.send(head)
            sent += 1
        if sent < total:
            timer.set(max(start + sent * interval, now + 20e-6) if free else now + 1.0)
    if not times:
        raise RuntimeError("nothing was answered after the warm-up")
    times.sort()
    return {
        "rate": rate,
        "answered": answered,
        "unanswered": total - answered,
        "p50": times[len(times) // 2],
        "p90": times[int(len(times) * 0.90)],
        "p99": times[int(len(times) * 0.99)],
        "max": times[-1],
    }


if __name__ == "__main__":
    result = run(
        int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]), Path(sys.argv[5]).read_bytes()
    )
    print(json.dumps(result))
