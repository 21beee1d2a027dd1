"""How requests over HTTP/2 end that don't end well, and whom that costs what."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from hyperframe.frame import ContinuationFrame, DataFrame, Frame, HeadersFrame, PingFrame, SettingsFrame

from app.harness import address, proxy, running
from h2_server import OK, Got, H2Server, Headers
from net.dns_server import DnsServer, Reply
from net.h2_world import before, stats, until
from ostiary.model import limits
from ostiary.model.clusters import DnsRefresh, Endpoint, Http2
from wire import Client, Upstream, scenario

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


@pytest.mark.parametrize("how", ["goaway", "refused", "gone"])
@scenario
async def test_what_a_host_that_is_gone_did_not_touch_goes_to_another_host(how: str) -> None:
    """RFC 9113 section 6.8, where the DNS has just replaced the host."""
    records = {("app.test.", "A"): Reply(("127.0.0.1",)), ("app.test.", "AAAA"): Reply()}
    async with (
        H2Server(lambda got: got.answer(b"old") if got.get(b":path") == b"/before" else None).running() as old,
        H2Server(lambda got: got.answer(b"new")).running(at=("127.0.0.2", old.port)),
        DnsServer(records) as dns,
        running(
            before(
                old, type="STRICT_DNS", dns_refresh=DnsRefresh(rate=0.02),
                dns_resolvers=(dns.address,), no_default_search_domain=True,
                endpoints=(Endpoint(address="app.test.", port=old.port),),
            )
        ) as door,
    ):  # fmt: skip
        client = await Client.connect(address(door))
        if how == "gone":  # a connection that had been idle: a GET that meets its end is sent again
            assert (await client.get("/before")).body == b"old"
        answer = asyncio.ensure_future(client.get())
        got = await old.request(2 if how == "gone" else 1)
        records["app.test.", "A"] = Reply(("127.0.0.2",))
        await until(lambda: stats(door, "membership_change") == (2,))
        if how == "goaway":
            got.connection.h2.close_connection(last_stream_id=0)
            got.connection.flush()
        elif how == "refused":
            got.send_reset(ErrorCodes.REFUSED_STREAM)
        else:
            got.connection.transport.abort()
        assert ((await answer).status, (await answer).body) == (200, b"new")
        assert len(old.connections) == 1


@scenario
async def test_a_request_larger_than_the_upstream_takes_is_not_sent() -> None:
    """An upstream may end the whole connection because of it, and everybody's requests with it."""
    async with (
        H2Server(settings={SettingCodes.MAX_HEADER_LIST_SIZE: 2000}).running() as app,
        running(before(app)) as door,
    ):
        client = await Client.connect(address(door))
        assert (await client.get()).status == 200  # and the settings are known
        waiting = await Client.connect(address(door))
        app.script = lambda _got: None
        other = asyncio.ensure_future(waiting.get("/other"))
        await app.request(2)
        answer = await client.get("/", f"x-large: {'x' * 2000}")
        assert answer.status == 503
        assert b"request headers larger than the upstream takes: 2000 bytes (SETTINGS_MAX_HEADER_LIST" in answer.body
        assert len(app.got) == 2
        app.got[1].answer(b"fine")
        assert (await other).body == b"fine"
        assert len(app.connections) == 1


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
    async with H2Server().running() as app, running(before(app, timeout=0.5)) as door:
        client = await Client.connect(address(door))
        assert (await client.get()).status == 200  # there is a connection
        app.script = lambda _got: None
        assert (await client.get()).status == 504
        await app.got[1].gone.wait()


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
