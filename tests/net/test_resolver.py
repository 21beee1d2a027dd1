from __future__ import annotations

import asyncio
import struct
import time
from pathlib import Path

import dns.message
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from net.dns_server import DnsServer, Reply, dual
from net.loops import Run
from net.resolver_world import answer_of, files
from ostiary.net.dns_exchange import Answer
from ostiary.net.resolv_conf import ResolvConf, parse_hosts, parse_resolv_conf
from ostiary.net.resolver import Resolver
from waiting import PATIENCE


def test_each_type_is_answered_on_its_own(run: Run) -> None:
    async def main() -> None:
        async with DnsServer(dual(v4=Reply(silent=True))) as server:
            resolver = Resolver()
            a = resolver.lookup("dual.test", "A", servers=[server.address])
            answer = await answer_of(resolver.lookup("dual.test", "AAAA", servers=[server.address]))
            assert answer == Answer("answered", ("::1",))
            assert a.answer is None
            assert a.queries[0].outcome == "pending"
            resolver.close()

    run(main())


def test_a_query_leaves_a_record_of_what_was_said_and_when(run: Run) -> None:
    async def main() -> None:
        async with DnsServer(dual(v6=Reply(("::1",), ttl=77, delay=0.02))) as server:
            started = time.monotonic()
            lookup = Resolver().lookup("dual.test", "AAAA", servers=[server.address])
            await answer_of(lookup)
            (query,) = lookup.queries
            assert (query.name, query.type, query.server) == ("dual.test.", "AAAA", f"127.0.0.1:{server.port}")
            assert (query.rcode, query.ttl, query.answers, query.outcome) == ("NOERROR", 77, ("::1",), "answered")
            assert query.ended is not None
            assert started <= query.started
            assert query.ended - query.started >= 0.019

    run(main())


@pytest.mark.parametrize(
    ("reply", "outcome", "rcode"),
    [
        (Reply(), "empty", "NOERROR"),
        (Reply(rcode="NXDOMAIN"), "nxdomain", "NXDOMAIN"),
        (Reply(rcode="SERVFAIL"), "failed", "SERVFAIL"),
        (Reply(rcode="REFUSED"), "failed", "REFUSED"),
        (Reply(rcode="FORMERR"), "failed", "FORMERR"),
        (Reply(cname="nowhere.test."), "empty", "NOERROR"),
    ],
)
def test_answers_without_an_address(run: Run, reply: Reply, outcome: str, rcode: str) -> None:
    async def main() -> None:
        async with DnsServer({("x.test.", "A"): reply}) as server:
            lookup = Resolver().lookup("x.test.", "A", servers=[server.address])
            assert (await answer_of(lookup)).outcome == outcome
            assert lookup.queries[-1].rcode == rcode

    run(main())


def test_d15_a_cname_chain_is_followed(run: Run) -> None:
    async def main() -> None:
        async with DnsServer({("x.test.", "A"): Reply(("127.0.0.9",), cname="y.test.")}) as server:
            lookup = Resolver().lookup("x.test", "A", servers=[server.address])
            assert await answer_of(lookup) == Answer("answered", ("127.0.0.9",))

    run(main())


def test_d17_a_truncated_answer_is_asked_for_again_over_tcp(run: Run) -> None:
    async def main() -> None:
        many = tuple(f"127.0.1.{n}" for n in range(1, 100))
        async with DnsServer({("x.test.", "A"): Reply(many, truncated=True)}) as server:
            lookup = Resolver().lookup("x.test", "A", servers=[server.address])
            answer = await answer_of(lookup)
            assert len(answer.addresses) == 64
            assert set(answer.addresses) < set(many)
            assert server.asked == [("x.test.", "A"), ("x.test.", "A/tcp")]

    run(main())


def test_tcp_alone_when_asked_for(run: Run) -> None:
    async def main() -> None:
        async with DnsServer(dual()) as server:
            await answer_of(Resolver().lookup("dual.test", "A", servers=[server.address], tcp=True))
            assert server.asked == [("dual.test.", "A/tcp")]

    run(main())


