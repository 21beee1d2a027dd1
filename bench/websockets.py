"""WebSocket load: `python -m bench.websockets PORT SECONDS CONNECTIONS SIZE HEAD-FILE` prints one JSON line.

Each connection upgrades with the session's head, then sends one masked text frame, waits until the upstream has sent
it back, and sends the next.
"""

from __future__ import annotations

import gc
import json
import os
import select
import socket
import sys
import time
from pathlib import Path

MAX_SECONDS = 60.0


def frame(size: int) -> bytes:
    """A masked text frame of `size` characters (RFC 6455 section 5.2), 126 to 65,535 of them."""
    key = os.urandom(4)
    payload = bytes(b ^ key[i % 4] for i, b in enumerate(b"m" * size))
    return bytes((0x81, 0x80 | 126)) + size.to_bytes(2, "big") + key + payload


def upgrade(port: int, head: bytes) -> socket.socket:
    """A connection that speaks WebSocket. Raises RuntimeError if the upgrade was refused."""
    client = socket.create_connection(("127.0.0.1", port), 5)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client.sendall(head)
    answer = b""
    while b"\r\n\r\n" not in answer:
        data = client.recv(65536)
        if not data:
            break
        answer += data
    if not answer.startswith(b"HTTP/1.1 101") or not answer.endswith(b"\r\n\r\n"):
        raise RuntimeError(f"no upgrade: {answer[:80]!r}")
    return client


def run(port: int, seconds: float, connections: int, size: int, head: bytes) -> dict[str, float]:
    """Messages there and back for `seconds`."""
    clients = {c.fileno(): c for c in (upgrade(port, head) for _ in range(connections))}
    message = frame(size)
    missing = dict.fromkeys(clients, len(message))
    poller = select.epoll()
    gc.disable()
    start = time.monotonic()
    for fd, client in clients.items():
        poller.register(fd, select.EPOLLIN)
        client.sendall(message)
    deadline = start + min(seconds, MAX_SECONDS)
    count = 0
    while time.monotonic() < deadline:
        for fd, _ in poller.poll(1.0):
            data = clients[fd].recv(65536)
            if not data:
                raise RuntimeError("a WebSocket was closed")
            missing[fd] -= len(data)
            if not missing[fd]:
                count += 1
                missing[fd] = len(message)
                clients[fd].sendall(message)
    elapsed = time.monotonic() - start
    return {"messages": count, "seconds": elapsed, "rate": count / elapsed}


if __name__ == "__main__":
    head_bytes = Path(sys.argv[5]).read_bytes()
    print(json.dumps(run(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), head_bytes)))
