from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from net.dns_server import DnsServer, Reply, dual
from net.loops import Run
from net.peers_on_loopback import Peers
from ostiary.core.trace import ConnectTrace
from ostiary.model.clusters import HappyEyeballsConfig
from ostiary.net.connect_error import ConnectError, ConnectTimeoutError
from ostiary.net.connector import Connector

SHORT = 0.2
"""An attempt delay for tests: short, and longer than a busy machine takes for a handshake on loopback."""


class Client(asyncio.Protocol):
    """Remembers what a protocol is told."""

    def __init__(self) -> None:
        self.made = 0
        self.received = b""
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.spoken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.made += 1
        sock = transport.get_extra_info("socket")
        self.no_delay = sock.family != socket.AF_UNIX and sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0

    def data_received(self, data: bytes) -> None:
        self.received += data
        if not self.spoken.done():
            self.spoken.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.lost.done():
            self.lost.set_result(None)


async def connect(connector: Connector, port: int, server: DnsServer | None = None, **options: object):  # type: ignore[no-untyped-def]
    """Connect to dual.test, read the greeting, close; gives back (protocol, trace)."""
    if server is not None:
        options["dns_servers"] = [server.address]
    options.setdefault("attempt_delay", SHORT)
    transport, client, trace = await connector.connect("dual.test", port, Client, **options)  # type: ignore[arg-type]
    try:
        await client.spoken
    finally:
        transport.abort()
    await client.lost
    connector.close()
    return client, trace


async def failure(connector: Connector, port: int, server: DnsServer | None = None, **options: object) -> ConnectError:
    with pytest.raises(ConnectError) as caught:
        await connect(connector, port, server, **options)
    return caught.value


