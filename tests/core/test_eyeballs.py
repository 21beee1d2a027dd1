"""The race in a scripted world, with exact times. The cases are listed in tests/CASES.md."""

from __future__ import annotations

import pytest

from core.race_world import NEVER, World, rfc8305
from ostiary.core.addresses import Candidate, Destination
from ostiary.core.endpoints import Answered
from ostiary.core.eyeballs import Cancel, Dial, Done, Query, Race

V6 = "2001:db8::1"
V6B = "2001:db8::2"
V6C = "2001:db8::3"
V4 = "192.0.2.1"
V4B = "192.0.2.2"
GOOD = (10.0, "up")
DEAD = (NEVER, "up")
ASK = [(0, "ask AAAA"), (0, "ask A")]


def dual(**changes: object) -> World:
    """Both families, both good, answers after 30 ms."""
    world = World(dns={"AAAA": (30, [V6]), "A": (30, [V4])}, peers={V6: GOOD, V4: GOOD})
    for name, value in changes.items():
        setattr(world, name, value)
    return world


def test_both_types_are_asked_for_at_once_with_ipv6_first() -> None:
    assert dual().run()[:2] == ASK


def test_d01_ipv6_in_hand_starts_at_once() -> None:
    log = dual(dns={"AAAA": (30, [V6]), "A": (32, [V4])}).run()
    assert log == [*ASK, (30, f"dial {V6}"), (40, f"won {V6}")]


def test_d02_ipv4_waits_for_ipv6_within_the_resolution_delay() -> None:
    log = dual(dns={"A": (30, [V4]), "AAAA": (40, [V6])}).run()
    assert log == [*ASK, (40, f"dial {V6}"), (50, f"won {V6}")]


def test_d03_ipv4_starts_after_the_resolution_delay_and_late_ipv6_joins() -> None:
    log = dual(dns={"A": (30, [V4]), "AAAA": (180, [V6])}, peers={V4: DEAD, V6: GOOD}).run()
    assert log == [*ASK, (80, f"dial {V4}"), (330, f"dial {V6}"), (340, f"cancel {V4}"), (340, f"won {V6}")]


@pytest.mark.parametrize("late", [0, 10, 50, 54, 56, 100, 500, 1000, NEVER])
def test_d04_d06_ipv4_starts_at_whichever_comes_first(late: float | None) -> None:
    log = dual(dns={"A": (5, [V4]), "AAAA": (late, [V6])}).run()
    if late is not None and late <= 55:
        assert log[-1] == (late + 10, f"won {V6}")
    else:
        assert log[-1] == (65, f"won {V4}")


@pytest.mark.parametrize("late", [0, 400, 1000, NEVER])
def test_d05_d07_ipv6_does_not_depend_on_ipv4(late: float | None) -> None:
    log = dual(dns={"AAAA": (5, [V6]), "A": (late, [V4])}).run()
    assert (5, f"dial {V6}") in log
    assert log[-1] == (15, f"won {V6}")


def test_d08_no_answer_at_all_ends_at_the_deadline_with_both_pending() -> None:
    world = dual(dns={"AAAA": (NEVER, []), "A": (NEVER, [])}, config=rfc8305(timeout=2.0))
    assert world.run() == [*ASK, (2000, "lost timeout")]
    assert world.race.pending == {"A", "AAAA"}


def test_d09_an_empty_ipv6_answer_ends_the_wait() -> None:
    log = dual(dns={"A": (5, [V4]), "AAAA": (20, [])}).run()
    assert (20, f"dial {V4}") in log


@pytest.mark.parametrize("late", range(0, 401, 5))
def test_d04_ipv4_starts_at_whichever_comes_first_in_steps(late: int) -> None:
    log = dual(dns={"A": (0, [V4]), "AAAA": (late, [V6])}, peers={V6: GOOD, V4: (600.0, "up")}).run()
    assert log[2] == ((late, f"dial {V6}") if late <= 50 else (50, f"dial {V4}"))


def test_d13_a_family_that_is_not_wanted_is_not_asked_for() -> None:
    for family, kind in (("V4_ONLY", "A"), ("V6_ONLY", "AAAA")):
        log = dual(config=rfc8305(dns_lookup_family=family)).run()  # type: ignore[arg-type]
        assert [text for _, text in log if text.startswith("ask")] == [f"ask {kind}"]


