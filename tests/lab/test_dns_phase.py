"""Names: who answers when, and what the client does with it, read from its packets (cases D of the reference list).

Delays are far from each other, so that a busy machine changes no outcome. Where many delays are tried, each has a name
and addresses of its own and all race at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import dns.message
import pytest

from lab.forgeries import POISON, right_in_all, wrong_id, wrong_question
from lab.model import DNS, DNS_V6, V4, V6, Peer, Rule
from lab.world import Lab, World, connect, names
from net.dns_server import Reply
from ostiary.core.trace import ConnectTrace
from ostiary.model import limits
from ostiary.net.connector import Connector
from ostiary.net.resolv_conf import SystemFiles
from ostiary.net.resolver import Resolver
from waiting import soon

RESOLUTION_DELAY = 0.5
EARLY, SLACK = 0.15, 1.0
"""How much less and more a busy machine may make of a time between two packets."""
STEPS = (0, 50, 100, 1000, 1500, 2000)
"""Milliseconds; those near the Resolution Delay say nothing on a busy machine."""


def answered(world: World, record_type: str) -> float:
    """When the client got this answer."""
    (moment,) = [question.answered for question in world.questions() if question.type == record_type]
    assert moment is not None
    return moment


def race_all(world: World, hosts: list[str]) -> dict[str, ConnectTrace]:
    """One connection to each name, all at once."""

    async def main() -> dict[str, ConnectTrace]:
        connector = Connector(linger=0.0)
        traces = await asyncio.gather(*(connect(connector, host, resolution_delay=RESOLUTION_DELAY) for host in hosts))
        connector.close()
        return dict(zip(hosts, traces, strict=True))

    return world.run(main)


def swept(late: str) -> tuple[dict[tuple[str, str], Reply], dict[int, tuple[str, str, str]]]:
    """Names whose answers of one type are late by each of the steps; the delay -> (name, IPv6, IPv4)."""
    records: dict[tuple[str, str], Reply] = {}
    found = {}
    for number, milliseconds in enumerate(STEPS):
        name, v6, v4 = f"late-{milliseconds}.test", f"2001:db8:5::1:{number}", f"192.0.2.{100 + number}"
        records |= names((v6,), (v4,), name)
        delayed = records[f"{name}.", late]
        delayed.delay = milliseconds / 1000
        found[milliseconds] = (name, v6, v4)
    return records, found


def test_d01_the_preferred_answer_starts_the_race_at_once(lab: Lab) -> None:
    records = names(Reply((V6,), delay=0.03), Reply((V4,), delay=3.0))
    with lab.world(peers=[Peer()], dns=records) as world:
        world.connect()
        (attempt,) = world.attempts()
        assert attempt.address == V6
        assert attempt.time - answered(world, "AAAA") < SLACK


def test_d02_ipv4_first_waits_for_ipv6_and_no_longer_than_that(lab: Lab) -> None:
    records = names(Reply((V6,), delay=0.04), Reply((V4,), delay=0.03))
    with lab.world(peers=[Peer()], dns=records) as world:
        world.connect(resolution_delay=5.0)
        (attempt,) = world.attempts()
        assert attempt.address == V6
        assert attempt.time - answered(world, "AAAA") < SLACK


def test_d03_a_late_ipv6_address_joins_a_race_that_has_begun(lab: Lab) -> None:
    records = names(Reply((V6,), delay=1.5), Reply((V4,), delay=0.03))
    with lab.world(peers=[Peer()], dns=records, rules=[Rule(to=V4, drop=True)]) as world:
        trace = world.connect(attempt_delay=0.5, resolution_delay=RESOLUTION_DELAY)
        first, second = world.attempts()
        assert (first.address, second.address) == (V4, V6)
        assert RESOLUTION_DELAY - EARLY <= first.time - answered(world, "A") < RESOLUTION_DELAY + SLACK
        assert second.time - first.time >= 0.5 - EARLY
        assert trace.ok


def test_d04_a_late_aaaa_costs_the_resolution_delay_at_most(lab: Lab) -> None:
    records, hosts = swept("AAAA")
    everywhere = [address for _, *both in hosts.values() for address in both]
    with lab.world(peers=[Peer(at=everywhere)], dns=records) as world:
        traces = race_all(world, [name for name, _, _ in hosts.values()])
        first = {attempt.address: attempt.time for attempt in world.attempts()}
        a_answers = {q.name: q.answered for q in world.questions() if q.type == "A"}
        for milliseconds, (name, v6, v4) in hosts.items():
            winner = traces[name].winner
            assert winner is not None
            assert winner.address == (v6 if milliseconds <= 100 else v4), milliseconds
            if milliseconds > 100:
                waited = first[v4] - (a_answers[f"{name}."] or 0)
                assert RESOLUTION_DELAY - EARLY <= waited < RESOLUTION_DELAY + SLACK, milliseconds
                assert v6 not in first


def test_d05_a_late_a_delays_nothing(lab: Lab) -> None:
    records, hosts = swept("A")
    records |= names(("2001:db8:5::2",), Reply(silent=True), "never.test")
    hosts[-1] = ("never.test", "2001:db8:5::2", "")
    everywhere = [v6 for _, v6, _ in hosts.values()]
    with lab.world(peers=[Peer(at=everywhere)], dns=records) as world:
        race_all(world, [name for name, _, _ in hosts.values()])
        first = {attempt.address: attempt.time for attempt in world.attempts()}
        answers = {q.name: q.answered for q in world.questions() if q.type == "AAAA"}
        for name, v6, _ in hosts.values():
            assert first[v6] - (answers[f"{name}."] or 0) < SLACK, name
        assert set(first) == set(everywhere)


@pytest.mark.parametrize(("silent", "address"), [("AAAA", V4), ("A", V6)])
def test_d06_d07_a_query_that_is_never_answered_is_not_waited_for(lab: Lab, silent: str, address: str) -> None:
    records = names()
    records["dual.test.", silent] = Reply(silent=True)
    with lab.world(peers=[Peer()], dns=records) as world:
        trace = world.connect()
        (attempt,) = world.attempts()
        assert attempt.address == address
        assert attempt.time - trace.started < RESOLUTION_DELAY + SLACK
        assert f"The {silent} query for dual.test. was not answered by {DNS}:53" in trace.summary


def test_d08_a_dead_dns_server_is_named_with_both_queries(lab: Lab) -> None:
    with lab.world(rules=[Rule(to=DNS, drop=True)]) as world:
        trace = world.connect(timeout=0.6)
        assert trace.summary == (
            f"Can't connect to dual.test:443: the AAAA and A query for dual.test. was not answered by {DNS}:53."
        )
        assert world.attempts() == []
        assert [question.type for question in world.questions()] == ["AAAA", "A"]


@pytest.mark.parametrize("reply", [Reply(), Reply(rcode="SERVFAIL"), Reply(rcode="REFUSED"), Reply(rcode="FORMERR")])
def test_d09_d10_an_ipv6_answer_without_address_ends_the_wait(lab: Lab, reply: Reply) -> None:
    with lab.world(peers=[Peer()], dns=names(reply, Reply((V4,), delay=0.02))) as world:
        trace = world.connect(resolution_delay=5.0)
        (attempt,) = world.attempts()
        assert attempt.address == V4
        assert attempt.time - answered(world, "A") < 4.0
        assert {query.type: query.rcode for query in trace.dns}["AAAA"] == reply.rcode


def test_d12_the_ipv6_question_is_sent_first_and_none_waits_for_the_other(lab: Lab) -> None:
    with lab.world(peers=[Peer()], dns=names(Reply((V6,), delay=0.9), Reply((V4,), delay=0.9))) as world:
        world.connect()
        first, second = world.questions()
        assert (first.type, second.type) == ("AAAA", "A")
        assert second.time - first.time < 0.7


def test_d14_an_early_failure_of_ipv6_waits_for_the_ipv4_answer(lab: Lab) -> None:
    records = names(v4=Reply((V4,), delay=0.3))
    with lab.world(peers=[Peer()], dns=records, rules=[Rule(to=V6, rst=True)]) as world:
        trace = world.connect()
        assert [attempt.address for attempt in world.attempts()] == [V6, V4]
        assert trace.ok


def test_d17_a_truncated_answer_is_asked_for_again_over_tcp(lab: Lab) -> None:
    with lab.world(peers=[Peer()], dns=names(Reply((V6,), truncated=True))) as world:
        trace = world.connect()
        assert trace.winner is not None
        assert trace.winner.address == V6
        over_tcp = [seen for seen in world.packets() if seen.sent and seen.packet.is_syn and seen.packet.dport == 53]
        assert [seen.packet.destination for seen in over_tcp] == [DNS]


@pytest.mark.parametrize(
    ("forge", "impostor"), [(wrong_id, None), (wrong_question, None), (right_in_all, "192.0.2.54")]
)
def test_d18_an_answer_that_is_not_ours_is_not_believed(
    lab: Lab, forge: Callable[[dns.message.Message], bytes], impostor: str | None
) -> None:
    records = names((), Reply((V4,), forge=forge, impostor=impostor))
    with lab.world(peers=[Peer(at=[V4, POISON])], dns=records) as world:
        trace = world.connect()
        arrived = {seen.packet.source for seen in world.packets() if not seen.sent and seen.packet.sport != 443}
        assert (impostor or DNS) in arrived
        assert [attempt.address for attempt in world.attempts()] == [V4]
        assert trace.ok


def test_d19_a_silent_first_server_costs_a_second_once(lab: Lab) -> None:
    dead = "192.0.2.99"
    records = names() | names(name="second.test")
    with lab.world(peers=[Peer()], dns=records, rules=[Rule(to=dead, drop=True)]) as world:

        async def main() -> tuple[ConnectTrace, ConnectTrace]:
            connector = Connector(linger=0.0)
            servers = [(dead, 53), (DNS, 53)]
            first = await connect(connector, dns_servers=servers)
            second = await connect(connector, "second.test", dns_servers=servers)
            connector.close()
            return first, second

        first, second = world.run(main)
        assert first.ok and second.ok
        assert 1000 <= first.elapsed_ms < 4000
        assert second.elapsed_ms < 900
        asked = [question.server for question in world.questions() if question.name == "second.test."]
        assert asked == [DNS, DNS]


def test_d19_a_server_that_is_switched_off_costs_nothing(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DNS_RETRANSMIT", 4.0)
    off = "192.0.2.99"  # a host without a DNS server answers with an ICMP error
    with lab.world(peers=[Peer()]) as world:
        trace = world.connect(dns_servers=[(off, 53), (DNS, 53)])
        assert trace.ok
        assert trace.elapsed_ms < 3500
        assert {question.server for question in world.questions()} == {off, DNS}


def test_d19_a_server_is_asked_over_ipv6(lab: Lab) -> None:
    with lab.world(peers=[Peer()], more_dns={DNS_V6: names()}) as world:
        assert world.connect(dns_servers=[(DNS_V6, 53)]).ok
        assert {question.server for question in world.questions()} == {DNS_V6}


def test_d20_the_search_list_is_followed_as_resolv_conf_says(lab: Lab, tmp_path: Path) -> None:
    conf = tmp_path / "resolv.conf"
    conf.write_text(f"nameserver {DNS}\nsearch ns.svc.test svc.test cluster.test\noptions ndots:5\n")
    with lab.world(peers=[Peer()]) as world:

        async def main() -> ConnectTrace:
            connector = Connector(Resolver(SystemFiles(conf, tmp_path / "no-hosts")), linger=0.0)
            trace = await connect(connector, dns_servers=())
            connector.close()
            return trace

        assert world.run(main).ok
        for record_type in ("AAAA", "A"):
            chain = [question.name for question in world.questions() if question.type == record_type]
            assert chain == [
                "dual.test.ns.svc.test.", "dual.test.svc.test.", "dual.test.cluster.test.", "dual.test.",
            ]  # fmt: skip


def test_d20_a_trailing_dot_asks_once(lab: Lab, tmp_path: Path) -> None:
    conf = tmp_path / "resolv.conf"
    conf.write_text(f"nameserver {DNS}\nsearch ns.svc.test svc.test\noptions ndots:5\n")
    with lab.world(peers=[Peer()]) as world:

        async def main() -> ConnectTrace:
            connector = Connector(Resolver(SystemFiles(conf, tmp_path / "no-hosts")), linger=0.0)
            trace = await connect(connector, "dual.test.", dns_servers=())
            connector.close()
            return trace

        assert world.run(main).ok
        assert [(question.name, question.type) for question in world.questions()] == [
            ("dual.test.", "AAAA"), ("dual.test.", "A"),
        ]  # fmt: skip


def test_c22_an_ipv6_answer_after_the_connection_is_for_the_next_one(lab: Lab) -> None:
    with lab.world(peers=[Peer()], dns=names(Reply((V6,), delay=0.8))) as world:

        async def main() -> tuple[ConnectTrace, ConnectTrace]:
            connector = Connector(linger=30.0)
            first = await connect(connector)
            await soon(lambda: connector.resolver.lookup("dual.test", "AAAA", servers=[(DNS, 53)]).answer)
            second = await connect(connector)
            connector.close()
            return first, second

        first, second = world.run(main)
        assert first.winner is not None and second.winner is not None
        assert (first.winner.address, second.winner.address) == (V4, V6)
        assert [attempt.address for attempt in world.attempts()] == [V4, V6]
        assert len(world.questions()) == 2
