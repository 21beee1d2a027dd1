"""Whom a resolver asks, and how: servers in their order, the options of resolv.conf, the operating system."""

from __future__ import annotations

import asyncio
import socket
import threading
from pathlib import Path

import pytest

from net.dns_server import DnsServer, dual
from net.loops import Run
from net.resolver_world import answer_of, files
from ostiary.model import limits
from ostiary.model.dns import DnsOptions
from ostiary.net.dns_exchange import Answer
from ostiary.net.resolv_conf import parse_resolv_conf
from ostiary.net.resolver import Resolver, _Key, _pace
from waiting import PATIENCE


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