def test_d16_an_address_whose_ttl_ends_while_it_is_tried_goes_on() -> None:
    race = Race(rfc8305(), 0.0)
    race.resolve(0.0)
    one = Destination(V6, 443)
    race.answers([Answered("AAAA", [Candidate(one)]), Answered("A", [])], 0.0)
    assert race.answers([Answered("AAAA", [])], 0.1) == []
    assert race.connected(one, 0.2) == [Done(one, "won")]


def test_d24_an_address_that_is_told_twice_is_tried_once() -> None:
    log = dual(dns={"AAAA": (5, [V6, V6]), "A": (6, [V4, V4])}, peers={V6: (1, "fail"), V4: (1, "fail")}).run()
    assert [text for _, text in log if text.startswith("dial")] == [f"dial {V6}", f"dial {V4}"]


def test_d25_many_addresses_are_all_tried_until_time_is_up() -> None:
    sixes, fours = [f"2001:db8::{n:x}" for n in range(1, 31)], [f"192.0.2.{n}" for n in range(1, 31)]
    world = dual(addresses=[*sixes, *fours], peers=dict.fromkeys([*sixes, *fours], (1, "fail")))
    assert world.run()[-1] == (60, "lost exhausted")
    assert len(world.dials()) == 60


def test_d27_an_expired_answer_starts_the_race_and_the_fresh_one_replaces_what_had_no_turn() -> None:
    world = dual(
        stale={"AAAA": (10, [V6, V6B])},
        dns={"AAAA": (100, [V6C]), "A": (5, [])},
        peers={V6: DEAD, V6B: DEAD, V6C: GOOD},
    )
    assert world.run()[2:] == [(10, f"dial {V6}"), (260, f"dial {V6C}"), (270, f"cancel {V6}"), (270, f"won {V6C}")]


def test_d27_the_race_is_not_lost_while_a_fresh_answer_may_come() -> None:
    world = dual(
        stale={"AAAA": (10, [V6])}, dns={"AAAA": (100, [V6B]), "A": (5, [])}, peers={V6: (1, "fail"), V6B: GOOD}
    )
    assert world.run()[-1] == (110, f"won {V6B}")


def test_no_address_at_all_ends_at_once() -> None:
    assert dual(dns={"A": (5, []), "AAAA": (20, [])}).run()[-1] == (20, "lost no_addresses")


def test_d14_a_failed_attempt_waits_for_the_other_answer() -> None:
    log = dual(dns={"AAAA": (5, [V6]), "A": (300, [V4])}, peers={V6: (1, "fail"), V4: GOOD}).run()
    assert log[-2:] == [(300, f"dial {V4}"), (310, f"won {V4}")]


def test_c02_a_black_hole_costs_one_attempt_delay() -> None:
    log = dual(peers={V6: DEAD, V4: GOOD}).run()
    assert log[2:] == [(30, f"dial {V6}"), (280, f"dial {V4}"), (290, f"cancel {V6}"), (290, f"won {V4}")]


@pytest.mark.parametrize("delay", [0, 5, 20, 200])
def test_c03_c04_a_failure_starts_the_next_at_once(delay: float) -> None:
    log = dual(peers={V6: (delay, "fail"), V4: GOOD}).run()
    assert log[2:] == [(30, f"dial {V6}"), (30 + delay, f"dial {V4}"), (40 + delay, f"won {V4}")]


@pytest.mark.parametrize("rtt", [0, 100, 245, 255, 400])
def test_c01_the_family_changes_exactly_at_the_attempt_delay(rtt: float) -> None:
    log = dual(peers={V6: (rtt, "up"), V4: (1, "up")}).run()
    assert log[-1][1] == (f"won {V6}" if rtt < 250 else f"won {V4}")


def test_c05_an_address_without_a_route_comes_last_when_both_are_known() -> None:
    world = dual(addresses=[V6, V4], stranded=[V6])
    assert world.run() == [(0, f"dial {V4}"), (10, f"won {V4}")]
    assert [d.address for d in world.race.untried] == [V6]


@pytest.mark.parametrize(("a_answer", "begins"), [(None, 55), (10, 10)])
def test_c05_an_address_without_a_route_waits_for_better_ones_but_not_long(
    a_answer: float | None, begins: float
) -> None:
    dns = {"AAAA": (5, [V6]), "A": (a_answer, [])}
    world = dual(dns=dns, stranded=[V6], peers={V6: GOOD})
    assert world.run()[2:] == [(begins, f"dial {V6}"), (begins + 10, f"won {V6}")]


