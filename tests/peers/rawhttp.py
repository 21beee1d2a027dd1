"""An HTTP/1.1 client that changes nothing: bytes out as given, bytes in as they came.

Every library normalises something (header case, repeated fields, paths, cookies); tests that compare two proxies byte
by byte need a client that does not.
"""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass

TIMEOUT = 60.0


@dataclass(frozen=True, slots=True)
class Response:
    """One response as it came: names keep their case, repeated fields their order."""

    status: int
    reason: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    raw: bytes

    def get(self, name: str) -> str | None:
        """The first field of that name, without regard to case."""
        return next((v for k, v in self.headers if k.lower() == name), None)

    def get_all(self, name: str) -> list[str]:
        """Every field of that name, in order."""
        return [v for k, v in self.headers if k.lower() == name]


class Connection:
    """One connection to a proxy."""

    def __init__(self, port: int, *, timeout: float = TIMEOUT, host: str = "127.0.0.1") -> None:
        self.socket = socket.create_connection((host, port), timeout)
        self.socket.settimeout(timeout)
        self.buffer = b""

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.socket.sendall(data)

    def _more(self) -> bool:
        data = self.socket.recv(262144)
        self.buffer += data
        return bool(data)

    def _take(self, size: int) -> bytes:
        while len(self.buffer) < size:
            if not self._more():
                raise ConnectionError(f"closed {size - len(self.buffer)} bytes early")
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data

    def _take_line(self, end: bytes = b"\r\n") -> bytes:
        while end not in self.buffer:
            if not self._more():
                raise ConnectionError(f"closed before a line ended: {self.buffer[:200]!r}")
        line, _, self.buffer = self.buffer.partition(end)
        return line

    def receive(self, *, head_request: bool = False) -> Response:
        """Read one response to its end; 1xx responses other than 101 are returned as they come."""
        raw_head = self._take_line(b"\r\n\r\n")
        lines = raw_head.decode("latin-1").split("\r\n")
        _, code, *reason = lines[0].split(" ", 2)
        status = int(code)
        headers = tuple((name, value.strip(" \t")) for name, _, value in (line.partition(":") for line in lines[1:]))
        lower = {name.lower(): value for name, value in headers}
        if head_request or status < 200 or status in {204, 304}:
            body = b""
        elif lower.get("transfer-encoding", "").lower() == "chunked":
            body = self._chunks()
        elif "content-length" in lower:
            body = self._take(int(lower["content-length"]))
        else:
            body = self.rest()
        return Response(status, reason[0] if reason else "", headers, body, raw_head)

    def _chunks(self) -> bytes:
        body = b""
        while size := int(self._take_line().split(b";")[0], 16):
            body += self._take(size)
            self._take(2)
        while self._take_line():
            continue
        return body

    def rest(self) -> bytes:
        """Everything until the peer closes."""
        while self._more():
            continue
        data, self.buffer = self.buffer, b""
        return data

    def closed_within(self, seconds: float) -> bool:
        """True if the peer closes without another byte within that time."""
        deadline = time.monotonic() + seconds
        self.socket.settimeout(seconds)
        try:
            while time.monotonic() < deadline:
                if not self._more():
                    return not self.buffer
        except TimeoutError:
            return False
        except OSError:
            return True
        finally:
            self.socket.settimeout(TIMEOUT)
        return False


def request(
    method: str, target: str, headers: tuple[tuple[str, str], ...] = (), body: bytes = b"", *, host: str | None
) -> bytes:
    """The bytes of a request; Content-Length is added where there is a body and no framing is given."""
    lines = [f"{method} {target} HTTP/1.1"]
    if host is not None:
        lines.append(f"Host: {host}")
    lines += [f"{name}: {value}" for name, value in headers]
    framed = any(name.lower() in {"content-length", "transfer-encoding"} for name, _ in headers)
    if body and not framed:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join((*lines, "", "")).encode("latin-1") + body


def exchange(port: int, data: bytes, *, head_request: bool = False, timeout: float = TIMEOUT) -> Response:
    """Send bytes over a connection of their own and read one final response."""
    with Connection(port, timeout=timeout) as connection:
        connection.send(data)
        while True:
            response = connection.receive(head_request=head_request)
            if response.status >= 200 or response.status == 101:
                return response
