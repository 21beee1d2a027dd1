"""The two servers behind a proxy under test, each keeping what it got byte for byte: an application and a provider.

Both answer from a script: what a test puts in comes out for the next requests, in order; after that the usual answer.
"""

from __future__ import annotations

import contextlib
import json
import socket
import socketserver
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, ClassVar, Self


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it came."""

    request_line: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    raw_head: bytes
    at: float = field(default=0.0, compare=False)

    def get(self, name: str) -> str | None:
        """The first field of that name, without regard to case."""
        return next((v for k, v in self.headers if k.lower() == name), None)

    def get_all(self, name: str) -> list[str]:
        """Every field of that name, in order."""
        return [v for k, v in self.headers if k.lower() == name]

    @property
    def target(self) -> str:
        """The request target, as sent."""
        return self.request_line.split(" ")[1]


@dataclass(frozen=True, slots=True)
class Answer:
    """What to send back. `raw` replaces everything; `delay` comes before the first byte."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    delay: float = 0.0
    raw: bytes | None = None
    close: bool = False

    def to_bytes(self) -> bytes:
        if self.raw is not None:
            return self.raw
        lines = [f"HTTP/1.1 {self.status} Scripted", *(f"{k}: {v}" for k, v in self.headers)]
        lines.append(f"content-length: {len(self.body)}")
        return "\r\n".join((*lines, "", "")).encode("latin-1") + self.body


class _Handler(socketserver.BaseRequestHandler):
    server: _ThreadingServer

    def handle(self) -> None:
        recorder = self.server.recorder
        self.request.settimeout(60)
        buffer = b""
        try:
            while True:
                while b"\r\n\r\n" not in buffer:
                    data = self.request.recv(262144)
                    if not data:
                        return
                    buffer += data
                raw_head, _, buffer = buffer.partition(b"\r\n\r\n")
                received, buffer = self._read_body(raw_head, buffer)
                answer = recorder.take(received)
                if answer.delay:
                    time.sleep(answer.delay)
                payload = answer.to_bytes()
                if received.request_line.startswith("HEAD ") and answer.raw is None:
                    payload = payload.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
                self.request.sendall(payload)
                if answer.close:
                    return
                if b"101 Switching" in payload[:40]:
                    self._echo(buffer)
                    return
        except OSError:
            return

    def _echo(self, buffer: bytes) -> None:
        while data := buffer or self.request.recv(262144):
            buffer = b""
            self.request.sendall(data)

    def _read_body(self, raw_head: bytes, buffer: bytes) -> tuple[Received, bytes]:
        lines = raw_head.decode("latin-1").split("\r\n")
        headers = tuple((k, v.strip(" \t")) for k, _, v in (line.partition(":") for line in lines[1:]))
        lower = {k.lower(): v for k, v in headers}
        if lower.get("expect", "").lower() == "100-continue":
            self.request.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = b""
        if lower.get("transfer-encoding", "").lower() == "chunked":
            body, buffer = self._chunks(buffer)
        else:
            length = int(lower.get("content-length", "0"))
            while len(buffer) < length:
                buffer += self._receive()
            body, buffer = buffer[:length], buffer[length:]
        return Received(lines[0], headers, body, raw_head, time.time()), buffer

    def _receive(self) -> bytes:
        data: bytes = self.request.recv(262144)
        if not data:
            raise ConnectionError("closed inside a body")
        return data

    def _chunks(self, buffer: bytes) -> tuple[bytes, bytes]:
        body = b""
        while True:
            while b"\r\n" not in buffer:
                buffer += self._receive()
            line, _, buffer = buffer.partition(b"\r\n")
            size = int(line.split(b";")[0], 16)
            while len(buffer) < size + 2:
                buffer += self._receive()
            if not size:
                while b"\r\n" not in buffer:
                    buffer += self._receive()
                if buffer.startswith(b"\r\n"):
                    return body, buffer[2:]
                while b"\r\n\r\n" not in buffer:
                    buffer += self._receive()
                return body, buffer.partition(b"\r\n\r\n")[2]
            body, buffer = body + buffer[:size], buffer[size + 2 :]


class _ThreadingServer(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 512
    recorder: Recorder

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.open: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self.open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.open.discard(request)
        super().shutdown_request(request)

    def break_connections(self) -> None:
        """What happens to them when a process ends."""
        for connection in list(self.open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class Recorder:
    """A server on loopback that keeps every request and answers from a script."""

    def __init__(self, port: int = 0) -> None:
        self.received: list[Received] = []
        self.script: deque[Answer] = deque()
        self.lock = threading.Lock()
        self.server = _ThreadingServer(("127.0.0.1", port), _Handler)
        self.server.recorder = self
        self.port: int = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening, and break what is open."""
        self.server.shutdown()
        self.server.server_close()
        self.server.break_connections()

    def take(self, received: Received) -> Answer:
        """Keep a request and say what it gets."""
        with self.lock:
            self.received.append(received)
            return self.script.popleft() if self.script else self.usual(received)

    def usual(self, received: Received) -> Answer:
        """The answer when the script has ended."""
        raise NotImplementedError

    def drain(self) -> list[Received]:
        """What came since the last call."""
        with self.lock:
            got, self.received = self.received, []
            return got


class Application(Recorder):
    """Echoes: `you asked for <target>`."""

    def usual(self, received: Received) -> Answer:
        if received.get("upgrade"):
            raw = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\r\n"
            return Answer(raw=raw)
        body = f"you asked for {received.target}\n".encode()
        return Answer(headers=(("content-type", "text/plain"),), body=body)


class Provider(Recorder):
    """A token endpoint that gives everybody the same tokens."""

    TOKENS: ClassVar[dict[str, object]] = {
        "access_token": "access-1",
        "token_type": "Bearer",
        "expires_in": 3600,
        "id_token": "id-1",
        "refresh_token": "refresh-1",
    }

    def usual(self, received: Received) -> Answer:
        return tokens(**self.TOKENS)


def tokens(**values: object) -> Answer:
    """A token response with these members."""
    return Answer(headers=(("content-type", "application/json"),), body=json.dumps(values).encode())
