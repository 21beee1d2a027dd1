"""Connections that stay: `python -m bench.idle PORT COUNT HEAD-FILE`.

Opens COUNT keep-alive connections, makes one request on each, prints `ready`, and holds them until its input ends.
"""

from __future__ import annotations

import resource
import socket
import sys
from pathlib import Path


def open_one(port: int, head: bytes) -> socket.socket:
    """A connection that has had one answer. Raises RuntimeError if it was no success."""
    client = socket.create_connection(("127.0.0.1", port), 10)
    client.sendall(head)
    answer = b""
    while b"\r\n\r\n" not in answer or not answer.rstrip().endswith(b"}"):
        data = client.recv(65536)
        if not data:
            break
        answer += data
    if not answer.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"no success: {answer[:80]!r}")
    return client


def main() -> None:
    port, count, head = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]).read_bytes()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    held = [open_one(port, head) for _ in range(count)]
    print("ready", len(held), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
