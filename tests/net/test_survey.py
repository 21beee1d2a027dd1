from __future__ import annotations

import asyncio

from net.dns_server import DnsServer, Reply, dual
from net.loops import Run
from net.peers_on_loopback import Peers
from ostiary.core.lookup_families import LOOKUP_FAMILIES
from ostiary.core.trace import ConnectTrace
from ostiary.net.connector import Connector
from ostiary.net.survey import Place, survey


def test_every_address_is_tried_alone_and_every_lookup_family_together(run: Run) -> None:
    async def main() -> None:
        async with DnsServer(dual()) as server, Peers("refuses", "greets") as peers:
            place = Place("dual.test", peers.port, dns_servers=[server.address])
            watched = []
            found = await survey(place, lambda family: lambda _look: watched.append(family))
        assert {answer.type: answer.addresses for answer in found.answers} == {"AAAA": ("::1",), "A": ("127.0.0.1",)}
        assert [(p.address, p.outcome, p.errno) for p in found.probes] == [
            ("::1", "failed", "ECONNREFUSED"), ("127.0.0.1", "won", None),
        ]  # fmt: skip
        assert [family for family in LOOKUP_FAMILIES if found.traces[family].ok] == ["V4_ONLY", "V4_PREFERRED", "ALL"]
        assert tuple(sorted(watched)) == tuple(sorted(LOOKUP_FAMILIES))

    run(main())


def test_a_silent_type_is_told_from_an_empty_one(run: Run) -> None:
    async def main() -> None:
        records = dual(v6=Reply(silent=True))
        async with DnsServer(records) as server, Peers("greets", "greets") as peers:
            place = Place("dual.test", peers.port, dns_servers=[server.address], timeout=1.0)
            found = await survey(place, lambda _family: lambda _look: None)
        assert {answer.type: answer.outcome for answer in found.answers} == {"AAAA": "timeout", "A": "answered"}
        assert [probe.address for probe in found.probes] == ["127.0.0.1"]

    run(main())


def test_a_race_can_be_watched_while_it_runs(run: Run) -> None:
    async def main() -> None:
        records = dual(v4=Reply(silent=True))
        looks = []
        async with DnsServer(records) as server, Peers("black_hole", "greets") as peers:
            options = {"dns_servers": [server.address], "watch": looks.append}
            task = asyncio.create_task(Connector().connect("dual.test", peers.port, asyncio.Protocol, **options))  # type: ignore[arg-type]
            while not (looks and looks[0]().attempts):
                await asyncio.sleep(0.005)
            seen: ConnectTrace = looks[0]()
            assert [(a.address, a.ended) for a in seen.attempts] == [("::1", None)]
            assert {q.type: q.outcome for q in seen.dns} == {"AAAA": "answered", "A": "pending"}
            seen.attempts[0].ended = 0.0
            assert looks[0]().attempts[0].ended is None, "what is seen is a copy"
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    run(main())


def test_when_tcp_was_up_is_known_of_those_that_came_so_far(run: Run) -> None:
    async def main() -> None:
        async with DnsServer(dual()) as server, Peers("refuses", "greets") as peers:
            transport, _, trace = await Connector().connect(
                "dual.test", peers.port, asyncio.Protocol, dns_servers=[server.address]
            )
            transport.abort()
        dead, winner = trace.attempts
        assert dead.connected is None
        assert winner.connected == winner.ended

    run(main())
