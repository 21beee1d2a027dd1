from __future__ import annotations

import asyncio
import socket
import struct
import threading
import time
from pathlib import Path

import dns.message
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from net.dns_server import DnsServer, Reply, dual
from net.loops import Run
from ostiary.model import limits
from ostiary.model.dns import DnsOptions
from ostiary.net.dns_exchange import Answer
from ostiary.net.resolv_conf import ResolvConf, SystemFiles, parse_hosts, parse_resolv_conf
from ostiary.net.resolver import Lookup, Resolver, _Key, _pace
from waiting import PATIENCE


async def answer_of(lookup: Lookup, *, fresh: bool = False) -> Answer:
    if lookup.answer is None or (fresh and lookup.answer.stale):
        arrived: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        lookup.wait(arrived.set_result)
        return await arrived
    return lookup.answer


def files(tmp_path: Path, resolv_conf: str = "", hosts: str = "") -> SystemFiles:
    tmp_path.mkdir(exist_ok=True)
    (tmp_path / "resolv.conf").write_text(resolv_conf)
    (tmp_path / "hosts").write_text(hosts)
    return SystemFiles(tmp_path / "resolv.conf", tmp_path / "hosts")


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


# --- negative answers, HTTPS records, EDNS


def _negative(rcode: str, soa: int | None) -> dict[tuple[str, str], Reply]:
    return {("x.test.", "A"): Reply(rcode=rcode, soa=soa), ("x.test.", "HTTPS"): Reply(soa=soa)}


@pytest.mark.parametrize("rcode", ["NOERROR", "NXDOMAIN"])
@pytest.mark.parametrize(("soa", "asked"), [(60, 1), (0, 2), (None, 1)])
def test_an_answer_without_records_holds_as_long_as_its_soa_says_or_for_a_moment(
    run: Run, rcode: str, soa: int | None, asked: int
) -> None:
    async def main() -> None:
        async with DnsServer(_negative(rcode, soa)) as server:
            resolver = Resolver()
            for _ in range(2):
                await answer_of(resolver.lookup("x.test.", "A", servers=[server.address]))
            assert len(server.asked) == asked

    run(main())


