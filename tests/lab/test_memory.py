"""What a connector remembers of a network, and how it forgets (cases M of the reference list)."""

from __future__ import annotations

import asyncio

import pytest

from lab.model import V4, V6, Peer, Rule
from lab.world import Lab, connect
from ostiary.model import limits
from ostiary.net.connector import Connector

DEAD_V6 = Rule(to=V6, drop=True)


def test_m01_a_dead_family_costs_its_delay_once(lab: Lab) -> None:
    with lab.world(peers=[Peer()], rules=[DEAD_V6]) as world:

        async def main() -> list[float]:
            connector = Connector(linger=0.0)
            times = [(await connect(connector, attempt_delay=1.0)).elapsed_ms for _ in range(4)]
            connector.close()
            return times

        first, *later = world.run(main)
        assert first >= 1000
        assert max(later) < 900
        assert [attempt.address for attempt in world.attempts()] == [V6, V4, V4, V4, V4]


def test_m01_what_was_learnt_never_takes_an_address_out_of_the_race(lab: Lab) -> None:
    with lab.world(peers=[Peer()], rules=[DEAD_V6]) as world:

        async def main() -> None:
            connector = Connector(linger=0.0)
            await connect(connector)
            await asyncio.to_thread(world.follow, Rule(to=V4, drop=True))
            assert (await connect(connector)).ok
            connector.close()

        world.run(main)
        assert [attempt.address for attempt in world.attempts()] == [V6, V4, V4, V6]


def test_m02_a_family_that_has_recovered_comes_back_after_a_while(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "OUTCOME_MEMORY", 2.0)
    with lab.world(peers=[Peer()], rules=[DEAD_V6]) as world:

        async def main() -> None:
            connector = Connector(linger=0.0)
            await connect(connector)
            await asyncio.to_thread(world.follow)
            await connect(connector)
            await asyncio.sleep(2.2)
            await connect(connector)
            connector.close()

        world.run(main)
        assert [attempt.address for attempt in world.attempts()] == [V6, V4, V4, V6]


def test_m03_another_network_is_another_story(lab: Lab) -> None:
    with lab.world(peers=[Peer()], rules=[DEAD_V6]) as world:

        async def main() -> None:
            connector = Connector(linger=0.0)
            await connect(connector)
            await asyncio.to_thread(world.follow)
            connector.network_changed()
            await connect(connector)
            connector.close()

        world.run(main)
        assert [attempt.address for attempt in world.attempts()] == [V6, V4, V6]
        assert len(world.questions()) == 4  # the names were asked for again as well


def test_m06_what_failed_within_this_host_teaches_nothing(lab: Lab) -> None:
    with lab.world(peers=[Peer()], client="ip -6 route del default") as world:

        async def main() -> None:
            connector = Connector(linger=0.0)
            await connect(connector)
            connector.close()

        world.run(main)
        assert [attempt.address for attempt in world.attempts()] == [V4]