def _wrong_id(query: dns.message.Message) -> bytes:
    forged = dns.message.make_response(query)
    forged.answer.append(dns.rrset.from_text(query.question[0].name, 30, "IN", "A", "127.0.0.66"))
    forged.id = (query.id + 1) % 65536
    return forged.to_wire()


def _wrong_question(query: dns.message.Message) -> bytes:
    other = dns.message.make_query("other.test.", "A", id=query.id)
    forged = dns.message.make_response(other)
    forged.answer.append(dns.rrset.from_text("other.test.", 30, "IN", "A", "127.0.0.66"))
    return forged.to_wire()


def _no_answer_flag(query: dns.message.Message) -> bytes:
    return query.to_wire()


@pytest.mark.parametrize("forge", [_wrong_id, _wrong_question, _no_answer_flag, lambda _query: b"\x00garbage"])
def test_d18_what_does_not_belong_to_the_question_is_ignored(run: Run, forge) -> None:  # type: ignore[no-untyped-def]
    async def main() -> None:
        async with DnsServer({("x.test.", "A"): Reply(("127.0.0.1",), forge=forge)}) as server:
            lookup = Resolver().lookup("x.test", "A", servers=[server.address])
            assert (await answer_of(lookup)).addresses == ("127.0.0.1",)

    run(main())


@given(st.binary(max_size=200))
def test_no_bytes_off_the_wire_raise(data: bytes) -> None:
    from ostiary.net.dns_transport import _parse

    head = struct.pack("!H", 1)
    _parse(data)
    _parse(head + data)


