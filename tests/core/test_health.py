from __future__ import annotations

from collections import Counter
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ostiary.core.health import Change, HealthState, contains, verdict
from ostiary.model.clusters import HealthChecking, HttpHealthCheck, TcpHealthCheck

CONFIG = HealthChecking(
    timeout=1.0,
    interval=10.0,
    unhealthy_threshold=3,
    healthy_threshold=2,
    check=TcpHealthCheck(),
    no_traffic_interval=60.0,
    no_traffic_healthy_interval=50.0,
    unhealthy_interval=20.0,
    unhealthy_edge_interval=5.0,
    healthy_edge_interval=4.0,
)


def state(config: HealthChecking = CONFIG, *, pending: bool = False) -> tuple[HealthState, Counter[str]]:
    counts: Counter[str] = Counter()
    return HealthState(config, counts, Random(1).random, pending=pending), counts


def test_the_first_good_check_is_enough() -> None:
    host, counts = state()
    assert host.failed
    assert host.succeeded() == "changed"
    assert not host.failed
    assert counts == {"success": 1}


def test_after_a_bad_first_check_it_takes_the_threshold() -> None:
    host, counts = state()
    assert host.broke("active") == "unchanged"
    assert [host.succeeded(), host.succeeded(), host.succeeded()] == ["pending", "changed", "unchanged"]
    assert counts == {"failure": 1, "success": 3}


def test_the_network_gets_several_chances_a_wrong_answer_none() -> None:
    host, counts = state()
    host.succeeded()
    assert [host.broke("network"), host.broke("timeout")] == ["pending", "pending"]
    host.succeeded()
    assert [host.broke("timeout") for _ in range(3)] == ["pending", "pending", "changed"]
    assert host.timed_out
    assert counts["network_failure"] == 5
    host.broke("network")
    assert not host.timed_out
    other, _ = state()
    other.succeeded()
    assert other.broke("active", retriable=True) == "pending"
    assert other.broke("active") == "changed"


def test_who_is_new_and_left_out_changes_with_the_first_result() -> None:
    host, _ = state(pending=True)
    assert host.broke("network") == "changed"
    assert not host.pending
    assert host.failed


def test_when_the_next_check_is() -> None:
    host, _ = state()
    table: dict[tuple[bool, Change, bool], float] = {
        (True, "unchanged", True): 10.0,
        (True, "pending", True): 4.0,
        (False, "pending", True): 5.0,
        (False, "changed", True): 20.0,
        (True, "unchanged", False): 50.0,
        (True, "pending", False): 60.0,
        (False, "unchanged", False): 60.0,
    }
    for (good, change, traffic), seconds in table.items():
        assert host.delay(good, change, traffic=traffic) == seconds


@given(st.integers(0, 100), st.floats(0, 10), st.booleans())
def test_jitter_only_adds(percent: int, jitter: float, good: bool) -> None:
    host, _ = state(replace(CONFIG, interval_jitter_percent=percent, interval_jitter=jitter, initial_jitter=jitter))
    base = 10.0 if good else 20.0
    assert base <= host.delay(good, "unchanged", traffic=True) <= base * (1 + percent / 100) + jitter
    assert 0.0 <= host.initial_delay() <= jitter


@given(st.lists(st.sampled_from(("good", "active", "network", "timeout"))))
def test_health_changes_exactly_when_it_says_so(results: list[str]) -> None:
    host, counts = state()
    for result in results:
        before = host.failed
        change = host.succeeded() if result == "good" else host.broke(result)  # type: ignore[arg-type]
        assert (change == "changed") == (host.failed != before)
        assert not (host.timed_out and not host.failed)
    assert counts["success"] + counts["failure"] == len(results)
    assert host.checked == bool(results)


def test_statuses_and_bodies() -> None:
    check = HttpHealthCheck(path="/", expected_statuses=((200, 300), (418, 419)), retriable_statuses=((500, 600),))
    assert verdict(check, 204, b"") == (True, False)
    assert verdict(check, 418, b"") == (True, False)
    assert verdict(check, 300, b"") == (False, False)
    assert verdict(check, 503, b"") == (False, True)
    expecting = replace(check, receive=(b"up", b"ok"))
    assert verdict(expecting, 200, b"up and ok") == (True, False)
    assert verdict(expecting, 200, b"ok, up") == (False, False)


@given(st.lists(st.binary(max_size=5), max_size=5), st.lists(st.binary(max_size=5), max_size=6))
def test_parts_are_found_in_order_whatever_is_between_them(parts: list[bytes], between: list[bytes]) -> None:
    filled = b"".join(filler + part for filler, part in zip([*between, *[b""] * len(parts)], parts, strict=False))
    assert contains(parts, filled)


def test_parts_do_not_overlap() -> None:
    assert not contains((b"aa", b"aa"), b"aaa")
    assert contains((), b"")
