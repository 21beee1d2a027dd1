from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.core.balancing import Balancer, Deadlines, priority_loads
from ostiary.model.clusters import LbPolicy, LoadBalancing


@dataclass(eq=False)
class Host:
    weight: int = 1
    priority: int = 0
    healthy: bool = True
    excluded: bool = False
    busy: int = 0


def balancer(
    hosts: list[Host], policy: LbPolicy = "ROUND_ROBIN", config: LoadBalancing | None = None, seed: int = 1
) -> Balancer[Host]:
    made: Balancer[Host] = Balancer(policy, config or LoadBalancing(), Random(seed).random)
    made.update(hosts)
    return made


def shares(made: Balancer[Host], hosts: list[Host], picks: int) -> list[int]:
    counted = Counter(id(made.pick()) for _ in range(picks))
    return [counted[id(host)] for host in hosts]


HOSTS = st.lists(
    st.builds(
        Host,
        weight=st.integers(1, 100),
        priority=st.integers(0, 3),
        healthy=st.booleans(),
        excluded=st.booleans(),
        busy=st.integers(0, 9),
    ),
    max_size=8,
)


# --- priorities, with numbers of Envoy's own documentation (arch_overview/upstream/load_balancing/priority, panic)


@pytest.mark.parametrize(
    ("healthy", "loads"),
    [
        ((100, 100), [100, 0]),
        ((72, 72), [100, 0]),
        ((71, 71), [99, 1]),
        ((50, 60), [70, 30]),
        ((25, 100), [35, 65]),
        ((0, 100), [0, 100]),
    ],
)
def test_what_a_priority_cant_take_goes_to_the_next(healthy: tuple[int, int], loads: list[int]) -> None:
    assert priority_loads(healthy, (100, 100), (100, 100), 140, 50.0)[0] == loads


def test_less_health_than_needed_is_shared_in_proportion() -> None:
    assert priority_loads((25, 25), (100, 100), (100, 100), 140, 50.0) == ([50, 50], [True, True])


def test_where_all_panics_the_number_of_hosts_decides() -> None:
    loads, panics = priority_loads((0, 0), (9, 1), (30, 10), 140, 50.0)
    assert (loads, panics) == ([75, 25], [True, True])


def test_a_priority_panics_only_if_the_others_cant_take_its_load() -> None:
    assert priority_loads((1, 10), (10, 10), (10, 10), 140, 50.0)[1] == [False, False]
    assert priority_loads((1, 6), (10, 10), (10, 10), 140, 50.0)[1] == [True, False]


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=5), st.floats(0, 100))
def test_loads_are_always_a_hundred(counts: list[tuple[int, int]], panic: float) -> None:
    healthy, total = [min(c) for c in counts], [max(c) for c in counts]
    loads, panics = priority_loads(healthy, total, total, 140, panic)
    assert sum(loads) == 100
    assert all(load >= 0 for load in loads)
    assert len(panics) == len(counts)


# --- policies


def test_round_robin_takes_turns() -> None:
    hosts = [Host(), Host(), Host()]
    assert shares(balancer(hosts), hosts, 30) == [10, 10, 10]


@given(st.lists(st.integers(1, 20), min_size=2, max_size=6))
def test_weights_are_kept_within_every_round(weights: list[int]) -> None:
    hosts = [Host(weight=weight) for weight in weights]
    made = balancer(hosts)
    for _ in range(3):
        for expected, got in zip(weights, shares(made, hosts, sum(weights)), strict=True):
            assert abs(expected - got) <= 2


@given(st.lists(st.integers(1, 9), min_size=2, max_size=5))
def test_the_earliest_deadline_never_goes_back(weights: list[int]) -> None:
    hosts = [Host(weight=weight) for weight in weights]
    deadlines = Deadlines(hosts, lambda host: float(host.weight), 0)
    seen: dict[int, float] = {id(host): 1.0 / host.weight for host in hosts}
    times = []
    for _ in range(50):
        host = deadlines.pick()
        times.append(seen[id(host)])
        seen[id(host)] += 1.0 / host.weight
    assert all(a <= b + 1e-9 for a, b in pairwise(times))


