"""Raw sockets for tests: an upstream that does exactly as told, and a client that sends exactly what it is given."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import uvloop

from waiting import PATIENCE

Handler = Callable[["Heard", asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

_writers: list[asyncio.StreamWriter] = []
"""Whatever a test opened, closed when it ends."""


@dataclass
class Heard:
    """A request as it came over the wire."""

    line: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes = b""
    trailers: list[bytes] = field(default_factory=list)

    def get(self, name: bytes) -> bytes | None:
        return next((v for n, v in self.headers if n == name), None)

    def all(self, name: bytes) -> list[bytes]:
        return [v for n, v in self.headers if n == name]


async def read_head(reader: asyncio.StreamReader) -> Heard:
    head = await reader.readuntil(b"\r\n\r\n")
    line, *lines = head[:-4].split(b"\r\n")
    pairs = [tuple(one.split(b": ", 1)) if b": " in one else (one.rstrip(b":"), b"") for one in lines]
    return Heard(line, pairs)  # type: ignore[arg-type]


async def _chunk_size(reader: asyncio.StreamReader) -> int:
    line = await reader.readline()
    if not line.endswith(b"\n"):
        raise asyncio.IncompleteReadError(line, None)
    return int(line, 16)


async def read_body(heard: Heard, reader: asyncio.StreamReader) -> bytes:
    if heard.get(b"transfer-encoding") == b"chunked":
        body = b""
        while size := await _chunk_size(reader):
            body += await reader.readexactly(size)
            await reader.readline()
        while (line := await reader.readline()) != b"\r\n":
            heard.trailers.append(line.strip())
        return body
    return await reader.readexactly(int(heard.get(b"content-length") or 0))


class Upstream:
    """An application: `answer` is sent to every request, or `handler` does what it likes."""

    def __init__(
        self, answer: bytes = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", handler: Handler | None = None
    ):
        self.answer = answer
        self.handler = handler
        self.heard: list[Heard] = []
        self.connections = 0
        self.port = 0

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        _writers.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                heard = await read_head(reader)
                self.heard.append(heard)
                if self.handler is not None:
                    await self.handler(heard, reader, writer)
                else:
                    heard.body = await read_body(heard, reader)
                    writer.write(self.answer)
                    await writer.drain()
                if writer.is_closing():
                    break
        writer.close()

    @contextlib.asynccontextmanager
    async def running(self, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> AsyncIterator[Upstream]:
        server = await asyncio.start_server(self._serve, host, self.port, ssl=tls)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()


@dataclass
class Answer:
    """A response as it came over the wire."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    trailers: list[bytes]
    informational: list[int]

    def get(self, name: str) -> str | None:
        return next((v for n, v in self.headers if n == name), None)

    def all(self, name: str) -> list[str]:
        return [v for n, v in self.headers if n == name]


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, address: str) -> Client:
        host, _, port = address.rpartition(":")
        return cls.over(*await asyncio.open_connection(host.strip("[]"), int(port)))

    @classmethod
    def over(cls, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Client:
        """A connection that was opened in another way."""
        _writers.append(writer)
        return cls(reader, writer)

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def answer(self, head_request: bool = False) -> Answer:
        """The next response, informational ones collected."""
        early: list[int] = []
        while True:
            head = await self.reader.readuntil(b"\r\n\r\n")
            line, *lines = head[:-4].decode("latin-1").split("\r\n")
            status = int(line.split(" ")[1])
            headers = [(n.lower(), v.strip()) for n, v in (one.split(":", 1) for one in lines)]
            if status >= 200 or status == 101:
                break
            early.append(status)
        found = Answer(status, headers, b"", [], early)
        if head_request or status in (101, 204, 304):
            return found
        if found.get("transfer-encoding") == "chunked":
            while size := await _chunk_size(self.reader):
                found.body += await self.reader.readexactly(size)
                await self.reader.readline()
            while (trailer := await self.reader.readline()) != b"\r\n":
                found.trailers.append(trailer.strip())
        elif found.get("content-length") is not None:
            found.body = await self.reader.readexactly(int(found.get("content-length") or 0))
        else:
            found.body = await self.reader.read()
        return found

    async def get(self, path: str = "/", *headers: str, host: str = "app.test", method: str = "GET") -> Answer:
        lines = "".join(f"{line}\r\n" for line in headers)
        self.send(f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n".encode("latin-1"))
        return await self.answer(method == "HEAD")

    async def closed(self) -> bool:
        """True once the other side has closed."""
        try:
            return await asyncio.wait_for(self.reader.read(), PATIENCE) is not None
        except ConnectionError:
            return True

    def close(self) -> None:
        self.writer.close()


def scenario(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """An async test, run on uvloop (the loop `ostiary run` uses) with a bound on its time."""

    @functools.wraps(test)
    def run(*args: object, **kwargs: object) -> None:
        async def bounded() -> None:
            try:
                async with asyncio.timeout(2 * PATIENCE):
                    await test(*args, **kwargs)
            finally:
                for writer in _writers:
                    writer.transport.abort()
                _writers.clear()
                others = asyncio.all_tasks() - {asyncio.current_task()}
                for task in others:
                    task.cancel()
                await asyncio.gather(*others, return_exceptions=True)
                await asyncio.sleep(0)

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(bounded())

    return run
