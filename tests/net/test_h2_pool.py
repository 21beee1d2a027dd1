"""How requests share connections of HTTP/2: how many there are, when one is replaced."""

from __future__ import annotations

import asyncio

import pytest
from h2.errors import ErrorCodes
from h2.settings import SettingCodes

from app.harness import address, running
from h2_server import H2Server
from net.h2_world import before, stats, until
from ostiary.core.decision import Fetch
from ostiary.model import limits
from ostiary.model.clusters import CircuitBreakers, Http2
from ostiary.net.client import ProviderClient
from wire import Client, scenario


@scenario
async def test_a_further_connection_where_one_takes_no_more() -> None:
    settings = {SettingCodes.MAX_CONCURRENT_STREAMS: 2}
    async with H2Server(lambda _got: None, settings=settings).running() as app, running(before(app)) as door:
        clients = [await Client.connect(address(door)) for _ in range(5)]
        warm = asyncio.ensure_future(clients[0].get("/warm"))
        (await app.request()).answer()
        await warm
        answers = [asyncio.ensure_future(client.get()) for client in clients]
        await app.request(6)
        assert sorted(len(connection.requests) for connection in app.connections) == [1, 2, 3]
        for got in app.got[1:]:
            got.answer()
        assert {answer.status for answer in await asyncio.gather(*answers)} == {200}


@scenario
async def test_a_crowd_before_the_first_connection_gets_as_many_as_it_needs() -> None:
    settings = {SettingCodes.MAX_CONCURRENT_STREAMS: limits.HTTP2_STREAMS_BEFORE_SETTINGS + 20}
    async with H2Server(lambda _got: None, settings=settings).running() as app, running(before(app)) as door:
        clients = [await Client.connect(address(door)) for _ in range(150)]
        answers = [asyncio.ensure_future(client.get()) for client in clients]
        await app.request(150)  # all, though none was answered
        assert sorted(len(connection.requests) for connection in app.connections) == [30, 120]
        for got in app.got:
            got.answer()
        assert {answer.status for answer in await asyncio.gather(*answers)} == {200}


@scenario
async def test_a_token_request_gets_a_connection_of_its_own() -> None:
    async with H2Server().running() as app, running(before(app)) as door:
        provider = ProviderClient(door.runtime.clusters.get, lambda _cluster: door.runtime.clusters["app"])
        for method in ("GET", "POST", "POST", "GET"):
            asked = Fetch(method=method, cluster="app", authority="idp.test", path="/token", body=b"", timeout=5)
            found = await provider.fetch(asked)
            assert (found.status, found.body) == (200, b"ok")
        assert [len(connection.requests) for connection in app.connections] == [1, 1, 2]
        await app.connections[1].closed.wait()
        assert app.got[1].get(b":authority") == b"idp.test"


@scenario
async def test_a_token_request_takes_nobody_elses_connection_away() -> None:
    async with H2Server(lambda _got: None).running() as app, running(before(app)) as door:
        client, other = [await Client.connect(address(door)) for _ in range(2)]
        first = asyncio.ensure_future(client.get("/1"))
        await app.request()
        provider = ProviderClient(door.runtime.clusters.get, lambda _cluster: door.runtime.clusters["app"])
        asked = Fetch(method="POST", cluster="app", authority="idp.test", path="/token", body=b"", timeout=5)
        token = asyncio.ensure_future(provider.fetch(asked))
        got = await app.request(2)
        assert got.connection is app.connections[1], "never one that the provider may just be closing"
        second = asyncio.ensure_future(other.get("/2"))
        assert (await app.request(3)).connection is app.connections[0]
        for each in app.got:
            each.answer()
        assert [(await each).status for each in (first, token, second)] == [200] * 3
        assert not app.connections[0].closed.is_set()
        app.script = lambda got: got.answer()
        for _ in range(3):  # nor do they leave more and more connections behind
            assert (await provider.fetch(asked)).status == 200
        await until(lambda: stats(door, "upstream_cx_active") == (2,))


@pytest.mark.parametrize("busy", [False, True])
@scenario
async def test_a_token_request_waits_for_its_own_connection_where_only_one_is_allowed(busy: bool) -> None:
    breakers = CircuitBreakers(max_connections=1)
    async with H2Server(lambda _got: None).running() as app, running(before(app, circuit_breakers=breakers)) as door:
        client = await Client.connect(address(door))
        answer = asyncio.ensure_future(client.get("/1"))
        got = await app.request()
        if not busy:
            got.answer()
            await answer
        provider = ProviderClient(door.runtime.clusters.get, lambda _cluster: door.runtime.clusters["app"])
        asked = Fetch(method="POST", cluster="app", authority="idp.test", path="/token", body=b"", timeout=5)
        token = asyncio.ensure_future(provider.fetch(asked))
        if busy:
            await until(lambda: stats(door, "upstream_rq_pending_active") == (1,))
            got.answer()
            await answer
        (await app.request(2)).answer()
        assert (await token).status == 200
        assert [len(connection.requests) for connection in app.connections] == [1, 1]


@scenario
async def test_requests_wait_where_no_further_connection_is_allowed() -> None:
    async with (
        H2Server(lambda _got: None).running() as app,
        running(
            before(app, http2=Http2(max_concurrent_streams=1), circuit_breakers=CircuitBreakers(max_connections=1))
        ) as door,
    ):
        clients = [await Client.connect(address(door)) for _ in range(3)]
        answers = [asyncio.ensure_future(client.get()) for client in clients]
        for number in range(1, 4):
            got = await app.request(number)
            assert len(app.got) == number
            got.answer()
        assert {answer.status for answer in await asyncio.gather(*answers)} == {200}
        assert len(app.connections) == 1


@scenario
async def test_a_connection_serves_so_many_requests_and_is_replaced() -> None:
    async with H2Server().running() as app, running(before(app, max_requests_per_connection=2)) as door:
        client = await Client.connect(address(door))
        for _ in range(5):
            assert (await client.get()).status == 200
        assert [len(connection.requests) for connection in app.connections] == [2, 2, 1]
        await app.connections[0].closed.wait()
        assert app.connections[0].goaway == ErrorCodes.NO_ERROR


@scenario
async def test_idle_and_old_connections_are_closed() -> None:
    async with H2Server().running() as app:
        async with running(before(app, idle_timeout=0.1)) as door:
            assert (await (await Client.connect(address(door))).get()).status == 200
            await app.connections[0].closed.wait()
        async with running(before(app, max_connection_duration=0.1)) as door:
            client = await Client.connect(address(door))
            app.script = lambda _got: None
            waiting = asyncio.ensure_future(client.get())
            got = await app.request(2)
            await until(lambda: stats(door, "upstream_cx_max_duration_reached") == (1,))
            got.answer(b"late")  # not cut off
            assert (await waiting).body == b"late"
            await app.connections[1].closed.wait()


@scenario
async def test_an_upstream_that_answers_no_ping_is_left() -> None:
    options = Http2(keepalive_interval=0.05, keepalive_timeout=1.0)
    async with H2Server(lambda _got: None).running() as app, running(before(app, http2=options)) as door:
        client = await Client.connect(address(door))
        waiting = asyncio.ensure_future(client.get())
        got = await app.request()
        await until(lambda: got.connection.pings >= 2)  # answered, so it stays
        app.silent = True
        assert (await waiting).status == 503
        await got.connection.closed.wait()
        assert stats(door, "http2.keepalive_timeout") == (1,)
