"""Addresses: in which order and when they are tried, read from the SYNs (cases C of the reference list)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import pairwise

import pytest

from lab.model import IPV6_DISABLED, LINK_LOCAL_ONLY, NO_IPV6, V4, V6, Peer, Rule
from lab.world import Lab, World, connect, names
from ostiary.core.trace import ConnectTrace
from ostiary.model.clusters import HappyEyeballsConfig
from ostiary.net.connector import Connector
from waiting import soon

DELAY = 0.2
"""The Connection Attempt Delay."""
EARLY, SLACK = 0.15, 0.8
"""How much less and more a busy machine may make of it, by logging the first of two packets late, or the second."""
NEVER = 5.0
"""An attempt delay that nothing here waits for: what comes sooner did not wait for it."""
OTHER_V6 = ("2001:db8:5::81", "2001:db8:5::82", "2001:db8:5::83")
OTHER_V4 = ("192.0.2.81", "192.0.2.82")
LOOPS = ("asyncio", "uvloop")


def order(world: World) -> list[str]:
    """Addresses as they were tried."""
    return [attempt.address for attempt in world.attempts()]


def gaps(world: World) -> list[float]:
    """Seconds between the starts of attempts."""
    return [later.time - earlier.time for earlier, later in pairwise(world.attempts())]


def won(trace: ConnectTrace) -> str | None:
    """The address of the connection."""
    return trace.winner.address if trace.winner is not None else None


def test_c01_the_family_changes_at_the_attempt_delay(lab: Lab) -> None:
    delay = 0.8
    delays = [ms for ms in range(0, 1600, 50) if abs(ms - 800) > 250]
    hosts = {ms: (f"rtt-{ms}.test", f"2001:db8:5::1:{ms}", f"192.0.2.{100 + i}") for i, ms in enumerate(delays)}
    rules = [Rule(to=v6, delay=ms / 1000) for ms, (_, v6, _) in hosts.items()]
    records = {key: reply for name, v6, v4 in hosts.values() for key, reply in names((v6,), (v4,), name).items()}
    everywhere = [address for _, *both in hosts.values() for address in both]
    with lab.world(peers=[Peer(at=everywhere)], rules=rules, dns=records) as world:

        async def main() -> list[ConnectTrace]:
            connector = Connector(linger=0.0)
            traces = await asyncio.gather(
                *(connect(connector, name, attempt_delay=delay) for name, _, _ in hosts.values())
            )
            connector.close()
            return traces

        traces = dict(zip(hosts, world.run(main), strict=True))
        began = {attempt.address: attempt.time for attempt in world.attempts()}
        for ms, (_, v6, v4) in hosts.items():
            assert won(traces[ms]) == (v6 if ms < 800 else v4), ms
            assert (v4 in began) == (ms > 800), ms
            if ms > 800:
                assert delay - EARLY <= began[v4] - began[v6] < delay + SLACK, ms


@pytest.mark.parametrize("loop", LOOPS)
def test_c02_a_black_hole_costs_one_attempt_delay(lab: Lab, loop: str) -> None:
    with lab.world(peers=[Peer()], rules=[Rule(to=V6, drop=True)]) as world:
        trace = world.connect(loop=loop)
        assert won(trace) == V4
        assert order(world) == [V6, V4]
        (gap,) = gaps(world)
        assert DELAY - EARLY <= gap < DELAY + SLACK


@pytest.mark.parametrize("after", [0.0, 0.02, 0.3])
def test_c03_a_refusal_starts_the_next_attempt_at_once(lab: Lab, after: float) -> None:
    with lab.world(peers=[Peer()], rules=[Rule(to=V6, rst=True, delay=after)]) as world:
        trace = world.connect(attempt_delay=NEVER)
        assert won(trace) == V4
        assert order(world) == [V6, V4]
        (gap,) = gaps(world)
        assert after - EARLY <= gap < NEVER - 1.0
        assert trace.attempts[0].errno == "ECONNREFUSED"


@pytest.mark.parametrize("after", [0.005, 0.3])
@pytest.mark.parametrize(
    ("dead", "icmp", "errno"),
    [
        (V6, (1, 0), "ENETUNREACH"),
        (V6, (1, 1), "EACCES"),
        (V6, (1, 3), "EHOSTUNREACH"),
        (V6, (1, 4), "ECONNREFUSED"),
        (V4, (3, 0), "ENETUNREACH"),
        (V4, (3, 13), "EHOSTUNREACH"),
    ],
)
def test_c04_an_icmp_error_starts_the_next_attempt_at_once(
    lab: Lab, dead: str, icmp: tuple[int, int], errno: str, after: float
) -> None:
    first = HappyEyeballsConfig(first_address_family_version="V6" if dead == V6 else "V4")
    with lab.world(peers=[Peer()], rules=[Rule(to=dead, icmp=icmp, delay=after)]) as world:
        trace = world.connect(attempt_delay=NEVER, happy_eyeballs=first)
        alive = V4 if dead == V6 else V6
        assert won(trace) == alive
        assert order(world) == [dead, alive]
        (gap,) = gaps(world)
        assert after - EARLY <= gap < NEVER - 1.0
        assert (trace.attempts[0].stage, trace.attempts[0].errno) == ("tcp", errno)


@pytest.mark.parametrize(
    "client",
    [
        NO_IPV6,
        IPV6_DISABLED,
        LINK_LOCAL_ONLY,
        "ip -6 route replace unreachable default",
        "ip -6 route replace prohibit default",
        "ip -6 route replace blackhole default",
        "ip -6 route del default; ip -6 route add throw default",
    ],
    ids=["no route", "disabled", "link-local only", "unreachable", "prohibit", "blackhole", "throw"],
)
def test_c05_c06_c08_c09_without_a_way_for_ipv6_nothing_is_lost(lab: Lab, client: str) -> None:
    with lab.world(peers=[Peer()], client=client) as world:
        trace = world.connect(attempt_delay=NEVER)
        assert won(trace) == V4
        assert order(world) == [V4]
        assert trace.elapsed_ms < 1000 * (NEVER - 1)


def test_c10_a_dead_address_does_not_damn_its_family(lab: Lab) -> None:
    good = OTHER_V6[0]
    dead = [Rule(to=V6, drop=True), Rule(to=V4, drop=True)]
    with lab.world(peers=[Peer(at=[good])], rules=dead, dns=names((V6, good))) as world:
        trace = world.connect()
        assert won(trace) == good
        assert order(world) == [V6, V4, good]
        first, *_, last = world.attempts()
        assert 2 * DELAY - EARLY <= last.time - first.time < 2 * (DELAY + SLACK)


def test_c11_many_dead_addresses_of_one_family_cost_what_one_costs(lab: Lab) -> None:
    with lab.world(peers=[Peer()], rules=[Rule(to="2001:db8:5::80/124", drop=True)], dns=names(OTHER_V6)) as world:
        trace = world.connect()
        assert won(trace) == V4
        assert order(world) == [OTHER_V6[0], V4]


@pytest.mark.parametrize(("count", "pattern"), [(1, "64" * 4), (2, "664" * 3)])
def test_c12_ten_of_each_family_take_turns_at_an_even_pace(lab: Lab, count: int, pattern: str) -> None:
    v6, v4 = [f"2001:db8:5::1:{n}" for n in range(10)], [f"192.0.2.{100 + n}" for n in range(10)]
    silence = [Rule(to="2001:db8:5::1:0/112", delay=30), Rule(to="192.0.2.96/27", delay=30)]
    with lab.world(rules=silence, dns=names(v6, v4)) as world:
        config = HappyEyeballsConfig(first_address_family_count=count)
        trace = world.connect(attempt_delay=0.1, timeout=2.5, happy_eyeballs=config)
        families = "".join(str(attempt.family) for attempt in world.attempts())
        assert families.startswith(pattern)
        assert len(set(order(world))) == len(order(world))
        began = sorted(attempt.started for attempt in trace.attempts if attempt.started is not None)
        assert min(later - earlier for earlier, later in pairwise(began[: len(pattern)])) > 0.09


def test_c13_when_all_refuse_the_error_comes_at_once_and_names_each(lab: Lab) -> None:
    v6, v4 = (V6, OTHER_V6[0]), (V4, OTHER_V4[0])
    with lab.world(dns=names(v6, v4)) as world:
        trace = world.connect(attempt_delay=NEVER)
        assert set(order(world)) == {*v6, *v4}  # in which order depends on whose answer came first
        assert trace.elapsed_ms < 1000 * (NEVER - 1)
        for address in (*v6, *v4):
            assert address in trace.summary
        assert {attempt.errno for attempt in trace.attempts} == {"ECONNREFUSED"}


def test_c14_when_all_are_dead_one_deadline_covers_all(lab: Lab) -> None:
    with lab.world(rules=[Rule(to=V6, drop=True), Rule(to=V4, drop=True)]) as world:
        trace = world.connect(timeout=0.8)
        assert order(world) == [V6, V4]
        assert 800 <= trace.elapsed_ms < 4000
        assert [(a.address, a.outcome, a.stage) for a in trace.attempts] == [
            (V6, "timeout", "tcp"), (V4, "timeout", "tcp"),
        ]  # fmt: skip
        assert V6 in trace.summary and V4 in trace.summary


def test_c15_a_dead_ipv4_that_comes_first_is_passed_over_too(lab: Lab) -> None:
    first = HappyEyeballsConfig(first_address_family_version="V4")
    with lab.world(peers=[Peer()], rules=[Rule(to=V4, drop=True)]) as world:
        trace = world.connect(happy_eyeballs=first)
        assert won(trace) == V6
        assert order(world) == [V4, V6]


def test_c16_addresses_of_one_family_race_as_well(lab: Lab) -> None:
    v4 = (V4, *OTHER_V4)
    with lab.world(peers=[Peer(at=v4)], rules=[Rule(to=V4, drop=True)], dns=names((), v4)) as world:
        trace = world.connect()
        assert won(trace) == OTHER_V4[0]
        assert order(world) == [V4, OTHER_V4[0]]


def test_c18_a_caller_that_gives_up_leaves_nothing_on_the_wire(lab: Lab) -> None:
    with lab.world(peers=[Peer()], rules=[Rule(to=V6, drop=True), Rule(to=V4, drop=True)]) as world:

        async def main() -> None:
            connector = Connector(linger=0.0)
            looks: list[Callable[[], ConnectTrace]] = []
            race = asyncio.ensure_future(connect(connector, attempt_delay=NEVER, watch=looks.append))
            await soon(lambda: looks and looks[0]().attempts)
            race.cancel()
            await asyncio.gather(race, return_exceptions=True)
            await asyncio.sleep(1.5)  # a second later the kernel would repeat the SYN of a socket that is still open
            connector.close()

        world.run(main)
        (attempt,) = world.attempts()
        assert (attempt.address, attempt.syns) == (V6, 1)


@pytest.mark.parametrize("loop", LOOPS)
def test_c19_a_deadline_shorter_than_the_attempt_delay_gives_both_a_turn(lab: Lab, loop: str) -> None:
    with lab.world(peers=[Peer()], rules=[Rule(to=V6, drop=True)]) as world:
        trace = world.connect(timeout=1.5, attempt_delay=NEVER, loop=loop)
        assert won(trace) == V4
        assert order(world) == [V6, V4]


@pytest.mark.parametrize("seed", range(6))
def test_c27_a_network_that_loses_a_third_of_all_packets_is_got_through(lab: Lab, seed: int) -> None:
    rules = [Rule(to=V6, loss=0.3, seed=seed), Rule(to=V4, loss=0.3, seed=seed + 100)]
    with lab.world(peers=[Peer()], rules=rules) as world:
        assert world.connect(timeout=60).ok


def test_c28_a_lost_syn_gives_the_race_to_the_other_family(lab: Lab) -> None:
    with lab.world(peers=[Peer()], rules=[Rule(to=V6, drop_syns=1)]) as world:
        assert won(world.connect()) == V4


def test_c28_a_syn_that_is_repeated_still_wins_where_nothing_else_can(lab: Lab) -> None:
    with lab.world(peers=[Peer()], rules=[Rule(to=V6, drop_syns=1), Rule(to=V4, drop=True)]) as world:
        trace = world.connect(attempt_delay=2.0, timeout=60)
        assert won(trace) == V6
        assert trace.elapsed_ms >= 1000
        assert world.attempts()[0].syns == 2


@pytest.mark.parametrize("loop", LOOPS)
def test_losers_are_closed_when_the_winner_is_known(lab: Lab, loop: str) -> None:
    """A loser left open would go on: its SYN would be repeated after a second."""
    with lab.world(peers=[Peer()], rules=[Rule(to=V6, drop=True)]) as world:

        async def main() -> None:
            connector = Connector(linger=0.0)
            await connect(connector)
            await asyncio.sleep(1.3)
            connector.close()

        world.run(main, loop)
        assert [(attempt.address, attempt.syns) for attempt in world.attempts()] == [(V6, 1), (V4, 1)]
