from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ostiary.core.outlier import Detector, Monitor
from ostiary.model.clusters import OutlierDetection

ALL = OutlierDetection(max_ejection_percent=100)


def detector(count: int, config: OutlierDetection = ALL, seed: int = 1) -> tuple[Detector, list[Monitor]]:
    made = Detector(config, Random(seed).random)
    return made, [made.add() for _ in range(count)]


def feed(made: Detector, host: Monitor, *statuses: int, now: float = 0.0) -> bool:
    return [made.answered(host, status, now) for status in statuses][-1]


def test_five_errors_in_a_row_eject_and_one_success_forgets_them() -> None:
    made, (host, _) = detector(2)
    assert not feed(made, host, 500, 500, 500, 500, 200, 500, 500, 500, 500)
    assert feed(made, host, 599)
    assert host.ejected
    assert made.ejected == 1
    assert dict(made.counts) == {
        "ejections_detected_consecutive_5xx": 1,
        "ejections_total": 1,
        "ejections_enforced_total": 1,
        "ejections_enforced_consecutive_5xx": 1,
        "ejections_consecutive_5xx": 1,
    }


def test_gateway_errors_are_detected_and_ejected_only_where_that_is_enforced() -> None:
    made, (host, _) = detector(2, replace(ALL, consecutive_5xx=100))
    assert not feed(made, host, *[503] * 5)
    assert made.counts["ejections_detected_consecutive_gateway_failure"] == 1
    made, (host, _) = detector(2, replace(ALL, consecutive_5xx=100, enforcing_consecutive_gateway_failure=100))
    assert not feed(made, host, 503, 503, 500, 502, 502, 502, 502)
    assert feed(made, host, 502)


def test_by_default_a_small_cluster_loses_nobody() -> None:
    made, hosts = detector(9, OutlierDetection())
    assert not feed(made, hosts[0], *[500] * 5)
    assert made.counts["ejections_overflow"] == 1
    made, hosts = detector(10, OutlierDetection())
    assert feed(made, hosts[0], *[500] * 5)
    made, hosts = detector(2, OutlierDetection(always_eject_one_host=True))
    assert feed(made, hosts[0], *[500] * 5)
    assert not feed(made, hosts[1], *[500] * 5)


def test_a_host_comes_back_at_the_first_interval_after_its_time() -> None:
    made, (host, _) = detector(2)
    feed(made, host, *[500] * 5, now=5.0)
    assert not made.tick(34.9)
    assert made.tick(35.0)
    assert not host.ejected


def test_each_ejection_lasts_longer_and_quiet_intervals_shorten_the_next() -> None:
    made, (host, _) = detector(2, replace(ALL, base_ejection_time=30.0, max_ejection_time=70.0))
    for lasts in (30.0, 60.0, 70.0, 70.0):
        feed(made, host, *[500] * 5, now=0.0)
        assert not made.tick(lasts - 0.1)
        assert made.tick(lasts)
    host.unejected_at = 70.0
    assert host.backoff == 4, "one more than it takes to reach the longest"
    made.tick(79.0)
    made.tick(80.0)
    made.tick(90.0)
    assert host.backoff == 2


def test_jitter_is_added_to_the_time() -> None:
    made, (host, _) = detector(2, replace(ALL, max_ejection_time_jitter=10.0))
    feed(made, host, *[500] * 5)
    assert 0.0 < host.jitter < 10.0
    assert not made.tick(30.0)
    assert made.tick(30.0 + host.jitter)


def test_a_passed_health_check_brings_a_host_back_unless_told_otherwise() -> None:
    made, (host, other) = detector(2)
    feed(made, host, *[500] * 5)
    assert not made.passed_health_check(other, 1.0)
    assert made.passed_health_check(host, 1.0)
    assert not host.ejected
    made, (host, _) = detector(2, replace(ALL, successful_active_health_check_uneject_host=False))
    feed(made, host, *[500] * 5)
    assert not made.passed_health_check(host, 1.0)


