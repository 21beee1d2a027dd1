"""HTTP/2 to an application that does as it is told: what clients get, what the application sees."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import Any

import pytest
import trustme
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from hyperframe.frame import ContinuationFrame, DataFrame, Frame, HeadersFrame, PingFrame, SettingsFrame

from app.harness import address, proxy, running
from h2_server import OK, Got, H2Server, Headers
from ostiary.app.lifecycle import Doorkeeper
from ostiary.core.decision import Fetch
from ostiary.model import limits
from ostiary.model.clusters import CircuitBreakers, Http2
from ostiary.model.config import Config
from ostiary.model.secret import Secret
from ostiary.model.tls import CertificateValidationContext, DataSource, UpstreamTlsContext
from ostiary.net.client import ProviderClient
from wire import Client, Upstream, scenario


def before(server: H2Server, *, timeout: float = 15.0, http: dict[str, Any] | None = None, **cluster: Any) -> Config:
    """A doorkeeper's configuration before that server."""
    return proxy(server.port, cluster={"http2": Http2(), **cluster}, timeout=timeout, **(http or {}))


def stats(door: Doorkeeper, *names: str) -> tuple[int, ...]:
    values = door.runtime.stats.values()
    return tuple(values.get(f"cluster.app.{name}", 0) for name in names)


async def until(condition: Any) -> None:
    """Wait for what other tasks bring about; the test's own bound ends what never comes."""
    while not condition():
        await asyncio.sleep(0.01)


# --- what passes


