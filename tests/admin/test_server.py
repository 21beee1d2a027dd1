"""The admin API's server: methods, paths, bodies, and who may not ask."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace

import pytest

from admin.admin_world import HOST, ask, client, doorkeeper, visit
from ostiary.admin import server
from ostiary.admin.catalogue import find
from ostiary.admin.page import Page, Part, Reply, Request
from ostiary.model import limits
from waiting import PATIENCE
from wire import scenario

LARGE = ["/flights", "/flights/abc", "/stats", "/stats/prometheus", "/clusters", "/config_dump"]


@scenario
async def test_several_requests_per_connection_and_head() -> None:
    async with doorkeeper() as (door, _):
        connection = await client(door)
        body = (await connection.get("/ready", host=HOST)).body
        answer = await connection.get("/ready", host=HOST, method="HEAD")
        assert (answer.status, answer.get("content-length"), body) == (200, str(len(body)), b"LIVE\n")
        connection.send(b"POST /stats HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc")
        assert (await connection.answer()).status == 200
        assert (await connection.get("/help", "Connection: close", host=HOST)).get("connection") == "close"
        assert await connection.closed()


@scenario
async def test_unknown_paths_are_told_what_there_is() -> None:
    async with doorkeeper() as (door, _):
        answer = await ask(door, "/nothing")
        assert answer.status == 404
        assert answer.body.startswith(b"invalid path. admin commands are:\n")
        assert answer.get("content-type") == "text/plain; charset=UTF-8"


@scenario
async def test_what_is_too_large_or_malformed_is_refused() -> None:
    async with doorkeeper() as (door, _):
        for request, status in (
            (b"POST /stats HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (limits.MAX_ADMIN_BODY_BYTES + 1), 413),
            (b"GET /stats\r\n\r\n", 400),
            (b"GET /stats HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        ):
            connection = await client(door)
            connection.send(request)
            assert (await connection.answer()).status == status
            assert await connection.closed()
        connection = await client(door)
        connection.send(b"GET /stats HTTP/1.1\r\nX: %b\r\n\r\n" % (b"x" * limits.MAX_ADMIN_HEAD_BYTES))
        assert (await connection.answer()).status == 431
        assert await connection.closed()


@pytest.mark.parametrize("path", LARGE)
@scenario
async def test_requests_go_on_while_a_large_page_is_made(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    began, others_served = threading.Event(), threading.Event()

    def slow(_parts: list[Part], _request: Request) -> Reply:
        began.set()
        return Reply("at last" if others_served.wait(PATIENCE) else "nobody else was served meanwhile")

    def found(asked: str) -> Page | None:
        page = find(asked)
        return replace(page, render=slow) if page is not None and asked == path else page

    monkeypatch.setattr(server, "find", found)
    async with doorkeeper() as (door, _):
        late = asyncio.ensure_future(ask(door, path))
        while not began.is_set():
            await asyncio.sleep(0.01)
        assert (await visit(door)).status == 200
        assert (await ask(door, "/ready")).body == b"LIVE\n"
        others_served.set()
        assert (await late).body == b"at last"


@scenario
async def test_who_comes_to_a_full_house_takes_the_place_of_who_idles_longest() -> None:
    async with doorkeeper() as (door, _):
        idle = [await client(door) for _ in range(limits.MAX_ADMIN_CONNECTIONS)]
        for each in idle:
            assert (await each.get("/ready", host=HOST)).status == 200
        assert (await ask(door, "/ready")).status == 200
        assert await idle[0].closed()
        assert (await idle[-1].get("/ready", host=HOST)).status == 200


@scenario
async def test_a_site_whose_name_points_here_learns_nothing() -> None:
    async with doorkeeper() as (door, _):
        answer = await ask(door, "/stats", host="evil.example")
        assert answer.status == 403
        assert b"use 127.0.0.1" in answer.body
