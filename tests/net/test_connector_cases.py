"""Cases with real sockets beyond those of test_connector; tests/CASES.md lists them all."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import resource
import socket
import ssl
from pathlib import Path

import pytest
import trustme

from net.dns_server import DnsServer, Reply, dual
from net.loops import Run
from net.peers_on_loopback import Peers
from net.test_connector import connect, failure, outcomes
from ostiary.core.addresses import Destination
from ostiary.model.clusters import DnsLookupFamily
from ostiary.net.connect_error import ConnectTimeoutError
from ostiary.net.connector import Connector
from ostiary.net.resolv_conf import SystemFiles
from ostiary.net.resolver import Resolver


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def client_context(ca: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    ca.configure_trust(context)
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


def server_context(ca: trustme.CA, *protocols: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("dual.test").configure_cert(context)
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


# --- DNS


@pytest.mark.parametrize("rcode", ["SERVFAIL", "REFUSED", "FORMERR", "NXDOMAIN"])
def test_d10_d11_one_type_failing_is_an_answer_and_is_reported(run: Run, rcode: str) -> None:
    async def main() -> None:
        async with DnsServer(dual(v6=Reply(rcode=rcode))) as server, Peers("greets", "greets") as peers:
            client, trace = await connect(Connector(), peers.port, server, resolution_delay=20.0)
            assert client.received == b"v4", "without waiting for more"
            assert {q.type: q.rcode for q in trace.dns} == {"AAAA": rcode, "A": "NOERROR"}

    run(main())


def test_d23_a_trailing_dot_is_not_part_of_the_name_that_tls_verifies(
    run: Run, ca: trustme.CA, client_context: ssl.SSLContext
) -> None:
    async def main() -> None:
        good = server_context(ca)
        async with DnsServer(dual()) as server, Peers("greets", "greets", tls={"v6": good, "v4": good}) as peers:
            transport, _, trace = await Connector().connect(
                "dual.test.", peers.port, asyncio.Protocol, ssl=client_context, dns_servers=[server.address]
            )
            transport.abort()
            assert trace.tls is not None
            assert trace.tls.sni == "dual.test"
            assert [name for name, _ in server.asked] == ["dual.test."] * 2

    run(main())


def test_c22_d05_an_answer_that_comes_after_success_fills_the_cache_only(run: Run) -> None:
    async def main() -> None:
        async with DnsServer(dual(v4=Reply(("127.0.0.1",), delay=0.5))) as server, Peers("greets", "refuses") as peers:
            connector = Connector(linger=10.0)
            transport, _, trace = await connector.connect(
                "dual.test", peers.port, asyncio.Protocol, dns_servers=[server.address]
            )
            assert {q.type: q.outcome for q in trace.dns} == {"AAAA": "answered", "A": "pending"}
            while connector.resolver.lookup("dual.test", "A", servers=[server.address]).answer is None:
                await asyncio.sleep(0.01)
            assert peers.accepted == ["v6"]
            assert len(server.asked) == 2
            transport.abort()
            connector.close()

    run(main())


# --- HTTPS records


def test_s11_a_service_on_another_port_is_connected_to(
    run: Run, ca: trustme.CA, client_context: ssl.SSLContext
) -> None:
    async def main() -> None:
        good = server_context(ca)
        async with Peers("greets", "greets", tls={"v6": good, "v4": good}) as peers:
            records = {**dual(), ("dual.test.", "HTTPS"): Reply((f"1 . alpn=h2 port={peers.port}",))}
            async with DnsServer(records) as server:
                transport, _, trace = await Connector().connect(
                    "dual.test", 443, asyncio.Protocol, ssl=client_context, dns_servers=[server.address],
                    https_records=True,
                )  # fmt: skip
                transport.abort()
                assert [(q.type, q.outcome) for q in trace.dns] == [
                    ("HTTPS", "answered"), ("AAAA", "answered"), ("A", "answered"),
                ]  # fmt: skip
                assert trace.as_dict()["dns"][0]["answers"] == [f"1 . alpn=h2 port={peers.port}"]
                assert trace.winner is not None
                assert trace.winner.port == peers.port
                assert trace.tls is not None
                assert trace.tls.sni == "dual.test", "the name that was wanted, not the service's"

    run(main())


def test_s03_s07_a_service_elsewhere_starts_with_its_hint(run: Run) -> None:
    async def main() -> None:
        async with Peers("greets", "greets") as peers:
            records = {
                ("dual.test.", "HTTPS"): Reply((f"1 svc.test. port={peers.port} ipv6hint=::1",)),
                ("dual.test.", "A"): Reply(("127.0.0.99",), delay=0.2),
                ("dual.test.", "AAAA"): Reply(silent=True),
                ("svc.test.", "A"): Reply(silent=True),
                ("svc.test.", "AAAA"): Reply(silent=True),
            }
            async with DnsServer(records) as server:
                client, trace = await connect(Connector(), 443, server, https_records=True, resolution_delay=20.0)
                assert client.received == b"v6"
                assert {(q.name, q.type) for q in trace.dns} == set(records)

    run(main())


def test_s14_without_an_https_record_all_is_as_ever(run: Run) -> None:
    async def main() -> None:
        for reply in (Reply(), Reply(rcode="SERVFAIL"), Reply(rcode="NXDOMAIN")):
            records = {**dual(), ("dual.test.", "HTTPS"): reply}
            async with Peers("greets", "greets") as peers, DnsServer(records) as server:
                client, trace = await connect(
                    Connector(), peers.port, server, https_records=True, resolution_delay=20.0
                )
                assert client.received == b"v6"
                assert trace.dns[0].name == f"_{peers.port}._https.dual.test."
                error = await failure(Connector(), 1, server, https_records=True)
                assert error.errno == errno.ECONNREFUSED

    run(main())


def test_about_a_name_of_the_hosts_file_nothing_is_asked(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with DnsServer({}) as server, Peers("greets", "greets") as peers:
            (tmp_path / "hosts").write_text("127.0.0.1 dual.test\n")
            connector = Connector(Resolver(SystemFiles(tmp_path / "resolv.conf", tmp_path / "hosts")))
            client, trace = await connect(connector, peers.port, server, https_records=True)
            assert client.received == b"v4"
            assert {q.server for q in trace.dns} == {"hosts"}
            assert server.asked == []

    run(main())


def test_a_record_for_a_name_without_addresses_does_not_hide_that(run: Run) -> None:
    async def main() -> None:
        async with DnsServer({("dual.test.", "HTTPS"): Reply(silent=True)}) as server:
            error = await failure(Connector(), 443, server, https_records=True)
            assert "dual.test. has no IPv6 (AAAA) and IPv4 (A) address" in str(error)

    run(main())


# --- local addresses and limits


def test_c23_connections_come_from_the_given_address_and_its_family_alone(run: Run) -> None:
    async def main() -> None:
        async with DnsServer(dual()) as server, Peers("greets", "greets") as peers:
            local = [("127.0.0.5", 0)]
            client, trace = await connect(Connector(), peers.port, server, local_addresses=local)
            assert (client.received, peers.sources) == (b"v4", ["127.0.0.5"])
            assert [(a.family, a.source, a.outcome) for a in trace.attempts] == [
                ("v4", "127.0.0.5", "won"), ("v6", None, "not_started"),
            ]  # fmt: skip
            _, both = await connect(Connector(), peers.port, server, local_addresses=[*local, ("::1", 0)])
            assert both.attempts[0].source == "::1"
            error = await failure(Connector(), peers.port, server, local_addresses=local, dns_lookup_family="V6_ONLY")
            assert "no source address of IPv6 is configured, only 127.0.0.5" in str(error)
            assert error.errno == errno.EADDRNOTAVAIL
            assert outcomes(error.trace) == [("v6", "route", "failed")]
            assert error.trace.other_family == ("127.0.0.1",), "which would have worked"

    run(main())


def test_c23_an_address_of_another_host_is_named(run: Run) -> None:
    async def main() -> None:
        async with Peers("greets", "greets") as peers:
            error = await failure(
                Connector(), peers.port, addresses=[("127.0.0.1", peers.port)], local_addresses=[("192.0.2.77", 0)]
            )
            assert "the source address 192.0.2.77 is not one of this host" in str(error)
            assert error.trace.attempts[0].stage == "route"

    run(main())


def test_c24_no_free_descriptor_is_said_and_leaks_nothing(run: Run) -> None:
    async def main() -> None:
        async with Peers("greets", "greets") as peers:
            connector = Connector()
            addresses = [("::1", peers.port), ("127.0.0.1", peers.port)]
            free = os.dup(0)
            os.close(free)
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
            try:
                error = await failure(connector, peers.port, addresses=addresses)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            assert error.errno == errno.EMFILE
            assert "this process has no free file descriptor" in str(error)
            assert outcomes(error.trace) == [("v6", "route", "failed"), ("v4", "route", "failed")]
            client, _ = await connect(connector, peers.port, addresses=addresses)
            assert client.received == b"v6"

    run(main())


@pytest.mark.parametrize("number", [errno.EAFNOSUPPORT, errno.ENOBUFS])
def test_c07_c24_what_this_kernel_can_not_be_made_to_say(
    run: Run, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """A kernel without IPv6, or without memory: `socket()` itself fails for that family."""
    real = socket.socket

    class Socket(real):
        def __init__(self, family: int = -1, *args: object, **kwargs: object) -> None:
            if family == socket.AF_INET6:
                raise OSError(number, os.strerror(number))
            super().__init__(family, *args, **kwargs)  # type: ignore[arg-type]

    async def main() -> None:
        async with Peers("greets", "greets") as peers:
            addresses = [("::1", peers.port), ("127.0.0.1", peers.port)]
            with monkeypatch.context() as patched:
                patched.setattr("ostiary.net.attempt.socket.socket", Socket)
                client, trace = await connect(Connector(), peers.port, addresses=addresses)
            assert client.received == b"v4"
            assert trace.attempts[0].errno in (errno.errorcode[number], None)

    run(main())


def test_many_races_to_a_dead_family_at_once_are_bounded_and_share_the_lookup(run: Run) -> None:
    async def main() -> None:
        async with DnsServer(dual()) as server, Peers("black_hole", "greets") as peers:
            connector = Connector()
            found = await asyncio.gather(*(connect(connector, peers.port, server) for _ in range(200)))
            assert {client.received for client, _ in found} == {b"v4"}
            assert len(server.asked) == 2

    run(main())


# --- the race with TLS


@pytest.mark.parametrize("behaviour", ["resets", "hangs_up"])
def test_t05_t10_a_peer_that_ends_the_handshake_is_passed_over_at_once(
    run: Run, ca: trustme.CA, client_context: ssl.SSLContext, behaviour: str
) -> None:
    async def main() -> None:
        good = server_context(ca)
        async with DnsServer(dual()) as server, Peers(behaviour, "greets", tls={"v4": good}) as peers:  # type: ignore[arg-type]
            client, trace = await connect(Connector(), peers.port, server, ssl=client_context, attempt_delay=20.0)
            assert client.received == b"v4"
            assert outcomes(trace) == [("v6", "tls", "failed"), ("v4", "tls", "won")]
            assert trace.attempts[0].errno in ("ECONNRESET", "UNEXPECTED_EOF_WHILE_READING")

    run(main())


def test_t02_an_alert_is_passed_over_and_named(run: Run, ca: trustme.CA, client_context: ssl.SSLContext) -> None:
    async def main() -> None:
        async with DnsServer(dual()) as server, Peers("alerts", "greets", tls={"v4": server_context(ca)}) as peers:
            client, trace = await connect(Connector(), peers.port, server, ssl=client_context, attempt_delay=20.0)
            assert client.received == b"v4"
            assert trace.attempts[0].errno == "TLSV1_ALERT_PROTOCOL_VERSION"

    run(main())


@pytest.mark.parametrize(
    ("v6", "v4", "agreed"), [(("h2",), ("http/1.1",), "h2"), ((), ("h2",), None), (("spdy",), ("h2",), None)]
)
def test_t07_t08_the_protocol_is_that_of_the_winner(
    run: Run, ca: trustme.CA, client_context: ssl.SSLContext, v6: tuple[str, ...], v4: tuple[str, ...], agreed: str
) -> None:
    async def main() -> None:
        contexts = {"v6": server_context(ca, *v6), "v4": server_context(ca, *v4)}
        async with DnsServer(dual()) as server, Peers("greets", "greets", tls=contexts) as peers:
            client, trace = await connect(Connector(), peers.port, server, ssl=client_context, attempt_delay=20.0)
            assert trace.tls is not None
            if client.received == b"v6":
                assert trace.tls.alpn == agreed
            else:
                assert trace.tls.alpn == "h2", "the other peer refused: nothing in common"

    run(main())


# --- what is said


@pytest.mark.parametrize("family", ["AUTO", "V6_ONLY"])
def test_a_family_that_kept_the_good_addresses_out_is_a_warning_in_the_log(
    run: Run, caplog: pytest.LogCaptureFixture, family: DnsLookupFamily
) -> None:
    caplog.set_level(logging.WARNING, "ostiary.happy_eyeballs")

    async def main() -> None:
        async with DnsServer(dual()) as server, Peers("refuses", "greets") as peers:
            connector = Connector()
            error = await failure(connector, peers.port, server, dns_lookup_family=family)
            await failure(connector, peers.port, server, dns_lookup_family=family)
            (record,) = caplog.records
            assert record.levelname == "WARNING"
            assert record.getMessage() == str(error)
            assert f"because dns_lookup_family is {family}" in str(error)
            assert "Mend: set dns_lookup_family: ALL" in str(error)

    run(main())


def test_c19_a_deadline_that_left_too_little_is_a_warning_with_its_mend(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "ostiary.happy_eyeballs")

    async def main() -> None:
        async with DnsServer(dual()) as server, Peers("black_hole", "black_hole") as peers:
            error = await failure(Connector(), peers.port, server, timeout=0.2, attempt_delay=None)
            assert isinstance(error, ConnectTimeoutError)
            assert "The whole connection had 0.2 s, too little for the usual 200 ms between attempts" in str(error)
            assert "Mend: a connect_timeout of 5 s" in str(error)
            assert [record.getMessage() for record in caplog.records] == [str(error)]

    run(main())


def test_m05_history_sets_the_delay_unless_one_was_asked_for(run: Run) -> None:
    async def main() -> None:
        async with Peers("greets", "black_hole") as peers:
            connector = Connector()
            addresses = [("::1", peers.port), ("127.0.0.1", peers.port)]
            for _ in range(50):  # a busy machine may make a short way long, now and then
                await connect(connector, peers.port, addresses=addresses)
                now = asyncio.get_running_loop().time()
                [known] = connector._memory.judge((), "", now, True, [Destination("::1", peers.port)])
                if known.delay == 0.1:
                    break
            assert known.delay == 0.1, "of a peer so near, the shortest"
            [known] = connector._memory.judge((), "", now, False, [Destination("::1", peers.port)])
            assert known.delay is None

    run(main())


def test_c18_cancelled_in_any_turn_with_https_records_stale_answers_and_local_addresses_leaves_nothing(
    run: Run, ca: trustme.CA, client_context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ostiary.model.limits.DNS_STALE_AFTER", 0.0)

    async def main() -> None:
        good = server_context(ca)
        async with Peers("greets", "greets", tls={"v6": good, "v4": good}) as peers:
            records = {
                **dual(v6=Reply(("::1",), ttl=0), v4=Reply(("127.0.0.1",), ttl=0)),
                (f"_{peers.port}._https.dual.test.", "HTTPS"): Reply(("0 alias.test.",), ttl=0),
                ("alias.test.", "HTTPS"): Reply(silent=True),
                ("alias.test.", "AAAA"): Reply(("::1",), ttl=0),
                ("alias.test.", "A"): Reply(silent=True),
            }
            async with DnsServer(records) as server:
                connector = Connector()
                for turns in range(40):
                    task = asyncio.ensure_future(
                        connect(
                            connector, peers.port, server, ssl=client_context, https_records=True,
                            local_addresses=[("::1", 0), ("127.0.0.1", 0)], resolution_delay=0.005,
                        )
                    )  # fmt: skip
                    for _ in range(turns):
                        await asyncio.sleep(0)
                    task.cancel()
                    await asyncio.wait([task])
                connector.close()

    run(main())
