"""The proxy over real sockets: what goes in comes out, and what must not is refused."""

import asyncio
import os
from pathlib import Path

import pytest

from app.harness import address, proxy, running
from ostiary.model import limits
from ostiary.model.access_log import AccessLog, AccessLogFilter
from ostiary.model.config import HealthCheck, HttpFilter
from ostiary.model.matchers import HeaderMatcher, StringMatcher
from ostiary.model.routes import Route, RouteAction, RouteMatch
from ostiary.model.tls import UpstreamTlsContext
from ports import free_port
from waiting import soon
from wire import Client, Heard, Upstream, read_body, scenario


@scenario
async def test_requests_share_one_connection_on_both_sides() -> None:
    async with Upstream().running() as app, running(proxy(app.port)) as door:
        client = await Client.connect(address(door))
        for number in range(5):
            answer = await client.get(f"/page?n={number}")
            assert (answer.status, answer.body) == (200, b"ok")
        assert [heard.line for heard in app.heard] == [b"GET /page?n=%d HTTP/1.1" % n for n in range(5)]
        assert app.connections == 1


@scenario
async def test_pipelined_requests_are_answered_in_order() -> None:
    async def echo(heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = heard.line.split(b" ")[1]
        if path == b"/0":
            await asyncio.sleep(0.1)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(path), path))

    async with Upstream(handler=echo).running() as app, running(proxy(app.port)) as door:
        client = await Client.connect(address(door))
        client.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % n for n in range(20)))
        assert [(await client.answer()).body for _ in range(20)] == [b"/%d" % n for n in range(20)]