def outcomes(trace: ConnectTrace) -> list[tuple[str, str, str]]:
    return [(a.family, a.stage, a.outcome) for a in trace.attempts]


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def good(ca: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("dual.test").configure_cert(context)
    return context


@pytest.fixture(scope="module")
def foreign() -> ssl.SSLContext:
    """A certificate of an authority nobody trusts."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("dual.test").configure_cert(context)
    return context


@pytest.fixture
def client_context(ca: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    ca.configure_trust(context)
    return context


def test_a_connection_and_its_trace(run: Run) -> None:
    async def main() -> None:
        async with DnsServer(dual()) as server, Peers("greets", "greets") as peers:
            client, trace = await connect(Connector(), peers.port, server)
            assert (client.made, client.received) == (1, b"v6")
            document = trace.as_dict()
            assert list(document) == [
                "target", "ok", "elapsed_ms", "winner", "dns", "attempts", "tls", "error", "summary",
            ]  # fmt: skip
            assert document["target"] == f"dual.test:{peers.port}"
            assert document["winner"] == {"address": "::1", "port": peers.port, "family": "v6"}
            assert list(document["dns"][0]) == [
                "name", "type", "server", "started_ms", "ended_ms", "rcode", "ttl", "answers", "outcome",
            ]  # fmt: skip
            assert list(document["attempts"][0]) == [
                "address", "port", "family", "source", "started_ms", "ended_ms", "stage", "outcome", "errno", "message",
            ]  # fmt: skip
            assert document["attempts"][0]["source"] == "::1"
            assert document["ok"] is True
            assert document["error"] is None
            assert "over IPv6" in document["summary"]

    run(main())


def test_c02_a_black_hole_is_passed_over(run: Run) -> None:
    async def main() -> None:
        async with DnsServer(dual()) as server, Peers("black_hole", "greets") as peers:
            client, trace = await connect(Connector(), peers.port, server)
            assert client.received == b"v4"
            assert client.no_delay
            assert outcomes(trace) == [("v6", "tcp", "cancelled"), ("v4", "tcp", "won")]
            assert "[::1]" in trace.summary

    run(main())


def test_c03_a_refusal_is_passed_over_at_once(run: Run) -> None:
    async def main() -> None:
        async with DnsServer(dual(v4=Reply(("127.0.0.1",)))) as server, Peers("refuses", "greets") as peers:
            _, trace = await connect(Connector(), peers.port, server, attempt_delay=20.0, timeout=60.0)
            assert outcomes(trace) == [("v6", "tcp", "failed"), ("v4", "tcp", "won")]
            first, second = trace.attempts
            assert first.errno == "ECONNREFUSED"
            assert first.started is not None
            assert second.started is not None
            assert second.started - first.started < 19.0

    run(main())


@pytest.mark.parametrize(("silent", "other"), [("AAAA", "v4"), ("A", "v6")])
def test_d06_d07_a_type_that_is_never_answered_delays_nothing_else(run: Run, silent: str, other: str) -> None:
    async def main() -> None:
        records = dual()
        records[("dual.test.", silent)] = Reply(silent=True)
        async with DnsServer(records) as server, Peers("greets", "greets") as peers:
            client, trace = await connect(Connector(), peers.port, server)
            assert client.received == other.encode()
            assert {q.type: q.outcome for q in trace.dns}[silent] == "pending"  # type: ignore[index]
            assert f"The {silent} query" in trace.summary

    run(main())


def test_d08_no_answer_at_all_names_both_queries_and_the_server(run: Run) -> None:
    async def main() -> None:
        async with DnsServer(dual(v6=Reply(silent=True), v4=Reply(silent=True))) as server:
            error = await failure(Connector(), 443, server, timeout=0.1)
            assert isinstance(error, TimeoutError)
            assert [(q.type, q.outcome) for q in error.trace.dns] == [("AAAA", "pending"), ("A", "pending")]
            assert str(error) == (
                f"Can't connect to dual.test:443: the AAAA and A query for dual.test. was not answered by "
                f"127.0.0.1:{server.port}."
            )

    run(main())


def test_a_name_that_does_not_exist(run: Run) -> None:
    async def main() -> None:
        async with DnsServer({}) as server:
            connector = Connector()
            error = await failure(connector, 443, server)
            assert not isinstance(error, TimeoutError)
            assert f"dual.test. does not exist, says 127.0.0.1:{server.port}" in str(error)
            assert error.trace.error == "the name did not resolve"
            again = await failure(connector, 443, server)
            assert "dual.test. does not exist, as was answered a moment ago" in str(again)

    run(main())


def test_c13_all_refused_names_every_address_and_keeps_the_errno(run: Run) -> None:
    async def main() -> None:
        async with DnsServer(dual()) as server, Peers("refuses", "refuses") as peers:
            error = await failure(Connector(), peers.port, server)
            assert isinstance(error, OSError)
            assert error.errno == errno.ECONNREFUSED
            assert outcomes(error.trace) == [("v6", "tcp", "failed"), ("v4", "tcp", "failed")]
            assert f"[::1]:{peers.port}" in str(error)
            assert f"127.0.0.1:{peers.port}" in str(error)
            assert error.trace.as_dict()["summary"] == str(error)

    run(main())


def test_c14_c19_all_dead_ends_at_one_deadline_and_both_had_a_turn(run: Run) -> None:
    async def main() -> None:
        async with DnsServer(dual()) as server, Peers("black_hole", "black_hole") as peers:
            error = await failure(Connector(), peers.port, server, timeout=1.0, attempt_delay=1.5)
            assert isinstance(error, ConnectTimeoutError)
            assert error.errno == errno.ETIMEDOUT
            assert outcomes(error.trace) == [("v6", "tcp", "timeout"), ("v4", "tcp", "timeout")]

    run(main())


def test_m01_a_dead_family_costs_its_delay_once(run: Run) -> None:
    async def main() -> None:
        async with DnsServer(dual()) as server, Peers("black_hole", "greets") as peers:
            connector = Connector()
            await connect(connector, peers.port, server)
            _, again = await connect(connector, peers.port, server)
            assert outcomes(again) == [("v4", "tcp", "won"), ("v6", "tcp", "not_started")]
            connector.network_changed()
            _, fresh = await connect(connector, peers.port, server)
            assert outcomes(fresh)[0] == ("v6", "tcp", "cancelled")

    run(main())


def test_first_address_family_version_decides_who_is_first(run: Run) -> None:
    async def main() -> None:
        async with DnsServer(dual()) as server, Peers("greets", "greets") as peers:
            config = HappyEyeballsConfig(first_address_family_version="V4")
            client, _ = await connect(Connector(), peers.port, server, happy_eyeballs=config)
            assert client.received == b"v4"

    run(main())


def test_d21_ready_addresses_need_no_lookup_and_may_have_ports_of_their_own(run: Run) -> None:
    async def main() -> None:
        async with Peers("refuses", "greets") as peers, Peers("greets", "refuses") as others:
            addresses = [("::1", peers.port), ("127.0.0.1", others.port), ("::1", others.port)]
            client, trace = await connect(Connector(), 1, addresses=addresses)
            assert client.received == b"v6"
            assert trace.dns == []
            assert trace.winner is not None
            assert trace.winner.port == others.port

    run(main())


def test_a_unix_socket(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"hello")
            writer.close()

        path = str(tmp_path / "app.sock")
        server = await asyncio.start_unix_server(greet, path)
        _, client, trace = await Connector().connect("", 0, Client, pipe=path)
        await client.lost
        assert (client.made, client.received) == (1, b"hello")
        assert trace.as_dict()["winner"] == {"address": path, "port": 0, "family": "unix"}
        server.close()
        with pytest.raises(ConnectError, match="there is no such socket"):
            await Connector().connect("", 0, Client, pipe=path + "-not")

    run(main())


# --- lookup families


def test_auto_fails_as_in_envoy_and_names_the_mend(run: Run) -> None:
    async def main() -> None:
        async with DnsServer(dual()) as server, Peers("refuses", "greets") as peers:
            error = await failure(Connector(), peers.port, server, dns_lookup_family="AUTO")
            assert [q.type for q in error.trace.dns] == ["AAAA"]
            assert outcomes(error.trace) == [("v6", "tcp", "failed")]
            assert error.trace.other_family == ("127.0.0.1",)
            assert "1 IPv4 address with a route from here (127.0.0.1) was not tried" in str(error)
            assert "dns_lookup_family is AUTO" in str(error)
            assert "set dns_lookup_family: ALL" in str(error)
            _, trace = await connect(Connector(), peers.port, server, dns_lookup_family="ALL")
            assert trace.ok

    run(main())


@pytest.mark.parametrize(
    ("family", "asked", "first"),
    [
        ("AUTO", ["AAAA"], "v6"),
        ("V6_ONLY", ["AAAA"], "v6"),
        ("V4_ONLY", ["A"], "v4"),
        ("V4_PREFERRED", ["A"], "v4"),
        ("ALL", ["AAAA", "A"], "v6"),
    ],
)
def test_a_lookup_family_asks_for_no_more_than_envoy(run: Run, family: str, asked: list[str], first: str) -> None:
    async def main() -> None:
        async with DnsServer(dual()) as server, Peers("greets", "greets") as peers:
            client, trace = await connect(Connector(), peers.port, server, dns_lookup_family=family)
            assert [q.type for q in trace.dns] == asked
            assert client.received == first.encode()
            assert sorted(t for _, t in server.asked) == sorted(asked)

    run(main())


# --- TLS in the race


def test_a_connection_with_tls_says_what_was_agreed(
    run: Run, good: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    async def main() -> None:
        async with DnsServer(dual()) as server, Peers("greets", "greets", tls={"v6": good, "v4": good}) as peers:
            client, trace = await connect(Connector(), peers.port, server, ssl=client_context)
            assert (client.made, client.received) == (1, b"v6")
            assert trace.tls is not None
            assert (trace.tls.version, trace.tls.sni, trace.tls.verified) == ("TLSv1.3", "dual.test", True)
            assert trace.tls.not_after.endswith("Z")
            assert outcomes(trace)[0] == ("v6", "tls", "won")

    run(main())


def test_t01_a_peer_that_is_silent_in_tls_loses(run: Run, good: ssl.SSLContext, client_context: ssl.SSLContext) -> None:
    async def main() -> None:
        async with DnsServer(dual()) as server, Peers("silent", "greets", tls={"v4": good}) as peers:
            client, trace = await connect(Connector(), peers.port, server, ssl=client_context, attempt_delay=1.0)
            assert client.received == b"v4"
            assert outcomes(trace) == [("v6", "tls", "cancelled"), ("v4", "tls", "won")]

    run(main())


def test_t01_all_silent_in_tls_says_so(run: Run, client_context: ssl.SSLContext) -> None:
    async def main() -> None:
        async with DnsServer(dual()) as server, Peers("silent", "silent") as peers:
            error = await failure(Connector(), peers.port, server, ssl=client_context, timeout=1.0)
            assert isinstance(error, TimeoutError)
            assert outcomes(error.trace) == [("v6", "tls", "timeout"), ("v4", "tls", "timeout")]
            assert "did not finish the TLS handshake" in str(error)

    run(main())


def test_t03_a_wrong_certificate_on_one_address_is_reported_although_the_other_won(
    run: Run, good: ssl.SSLContext, foreign: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    async def main() -> None:
        async with DnsServer(dual()) as server, Peers("greets", "greets", tls={"v6": foreign, "v4": good}) as peers:
            client, trace = await connect(Connector(), peers.port, server, ssl=client_context)
            assert client.received == b"v4"
            assert trace.attempts[0].errno == "CERTIFICATE_VERIFY_FAILED"
            assert "its certificate is not trusted" in trace.summary

    run(main())


def test_a_certificate_for_another_name_is_refused(
    run: Run, good: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    async def main() -> None:
        async with DnsServer(dual()) as server, Peers("greets", "greets", tls={"v6": good, "v4": good}) as peers:
            error = await failure(Connector(), peers.port, server, ssl=client_context, server_hostname="other.test")
            assert error.errno == errno.EPROTO
            assert "other.test" in str(error)

    run(main())


def test_tls_to_a_peer_without_tls(run: Run, client_context: ssl.SSLContext) -> None:
    async def main() -> None:
        async with DnsServer(dual()) as server, Peers("greets", "greets", greeting="220 mail.test ready\r\n") as peers:
            error = await failure(Connector(), peers.port, server, ssl=client_context)
            assert {a.errno for a in error.trace.attempts} == {"WRONG_VERSION_NUMBER"}
            assert "the peer does not speak TLS on that port" in str(error)

    run(main())


# --- nothing is left behind: `run` checks sockets and tasks after each of these


def _resolving() -> tuple[DnsServer, Peers, bool]:
    return DnsServer(dual(v6=Reply(silent=True), v4=Reply(silent=True))), Peers("greets", "greets"), False


def _connecting() -> tuple[DnsServer, Peers, bool]:
    return DnsServer(dual()), Peers("black_hole", "black_hole"), False


def _shaking_hands() -> tuple[DnsServer, Peers, bool]:
    return DnsServer(dual()), Peers("silent", "silent"), True


@pytest.mark.parametrize("stage", [_resolving, _connecting, _shaking_hands])
@pytest.mark.parametrize("after", [0.0, 0.01, 0.1])
def test_c18_d26_a_cancelled_caller_leaves_nothing(
    run: Run, client_context: ssl.SSLContext, stage: Callable[[], tuple[DnsServer, Peers, bool]], after: float
) -> None:
    async def main() -> None:
        dns, peers, secure = stage()
        async with dns as server, peers:
            context = client_context if secure else None
            task = asyncio.ensure_future(connect(Connector(), peers.port, server, ssl=context))
            await asyncio.sleep(after)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    run(main())


def test_c18_a_caller_cancelled_in_any_turn_of_the_loop_leaves_nothing(
    run: Run, good: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    async def main() -> None:
        async with DnsServer(dual()) as server, Peers("greets", "greets", tls={"v6": good, "v4": good}) as peers:
            for secure in (False, True):
                context = client_context if secure else None
                for turns in range(25):
                    task = asyncio.ensure_future(connect(Connector(), peers.port, server, ssl=context))
                    for _ in range(turns):
                        await asyncio.sleep(0)
                    task.cancel()
                    await asyncio.wait([task])

    run(main())


def test_c17_exactly_one_connection_is_kept(run: Run) -> None:
    async def main() -> None:
        async with DnsServer(dual()) as server, Peers("greets", "greets") as peers:
            made: list[Client] = []

            def factory() -> Client:
                made.append(Client())
                return made[-1]

            connector = Connector()
            transport, client, _ = await connector.connect(
                "dual.test", peers.port, factory, dns_servers=[server.address], attempt_delay=0.0
            )
            assert made == [client]
            transport.abort()
            await client.lost
            connector.close()

    run(main())


def test_a_protocol_that_can_not_be_made_closes_the_connection(
    run: Run, good: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    def broken() -> Client:
        raise RuntimeError("no protocol today")

    async def main() -> None:
        async with DnsServer(dual()) as server, Peers("greets", "greets", tls={"v6": good, "v4": good}) as peers:
            for context in (None, client_context):
                connector = Connector()
                with pytest.raises(RuntimeError, match="no protocol today"):
                    await connector.connect("dual.test", peers.port, broken, ssl=context, dns_servers=[server.address])
                connector.close()

    run(main())


def test_many_connections_at_once_share_the_lookup(run: Run) -> None:
    async def main() -> None:
        async with DnsServer(dual()) as server, Peers("greets", "greets") as peers:
            connector = Connector()
            found = await asyncio.gather(*(connect(connector, peers.port, server) for _ in range(50)))
            assert {client.received for client, _ in found} == {b"v6"}
            assert sorted(server.asked) == [("dual.test.", "A"), ("dual.test.", "AAAA")]

    run(main())


def test_a_trace_does_not_change_after_its_connection_is_over(run: Run) -> None:
    async def main() -> None:
        async with DnsServer(dual(v4=Reply(("127.0.0.1",), delay=0.5))) as server, Peers("greets", "greets") as peers:
            connector = Connector(linger=10.0)
            transport, client, trace = await connector.connect(
                "dual.test", peers.port, Client, dns_servers=[server.address]
            )
            assert trace.dns[1].outcome == "pending"
            while connector.resolver.lookup("dual.test", "A", servers=[server.address]).answer is None:
                await asyncio.sleep(0.02)
            assert trace.dns[1].outcome == "pending"
            transport.abort()
            await client.lost
            connector.close()

    run(main())
