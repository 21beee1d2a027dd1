"""A scripted HTTP/2 application on the h2 library: it does as a test tells it, good or bad."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings

Headers = list[tuple[bytes, bytes]]
OK: Headers = [(b":status", b"200"), (b"content-type", b"text/plain")]


@dataclass
class Got:
    """A request as it came."""

    connection: ServerConnection
    id: int
    headers: Headers
    body: bytearray = field(default_factory=bytearray)
    trailers: Headers = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    reset: int | None = None
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    """Reset by the proxy."""

    def get(self, name: bytes) -> bytes | None:
        return next((value for key, value in self.headers if key == name), None)

    def all(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.headers if key == name]

    def answer(self, body: bytes = b"ok", headers: Headers = OK, *, end: bool = True) -> None:
        """A head and a body that fits into the window."""
        h2 = self.connection.h2
        h2.send_headers(self.id, headers, end_stream=end and not body)
        if body:
            h2.send_data(self.id, body, end_stream=end)
        self.connection.flush()

    def end(self, trailers: Headers = []) -> None:  # noqa: B006 - never changed
        """The end of the body."""
        if trailers:
            self.connection.h2.send_headers(self.id, trailers, end_stream=True)
        else:
            self.connection.h2.end_stream(self.id)
        self.connection.flush()

    def send_reset(self, code: ErrorCodes) -> None:
        """RST_STREAM."""
        self.connection.h2.reset_stream(self.id, code)
        self.connection.flush()


Script = Callable[[Got], None]


class ServerConnection(asyncio.Protocol):
    """One connection of the proxy's."""

    def __init__(self, server: H2Server) -> None:
        self.server = server
        config = H2Configuration(
            client_side=False, header_encoding=None, validate_outbound_headers=False,
            normalize_outbound_headers=False, validate_inbound_headers=True,
        )  # fmt: skip
        self.h2 = H2Connection(config)
        self.requests: dict[int, Got] = {}
        self.closed = asyncio.Event()
        self.goaway: int | None = None
        self.pings = 0
        self.window = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self.server.connections.append(self)
        self.h2.local_settings = Settings(client=False, initial_values=self.server.settings)
        self.h2.initiate_connection()
        if self.server.silent:
            self.h2.data_to_send()
        self.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set()

    def flush(self) -> None:
        self.transport.write(self.h2.data_to_send())

    def raw(self, data: bytes) -> None:
        """Bytes that the library would not send."""
        self.flush()
        self.transport.write(data)

    def data_received(self, data: bytes) -> None:
        try:
            for event in self.h2.receive_data(data):
                self._on(event)
        except ProtocolError as error:
            self.server.errors.append(error)
            self.transport.close()
            return
        if not self.server.silent:
            self.flush()

    def _on(self, event: events.Event) -> None:
        match event:
            case events.RequestReceived():
                got = Got(self, event.stream_id, list(event.headers))
                self.requests[event.stream_id] = got
                self.server.got.append(got)
                self.server.arrived.set()
                self.server.script(got)
            case events.DataReceived():
                got = self.requests[event.stream_id]
                got.body += event.data
                if self.server.reads and event.flow_controlled_length:
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                self.server.on_data(got)
            case events.TrailersReceived():
                self.requests[event.stream_id].trailers = list(event.headers)
            case events.StreamEnded():
                got = self.requests[event.stream_id]
                got.ended.set()
                self.server.on_end(got)
            case events.StreamReset():
                got = self.requests[event.stream_id]
                got.reset = event.error_code
                got.gone.set()
            case events.ConnectionTerminated():
                self.goaway = event.error_code
            case events.PingReceived():
                self.pings += 1
            case events.WindowUpdated():
                self.window.set()


def echo(got: Got) -> None:
    """200, at once."""
    got.answer()


class H2Server:
    """Listens; `script` is called with each request's head, `on_end` with its end."""

    def __init__(
        self,
        script: Script = echo,
        *,
        settings: dict[SettingCodes, int] | None = None,
        on_end: Script = lambda _got: None,
        on_data: Script = lambda _got: None,
    ) -> None:
        self.script = script
        self.on_end = on_end
        self.on_data = on_data
        self.settings = settings or {}
        self.reads = True
        self.silent = False
        """Answers nothing, not even PINGs."""
        self.connections: list[ServerConnection] = []
        self.got: list[Got] = []
        self.arrived = asyncio.Event()
        self.errors: list[Exception] = []
        self.port = 0
        self.accept: Callable[[], Awaitable[None]]

    @contextlib.asynccontextmanager
    async def running(
        self, tls: ssl.SSLContext | None = None, *, accepts: bool = True, at: tuple[str, int] = ("127.0.0.1", 0)
    ) -> AsyncIterator[H2Server]:
        """`accepts` False: who connects is left waiting until `accept`."""
        loop = asyncio.get_running_loop()
        listening = socket.create_server(at)
        self.port = listening.getsockname()[1]
        server = await loop.create_server(lambda: ServerConnection(self), sock=listening, ssl=tls, start_serving=False)
        self.accept = server.start_serving
        if accepts:
            await self.accept()
        try:
            yield self
        finally:
            server.close()
            for connection in self.connections:
                connection.transport.abort()
            assert not self.errors, self.errors

    async def request(self, number: int = 1) -> Got:
        """The request of that number, as soon as it is there."""
        while len(self.got) < number:
            self.arrived.clear()
            await self.arrived.wait()
        return self.got[number - 1]
