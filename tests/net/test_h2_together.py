"""Requests that share an HTTP/2 connection: none loses bytes when it goes out again, none harms another."""

import asyncio

import pytest
from h2.settings import SettingCodes

from app.harness import address, proxy, running
from h2_server import Got, H2Server
from ostiary.app.lifecycle import Doorkeeper
from ostiary.model.clusters import Http2
from wire import Client, scenario

UPGRADE = (
    b"Connection: upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
)


def dial_slowly(door: Doorkeeper) -> None:
    assert door.runtime is not None
    pool = door.runtime.clusters["app"].hosts[0].pool
    dial = pool._dial

    async def slow(factory: object) -> object:
        await asyncio.sleep(0.1)
        return await dial(factory)  # type: ignore[arg-type]

    pool._dial = slow  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("framing", "parts", "whole"),
    [
        (b"Content-Length: 6", (b"abc", b"def"), b"abcdef"),
        (b"Transfer-Encoding: chunked", (b"3\r\nabc\r\n", b"3\r\ndef\r\n0\r\n\r\n"), b"abcdef"),
        (b"Content-Length: 3", (b"abc", b""), b"abc"),
    ],
)
@scenario
async def test_a_body_that_comes_while_its_request_waits_for_another_connection_is_whole(
    framing: bytes, parts: tuple[bytes, bytes], whole: bytes
) -> None:
    config = {"cluster": {"http2": Http2()}, "timeout": 60.0}
    async with H2Server(lambda _got: None).running() as app, running(proxy(app.port, **config)) as door:
        client = await Client.connect(address(door))
        client.send(b"POST /1 HTTP/1.1\r\nHost: a\r\n" + framing + b"\r\n\r\n")
        await app.request(1)
        dial_slowly(door)
        app.on_end = lambda got: got.answer(bytes(got.body))
        old = app.connections[0]
        old.h2.close_connection(last_stream_id=0)
        old.flush()
        await asyncio.sleep(0.03)
        client.send(parts[0])
        await asyncio.sleep(0.2)
        client.send(parts[1])
        assert (await client.answer()).body == whole


@pytest.mark.parametrize("framing", [b"Content-Length: 3\r\n\r\nabc", b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"])
@scenario
async def test_an_upgrade_with_a_body_harms_nobody(framing: bytes) -> None:
    settings = {SettingCodes.ENABLE_CONNECT_PROTOCOL: 1}
    config = {"cluster": {"http2": Http2()}, "timeout": 60.0, "upgrade_types": {"websocket": True}}
    server = H2Server(lambda _got: None, settings=settings)
    async with server.running() as app, running(proxy(app.port, **config)) as door:
        victim, other = [await Client.connect(address(door)) for _ in range(2)]
        victim.send(b"POST /victim HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nxyz")
        await (await app.request(1)).ended.wait()
        other.send(b"POST /other HTTP/1.1\r\nHost: a\r\n" + UPGRADE + framing)
        await app.request(2)
        other.send(b"more bytes, not of a tunnel")
        await asyncio.sleep(0.1)
        assert app.got[1].get(b":method") == b"POST"
        app.got[0].answer(b"fine")
        assert (await victim.answer()).body == b"fine"
        assert not app.errors


@scenario
async def test_t09_an_upstream_that_never_sends_its_settings_is_left() -> None:
    config = {"cluster": {"http2": Http2(keepalive_interval=0.1, keepalive_timeout=1.0)}, "timeout": 60.0}
    async with H2Server(lambda _got: None).running() as app, running(proxy(app.port, **config)) as door:
        app.silent = True
        client = await Client.connect(address(door))
        assert (await client.get()).status == 503  # no answer to a PING: left long before the route's timeout
        await app.connections[0].closed.wait()
        app.silent, app.script = False, Got.answer
        assert (await client.get()).status == 200
        assert len(app.connections) == 2