@scenario
async def test_bodies_of_either_framing_arrive_whole() -> None:
    async def echo(heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.body = await read_body(heard, reader)
        if heard.get(b"x-want") == b"chunked":
            writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
            for at in range(0, len(heard.body), 70_000):
                piece = heard.body[at : at + 70_000]
                writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            writer.write(b"0\r\n\r\n")
        else:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(heard.body), heard.body))

    body = os.urandom(3_000_000)
    async with Upstream(handler=echo).running() as app, running(proxy(app.port)) as door:
        client = await Client.connect(address(door))
        for want in ("length", "chunked"):
            client.send(
                f"POST / HTTP/1.1\r\nHost: a\r\nX-Want: {want}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
            )
            assert (await client.answer()).body == body
            client.send(f"POST / HTTP/1.1\r\nHost: a\r\nX-Want: {want}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
            for at in range(0, len(body), 100_000):
                client.send(b"%X;x=y\r\n%b\r\n" % (len(body[at : at + 100_000]), body[at : at + 100_000]))
            client.send(b"0\r\n\r\n")
            assert (await client.answer()).body == body
        assert app.connections == 1


@scenario
async def test_trailers_pass_both_ways() -> None:
    answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 7\r\n\r\n"
    async with Upstream(answer).running() as app, running(proxy(app.port)) as door:
        client = await Client.connect(address(door))
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX-Up: 1\r\n\r\n")
        found = await client.answer()
        assert found.trailers == [b"x-sum: 7"]
        assert app.heard[0].trailers == [b"x-up: 1"]


@scenario
async def test_expect_continue_is_answered_before_the_body_is_sent() -> None:
    async with Upstream().running() as app, running(proxy(app.port)) as door:
        client = await Client.connect(address(door))
        client.send(b"PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.send(b"abc")
        assert (await client.answer()).status == 200
        assert app.heard[0].body == b"abc"
        assert app.heard[0].get(b"expect") is None


@scenario
async def test_early_hints_pass_and_100_does_not() -> None:
    answer = (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n"
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
    )
    async with Upstream(answer).running() as app, running(proxy(app.port)) as door:
        found = await (await Client.connect(address(door))).get()
        assert (found.informational, found.body) == ([103], b"ok")


@scenario
async def test_head_and_bodiless_statuses_leave_the_connection_usable() -> None:
    async def handler(heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if heard.line.startswith(b"HEAD"):
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n")
        else:
            writer.write(b"HTTP/1.1 %b X\r\n\r\n" % heard.line.split(b" ")[1][1:])

    async with Upstream(handler=handler).running() as app, running(proxy(app.port)) as door:
        client = await Client.connect(address(door))
        head = await client.get(method="HEAD")
        assert (head.status, head.get("content-length")) == (200, "999")
        assert (await client.get("/204")).status == 204
        assert (await client.get("/304")).status == 304
        assert app.connections == 1


@scenario
async def test_a_body_that_ends_with_the_connection_becomes_chunked() -> None:
    async def handler(heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nfirst ")
        await writer.drain()
        await asyncio.sleep(0.02)
        writer.write(b"second")
        writer.close()

    async with Upstream(handler=handler).running() as app, running(proxy(app.port, accept_http_10=True)) as door:
        client = await Client.connect(address(door))
        for _ in range(2):
            found = await client.get()
            assert (found.body, found.get("transfer-encoding")) == (b"first second", "chunked")
        old = await Client.connect(address(door))
        old.send(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
        found = await old.answer()
        assert (found.body, found.get("transfer-encoding")) == (b"first second", None)


@scenario
async def test_server_sent_events_come_one_by_one() -> None:
    go_on = asyncio.Event()

    async def handler(heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        for number in range(3):
            event = b"data: %d\n\n" % number
            writer.write(b"%x\r\n%b\r\n" % (len(event), event))
            await writer.drain()
            await go_on.wait()
            go_on.clear()
        writer.write(b"0\r\n\r\n")

    async with Upstream(handler=handler).running() as app, running(proxy(app.port)) as door:
        client = await Client.connect(address(door))
        client.send(b"GET /events HTTP/1.1\r\nHost: a\r\n\r\n")
        await client.reader.readuntil(b"\r\n\r\n")
        for number in range(3):  # each arrives although the next one was not sent yet
            assert await client.reader.readuntil(b"\n\n\r\n") == b"9\r\ndata: %d\n\n\r\n" % number
            go_on.set()


@scenario
async def test_websockets_become_a_pipe_both_ways() -> None:
    async def handler(heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert heard.get(b"upgrade") == b"websocket"
        assert b"upgrade" in (heard.get(b"connection") or b"").lower()
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\nhello")
        while data := await reader.read(1000):
            writer.write(data.upper())
        writer.close()

    async with Upstream(handler=handler).running() as app:
        config = proxy(app.port, upgrade_types={"websocket": True})
        async with running(config) as door:
            client = await Client.connect(address(door))
            client.send(b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
            assert (await client.answer()).status == 101
            assert await client.reader.readexactly(5) == b"hello"
            for _ in range(3):
                client.send(b"abc")
                assert await client.reader.readexactly(3) == b"ABC"
            client.writer.write_eof()
            assert await client.reader.read() == b""
            assert door.runtime is not None
            stats = door.runtime.stats
            await soon(lambda: stats.values()["http.test.downstream_cx_destroy"] == 1)
            assert not stats.values()["http.test.downstream_cx_delayed_close_timeout"], (
                "it had gone: nobody waited for it"
            )


@scenario
async def test_an_upgrade_that_is_not_allowed_is_refused() -> None:
    async with Upstream().running() as app, running(proxy(app.port)) as door:
        client = await Client.connect(address(door))
        answer = await client.get("/ws", "Upgrade: websocket", "Connection: upgrade")
        assert answer.status == 403
        assert not app.heard


@scenario
async def test_a_slow_client_holds_the_upstream_back() -> None:
    sent = 0

    async def handler(heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 200000000\r\n\r\n")
        for _ in range(2000):
            writer.write(b"x" * 100_000)
            await writer.drain()
            sent += 100_000

    async with Upstream(handler=handler).running() as app, running(proxy(app.port)) as door:
        client = await Client.connect(address(door))
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        before = -1
        while before != sent:
            before = sent
            await asyncio.sleep(0.2)
        assert sent < 50_000_000  # socket buffers and our own bound, not the whole body


@pytest.mark.parametrize(("limit", "low", "high"), [(65_536, 0, 30_000_000), (40_000_000, 40_000_000, 70_000_000)])
@scenario
async def test_a_slow_upstream_holds_the_client_back(limit: int, low: int, high: int) -> None:
    async def handler(heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(3600)

    config_of = {"cluster": {"per_connection_buffer_limit_bytes": limit}}
    async with Upstream(handler=handler).running() as app, running(proxy(app.port, **config_of)) as door:
        client = await Client.connect(address(door))
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000000\r\n\r\n")
        sent = 0
        stands_still = False
        while sent < 200_000_000 and not stands_still:
            client.send(b"x" * 100_000)
            sent += 100_000
            try:
                async with asyncio.timeout(1):
                    await client.writer.drain()
            except TimeoutError:
                stands_still = sent > low
        assert stands_still and sent < high


@scenario
async def test_an_upstream_that_breaks_off_never_looks_complete() -> None:
    async def handler(heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if heard.line.split(b" ")[1] == b"/chunked":
            writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhalf.\r\n")
        else:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
        await writer.drain()
        writer.transport.abort()

    async with Upstream(handler=handler).running() as app, running(proxy(app.port)) as door:
        for path in ("/chunked", "/length"):
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError, ValueError)):
                await (await Client.connect(address(door))).get(path)


@scenario
async def test_an_upstream_that_is_not_there_is_a_503_with_envoys_words() -> None:
    async with Upstream().running() as app:
        port = app.port
    async with running(proxy(port)) as door:
        client = await Client.connect(address(door))
        for _ in range(2):
            answer = await client.get()
            assert answer.status == 503
            assert answer.body.startswith(b"upstream connect error or disconnect/reset before headers. reset reason: ")


@scenario
async def test_the_access_log_says_which_upstream_failed_and_that_it_was_tls(tmp_path: Path) -> None:
    path = tmp_path / "log"
    source = "%RESPONSE_FLAGS% %UPSTREAM_HOST% %RESPONSE_CODE_DETAILS%\n"
    log = AccessLog(sink="file", path=str(path), text_format=source)

    async def speak_first(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 no TLS here\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(speak_first, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    cluster = {"transport_socket": UpstreamTlsContext(sni="a.test")}
    async with running(proxy(port, access_log=(log,), cluster=cluster)) as door:
        assert (await (await Client.connect(address(door))).get()).status == 503
    server.close()
    flags, host, details = path.read_text().split()
    assert (flags, host) == ("UF", f"127.0.0.1:{port}")
    assert details.startswith("upstream_reset_before_response_started{remote_connection_failure|TLS_error:|")


@scenario
async def test_the_log_says_once_why_an_upstream_is_not_reached_and_when_it_is_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "ostiary.upstream")
    app = Upstream()
    app.port = free_port()
    async with running(proxy(app.port)) as door:
        client = await Client.connect(address(door))
        assert [(await client.get()).status for _ in range(3)] == [503] * 3
        async with app.running():
            assert [(await client.get()).status for _ in range(3)] == [200] * 3
    said = [record.getMessage() for record in caplog.records if record.name == "ostiary.upstream"]
    here = f"127.0.0.1:{app.port}"
    assert said == [
        f"upstream {here}: Can't connect to {here}: IPv4 failed: nothing listens on that port, ECONNREFUSED ({here}).",
        f"upstream {here}: connected again",
    ]


@scenario
async def test_an_idle_connection_closed_by_the_upstream_is_not_the_clients_trouble() -> None:
    async def handler(heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(app.heard) == 2:
            writer.transport.abort()  # as if it had closed just before the request arrived
            return
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

    async with Upstream(handler=handler).running() as app, running(proxy(app.port)) as door:
        client = await Client.connect(address(door))
        assert (await client.get()).status == 200
        assert (await client.get()).status == 200
        assert len(app.heard) == 3


@scenario
async def test_a_request_with_a_body_is_never_sent_twice() -> None:
    async def handler(heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(app.heard) == 2:
            writer.transport.abort()
            return
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

    async with Upstream(handler=handler).running() as app, running(proxy(app.port)) as door:
        client = await Client.connect(address(door))
        assert (await client.get()).status == 200
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx")
        assert (await client.answer()).status == 503
        assert len(app.heard) == 2


@scenario
async def test_a_client_that_leaves_frees_the_upstream() -> None:
    gone = asyncio.Event()

    async def handler(heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
        try:
            assert await reader.read() == b""
        finally:
            gone.set()

    async with Upstream(handler=handler).running() as app, running(proxy(app.port)) as door:
        client = await Client.connect(address(door))
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await client.reader.readuntil(b"half")
        client.writer.transport.abort()
        await gone.wait()


@scenario
async def test_the_routes_timeout_is_a_504() -> None:
    async def handler(heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(3600)

    async with Upstream(handler=handler).running() as app, running(proxy(app.port, timeout=0.2)) as door:
        client = await Client.connect(address(door))
        for _ in range(2):  # over one connection: a whole request leaves nothing to be afraid of
            answer = await client.get()
            assert (answer.status, answer.body) == (504, b"upstream request timeout")


@scenario
async def test_a_slow_head_is_cut_off() -> None:
    async with (
        Upstream().running() as app,
        running(proxy(app.port, request_headers_timeout=0.2, delayed_close_timeout=0.05)) as door,
    ):
        client = await Client.connect(address(door))
        client.send(b"GET / HTTP/1.1\r\nHost:")
        assert (await client.answer()).status == 408
        assert await client.closed()


@scenario
async def test_a_body_that_stops_coming_is_cut_off() -> None:
    async with (
        Upstream().running() as app,
        running(proxy(app.port, stream_idle_timeout=0.2, delayed_close_timeout=0.05)) as door,
    ):
        client = await Client.connect(address(door))
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab")
        assert (await client.answer()).status == 408
        assert await client.closed()


@scenario
async def test_an_idle_connection_is_closed() -> None:
    async with Upstream().running() as app, running(proxy(app.port, idle_timeout=1.0)) as door:
        client = await Client.connect(address(door))
        assert (await client.get()).status == 200
        assert await client.closed()


@scenario
async def test_greedy_heads_are_431() -> None:
    async with (
        Upstream().running() as app,
        running(proxy(app.port, max_request_headers_kb=8, delayed_close_timeout=0.05)) as door,
    ):
        client = await Client.connect(address(door))
        assert (await client.get("/", "X: " + "a" * 9000)).status == 431
        assert await client.closed()
        client = await Client.connect(address(door))
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 20_000)  # no end in sight
        assert (await client.answer()).status == 431
        assert not app.heard


@scenario
async def test_the_largest_head_may_come_in_parts() -> None:
    async with Upstream().running() as app, running(proxy(app.port, max_request_headers_kb=8)) as door:
        head = b"GET / HTTP/1.1\r\nHost: a\r\nX: ".ljust(8192, b"a") + b"\r\n\r\n"
        for cut in (8190, 8192, 8195):
            client = await Client.connect(address(door))
            client.send(head[:cut])
            await asyncio.sleep(0.02)
            client.send(head[cut:])
            assert (await client.answer()).status == 200


@scenario
@pytest.mark.parametrize("cut", [100, 300_000])
async def test_an_answer_with_too_large_a_head_is_a_502_however_it_arrives(cut: int) -> None:
    async def handler(_heard: Heard, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = b"HTTP/1.1 200 OK\r\nX: ".ljust(limits.MAX_RESPONSE_HEADERS_BYTES + 1, b"a") + b"\r\n\r\n"
        writer.write(head[:cut])
        await asyncio.sleep(0.02)
        writer.write(head[cut:])

    async with Upstream(handler=handler).running() as app, running(proxy(app.port)) as door:
        assert (await (await Client.connect(address(door))).get()).status == 502


SMUGGLING = [
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0_1\r\nx\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxx\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nX: y\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: a\nContent-Length: 5\r\n\r\n",
    b"GET / HTTP/1.1\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n",
    b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"CONNECT evil:443 HTTP/1.1\r\nHost: evil:443\r\n\r\n",
    b"GET http://u:p@a/ HTTP/1.1\r\nHost: a\r\n\r\n",
]


@pytest.mark.parametrize("raw", SMUGGLING, ids=range(len(SMUGGLING)))
@scenario
async def test_ambiguous_requests_are_refused_and_the_connection_closed(raw: bytes) -> None:
    async def handler(heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        await asyncio.sleep(0.2)
        writer.close()

    async with Upstream(handler=handler).running() as app, running(proxy(app.port, delayed_close_timeout=0.05)) as door:
        client = await Client.connect(address(door))
        client.send(raw + b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = await client.answer()
        assert 400 <= answer.status < 600
        assert await client.closed()
        assert all(b"smuggled" not in heard.line for heard in app.heard)


@scenario
async def test_an_absolute_target_replaces_the_host() -> None:
    async with Upstream().running() as app, running(proxy(app.port)) as door:
        client = await Client.connect(address(door))
        assert (await client.get("http://real.test/x?y=1", host="other.test")).status == 200
        assert app.heard[0].line == b"GET /x?y=1 HTTP/1.1"
        assert app.heard[0].all(b"host") == [b"real.test"]


@scenario
async def test_draining_finishes_what_runs_and_closes_what_idles() -> None:
    asked, end = asyncio.Event(), asyncio.Event()

    async def handler(heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await end.wait()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone")

    async with Upstream(handler=handler).running() as app, running(proxy(app.port)) as door:
        busy, idle = await Client.connect(address(door)), await Client.connect(address(door))
        busy.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await asked.wait()
        stopping = asyncio.create_task(door.stop(3600))
        assert await idle.closed()
        end.set()
        answer = await busy.answer()
        assert (answer.body, answer.get("connection")) == (b"done", "close")
        await stopping
        with pytest.raises(ConnectionRefusedError):
            await Client.connect(address(door))


HEALTH = HeaderMatcher(name=":path", string_match=StringMatcher("exact", "/healthz"))
PROBE = HeaderMatcher(name="user-agent", string_match=StringMatcher("prefix", "probe"))


@scenario
async def test_a_quiet_log_leaves_health_checks_out(tmp_path: Path) -> None:
    only = AccessLogFilter(not_health_check=True)
    log = AccessLog(sink="file", path=str(tmp_path / "log"), text_format="%REQ(:PATH)%\n", filter=only)
    check = HttpFilter(name="check", config=HealthCheck(headers=(HEALTH,)))
    async with Upstream().running() as app, running(proxy(app.port, filters=(check,), access_log=(log,))) as door:
        client = await Client.connect(address(door))
        for target in ("/healthz", "/x", "/healthz"):
            assert (await client.get(target)).status == 200
    assert (tmp_path / "log").read_text() == "/x\n"


@scenario
async def test_a_rewrite_takes_no_credentials_into_the_log(tmp_path: Path) -> None:
    """On a path that a filter answers sometimes, the query may be an authorization code's."""
    form = "%REQ(X-ENVOY-ORIGINAL-PATH)% %REQ(:PATH)%\n"
    log = AccessLog(sink="file", path=str(tmp_path / "log"), text_format=form)
    check = HttpFilter(name="check", config=HealthCheck(headers=(HEALTH, PROBE)))
    action = RouteAction(cluster="app", prefix_rewrite="/new/")
    routes = (Route(match=RouteMatch(prefix="/"), action=action),)
    async with Upstream().running() as app:
        async with running(proxy(app.port, filters=(check,), routes=routes, access_log=(log,))) as door:
            client = await Client.connect(address(door))
            assert (await client.get("/healthz?code=SECRET")).status == 200
        assert app.heard[0].line.startswith(b"GET /new/healthz?code=SECRET ")
    assert (tmp_path / "log").read_text() == "/healthz?code=[secret] /new/healthz?code=[secret]\n"


@scenario
async def test_an_old_connection_to_the_upstream_is_replaced() -> None:
    closed = asyncio.Event()

    async def answer(_heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(app.answer)
        if app.connections == 1 and len(app.heard) == 1:
            await reader.read()  # the proxy closes it, though it is not idle for long
            closed.set()

    app = Upstream(handler=answer)
    async with app.running(), running(proxy(app.port, cluster={"max_connection_duration": 0.1})) as door:
        client = await Client.connect(address(door))
        assert (await client.get()).status == 200
        await closed.wait()
        assert (await client.get()).status == 200
        assert app.connections == 2
