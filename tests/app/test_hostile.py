"""Clients and upstreams that mean harm, or fail at the worst moment: nobody else feels it."""

import asyncio
import os
import resource
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import pytest

from app.harness import address, proxy, running
from ostiary.dialects import native
from ostiary.model import limits
from ostiary.model.access_log import AccessLog
from ostiary.model.config import Address
from ostiary.model.routes import DirectResponseAction, Route, RouteMatch
from wire import Client, Heard, Upstream, read_body, scenario


@scenario
async def test_a_client_that_does_not_read_takes_no_connection_from_others() -> None:
    big = b"HTTP/1.1 200 OK\r\ncontent-length: 4050000\r\n\r\n" + b"x" * 4_050_000

    async def handler(heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(big if b"/big" in heard.line else b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        await writer.drain()

    async with Upstream(handler=handler).running() as app, running(proxy(app.port)) as door:
        greedy = await Client.connect(address(door))
        greedy.writer.transport.pause_reading()  # type: ignore[attr-defined]
        greedy.send(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n")
        await asyncio.sleep(0.5)
        other = await Client.connect(address(door))
        for _ in range(3):
            assert (await other.get("/small")).status == 200


@scenario
async def test_pipelining_without_reading_fills_no_memory() -> None:
    route = Route(match=RouteMatch(prefix="/"), action=DirectResponseAction(status=200, body=b"x" * 4096))
    async with running(proxy(1, routes=(route,))) as door:
        client = await Client.connect(address(door))
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for _ in range(50):
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 1000)
            await asyncio.sleep(0.01)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60_000  # KiB; all answers are 200 MB
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        for _ in range(2000):
            assert (await client.answer()).status == 200


@scenario
async def test_heads_that_all_differ_and_are_large_fill_no_memory() -> None:
    async with Upstream().running() as app, running(proxy(app.port)) as door:
        client = await Client.connect(address(door))
        await client.get("/", "X-Pad: " + "a" * 50_000)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for number in range(1500):
            await client.get("/", f"X-Pad: {number}{'a' * 50_000}")
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 150_000  # KiB


@scenario
async def test_a_slow_reader_gets_all_of_an_answer_that_closes() -> None:
    body = b"x" * 3_000_000
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
    options = {"delayed_close_timeout": 0.2, "listener": {"per_connection_buffer_limit_bytes": 1024 * 1024}}
    async with Upstream(answer).running() as app, running(proxy(app.port, **options)) as door:
        client = await Client.connect(address(door))
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        got = 0
        while piece := await client.reader.read(100_000):
            got += len(piece)
            await asyncio.sleep(0.05)
        assert got > len(body)


@scenario
async def test_no_request_id_breaks_the_log_or_anybody_else(tmp_path: Path) -> None:
    log = AccessLog(sink="file", path=str(tmp_path / "a.log"))
    async with Upstream().running() as app, running(proxy(app.port, access_log=(log,))) as door:
        hostile, other = await Client.connect(address(door)), await Client.connect(address(door))
        for _ in range(3):
            assert (await hostile.get("/", "X-Request-Id: \xff")).status == 200
            other.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx")
            assert (await other.answer()).status == 200
    assert len((tmp_path / "a.log").read_text().splitlines()) == 6


@scenario
async def test_everyone_in_line_learns_that_the_upstream_is_down() -> None:
    async with Upstream().running() as app:
        port = app.port
    breakers = proxy(port).clusters[0].circuit_breakers.__class__(max_connections=1)
    async with running(proxy(port, cluster={"circuit_breakers": breakers})) as door:
        clients = [await Client.connect(address(door)) for _ in range(4)]
        answers = await asyncio.gather(*(client.get() for client in clients))
        assert [answer.status for answer in answers] == [503] * 4


@scenario
async def test_a_waiting_request_gets_the_room_that_becomes_free() -> None:
    end, long_one = asyncio.Event(), asyncio.Event()

    async def handler(heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if b"/long" in heard.line:
            long_one.set()
            await end.wait()
        await asyncio.sleep(0.01)
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok")
        await writer.drain()
        writer.close()

    breakers = proxy(1).clusters[0].circuit_breakers.__class__(max_connections=2)
    config_of = {"cluster": {"circuit_breakers": breakers}}
    async with Upstream(handler=handler).running() as app, running(proxy(app.port, **config_of)) as door:
        long = await Client.connect(address(door))
        long.send(b"GET /long HTTP/1.1\r\nHost: a\r\n\r\n")
        await long_one.wait()
        clients = [await Client.connect(address(door)) for _ in range(3)]
        answers = await asyncio.gather(*(client.get("/short") for client in clients))
        assert [answer.status for answer in answers] == [200] * 3
        end.set()
        assert (await long.answer()).status == 200


@scenario
async def test_empty_lines_between_requests_are_ignored() -> None:
    async def handler(heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_body(heard, reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

    async with Upstream(handler=handler).running() as app, running(proxy(app.port, idle_timeout=1.0)) as door:
        client = await Client.connect(address(door))
        client.send(b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await client.answer()).status == 200
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx\r\n")
        assert (await client.answer()).status == 200
        assert (await client.get()).status == 200
        assert await client.closed()  # and an idle connection is still closed


@scenario
async def test_empty_lines_without_end_are_cut_off() -> None:
    async with Upstream().running() as app, running(proxy(app.port, delayed_close_timeout=0.05)) as door:
        greedy, other = await Client.connect(address(door)), await Client.connect(address(door))
        greedy.send(b"\r\n" * 500_000)
        assert (await other.get()).status == 200
        assert (await greedy.answer()).status == 400
        slow = await Client.connect(address(door))
        for _ in range(limits.MAX_EMPTY_LINES + 1):
            slow.send(b"\r\n")
            await asyncio.sleep(0.01)
        assert (await slow.answer()).status == 400


@pytest.mark.parametrize("raw", [b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", b"HTTP/1.1 200 OK\n\r\nok"])
@scenario
async def test_an_answer_whose_lines_end_in_lf_alone_is_refused_at_once(raw: bytes) -> None:
    async with Upstream(raw).running() as app, running(proxy(app.port, timeout=0.0)) as door:
        assert (await (await Client.connect(address(door))).get()).status == 502


@scenario
async def test_an_old_client_gets_no_other_protocol_and_spoils_it_for_nobody() -> None:
    async def handler(heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up = heard.get(b"upgrade") == b"websocket"
        answer = b"101 x\r\nconnection: upgrade\r\nupgrade: websocket" if up else b"200 OK\r\ncontent-length: 0"
        writer.write(b"HTTP/1.1 " + answer + b"\r\n\r\n")

    head = b"Host: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    config = {"accept_http_10": True, "upgrade_types": (("websocket", True),)}
    async with Upstream(handler=handler).running() as app, running(proxy(app.port, **config)) as door:
        for version, status in ((b"1.0", 200), (b"1.1", 101), (b"1.0", 200), (b"1.1", 101)):
            client = await Client.connect(address(door))
            client.send(b"GET / HTTP/" + version + b"\r\n" + head)
            assert (await client.answer()).status == status


@pytest.mark.parametrize("profile", ["ostiary", "envoy"])
@scenario
async def test_the_offer_of_h2c_is_ignored(profile: str) -> None:
    async with Upstream().running() as app, running(proxy(app.port, profile=profile)) as door:
        client = await Client.connect(address(door))
        offer = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQ")
        assert (await client.get("/", *offer)).status == 200
        assert app.heard[0].get(b"upgrade") is app.heard[0].get(b"http2-settings") is None


@pytest.mark.parametrize("profile", ["ostiary", "envoy"])
@scenario
async def test_a_question_about_the_server_itself_is_no_applications(profile: str) -> None:
    async with Upstream().running() as app, running(proxy(app.port, profile=profile)) as door:
        client = await Client.connect(address(door))
        client.send(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await client.answer()).status == 404
        assert (await client.get()).status == 200  # on the same connection
        assert len(app.heard) == 1


@scenario
async def test_a_length_that_is_repeated_goes_on_once() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\ncontent-length: 2\r\nContent-Length: 2\r\n\r\nok"
    async with Upstream(answer).running() as app, running(proxy(app.port)) as door:
        found = await (await Client.connect(address(door))).get()
        assert found.all("content-length") == ["2"] and found.body == b"ok"


@scenario
async def test_no_header_names_another_place_than_rules_judged() -> None:
    forged = ("X-Original-URL: /admin", "X-Rewrite-URL: /admin", "X-Forwarded-Uri: /admin", "X_Original_Url: /admin",
              "X-HTTP-Method-Override: DELETE", "X-Forwarded-Method: DELETE", "Content_Length: 50")  # fmt: skip
    config = {"profile": "ostiary", "use_remote_address": True}
    async with Upstream().running() as app, running(proxy(app.port, **config)) as door:
        client = await Client.connect(address(door))
        for _ in range(3):
            assert (await client.get("/p", *forged, "X-Mine: 1")).status == 200
        for heard in app.heard:
            assert heard.get(b"x-mine") == b"1"
            assert {name for name, _ in heard.headers} == {
                b"host", b"x-mine", b"x-forwarded-for", b"x-forwarded-proto", b"x-envoy-external-address",
                b"x-request-id",
            }  # fmt: skip


@pytest.mark.parametrize(
    "raw",
    [
        b'GET http://a"<>{}:99999x/ HTTP/1.1\r\nHost: a\r\n\r\n',
        b"CONNECT /x HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
)
@scenario
async def test_what_no_upstream_should_see_is_refused(raw: bytes) -> None:
    async with Upstream().running() as app, running(proxy(app.port, delayed_close_timeout=0.05)) as door:
        client = await Client.connect(address(door))
        client.send(raw)
        assert (await client.answer()).status in (400, 404)
        assert not app.heard


@scenario
async def test_a_missing_host_is_refused_whatever_was_remembered() -> None:
    config = {"accept_http_10": True, "delayed_close_timeout": 0.05}
    async with Upstream().running() as app, running(proxy(app.port, **config)) as door:
        old = await Client.connect(address(door))
        old.send(b"GET / HTTP/1.0\r\nX: 1\r\n\r\n")
        assert (await old.answer()).status == 200
        new = await Client.connect(address(door))
        new.send(b"GET / HTTP/1.1\r\nX: 1\r\n\r\n")
        assert (await new.answer()).status == 400


@scenario
async def test_no_identity_comes_in_a_trailer() -> None:
    async with Upstream().running() as app, running(proxy(app.port)) as door:
        client = await Client.connect(address(door))
        client.send(
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
            b"X_Forwarded_User: root\r\nX-Ostiary-Assertion: x\r\nX-Real-IP: 1.1.1.1\r\nX-Sum: 1\r\n\r\n"
        )
        assert (await client.answer()).status == 200
        assert app.heard[0].trailers == [b"x-sum: 1"]


CLAIMS = """\
listen: 127.0.0.1:0
upstream: http://127.0.0.1:{port}
secret: 0123456789abcdef0123456789abcdef
provider: {{issuer: 'http://127.0.0.1:9', client_id: app, client_secret: x}}
access_log: off
public: [/public]
pass: {{claims: {{X-Department: department}}}}
"""


@scenario
async def test_nothing_of_a_request_passes_for_a_claim() -> None:
    async with Upstream().running() as app:
        loaded = native.load_all([("o.yaml", CLAIMS.format(port=app.port).encode())], flags={}, env={})
        assert loaded.config is not None, loaded.diagnostics
        async with running(loaded.config) as door:
            client = await Client.connect(next(iter(door.addresses.values()))[0])
            client.send(
                b"POST /public HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nX-Department: board\r\n"
                b"X_Department: board\r\nX.Department: board\r\nX-Mine: 1\r\n\r\n0\r\n"
                b"X-Department: board\r\nx~department: board\r\nX-Forwarded.For: 1.1.1.1\r\nX-Sum: 1\r\n\r\n"
            )
            assert (await client.answer()).status == 200
            [heard] = app.heard
            assert heard.get(b"x-mine") == b"1"
            assert [name for name, _ in heard.headers if b"department" in name] == []
            assert heard.trailers == [b"x-sum: 1"]


@pytest.mark.parametrize("merge", [True, False])
@pytest.mark.parametrize("path", ["/%2Fevil.example", "/%5Cevil.example", "/x/..%2f..%2f%2Fevil.example"])
@scenario
async def test_a_redirect_to_the_normal_path_stays_on_this_host(path: str, merge: bool) -> None:
    """As a browser resolves it (WHATWG URL): `//` and `/\\` begin another host's address."""
    for normalize in (True, False):
        config = {
            "profile": "envoy", "path_with_escaped_slashes_action": "UNESCAPE_AND_REDIRECT", "merge_slashes": merge,
            "normalize_path": normalize,
        }  # fmt: skip
        async with Upstream().running() as app, running(proxy(app.port, **config)) as door:
            answer = await (await Client.connect(address(door))).get(path)
            location = answer.get("location") or ""
            assert answer.status == 307
            assert urlsplit(urljoin("http://here.test/", location.replace("\\", "/"))).netloc == "here.test"


@scenario
async def test_a_successors_socket_survives_its_predecessor(tmp_path: Path) -> None:
    path = str(tmp_path / "door.sock")
    async with Upstream().running() as app:
        config = proxy(app.port, listener={"address": Address(pipe=path)})
        async with running(config) as old, running(config):
            await old.stop(0)
            assert os.path.exists(path)
            client = Client.over(*await asyncio.open_unix_connection(path))
            assert (await client.get()).status == 200
