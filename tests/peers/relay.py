"""A wire that breaks on request: passes HTTP requests on to a server, and spoils the answers in one way at a time."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import struct
import threading
from types import TracebackType
from typing import BinaryIO, Self

from waiting import PATIENCE

MODES = ("reset", "close", "half a head", "half a body", "half, then the end", "silence", "garbage")


STALLING = ("half a head", "half a body", "silence")
"""Of these, those after which nothing more comes."""


class Relay:
    """Listens on `port`, speaks to `target`. `mode` is "pass" or one of MODES; what stalls does so until it passes."""

    def __init__(self, target: int, port: int = 0) -> None:
        self.target = target
        self._mode = "pass"
        self._passes = threading.Event()
        self.stalled = 0
        """Requests that got no whole answer, and nothing else either."""
        relay = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                with contextlib.suppress(OSError, ValueError):
                    while request := read_message(self.rfile):
                        if not relay.answer(self.request, request):
                            return

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True

        self._server = Server(("127.0.0.1", port), Handler)
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    @property
    def mode(self) -> str:
        """What happens to answers."""
        return self._mode

    @mode.setter
    def mode(self, mode: str) -> None:
        self._mode = mode
        if mode == "pass":
            stalled, self._passes = self._passes, threading.Event()
            stalled.set()

    def answer(self, client: socket.socket, request: bytes) -> bool:
        """Do it; False if the connection is to be closed."""
        mode, passes = self._mode, self._passes
        if mode == "reset":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
            return False
        if mode == "silence":
            self.stalled += 1
            passes.wait(PATIENCE)
        if mode == "garbage":
            client.sendall(b"\x16\x03\x01 not HTTP at all\r\n\r\n" * 10)
        if mode in ("reset", "silence", "garbage", "close"):
            return False
        with socket.create_connection(("127.0.0.1", self.target), PATIENCE) as server:
            server.sendall(request)
            response = read_message(server.makefile("rb"))
        head = response.index(b"\r\n\r\n") + 4
        cut = {"half a head": head // 2, "half a body": (head + len(response)) // 2}
        cut["half, then the end"] = cut["half a body"]
        client.sendall(response[: cut.get(mode, len(response))])
        if mode in ("half a head", "half a body"):
            self.stalled += 1
            passes.wait(PATIENCE)
        return mode == "pass"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.mode = "pass"
        self._server.shutdown()
        self._server.server_close()


def read_message(stream: BinaryIO) -> bytes:
    """One message whose body has a length; empty at the end."""
    lines = []
    length = 0
    while line := stream.readline():
        lines.append(line)
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
        if line == b"\r\n":
            return b"".join(lines) + stream.read(length)
    return b""
