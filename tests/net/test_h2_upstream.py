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

from app.harness import address, proxy, running
from h2_server import OK, Got, H2Server, Headers
from net.h2_world import before, stats
from ostiary.model import limits
from ostiary.model.clusters import Http2
from ostiary.model.secret import Secret
from ostiary.model.tls import CertificateValidationContext, DataSource, UpstreamTlsContext
from wire import Client, Upstream, scenario

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