def test_failed_connections_count_as_statuses_or_on_their_own() -> None:
    made, (host, _) = detector(2)
    assert [made.unreached(host, 503, 0.0) for _ in range(5)] == [False] * 4 + [True]
    assert made.counts["ejections_enforced_consecutive_5xx"] == 1
    made, (host, _) = detector(2, replace(ALL, split_external_local_origin_errors=True))
    for _ in range(4):
        made.unreached(host, 503, 0.0)
    made.connected(host)
    assert [made.unreached(host, 503, 0.0) for _ in range(5)] == [False] * 4 + [True]
    assert made.counts["ejections_enforced_consecutive_local_origin_failure"] == 1
    assert host.consecutive_5xx == 0


def test_a_success_rate_far_below_the_others_ejects() -> None:
    made, hosts = detector(5, replace(ALL, consecutive_5xx=1000))
    for host in hosts:
        feed(made, host, *([200] * 100))
    feed(made, hosts[0], *([500, 200] * 100))
    assert made.tick(10.0)
    assert [host.ejected for host in hosts] == [True, False, False, False, False]
    assert made.counts["ejections_enforced_success_rate"] == 1
    assert hosts[0].external.rate == pytest.approx(200 / 3)
    assert made.averages[0][0] == pytest.approx((200 / 3 + 400) / 5)
    made.tick(20.0)
    assert hosts[1].external.rate == -1, "nothing was asked in that interval"


def test_envoys_own_example_of_the_threshold() -> None:
    made, hosts = detector(5, replace(ALL, consecutive_5xx=1000, enforcing_success_rate=0))
    feed(made, hosts[0], *([500, 200] * 50))
    for host in hosts[1:]:
        feed(made, host, *([200] * 100))
    made.tick(10.0)
    assert made.averages[0] == pytest.approx((90.0, 90.0 - 1.9 * 20.0))
    assert made.counts["ejections_detected_success_rate"] == 1
    assert made.ejected == 0


def test_a_failure_percentage_ejects_where_it_is_enforced() -> None:
    config = replace(ALL, consecutive_5xx=1000, enforcing_failure_percentage=100, enforcing_success_rate=0)
    made, hosts = detector(5, config)
    for host in hosts:
        feed(made, host, *([500] * 42 + [200] * 8))
    feed(made, hosts[0], *([500] * 10))
    made.tick(10.0)
    assert [host.ejected for host in hosts] == [True, False, False, False, False]
    assert made.counts["ejections_enforced_failure_percentage"] == 1


def test_too_few_hosts_or_requests_are_no_evidence() -> None:
    for count, requests in ((4, 200), (5, 99)):
        made, hosts = detector(count, replace(ALL, consecutive_5xx=1000, failure_percentage_minimum_hosts=100))
        for host in hosts:
            feed(made, host, *([200] * requests))
        hosts[0].external.count(False)
        assert not made.tick(10.0)
        assert made.averages[0] == (-1.0, -1.0)


Event = tuple[int, int, float]


@given(
    st.integers(1, 12),
    st.integers(0, 100),
    st.lists(st.tuples(st.integers(0, 11), st.sampled_from((200, 404, 500, 502, 503, 0, 1)), st.floats(0, 20))),
)
def test_never_more_are_ejected_than_allowed_and_all_come_back(count: int, percent: int, events: list[Event]) -> None:
    config = OutlierDetection(max_ejection_percent=percent, enforcing_consecutive_gateway_failure=100)
    made, hosts = detector(count, config)
    now = 0.0
    for index, status, passed in events:
        now += passed
        if status == 1:
            made.tick(now)
        elif status == 0:
            made.unreached(hosts[index % count], 503, now)
        else:
            before = hosts[index % count].ejected
            assert made.answered(hosts[index % count], status, now) == (hosts[index % count].ejected and not before)
        assert 100 * made.ejected <= percent * count
        assert made.ejected == sum(host.ejected for host in hosts)
    made.tick(now + config.max_ejection_time)
    assert made.ejected == 0


def test_a_host_that_is_gone_counts_no_more() -> None:
    made, (host, other) = detector(2)
    feed(made, host, *[500] * 5)
    made.remove(host)
    assert made.ejected == 0
    assert feed(made, other, *[500] * 5)