@scenario
async def test_a_request_and_its_answer() -> None:
    headers: Headers = [*OK, (b"x-answer", b"1"), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")]
    async with H2Server(lambda got: got.answer(b"hello", headers)).running() as app, running(before(app)) as door:
        client = await Client.connect(address(door))
        answer = await client.get("/a?b=c", "Cookie: x=y", "X-A: 1", "x-a: 2", "Connection: x-hop", "X-Hop: 1")
        assert (answer.status, answer.body, answer.get("x-answer")) == (200, b"hello", "1")
        assert answer.all("set-cookie") == ["a=1", "b=2"]
        got = app.got[0]
        assert got.headers[:4] == [
            (b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"app.test"), (b":path", b"/a?b=c"),
        ]  # fmt: skip
        assert (got.get(b"cookie"), got.all(b"x-a"), got.get(b"x-hop")) == (b"x=y", [b"1", b"2"], None)
        assert stats(door, "upstream_cx_http2_total", "upstream_cx_http1_total", "upstream_rq_total") == (1, 0, 1)


@scenario
async def test_requests_share_one_connection() -> None:
    async with H2Server(lambda _got: None).running() as app, running(before(app)) as door:
        clients = [await Client.connect(address(door)) for _ in range(20)]
        answers = [asyncio.ensure_future(client.get(f"/{n}")) for n, client in enumerate(clients)]
        await app.request(20)
        for got in reversed(app.got):  # the last one first: none waits for another
            got.answer(got.get(b":path") or b"")
        assert [answer.body for answer in await asyncio.gather(*answers)] == [b"/%d" % n for n in range(20)]
        assert len(app.connections) == 1


@pytest.mark.parametrize("framing", ["content-length", "chunked"])
@scenario
async def test_bodies_and_trailers_pass_both_ways(framing: str) -> None:
    def answer(got: Got) -> None:
        got.answer(bytes(got.body), OK, end=False)
        got.end([(b"grpc-status", b"0")])

    async with H2Server(lambda _got: None, on_end=answer).running() as app, running(before(app)) as door:
        client = await Client.connect(address(door))
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n")
        if framing == "chunked":
            client.send(b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\nx-trailer: 1\r\n\r\n")
        else:
            client.send(b"Content-Length: 6\r\n\r\nabc")
            client.send(b"def")
        found = await client.answer()
        assert (found.status, found.body, found.trailers) == (200, b"abcdef", [b"grpc-status: 0"])
        got = app.got[0]
        chunked = framing == "chunked"
        assert got.get(b"content-length") == (None if chunked else b"6")
        assert got.trailers == ([(b"x-trailer", b"1")] if chunked else [])
        assert (got.get(b"te"), got.get(b"transfer-encoding")) == (b"trailers", None)


@pytest.mark.parametrize(
    ("method", "headers", "body"),
    [
        ("HEAD", [(b":status", b"200"), (b"content-length", b"1234")], b""),
        ("GET", [(b":status", b"204")], b""),
        ("GET", [(b":status", b"304"), (b"content-length", b"1234"), (b"etag", b"x")], b""),
        ("GET", [(b":status", b"200"), (b"content-length", b"0")], b""),
        ("GET", [(b":status", b"200")], b""),
    ],
)
@scenario
async def test_answers_without_a_body(method: str, headers: Headers, body: bytes) -> None:
    async with H2Server(lambda got: got.answer(body, headers)).running() as app, running(before(app)) as door:
        client = await Client.connect(address(door))
        for _ in range(2):  # the client's connection stays in step
            answer = await client.get("/", method=method)
            assert (answer.status, answer.body) == (int(headers[0][1]), b"")
        assert len(app.connections) == 1
        assert all(got.reset is None for got in app.got)


@scenario
async def test_early_hints_pass() -> None:
    def hint(got: Got) -> None:
        got.connection.h2.send_headers(got.id, [(b":status", b"100")])
        got.connection.h2.send_headers(got.id, [(b":status", b"103"), (b"link", b"x")])
        got.answer()

    async with H2Server(hint).running() as app, running(before(app)) as door:
        answer = await (await Client.connect(address(door))).get()
        assert (answer.status, answer.informational) == (200, [103])


@scenario
async def test_an_answer_before_the_end_of_the_request_ends_the_request() -> None:
    async with (
        H2Server(lambda got: got.answer(b"no", [(b":status", b"413")])).running() as app,
        running(before(app)) as door,
    ):
        client = await Client.connect(address(door))
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc")
        assert ((await client.answer()).status, await client.closed()) == (413, True)
        await app.got[0].gone.wait()
        assert app.got[0].reset == ErrorCodes.CANCEL
        assert (await (await Client.connect(address(door))).get()).status == 413
        assert len(app.connections) == 1


# --- flow control


@scenario
async def test_a_body_waits_for_the_peers_window() -> None:
    settings = {SettingCodes.INITIAL_WINDOW_SIZE: 10}
    async with (
        H2Server(
            lambda _got: None, settings=settings, on_end=lambda got: got.answer(b"%d" % len(got.body))
        ).running() as app,
        running(before(app)) as door,
    ):
        client = await Client.connect(address(door))
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n" + b"x" * 5000)
        assert (await client.answer()).body == b"5000"


@scenario
async def test_an_upload_is_held_back_by_who_does_not_read_it() -> None:
    def count(got: Got) -> None:
        got.answer(b"%d" % len(got.body) if got.body else b"other")

    async with H2Server(lambda _got: None, on_end=count).running() as app:
        app.reads = False
        async with running(before(app)) as door:
            client = await Client.connect(address(door))
            size = 64 * 1024 * 1024
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size)
            given = 0
            chunk = b"x" * 65536
            with contextlib.suppress(TimeoutError):
                while given < size:
                    client.send(chunk)
                    given += len(chunk)
                    await asyncio.wait_for(client.writer.drain(), 1)
            assert given < 32 * 1024 * 1024  # sockets' buffers and ours, no more
            got = app.got[0]
            assert len(got.body) <= limits.HTTP2_MIN_WINDOW
            other = await Client.connect(address(door))
            assert (await other.get()).body == b"other"  # the connection is not in anybody's way
            app.reads = True
            got.connection.h2.acknowledge_received_data(len(got.body), got.id)
            got.connection.flush()
            while given < size:
                client.send(chunk)
                given += len(chunk)
                await client.writer.drain()
            assert (await client.answer()).body == b"%d" % size


@scenario
async def test_a_slow_client_holds_back_its_own_answer_only() -> None:
    sent = [0]
    total = 64 * 1024 * 1024

    def pour(got: Got) -> None:
        h2 = got.connection.h2
        while sent[0] < total:
            room = min(h2.local_flow_control_window(got.id), h2.max_outbound_frame_size, total - sent[0])
            if not room:
                break
            h2.send_data(got.id, b"x" * room, end_stream=sent[0] + room == total)
            sent[0] += room
        got.connection.flush()

    def script(got: Got) -> None:
        if got.get(b":path") == b"/other":
            got.answer(b"other")
            return
        got.answer(b"", [*OK, (b"content-length", b"%d" % total)], end=False)
        asyncio.ensure_future(keep_pouring(got))  # noqa: RUF006 - ended by `scenario`

    async def keep_pouring(got: Got) -> None:
        while sent[0] < total:
            got.connection.window.clear()
            pour(got)
            await got.connection.window.wait()

    async with H2Server(script).running() as app, running(before(app)) as door:
        client = await Client.connect(address(door))
        client.send(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n")
        await app.request()
        before_ = -1
        while before_ != sent[0]:  # until it stands still
            before_ = sent[0]
            await asyncio.sleep(0.3)
        assert 0 < sent[0] < 16 * 1024 * 1024  # sockets' buffers, a window and ours
        other = await Client.connect(address(door))
        assert (await other.get("/other")).body == b"other"
        assert len(app.connections) == 1
        assert len((await client.answer()).body) == total


# --- endings


@scenario
async def test_a_goaway_lets_what_it_spares_end_and_sends_the_rest_elsewhere() -> None:
    async with H2Server(lambda _got: None).running() as app, running(before(app)) as door:
        first, second = [await Client.connect(address(door)) for _ in range(2)]
        one = asyncio.ensure_future(first.get("/1"))
        spared = await app.request(1)
        client = asyncio.ensure_future(second.get("/2"))
        await app.request(2)
        app.script = lambda got: got.answer(b"again")
        old = app.connections[0]
        old.h2.close_connection(last_stream_id=spared.id)
        goaway = old.h2.data_to_send()
        old.transport.write(goaway)
        assert (await client).body == b"again"
        assert len(app.connections) == 2
        # The server's library has closed its connection with GOAWAY: the rest is written by hand.
        head = HeadersFrame(spared.id, old.h2.encoder.encode([(b":status", b"200"), (b"content-length", b"5")]))
        head.flags.add("END_HEADERS")
        body = DataFrame(spared.id, b"first")
        body.flags.add("END_STREAM")
        old.transport.write(head.serialize() + body.serialize())
        assert (await one).body == b"first"
        await old.closed.wait()


@scenario
async def test_a_refused_request_is_sent_again_but_not_one_whose_body_is_gone() -> None:
    async with H2Server(lambda got: got.send_reset(ErrorCodes.REFUSED_STREAM)).running() as app:
        refuse = app.script

        def once(got: Got) -> None:
            app.script = lambda got: got.answer(b"%d" % len(app.got))
            refuse(got)

        app.script = once
        async with running(before(app)) as door:
            client = await Client.connect(address(door))
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
            assert (await client.answer()).body == b"2"
            app.script = lambda _got: None
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc")
            got = await app.request(3)
            await until(lambda: got.body == b"abc")
            refuse(got)
            answer = await client.answer()
            assert (answer.status, len(app.got)) == (503, 3)
            assert b"reset reason: remote refused stream reset" in answer.body


@scenario
async def test_a_request_is_not_refused_for_ever() -> None:
    async with (
        H2Server(lambda got: got.send_reset(ErrorCodes.REFUSED_STREAM)).running() as app,
        running(before(app)) as door,
    ):
        answer = await (await Client.connect(address(door))).get()
        assert (answer.status, len(app.got)) == (503, limits.HTTP2_MAX_REFUSALS + 1)


@scenario
async def test_a_reset_is_an_answer_of_ours_or_breaks_off_theirs() -> None:
    async with (
        H2Server(lambda got: got.send_reset(ErrorCodes.INTERNAL_ERROR)).running() as app,
        running(before(app)) as door,
    ):
        client = await Client.connect(address(door))
        answer = await client.get()
        assert answer.status == 503
        assert answer.body.endswith(b"reset reason: remote reset")

        def begin(got: Got) -> None:
            got.answer(b"abc", end=False)
            got.send_reset(ErrorCodes.INTERNAL_ERROR)

        app.script = begin
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert not (await client.reader.read()).endswith(b"0\r\n\r\n")  # cut
        assert len(app.connections) == 1
        assert stats(door, "http2.rx_reset") == (2,)


@scenario
async def test_a_client_that_leaves_ends_its_request_only() -> None:
    async with H2Server(lambda _got: None).running() as app, running(before(app)) as door:
        client = await Client.connect(address(door))
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        got = await app.request()
        client.close()
        await got.gone.wait()
        assert got.reset == ErrorCodes.CANCEL
        app.script = lambda got: got.answer()
        assert (await (await Client.connect(address(door))).get()).status == 200
        assert len(app.connections) == 1
        assert stats(door, "http2.tx_reset") == (1,)


@scenario
async def test_a_deadline_ends_a_request() -> None:
    async with H2Server(lambda _got: None).running() as app, running(before(app, timeout=0.5)) as door:
        answer = await (await Client.connect(address(door))).get()
        assert answer.status == 504
        await app.got[0].gone.wait()


@scenario
async def test_a_lost_connection_ends_what_was_on_it() -> None:
    def drop(got: Got) -> None:
        got.connection.transport.abort()

    async with H2Server(drop).running() as app, running(before(app)) as door:
        client = await Client.connect(address(door))
        answer = await client.get()
        assert answer.status == 503
        assert answer.body.endswith(b"reset reason: connection termination")
        app.script = lambda got: got.answer()
        assert (await client.get()).status == 200
        app.script = drop  # an idle connection, closed just as it is used: sent again where that is harmless
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await app.request(3)
        app.script = lambda got: got.answer(b"again")
        assert (await client.answer()).body == b"again"


# --- what breaks the rules costs as little as can be

BAD_ANSWERS: dict[str, tuple[Headers, bytes]] = {
    "line break in a value": ([*OK, (b"x-a", b"b\r\nset-cookie: evil=1")], b""),
    "upper case": ([*OK, (b"X-A", b"b")], b""),
    "connection header": ([*OK, (b"connection", b"close")], b""),
    "no status": ([(b"x-a", b"b")], b""),
    "status 101": ([(b":status", b"101")], b""),
    "shorter than promised": ([*OK, (b"content-length", b"10")], b"abc"),
    "longer than promised": ([*OK, (b"content-length", b"2")], b"abc"),
    "two lengths": ([*OK, (b"content-length", b"2"), (b"content-length", b"3")], b"abc"),
    "no number": ([*OK, (b"content-length", b"x")], b"abc"),
    "body of a 304": ([(b":status", b"304")], b"abc"),
}


@pytest.mark.parametrize("case", BAD_ANSWERS)
@scenario
async def test_a_malformed_answer_costs_its_own_request_only(case: str) -> None:
    headers, body = BAD_ANSWERS[case]
    async with H2Server(lambda _got: None).running() as app, running(before(app)) as door:
        patient, unlucky = [await Client.connect(address(door)) for _ in range(2)]
        waiting = asyncio.ensure_future(patient.get("/patient"))
        other = await app.request()
        answer = asyncio.ensure_future(unlucky.get())
        got = await app.request(2)
        if case == "status 101":  # informational to the library, which then wants no END_STREAM
            got.answer(b"", headers, end=False)
        else:
            got.answer(body, headers)
        assert (await answer).status == 502
        assert (await answer).get("set-cookie") is None
        other.answer(b"fine")
        assert (await waiting).body == b"fine"
        assert len(app.connections) == 1
        about_its_head = not case.endswith(("than promised", "of a 304"))
        assert stats(door, "http2.rx_messaging_error") == (about_its_head,)


@scenario
async def test_a_body_that_turns_out_too_long_or_short_is_broken_off() -> None:
    async with H2Server(lambda _got: None).running() as app, running(before(app)) as door:
        for body in (b"", b"cdef"):
            client = await Client.connect(address(door))
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            got = await app.request(len(app.got) + 1)
            got.answer(b"ab", [*OK, (b"content-length", b"4")], end=False)
            assert (await client.reader.readuntil(b"\r\n\r\nab")).startswith(b"HTTP/1.1 200")
            got.connection.h2.send_data(got.id, body, end_stream=True)
            got.connection.flush()
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await client.reader.readexactly(2)  # cut, so that nobody takes it for whole
        assert len(app.connections) == 1


def frames(*made: Frame) -> bytes:
    return b"".join(frame.serialize() for frame in made)


def endless_head(got: Got) -> bytes:
    first = HeadersFrame(got.id, got.connection.h2.encoder.encode([(b":status", b"200")]))
    return frames(first, *(ContinuationFrame(got.id, b"\x00\x01a\x01b" * 100) for _ in range(200)))


def huge_head(got: Got) -> bytes:
    block = got.connection.h2.encoder.encode([(b":status", b"200"), *[(b"x-%d" % n, b"b" * 900) for n in range(400)]])
    pieces = [block[at : at + 16384] for at in range(0, len(block), 16384)]
    last = ContinuationFrame(got.id, pieces[-1])
    last.flags.add("END_HEADERS")
    return frames(HeadersFrame(got.id, pieces[0]), *(ContinuationFrame(got.id, p) for p in pieces[1:-1]), last)


FLOODS: dict[str, Any] = {
    "CONTINUATION": endless_head,
    "a huge head": huge_head,
    "PING": lambda _got: frames(PingFrame(0, b"12345678")) * 3000,
    "SETTINGS": lambda _got: frames(SettingsFrame(0)) * 3000,
    "empty DATA": lambda got: frames(DataFrame(got.id, b"")) * 3000,
    "a frame too large": lambda got: frames(DataFrame(got.id, b"x" * 20_000)),
    "a pushed stream": lambda got: (
        b"\x00\x00\x05\x05\x04" + got.id.to_bytes(4, "big") + (2).to_bytes(4, "big") + b"\x88"
    ),
    "garbage": lambda _got: b"\xff" * 100,
}


@pytest.mark.parametrize("case", FLOODS)
@scenario
async def test_an_upstream_that_breaks_the_rules_is_left(case: str) -> None:
    def attack(got: Got) -> None:
        if case in ("empty DATA", "a frame too large"):
            got.answer(b"", OK, end=False)
        got.connection.raw(FLOODS[case](got))

    async with H2Server(attack).running() as app, running(before(app)) as door:
        client = await Client.connect(address(door))
        try:
            assert (await client.get()).status == 502
        except (asyncio.IncompleteReadError, ConnectionError, ValueError):
            assert case in ("empty DATA", "a frame too large")  # the answer had begun
        await app.connections[0].closed.wait()
        app.script = lambda got: got.answer(b"well again")
        assert (await (await Client.connect(address(door))).get()).body == b"well again"
        app.errors.clear()  # what the server's library makes of our goodbye


@scenario
async def test_an_upstream_that_speaks_http_1_1_is_named(caplog: pytest.LogCaptureFixture) -> None:
    async def bad_request(_heard: Any, _reader: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    async with (
        Upstream(handler=bad_request).running() as app,
        running(proxy(app.port, cluster={"http2": Http2()})) as door,
    ):
        seen = []
        service = door.runtime.services["main"]
        finished = service.finished
        service.finished = lambda exchange: (seen.append(exchange), finished(exchange))  # type: ignore[method-assign]
        assert (await (await Client.connect(address(door))).get()).status == 502
        assert str(seen[0].failure) == "the upstream answers in HTTP/1.1: it does not speak HTTP/2"


# --- the pool


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


# --- WebSocket (RFC 8441)

HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
UPGRADES = {"upgrade_types": {"websocket": True}}


@scenario
async def test_a_websocket_over_http_2() -> None:
    def accept(got: Got) -> None:
        got.answer(b"", [(b":status", b"200")], end=False)

    def back(got: Got) -> None:
        got.connection.h2.send_data(got.id, bytes(got.body))
        got.body.clear()
        got.connection.flush()

    settings = {SettingCodes.ENABLE_CONNECT_PROTOCOL: 1}
    async with (
        H2Server(accept, settings=settings, on_data=back).running() as app,
        running(before(app, http=UPGRADES)) as door,
    ):
        client = await Client.connect(address(door))
        client.send(HANDSHAKE)
        answer = await client.answer()
        assert (answer.status, answer.get("upgrade")) == (101, "websocket")
        assert answer.get("sec-websocket-accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        client.send(b"there and back")
        assert await client.reader.readexactly(14) == b"there and back"
        got = app.got[0]
        assert (got.get(b":method"), got.get(b":protocol"), got.get(b"upgrade")) == (b"CONNECT", b"websocket", None)
        got.end()
        assert await client.closed()


@scenario
async def test_a_websocket_that_the_upstream_does_not_take() -> None:
    async with H2Server().running() as app, running(before(app, http=UPGRADES)) as door:
        client = await Client.connect(address(door))
        client.send(HANDSHAKE)
        answer = await client.answer()
        assert (answer.status, app.got) == (503, [])
        assert answer.body.endswith(b"reset reason: the upstream offers no WebSocket over HTTP/2")
        assert (await client.get()).status == 200


# --- TLS


def tls(offered: tuple[str, ...], **changes: Any) -> tuple[ssl.SSLContext, dict[str, Any]]:
    """A server's context that knows these protocols, and the cluster that trusts it."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("app.test").configure_cert(context)
    if offered:
        context.set_alpn_protocols(list(offered))
    ca = DataSource(inline=Secret(authority.cert_pem.bytes()))
    settings = UpstreamTlsContext(
        sni="app.test", validation_context=CertificateValidationContext(trusted_ca=ca), **changes
    )  # fmt: skip
    return context, {"transport_socket": settings}


@pytest.mark.parametrize("negotiate", [True, False])
@pytest.mark.parametrize("of_client", [True, False])
@scenario
async def test_http_2_over_tls(negotiate: bool, of_client: bool) -> None:
    context, cluster = tls(("h2", "http/1.1"), alpn_protocols=("h2", "http/1.1"))
    options = Http2(negotiate=negotiate, scheme_of_client=of_client)
    async with H2Server().running(context) as app, running(before(app, http2=options, **cluster)) as door:
        client = await Client.connect(address(door))
        for _ in range(3):
            assert (await client.get()).status == 200
        assert app.got[0].get(b":scheme") == (b"http" if of_client else b"https")
        assert stats(door, "upstream_cx_http2_total", "upstream_cx_http1_total") == (1, 0)
        assert len(app.connections) == 1


@pytest.mark.parametrize("offered", [("http/1.1",), ()])
@scenario
async def test_where_tls_does_not_agree_on_http_2_it_is_http_1_1(offered: tuple[str, ...]) -> None:
    context, cluster = tls(offered, alpn_protocols=("h2", "http/1.1"))
    app = Upstream()
    server = await asyncio.start_server(app._serve, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    async with server, running(proxy(port, cluster={"http2": Http2(negotiate=True), **cluster})) as door:
        clients = [await Client.connect(address(door)) for _ in range(3)]
        for _ in range(2):
            answers = await asyncio.gather(*(client.get() for client in clients))
            assert {answer.status for answer in answers} == {200}
        assert len(app.heard) == 6
        assert app.connections <= 3
        assert stats(door, "upstream_cx_http2_total", "upstream_cx_http1_total") == (0, app.connections)


@scenario
async def test_http_2_is_spoken_where_it_must_be_though_tls_agreed_on_nothing() -> None:
    context, cluster = tls((), alpn_protocols=("h2",))
    async with H2Server().running(context) as app, running(before(app, **cluster)) as door:
        assert (await (await Client.connect(address(door))).get()).status == 200