def test_random_knows_no_weights() -> None:
    hosts = [Host(weight=1), Host(weight=100)]
    one, other = shares(balancer(hosts, "RANDOM"), hosts, 2000)
    assert 850 < one < 1150
    assert one + other == 2000


def test_least_request_prefers_who_is_less_busy() -> None:
    hosts = [Host(busy=50), Host(), Host(busy=50)]
    made = balancer(hosts, "LEAST_REQUEST", LoadBalancing(choice_count=10))
    assert shares(made, hosts, 300)[1] > 280
    assert shares(balancer(hosts, "LEAST_REQUEST", LoadBalancing(full_scan=True)), hosts, 20) == [0, 20, 0]


def test_least_request_with_weights_counts_running_requests_against_them() -> None:
    hosts = [Host(weight=2, busy=3), Host(weight=1)]
    assert shares(balancer(hosts, "LEAST_REQUEST"), hosts, 300)[1] > 190  # 2/4 against 1
    unbiased = balancer(hosts, "LEAST_REQUEST", LoadBalancing(active_request_bias=0.0))
    assert shares(unbiased, hosts, 300) == [200, 100]


# --- health


def test_a_host_that_is_alone_needs_no_choice() -> None:
    hosts = [Host(), Host(healthy=False), Host(healthy=True)]
    made = balancer(hosts)
    assert made.single is None
    hosts[0].healthy = False
    made.update(hosts)
    assert made.single is None, "one of three is panic: all are used"
    calm = balancer(hosts, config=LoadBalancing(healthy_panic_threshold=0.0))
    assert calm.single is hosts[2]
    assert calm.pick() is hosts[2]
    assert calm.panicked == 0


def test_in_panic_everybody_is_used_and_each_pick_is_counted() -> None:
    hosts = [Host(), *(Host(healthy=False) for _ in range(3))]
    made = balancer(hosts)
    assert shares(made, hosts, 40) == [10, 10, 10, 10]
    assert made.panicked == 40


def test_who_drains_takes_part_in_no_count() -> None:
    hosts = [Host(), Host(healthy=False, excluded=True), Host(healthy=False, excluded=True)]
    made = balancer(hosts)
    assert made.single is hosts[0]


def test_nobody_at_all() -> None:
    made = balancer([])
    assert made.pick() is None
    assert made.panicked == 1, "as in Envoy, an empty cluster is in panic"
    unhealthy = [Host(healthy=False)]
    assert balancer(unhealthy, config=LoadBalancing(healthy_panic_threshold=0.0)).pick() is None
    assert balancer(unhealthy).pick() is unhealthy[0]


@given(HOSTS, st.sampled_from(("ROUND_ROBIN", "LEAST_REQUEST", "RANDOM")), st.integers(0, 2**32))
def test_without_panic_only_healthy_hosts_are_picked(hosts: list[Host], policy: LbPolicy, seed: int) -> None:
    made = balancer(hosts, policy, LoadBalancing(healthy_panic_threshold=0.0), seed)
    usable = [host for host in hosts if host.healthy and not host.excluded]
    for _ in range(20):
        picked = made.pick()
        assert (picked is None) == (not usable)
        assert picked is None or picked in usable
        assert made.single is None or picked is made.single


@given(HOSTS, st.sampled_from(("ROUND_ROBIN", "LEAST_REQUEST", "RANDOM")), st.integers(0, 2**32))
def test_as_long_as_there_is_a_host_one_is_picked(hosts: list[Host], policy: LbPolicy, seed: int) -> None:
    made = balancer(hosts, policy, seed=seed)
    assert all((made.pick() is not None) == bool(hosts) for _ in range(20))