def test_that_there_is_no_https_record_is_believed_longer(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ostiary.model.limits.DNS_NEGATIVE_TTL_MAX", 0)

    async def main() -> None:
        async with DnsServer(_negative("NOERROR", 60)) as server:
            resolver = Resolver()
            for record_type in ("A", "HTTPS", "A", "HTTPS"):
                await answer_of(resolver.lookup("x.test.", record_type, servers=[server.address]))  # type: ignore[arg-type]
            assert [t for _, t in server.asked] == ["A", "HTTPS", "A"]

    run(main())


def test_https_records_as_they_come(run: Run) -> None:
    texts = (
        "1 . alpn=h2,h3 ipv4hint=192.0.2.1 ipv6hint=2001:db8::1",
        "2 svc.test. no-default-alpn alpn=h2 port=8443 ech=AAb+DQACAAA=",
        "0 Alias.Test.",
        "3 . mandatory=key667 key667=x",
        "4 . mandatory=ech ech=AAb+DQACAAA=",
    )

    async def main() -> None:
        async with DnsServer({("x.test.", "HTTPS"): Reply(texts)}) as server:
            lookup = Resolver().lookup("x.test", "HTTPS", servers=[server.address], search=False)
            found = {record.priority: record for record in (await answer_of(lookup)).services}
            assert found[1].hints == ("2001:db8::1", "192.0.2.1")
            assert (found[1].target, found[1].protocols) == ("", {"h2", "h3", "http/1.1"})
            assert (found[2].target, found[2].port, found[2].protocols, found[2].ech) == (
                "svc.test.", 8443, {"h2"}, True,
            )  # fmt: skip
            assert found[0].target == "alias.test."
            assert [found[n].mandatory_known for n in (1, 2, 3, 4)] == [True, True, False, False]
            assert "1 . alpn=h2,h3 ipv4hint=192.0.2.1 ipv6hint=2001:db8::1" in lookup.queries[0].answers

    run(main())


def test_an_https_record_that_is_broken_is_a_failed_lookup(run: Run) -> None:
    def broken(query: dns.message.Message) -> bytes:
        response = dns.message.make_response(query)
        name = query.question[0].name.to_text()
        response.answer.append(dns.rrset.from_text(name, 30, "IN", "HTTPS", "1 . port=8443"))
        return response.to_wire().replace(b"\x00\x03\x00\x02", b"\x00\x03\x00\x01")

    async def main() -> None:
        async with DnsServer({("x.test.", "HTTPS"): Reply(forge=broken)}) as server:
            lookup = Resolver().lookup("x.test", "HTTPS", servers=[server.address], search=False)
            assert (await answer_of(lookup)).outcome == "failed"
            assert "malformed" in lookup.queries[0].message

    run(main())


def test_d10_a_server_that_does_not_know_edns_is_asked_again_without(run: Run) -> None:
    async def main() -> None:
        async with DnsServer(dual(v4=Reply(("127.0.0.1",), knows_edns=False))) as server:
            lookup = Resolver().lookup("dual.test", "A", servers=[server.address], search=False)
            assert (await answer_of(lookup)).addresses == ("127.0.0.1",)
            assert len(server.asked) == 2

    run(main())


def test_d15_a_cname_without_an_address_is_an_empty_answer(run: Run) -> None:
    async def main() -> None:
        async with DnsServer({("x.test.", "A"): Reply(cname="y.test.")}) as server:
            lookup = Resolver().lookup("x.test", "A", servers=[server.address], search=False)
            assert (await answer_of(lookup)).outcome == "empty"

    run(main())


def test_d24_an_ipv4_address_in_an_ipv6_record_is_one_of_ipv4(run: Run) -> None:
    async def main() -> None:
        async with DnsServer(dual(v6=Reply(("::ffff:127.0.0.1", "::1")))) as server:
            lookup = Resolver().lookup("dual.test", "AAAA", servers=[server.address], search=False)
            assert set((await answer_of(lookup)).addresses) == {"127.0.0.1", "::1"}

    run(main())


def test_d27_a_slow_server_is_bridged_by_what_has_expired_and_its_answer_follows(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ostiary.model.limits.DNS_STALE_AFTER", 0.01)

    async def main() -> None:
        async with DnsServer(dual(v4=Reply(("127.0.0.1",), ttl=0))) as server:
            resolver = Resolver()
            await answer_of(resolver.lookup("dual.test", "A", servers=[server.address]))
            server.records[("dual.test.", "A")] = Reply(("127.0.0.2",), delay=0.1)
            lookup = resolver.lookup("dual.test", "A", servers=[server.address])
            assert await answer_of(lookup) == Answer("answered", ("127.0.0.1",), stale=True)
            assert await answer_of(lookup, fresh=True) == Answer("answered", ("127.0.0.2",))

    run(main())


# --- whom to ask, and how


def test_d19_servers_with_an_ipv6_address_come_first_unless_they_were_given(tmp_path: Path) -> None:
    resolver = Resolver(files(tmp_path, "nameserver 10.0.0.1\nnameserver fd00::1\n"))
    conf = resolver._files.conf()
    key = _key()
    assert resolver._servers(key, conf) == [("fd00::1", 53), ("10.0.0.1", 53)]
    given = (("10.0.0.9", 53), ("fd00::9", 53))
    assert resolver._servers(key._replace(servers=given), conf) == list(given)
    fallback = key._replace(servers=given, options=DnsOptions(use_resolvers_as_fallback=True))
    assert resolver._servers(fallback, conf) == [("fd00::1", 53), ("10.0.0.1", 53)]
    without = Resolver(files(tmp_path / "nothing", ""))
    assert without._servers(fallback, without._files.conf()) == list(given)


def test_rotate_takes_turns(tmp_path: Path) -> None:
    resolver = Resolver(files(tmp_path, "nameserver 10.0.0.1\nnameserver 10.0.0.2\noptions rotate\n"))
    first = [resolver._servers(_key(), resolver._files.conf())[0][0] for _ in range(4)]
    assert sorted(first[:2]) == ["10.0.0.1", "10.0.0.2"]
    assert first[2:] == first[:2]
    options = DnsOptions(rotate_nameservers=True)
    given = _key()._replace(servers=(("10.0.0.8", 53), ("10.0.0.9", 53)), options=options)
    assert {resolver._servers(given, resolver._files.conf())[0][0] for _ in range(2)} == {"10.0.0.8", "10.0.0.9"}


def _key() -> _Key:
    return _Key("x.test", "A", (), True, False, DnsOptions())


@pytest.mark.parametrize(
    ("conf", "options", "silence", "total"),
    [
        ("", DnsOptions(), 0.0, 5.0),
        ("options timeout:3 attempts:2", DnsOptions(), 3.0, 12.0),
        ("options timeout:3", DnsOptions(query_timeout=1.0, query_tries=2), 1.0, 4.0),
        ("", DnsOptions(query_timeout=2.0), 2.0, 8.0),
        ("", DnsOptions(query_timeout=1e9, query_tries=10**9), 1e9, 60.0),
    ],
)
def test_how_long_servers_are_waited_for(conf: str, options: DnsOptions, silence: float, total: float) -> None:
    pace = _pace(_key()._replace(options=options), parse_resolv_conf(conf), servers=2)
    assert (pace.silence, pace.total) == (silence, total)


def test_use_vc_asks_over_tcp_and_no_aaaa_does_not_ask(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with DnsServer(dual()) as server:
            resolver = Resolver(files(tmp_path, "options use-vc no-aaaa\n"))
            lookup = resolver.lookup("dual.test", "AAAA")
            assert lookup.answer == Answer("empty")
            assert lookup.queries[0].server == "resolv.conf"
            asked = resolver.lookup("dual.test", "AAAA", servers=[server.address], search=False)
            assert (await answer_of(asked)).outcome == "answered", "it speaks of the system's own servers"
            assert _pace(_key(), resolver._files.conf(), 1).tcp

    run(main())


def test_a_link_local_server_is_asked_through_its_interface(run: Run) -> None:
    async def main() -> None:
        lookup = Resolver().lookup("x.test", "A", servers=[("fe80::1%no-such-interface", 53)], search=False)
        assert (await answer_of(lookup)).outcome == "failed"
        assert "interface" in lookup.queries[0].message.lower() or "device" in lookup.queries[0].message.lower()

    run(main())


# --- the operating system's resolver


def test_names_that_only_the_system_knows(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []

    def getaddrinfo(name: str, _port: object, family: int, _kind: int) -> list[object]:
        asked.append((name, "A" if family == socket.AF_INET else "AAAA"))
        if family == socket.AF_INET6:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [(family, None, None, "", ("10.1.1.1", 0))]

    monkeypatch.setattr("ostiary.net.system_lookup.socket.getaddrinfo", getaddrinfo)
    monkeypatch.setattr("ostiary.net.resolv_conf.DNS_PORT", 1)

    async def main() -> None:
        async with DnsServer({}) as server:
            resolver = Resolver(files(tmp_path, ""))
            assert (await answer_of(resolver.lookup("printer.local", "A"))).addresses == ("10.1.1.1",)
            assert (await answer_of(resolver.lookup("printer.local", "AAAA"))).outcome == "empty"
            assert (await answer_of(resolver.lookup("printer.local", "HTTPS"))).outcome == "empty"
            assert (await answer_of(resolver.lookup("nas", "A"))).addresses == ("10.1.1.1",), "DNS does not have it"
            assert asked == [("printer.local", "A"), ("printer.local", "AAAA"), ("nas", "A")]
            # a server that was given knows best
            for name in ("nas", "printer.local"):
                given = resolver.lookup(name, "A", servers=[server.address], search=False)
                assert (await answer_of(given)).outcome == "nxdomain"
            # Envoy's getaddrinfo resolver asks the system for everything, and keeps it for a minute
            options = DnsOptions(system=True)
            asked.clear()
            for _ in range(2):
                assert (await answer_of(resolver.lookup("x.test", "A", options=options))).addresses == ("10.1.1.1",)
            assert asked == [("x.test", "A")]

    run(main())


def test_eai_again_is_tried_again_as_often_as_the_configuration_says(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def getaddrinfo(*_: object) -> list[object]:
        calls.append(1)
        raise socket.gaierror(socket.EAI_AGAIN, "try again")

    monkeypatch.setattr("ostiary.net.system_lookup.socket.getaddrinfo", getaddrinfo)
    monkeypatch.setattr("ostiary.net.system_lookup._AGAIN", 0.001)

    async def main() -> None:
        lookup = Resolver().lookup("x.test", "A", options=DnsOptions(system=True, num_retries=2))
        assert (await answer_of(lookup)).outcome == "failed"
        assert len(calls) == 3

    run(main())


def test_lookups_that_hang_in_the_system_leave_no_more_than_a_few_threads(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    hang = threading.Event()
    running: list[str] = []

    def getaddrinfo(name: str, *_: object) -> list[object]:
        running.append(name)
        hang.wait(PATIENCE)
        return [(socket.AF_INET, None, None, "", ("10.1.1.1", 0))]

    monkeypatch.setattr("ostiary.net.system_lookup.socket.getaddrinfo", getaddrinfo)

    async def main() -> None:
        resolver = Resolver()
        lookups = [resolver.lookup(f"n{n}.test", "A", options=DnsOptions(system=True)) for n in range(20)]
        waiting = [asyncio.ensure_future(answer_of(lookup)) for lookup in lookups]
        while len(running) < limits.MAX_SYSTEM_LOOKUPS:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        assert len(running) == limits.MAX_SYSTEM_LOOKUPS
        hang.set()
        assert {answer.outcome for answer in await asyncio.gather(*waiting)} == {"answered"}
        assert len(running) == 20

    run(main())


def test_resolv_confs_options() -> None:
    conf = parse_resolv_conf("nameserver 10.0.0.1\noptions timeout:2 attempts:9 rotate use-vc no-aaaa single-request")
    assert (conf.timeout, conf.attempts, conf.rotate, conf.use_vc, conf.no_aaaa) == (2, 5, True, True, True)
    assert conf.configured
    assert not parse_resolv_conf("").configured
    assert parse_resolv_conf("options timeout:0 attempts:0").timeout == 1


def test_d20_what_kubernetes_settings_cost_and_a_trailing_dot_saves(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with DnsServer(dual()) as server:
            conf = "search ns.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n"
            resolver = Resolver(files(tmp_path, conf))
            for name, queries in (("dual.test", 8), ("dual.test.", 2)):
                server.asked.clear()
                for record_type in ("A", "AAAA"):
                    lookup = resolver.lookup(name, record_type, servers=[server.address])  # type: ignore[arg-type]
                    assert (await answer_of(lookup)).outcome == "answered"
                assert len(server.asked) == queries
                assert [q.name for q in lookup.queries][-1] == "dual.test."

    run(main())