def test_c09_an_address_without_a_route_does_not_start_the_race_when_the_other_family_may_come() -> None:
    """Its packets would be lost, and the attempt delay with them: a source that is only link-local, for example."""
    world = dual(dns={"AAAA": (5, [V6]), "A": (10, [V4])}, stranded=[V6], peers={V6: DEAD, V4: GOOD})
    assert world.run()[2:] == [(10, f"dial {V4}"), (20, f"won {V4}")]


def test_c10_second_ipv6_good_within_two_attempt_delays() -> None:
    log = dual(addresses=[V6, V6B, V4], peers={V6: DEAD, V6B: GOOD, V4: DEAD}).run()
    assert [text for _, text in log[:3]] == [f"dial {V6}", f"dial {V4}", f"dial {V6B}"]
    assert log[-1] == (510, f"won {V6B}")


@pytest.mark.parametrize(("count", "expected"), [(1, "64646464666"), (2, "66466466464"), (3, "66646664644")])
def test_c12_order_and_spacing_of_many_addresses(count: int, expected: str) -> None:
    sixes = [f"2001:db8::{n:x}" for n in range(1, 8)]
    fours = [f"192.0.2.{n}" for n in range(1, 5)]
    world = dual(
        addresses=[*sixes, *fours],
        peers=dict.fromkeys([*sixes, *fours], DEAD),
        config=rfc8305(timeout=30, first_count=count),
    )
    dials = [(at, text) for at, text in world.run() if text.startswith("dial")]
    assert "".join("6" if ":" in text else "4" for _, text in dials) == expected
    assert [at for at, _ in dials] == [n * 250 for n in range(11)]


def test_c13_all_refused_ends_at_once() -> None:
    log = dual(peers={V6: (1, "fail"), V4: (1, "fail")}).run()
    assert log[-1] == (32, "lost exhausted")


def test_c14_all_dead_ends_at_one_deadline_with_every_attempt_cancelled() -> None:
    log = dual(peers={V6: DEAD, V4: DEAD}, config=rfc8305(timeout=1.0)).run()
    assert log[-3:] == [(1000, f"cancel {V6}"), (1000, f"cancel {V4}"), (1000, "lost timeout")]


def test_c16_several_addresses_of_one_family_race_too() -> None:
    log = dual(addresses=[V4, V4B], peers={V4: DEAD, V4B: GOOD}).run()
    assert log[-1] == (260, f"won {V4B}")


@pytest.mark.parametrize("timeout_ms", [20, 100, 250, 400])
def test_c19_a_short_deadline_shrinks_the_delay_so_that_both_families_get_a_turn(timeout_ms: int) -> None:
    log = dual(addresses=[V6, V4], peers={V6: DEAD, V4: (5, "up")}, config=rfc8305(timeout=timeout_ms / 1000)).run()
    assert (timeout_ms / 2, f"dial {V4}") in log
    assert log[-1][1] == f"won {V4}"


def test_c20_a_late_answer_sorts_the_complete_list() -> None:
    sixes = [f"2001:db8::{n}" for n in range(1, 5)]
    log = dual(dns={"AAAA": (0, sixes), "A": (100, [V4])}, peers={**dict.fromkeys(sixes, DEAD), V4: GOOD}).run()
    assert [text for _, text in log if text.startswith("dial")] == [f"dial {sixes[0]}", f"dial {V4}"]


def test_c21_an_address_that_is_gone_before_its_turn_is_not_tried() -> None:
    race = Race(rfc8305(), 0.0)
    race.resolve(0.0)
    six, four, other = Destination(V6, 443), Destination(V4, 443), Destination(V4B, 443)
    assert race.answers([Answered("AAAA", [Candidate(six)]), Answered("A", [Candidate(four)])], 0.0) == [Dial(six)]
    assert race.answers([Answered("A", [Candidate(other)])], 0.1) == []
    assert race.untried == [other]
    assert race.failed(six, 0.2) == [Dial(other)]


@pytest.mark.parametrize("rtt", [0, 100, 350, 395, 405, 1000])
def test_c01_with_history_the_family_changes_at_the_delay_of_the_address(rtt: float) -> None:
    world = dual(peers={V6: (rtt, "up"), V4: (1, "up")}, history={V6: (0.13, 0.4)})
    assert world.run()[-1][1] == (f"won {V6}" if rtt < 400 else f"won {V4}")


def test_c11_three_dead_of_ipv6_cost_one_delay() -> None:
    sixes = [f"2001:db8::{n}" for n in range(1, 4)]
    log = dual(addresses=[*sixes, V4], peers={**dict.fromkeys(sixes, DEAD), V4: GOOD}).run()
    assert log[-1] == (260, f"won {V4}")