def test_a_server_that_refuses_the_port_is_passed_over_at_once(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ostiary.model.limits.DNS_RETRANSMIT", 4.0)

    async def main() -> None:
        async with DnsServer(dual()) as server:
            servers = [("127.0.0.1", 1), server.address]
            lookup = Resolver().lookup("dual.test", "A", servers=servers)
            started = time.monotonic()
            assert (await answer_of(lookup)).outcome == "answered"
            assert time.monotonic() - started < 3.9
            assert [q.outcome for q in lookup.queries] == ["failed", "answered"]

    run(main())


def test_d19_a_silent_server_is_passed_over_and_asked_last_afterwards(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ostiary.model.limits.DNS_RETRANSMIT", 0.5)

    async def main() -> None:
        async with DnsServer({("dual.test.", "A"): Reply(silent=True)}) as dead, DnsServer(dual()) as good:
            resolver = Resolver()
            lookup = resolver.lookup("dual.test", "A", servers=[dead.address, good.address])
            assert (await answer_of(lookup)).outcome == "answered"
            assert [q.outcome for q in lookup.queries] == ["timeout", "answered"]
            dead.asked.clear()
            again = resolver.lookup("dual.test", "AAAA", servers=[dead.address, good.address])
            assert (await answer_of(again)).outcome == "answered"
            assert dead.asked == []

    run(main())


def test_all_servers_failing_is_a_failure_with_every_reason(run: Run) -> None:
    async def main() -> None:
        bad = {("x.test.", "A"): Reply(rcode="SERVFAIL")}
        async with DnsServer(bad) as one, DnsServer({("x.test.", "A"): Reply(rcode="REFUSED")}) as two:
            lookup = Resolver().lookup("x.test.", "A", servers=[one.address, two.address])
            assert (await answer_of(lookup)).outcome == "failed"
            assert [q.rcode for q in lookup.queries] == ["SERVFAIL", "REFUSED"]

    run(main())


def test_who_asks_at_the_same_time_shares_a_query_and_later_the_cache(run: Run) -> None:
    async def main() -> None:
        async with DnsServer(dual(v4=Reply(("127.0.0.1",), delay=0.01))) as server:
            resolver = Resolver()
            lookups = [resolver.lookup("dual.test", "A", servers=[server.address]) for _ in range(50)]
            answers = await asyncio.gather(*(answer_of(lookup) for lookup in lookups))
            assert {a.addresses for a in answers} == {("127.0.0.1",)}
            cached = resolver.lookup("DUAL.test", "A", servers=[server.address])
            assert cached.answer == answers[0]
            assert cached.queries[0].server == "cache"
            assert server.asked == [("dual.test.", "A")]
            resolver.flush()
            await answer_of(resolver.lookup("dual.test", "A", servers=[server.address]))
            assert len(server.asked) == 2

    run(main())


def test_who_wants_news_asks_although_an_answer_is_kept(run: Run) -> None:
    async def main() -> None:
        records = dual(v4=Reply(("127.0.0.1",), ttl=300))
        async with DnsServer(records) as server:
            resolver = Resolver()
            await answer_of(resolver.lookup("dual.test", "A", servers=[server.address]))
            records["dual.test.", "A"] = Reply(("127.0.0.2",), ttl=300)
            news = await answer_of(resolver.lookup("dual.test", "A", servers=[server.address], fresh=True))
            assert news.addresses == ("127.0.0.2",)
            kept = resolver.lookup("dual.test", "A", servers=[server.address]).answer
            assert kept == news, "what was learnt is kept for the others"

    run(main())


def test_d16_a_ttl_of_zero_is_not_kept(run: Run) -> None:
    async def main() -> None:
        async with DnsServer(dual(v4=Reply(("127.0.0.1",), ttl=0))) as server:
            resolver = Resolver()
            for _ in range(2):
                await answer_of(resolver.lookup("dual.test", "A", servers=[server.address]))
            assert len(server.asked) == 2

    run(main())


def test_d27_an_expired_answer_serves_while_the_servers_fail(run: Run) -> None:
    async def main() -> None:
        async with DnsServer(dual(v4=Reply(("127.0.0.1",), ttl=0))) as server:
            resolver = Resolver()
            await answer_of(resolver.lookup("dual.test", "A", servers=[server.address]))
            server.records[("dual.test.", "A")] = Reply(rcode="SERVFAIL")
            lookup = resolver.lookup("dual.test", "A", servers=[server.address])
            assert (await answer_of(lookup)).addresses == ("127.0.0.1",)
            assert [(q.server.split(":")[0], q.outcome) for q in lookup.queries] == [
                ("127.0.0.1", "failed"),
                ("cache (expired)", "answered"),
            ]

    run(main())


def test_a_query_that_nobody_waits_for_ends_at_once_and_can_be_asked_again(run: Run) -> None:
    async def main() -> None:
        async with DnsServer(dual(v4=Reply(("127.0.0.1",), delay=0.02))) as server:
            resolver = Resolver()
            lookup = resolver.lookup("dual.test", "A", servers=[server.address])
            nobody = lambda _answer: None  # noqa: E731
            lookup.wait(nobody)
            await asyncio.sleep(0.005)
            lookup.release(nobody)
            assert (await answer_of(resolver.lookup("dual.test", "A", servers=[server.address]))).outcome == "answered"

    run(main())


def test_a_lingering_query_fills_the_cache(run: Run) -> None:
    async def main() -> None:
        async with DnsServer(dual(v4=Reply(("127.0.0.1",), delay=0.02))) as server:
            resolver = Resolver()
            lookup = resolver.lookup("dual.test", "A", servers=[server.address])
            nobody = lambda _answer: None  # noqa: E731
            lookup.wait(nobody)
            lookup.release(nobody, linger=20.0)
            async with asyncio.timeout(PATIENCE):
                while resolver.lookup("dual.test", "A", servers=[server.address]).answer is None:
                    await asyncio.sleep(0.01)
            assert len(server.asked) == 1
            resolver.close()

    run(main())


def test_d20_the_search_list_is_followed_on_nxdomain_and_stops_at_an_empty_answer(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        records = {("api.two.test.", "A"): Reply(("127.0.0.2",)), **dual("api.three.test.")}
        async with DnsServer(records) as server:
            conf = "search one.test two.test three.test\noptions ndots:5\n"
            resolver = Resolver(files(tmp_path, conf))
            lookup = resolver.lookup("api", "A", servers=[server.address])
            assert (await answer_of(lookup)).addresses == ("127.0.0.2",)
            assert [q.outcome for q in lookup.queries] == ["nxdomain", "answered"]
            assert (await answer_of(resolver.lookup("api", "AAAA", servers=[server.address]))).outcome == "empty"
            assert server.asked[-1] == ("api.two.test.", "AAAA")
            server.asked.clear()
            await answer_of(resolver.lookup("api.", "A", servers=[server.address]))
            await answer_of(resolver.lookup("api", "A", servers=[server.address], search=False))
            assert server.asked == [("api.", "A"), ("api.", "A")]

    run(main())


def test_d22_the_hosts_file_comes_first_and_speaks_for_both_families(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with DnsServer(dual("known.test.")) as server:
            resolver = Resolver(files(tmp_path, hosts="10.1.2.3 known.test alias # comment\n"))
            assert resolver.lookup("Known.Test.", "A", servers=[server.address]).answer == Answer(
                "answered", ("10.1.2.3",)
            )
            assert resolver.lookup("alias", "AAAA", servers=[server.address]).answer == Answer("empty")
            assert server.asked == []
            (tmp_path / "hosts").write_text("10.9.9.9 known.test and something longer\n")
            assert resolver.lookup("known.test", "A").answer == Answer("answered", ("10.9.9.9",))

    run(main())


def test_d22_localhost_never_leaves_the_machine(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        resolver = Resolver(files(tmp_path))
        assert resolver.lookup("localhost", "AAAA").answer == Answer("answered", ("::1",))
        assert resolver.lookup("app.localhost", "A").answer == Answer("answered", ("127.0.0.1",))

    run(main())


@pytest.mark.parametrize("name", ["a..b", "x" * 64 + ".test", ".".join(["x" * 60] * 5), "\udcff.test"])
def test_a_name_that_can_not_exist_fails_without_a_query(run: Run, name: str) -> None:
    async def main() -> None:
        async with DnsServer({}) as server:
            lookup = Resolver().lookup(name, "A", servers=[server.address], search=False)
            assert (await answer_of(lookup)).outcome == "failed"
            assert "not a host name" in lookup.queries[-1].message
            assert server.asked == []

    run(main())


def test_d23_a_name_of_many_alphabets_is_asked_for_in_ascii(run: Run) -> None:
    async def main() -> None:
        async with DnsServer({("xn--bcher-kva.test.", "A"): Reply(("127.0.0.1",))}) as server:
            lookup = Resolver().lookup("bücher.test", "A", servers=[server.address])
            assert (await answer_of(lookup)).outcome == "answered"

    run(main())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("api", ["api.a.test.", "api.b.test.", "api."]),
        ("api.ns", ["api.ns.a.test.", "api.ns.b.test.", "api.ns."]),
        ("api.ns.svc", ["api.ns.svc.", "api.ns.svc.a.test.", "api.ns.svc.b.test."]),
        ("api.", ["api."]),
    ],
)
def test_ndots_decides_the_order_of_names(name: str, expected: list[str]) -> None:
    conf = parse_resolv_conf("search a.test b.test\noptions edns0 ndots:2\n")
    assert conf.candidates(name) == expected


def test_resolv_conf_as_people_write_it() -> None:
    text = "# made by hand\n; really\nnameserver 10.0.0.1 # first\nnameserver fe80::1%eth0\nnameserver not.an.ip\n\n"
    conf = parse_resolv_conf(text + "domain corp.test\noptions ndots:x\n")
    assert conf == ResolvConf(servers=(("10.0.0.1", 53), ("fe80::1%eth0", 53)), search=("corp.test",), ndots=1)
    assert parse_resolv_conf("").servers == (("127.0.0.1", 53),)


@given(st.text())
def test_no_text_breaks_the_systems_files(text: str) -> None:
    assert parse_resolv_conf(text).servers
    for entry in parse_hosts(text).values():
        assert all(entry.values())
