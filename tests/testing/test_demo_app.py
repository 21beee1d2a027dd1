"""The demo's application, spoken to over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.testing import websocket
from ostiary.testing.demo_app import DemoApp

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def talk(conversation: Talk) -> None:
    async def run() -> None:
        async with DemoApp() as app:
            reader, writer = await asyncio.open_connection("127.0.0.1", app.port)
            try:
                await conversation(reader, writer)
            finally:
                writer.close()

    asyncio.run(run())


async def answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return int(first.split()[1]), headers, await reader.readexactly(int(headers.get("content-length", "0")))


def ask(request: bytes) -> tuple[int, dict[str, str], bytes]:
    found: list[tuple[int, dict[str, str], bytes]] = []

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(request)
        found.append(await answer(reader))

    talk(once)
    return found[0]


def test_a_program_gets_what_it_sent_as_json() -> None:
    status, headers, body = ask(
        b"POST /anything/x?a=1&a=2 HTTP/1.1\r\nHost: h\r\nX-Two: 1\r\nX-Two: 2\r\nContent-Length: 5\r\n\r\nhello"
    )
    seen = json.loads(body)
    assert (status, headers["content-type"]) == (200, "application/json")
    assert (seen["method"], seen["path"], seen["args"]) == ("POST", "/anything/x", [["a", "1"], ["a", "2"]])
    assert [value for name, value in seen["headers"] if name == "X-Two"] == ["1", "2"]
    assert seen["body"] == {"size": 5, "sha256": hashlib.sha256(b"hello").hexdigest(), "text": "hello"}


def test_a_person_sees_who_they_are_and_no_secret() -> None:
    status, headers, body = ask(
        b"GET / HTTP/1.1\r\nHost: h\r\nAccept: text/html\r\nX-Forwarded-Email: <b>@example.com\r\n"
        b"Cookie: c=hunter2\r\nX-Evil: <script>\r\n\r\n"
    )
    page = body.decode()
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "You are <strong id=who>&lt;b&gt;@example.com</strong>" in page
    assert page.index("X-Forwarded-Email") < page.index("Accept")
    assert "hunter2" not in page and "<td><script>" not in page


@pytest.mark.parametrize(("path", "status"), [("404", 404), ("204", 204), ("503", 503), ("99999", 400), ("x", 400)])
def test_a_status_on_demand(path: str, status: int) -> None:
    assert ask(f"GET /status/{path} HTTP/1.1\r\nHost: h\r\n\r\n".encode())[0] == status


def test_an_unknown_path_is_not_found() -> None:
    assert ask(b"GET /nowhere HTTP/1.1\r\nHost: h\r\n\r\n")[0] == 404


def test_bodies_are_counted_whole_or_chunked_and_the_connection_goes_on() -> None:
    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = b"x" * 200_000
        digest = hashlib.sha256(data).hexdigest()
        writer.write(b"POST /upload HTTP/1.1\r\nHost: h\r\nContent-Length: 200000\r\n\r\n" + data)
        assert json.loads((await answer(reader))[2]) == {"size": 200_000, "sha256": digest}
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in (data[:70_000], data[70_000:]))
        head = b"POST /upload HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
        writer.write(head + chunks + b"0\r\nTrailer: x\r\n\r\n")
        assert (await answer(reader))[0] == 100
        assert json.loads((await answer(reader))[2]) == {"size": 200_000, "sha256": digest}
        writer.write(
            b"POST /headers HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabcGET /bytes/70000 HTTP/1.1\r\n\r\n"
        )
        assert (await answer(reader))[0] == 200
        assert len((await answer(reader))[2]) == 70_000

    talk(conversation)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\r\n\r\n",
        b"GET / SPDY/1\r\n\r\n",
        b"POST /upload HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /upload HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
        b"POST /upload HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 300_000 + b"\r\n",
    ],
)
def test_what_is_not_http_ends_the_connection(request_bytes: bytes) -> None:
    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(request_bytes)
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""

    talk(conversation)


def test_events_come_one_by_one() -> None:
    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"GET /stream HTTP/1.1\r\nHost: h\r\nAccept: text/event-stream\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"content-type: text/event-stream" in head
        size = int(await reader.readline(), 16)
        assert await reader.readexactly(size) == b"id: 1\ndata: tick 1\n\n"

    talk(conversation)


def test_a_websocket_echoes() -> None:
    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        key = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        writer.write(b"GET /ws HTTP/1.1\r\nHost: h\r\n" + key)
        head = await reader.readuntil(b"\r\n\r\n")
        # The key and the answer of RFC 6455 section 1.3.
        assert head.startswith(b"HTTP/1.1 101 ") and b"sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head
        for payload in (b"", b"hello", b"x" * 300, b"y" * 70_000):
            writer.write(websocket.frame(0x2, payload, mask=b"\x01\x02\x03\x04"))
            assert await websocket.read_frame(reader) == (True, 0x2, payload)
        writer.write(websocket.frame(0x9, b"are you there", mask=b"abcd"))
        assert await websocket.read_frame(reader) == (True, 0xA, b"are you there")
        writer.write(websocket.frame(0x8, b"\x03\xe8", mask=b"abcd"))
        assert await websocket.read_frame(reader) == (True, 0x8, b"\x03\xe8")
        assert await reader.read() == b""

    talk(conversation)


@pytest.mark.parametrize("path", ["/stream", "/ws", "/upload"])
def test_a_person_gets_a_page_to_try_it(path: str) -> None:
    status, headers, _ = ask(f"GET {path} HTTP/1.1\r\nHost: h\r\nAccept: text/html\r\n\r\n".encode())
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")


@given(st.binary(max_size=200), st.binary(min_size=4, max_size=4))
def test_a_mask_is_its_own_inverse(payload: bytes, mask: bytes) -> None:
    masked = websocket.apply_mask(payload, mask)
    assert masked == bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
    assert websocket.apply_mask(masked, mask) == payload