def test_c15_ipv4_dead_and_first() -> None:
    config = rfc8305(first_family="v4")
    log = dual(addresses=[V4, V6], peers={V4: DEAD, V6: GOOD}, config=config).run()
    assert log[-1] == (260, f"won {V6}")


@pytest.mark.parametrize(("delay", "used"), [(0.001, 10), (0.1, 100), (1.3, 1300), (9.0, 2000)])
def test_c26_a_delay_from_history_is_held_between_the_limits(delay: float, used: float) -> None:
    world = dual(addresses=[V6, V4], peers={V6: DEAD, V4: GOOD}, config=rfc8305(timeout=60))
    world.history = {V6: (0.03, delay)}
    assert world.run()[1] == (used, f"dial {V4}")


@pytest.mark.parametrize("delay", [300, 500])
def test_c03_c04_a_failure_after_the_delay_changes_nothing(delay: float) -> None:
    log = dual(peers={V6: (delay, "fail"), V4: (400.0, "up")}).run()
    assert [text for _, text in log if text.startswith("dial")] == [f"dial {V6}", f"dial {V4}"]
    assert log[-1] == (680, f"won {V4}")


def test_c27_c28_a_handshake_that_needs_a_second_syn_wins_if_nothing_else_does() -> None:
    assert dual(peers={V6: (1001, "up"), V4: GOOD}).run()[-1] == (290, f"won {V4}")
    assert dual(peers={V6: (1001, "up"), V4: DEAD}).run()[-1] == (1031, f"won {V6}")


@pytest.mark.parametrize("after", [0, 20, 100])
def test_t02_t05_t07_a_handshake_that_fails_starts_the_next_at_once(after: float) -> None:
    race = Race(rfc8305(), 0.0)
    one, two = Destination(V6, 443), Destination(V4, 443)
    race.start([Candidate(one), Candidate(two)], 0.0)
    race.handshaking(one, 0.01)
    assert race.failed(one, 0.01 + after / 1000) == [Dial(two)]


def test_m05_what_is_known_to_be_near_comes_first_within_its_family() -> None:
    world = dual(addresses=[V6, V6B, V4], peers=dict.fromkeys([V6, V6B, V4], DEAD))
    world.history = {V6: (0.2, 0.3), V6B: (0.02, 0.1), V4: (0.001, 0.1)}
    world.run()
    assert world.dials() == [(0, V6B), (100, V4), (200, V6)], "with the delays of what has started"


def test_m06_without_history_all_is_as_if_there_were_no_memory() -> None:
    assert dual(history={}).run() == dual(history={"2001:db8::77": (1.0, 1.0)}).run()


def test_attempts_at_once_are_bounded_and_the_next_waits_for_a_failure() -> None:
    sixes = [f"2001:db8::{n}" for n in range(1, 4)]
    peers = {sixes[0]: DEAD, sixes[1]: (1000.0, "fail"), sixes[2]: GOOD}
    log = dual(addresses=sixes, peers=peers, config=rfc8305(max_parallel=2, timeout=5)).run()
    assert log == [
        (0, f"dial {sixes[0]}"),
        (250, f"dial {sixes[1]}"),
        (1250, f"dial {sixes[2]}"),
        (1260, f"cancel {sixes[0]}"),
        (1260, f"won {sixes[2]}"),
    ]


@pytest.mark.parametrize(("asked", "used"), [(0.0, 10), (0.005, 10), (0.1, 100), (60.0, 2000)])
def test_the_attempt_delay_is_held_between_its_limits(asked: float, used: float) -> None:
    config = rfc8305(timeout=60, attempt_delay=asked)
    log = dual(addresses=[V6, V4], peers={V6: DEAD, V4: GOOD}, config=config).run()
    assert log[1] == (used, f"dial {V4}")


def test_t01_a_peer_that_is_silent_in_tls_loses() -> None:
    log = dual(addresses=[V6, V4], peers={V6: (1, "tls"), V4: GOOD}).run()
    assert log[1:] == [(250, f"dial {V4}"), (260, f"cancel {V6}"), (260, f"won {V4}")]


def test_t04_a_slow_path_gets_time_for_its_handshake() -> None:
    log = dual(addresses=[V6, V4], peers={V6: (200, "tls"), V4: GOOD}).run()
    assert log[1] == (450, f"dial {V4}")


