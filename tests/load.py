"""Clients that keep a doorkeeper busy while something happens to it, and count what fails. They never retry.

Each keeps its connection as long as it may: an answer with `connection: close` is the last on its connection. So what
fails here would have failed for a user.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from ostiary.testing.websocket import accept_value
from waiting import PATIENCE
from wire import Answer, Client, Handler, Heard, read_body

CHUNKS = 40
_PAUSE = 0.05
WEBSOCKET = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
"""Header lines that ask for one."""


def application(name: str) -> Handler:
    """An application that says back what it gets; answers name it, so that it is known who was asked."""

    async def answer(heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _answer(name.encode(), heard, reader, writer)

    return answer


async def _answer(name: bytes, heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    path = heard.line.split(b" ")[1]
    if heard.get(b"upgrade"):
        key = (heard.get(b"sec-websocket-key") or b"").decode()
        head = f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept_value(key)}\r\n\r\n"
        writer.write(f"HTTP/1.1 101 Switching Protocols\r\n{head}".encode())
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()
        return
    body = await read_body(heard, reader)
    if path.startswith(b"/stream"):
        writer.write(b"HTTP/1.1 200 OK\r\nx-app: %b\r\ntransfer-encoding: chunked\r\n\r\n" % name)
        for number in range(CHUNKS):
            line = b"%04d" % number
            writer.write(b"4\r\n%b\r\n" % line)
            await asyncio.sleep(_PAUSE)
        writer.write(b"0\r\n\r\n")
    else:
        said = path + b" " + body
        writer.write(b"HTTP/1.1 200 OK\r\nx-app: %b\r\ncontent-length: %d\r\n\r\n%b" % (name, len(said), said))
    await writer.drain()


@dataclass
class Load:
    """What is going on. `failures` says what went wrong, `answers` counts by kind what went well."""

    address: str
    tls: Callable[[], tuple[ssl.SSLContext, str]] | None = None
    headers: tuple[str, ...] = ()
    retries: bool = False
    """Send a GET again, over a new connection, if it met a broken one; once."""
    retried: int = 0
    clients: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    closed: int = 0
    """Connections whose last answer said so."""
    stopping: bool = False
    _posts: int = 0
    seen: Counter[str] = field(default_factory=Counter)
    """Values of the answer header `x-app`, of requests that began since `forget`."""

    def forget(self) -> None:
        """Count only requests that begin from now on in `seen`: those on their way may still meet what was before."""
        self.seen = Counter()

    async def connect(self) -> Client:
        if self.tls is None:
            return await Client.connect(self.address)
        context, name = self.tls()
        host, _, port = self.address.rpartition(":")
        return Client.over(*await asyncio.open_connection(host, int(port), ssl=context, server_hostname=name))

    async def client(self, kind: str, once: Callable[[Client, int], Awaitable[Answer]], pause: float = 0.0) -> None:
        """Requests one after the other until the end."""
        client: Client | None = None
        number, again = 0, False
        while not self.stopping:
            number += 1
            seen = self.seen
            try:
                client = client or await self.connect()
                answer = await once(client, number)
                self.answers[kind] += 1
                seen[answer.get("x-app") or ""] += 1
                if answer.get("connection") == "close":
                    self.closed += 1
                    client.close()
                    client = None
                again = False
            except (OSError, asyncio.IncompleteReadError, AssertionError, ValueError) as error:
                client = None
                again = self.retries and not again and not isinstance(error, AssertionError)
                if again:
                    self.retried += 1
                    continue
                self.failures.append(f"{kind} {number}: {error!r}")
            await asyncio.sleep(pause)
        if client is not None:
            client.close()

    async def get(self, client: Client, number: int) -> Answer:
        answer = await client.get(f"/get/{number}", *self.headers)
        assert (answer.status, answer.body) == (200, b"/get/%d " % number), answer
        return answer

    async def post(self, client: Client, number: int) -> Answer:
        body = os.urandom(20_000)
        head = "".join(f"{line}\r\n" for line in self.headers)
        client.send(f"POST /post HTTP/1.1\r\nHost: app.test\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode())
        client.send(body[:9_000])
        await asyncio.sleep(0.01)
        client.send(body[9_000:])
        answer = await client.answer()
        assert (answer.status, answer.body) == (200, b"/post " + body), (number, answer.status)
        return answer

    async def stream(self, client: Client, number: int) -> Answer:
        answer = await client.get(f"/stream/{number}", *self.headers)
        assert (answer.status, answer.body) == (200, b"".join(b"%04d" % n for n in range(CHUNKS))), answer
        return answer

    async def websocket(self) -> None:
        """One connection for all the time."""
        try:
            client = await self.connect()
            answer = await client.get("/ws", *self.headers, *WEBSOCKET)
            assert answer.status == 101, answer
            while not self.stopping:
                said = os.urandom(100)
                client.send(said)
                assert await client.reader.readexactly(100) == said
                self.answers["websocket"] += 1
                await asyncio.sleep(0.02)
            client.close()
        except (OSError, asyncio.IncompleteReadError, AssertionError) as error:
            self.failures.append(f"websocket: {error!r}")

    @contextlib.asynccontextmanager
    async def running(
        self, *, websockets: int = 2, streams: int = 2, busy: int = 4, calm: int = 4, posts: int = 2
    ) -> AsyncIterator[Load]:
        """Keep it busy; at the end every client finishes what it does."""
        tasks = [
            *(self.client("get", self.get) for _ in range(busy)),
            *(self.client("calm", self.get, 0.3) for _ in range(calm)),
            *(self.client("post", self.post) for _ in range(posts)),
            *(self.client("stream", self.stream) for _ in range(streams)),
            *(self.websocket() for _ in range(websockets)),
        ]
        self.clients, self._posts = len(tasks), posts
        running = [asyncio.create_task(each) for each in tasks]
        try:
            await self.progress()
            yield self
        finally:
            self.stopping = True
            await asyncio.gather(*running)

    async def progress(self, more: int = 20) -> None:
        """Wait until some more of each kind went well."""
        before = Counter(self.answers)
        async with asyncio.timeout(PATIENCE):
            while self.answers["get"] < before["get"] + more or (
                self._posts and self.answers["post"] < before["post"] + more // 4
            ):
                assert not self.failures, self.failures
                await asyncio.sleep(0.02)