def test_t04_but_never_at_the_cost_of_the_other_family() -> None:
    log = dual(addresses=[V6, V4], peers={V6: (90, "tls"), V4: GOOD}, config=rfc8305(timeout=0.2)).run()
    assert log[1] == (100, f"dial {V4}")


def test_m01_a_preferred_ipv4_starts_at_once_and_ipv6_waits() -> None:
    config = rfc8305(first_family="v4")
    assert dual(dns={"A": (5, [V4]), "AAAA": (9, [V6])}, config=config).run()[2] == (5, f"dial {V4}")
    assert dual(dns={"A": (90, [V4]), "AAAA": (9, [V6])}, config=config).run()[2] == (59, f"dial {V6}")
    assert dual(dns={"A": (20, [V4]), "AAAA": (9, [V6])}, config=config).run()[2] == (20, f"dial {V4}")


LOOKUPS = [
    # what Envoy asks for, and what it gets: (family, AAAA, A) -> log of queries and dials
    ("AUTO", [V6], [V4], ["ask AAAA", f"dial {V6}"]),
    ("AUTO", [], [V4], ["ask AAAA", "ask A", f"dial {V4}"]),
    ("V4_PREFERRED", [V6], [V4], ["ask A", f"dial {V4}"]),
    ("V4_PREFERRED", [V6], [], ["ask A", "ask AAAA", f"dial {V6}"]),
    ("V4_ONLY", [V6], [V4], ["ask A", f"dial {V4}"]),
    ("V4_ONLY", [V6], [], ["ask A", "lost no_addresses"]),
    ("V6_ONLY", [V6], [V4], ["ask AAAA", f"dial {V6}"]),
    ("V6_ONLY", [], [V4], ["ask AAAA", "lost no_addresses"]),
    ("ALL", [V6], [V4], ["ask AAAA", "ask A", f"dial {V6}"]),
]


@pytest.mark.parametrize(("family", "aaaa", "a", "expected"), LOOKUPS)
def test_the_lookup_families_are_envoys(family: str, aaaa: list[str], a: list[str], expected: list[str]) -> None:
    config = rfc8305(dns_lookup_family=family)  # type: ignore[arg-type]
    log = dual(dns={"AAAA": (5, aaaa), "A": (5, a)}, config=config).run()
    assert [text for _, text in log][: len(expected)] == expected


def test_auto_never_falls_back_because_a_connection_failed() -> None:
    log = dual(config=rfc8305(dns_lookup_family="AUTO"), peers={V6: (0, "fail")}).run()
    assert log == [(0, "ask AAAA"), (30, f"dial {V6}"), (30, "lost exhausted")]


def test_autos_second_lookup_comes_after_the_first() -> None:
    log = dual(config=rfc8305(dns_lookup_family="AUTO"), dns={"AAAA": (30, []), "A": (30, [V4])}).run()
    assert log[:3] == [(0, "ask AAAA"), (30, "ask A"), (60, f"dial {V4}")]


def test_c17_of_two_that_connect_in_one_tick_one_wins_and_the_other_is_told_to_close() -> None:
    race = Race(rfc8305(), 0.0)
    one, two = Destination(V6, 443), Destination(V4, 443)
    race.start([Candidate(destination=one), Candidate(destination=two)], 0.0)
    race.tick(0.25)
    assert race.connected(one, 0.3) == [Cancel(two), Done(one, "won")]
    assert race.connected(two, 0.3) == [Cancel(two)]
    assert race.result == Done(one, "won")


def test_nothing_wins_after_the_deadline() -> None:
    race = Race(rfc8305(timeout=1.0), 0.0)
    one = Destination(V6, 443)
    race.start([Candidate(destination=one)], 0.0)
    assert race.connected(one, 1.0) == [Cancel(one), Done(None, "timeout")]


def test_c22_an_answer_after_the_end_changes_nothing() -> None:
    world = dual(dns={"AAAA": (5, [V6]), "A": (NEVER, [])})
    world.run()
    assert world.race.answer("A", [Candidate(destination=Destination(V4, 443))], 9.0) == []
    assert world.race.deadline is None


def test_answers_known_together_are_sorted_together() -> None:
    race = Race(rfc8305(), 0.0)
    assert race.resolve(0.0) == [Query("AAAA"), Query("A")]
    six, four = Destination(V6, 443), Destination(V4, 443)
    stranded = Candidate(destination=six, routable=False)
    answers = [Answered("AAAA", [stranded]), Answered("A", [Candidate(destination=four)])]
    assert race.answers(answers, 0.0) == [Dial(four)]
