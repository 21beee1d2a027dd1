"""Who runs a flow: every short history, and long random ones, against rules that are checked from outside."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from ostiary.core.leases import Ask, Done, Granted, LeaseTable, Message, Queued, Release, Replies, Settled

LONGEST = 60.0
GRACE = 30.0
KEY = b"k"


class World:
    """A table, and what its workers know: who was told what, and which answers are still due."""

    def __init__(self, **bounds: int) -> None:
        self.table = LeaseTable(**bounds)
        self.now = 1000.0
        self.numbers = itertools.count(1)
        self.keys: dict[tuple[int, int], bytes] = {}
        self.running: dict[tuple[int, int], float] = {}
        """Who was granted a lease and has not ended, and until when it counts."""
        self.waiting: list[tuple[int, int]] = []
        self.settled: dict[bytes, tuple[bytes, float]] = {}
        self.told: dict[tuple[int, int], bytes] = {}

    def holder(self, key: bytes) -> tuple[int, int] | None:
        """The one whose flow counts."""
        holders = [who for who, until in self.running.items() if self.keys[who] == key and until > self.now]
        assert len(holders) <= 1, f"{key!r} runs twice: {holders}"
        return holders[0] if holders else None

    def heard(self, replies: Replies) -> None:
        """Workers hear what the table says; nobody hears anything that was not due."""
        for worker, reply in replies:
            who = (worker, reply.number)
            if isinstance(reply, Queued):
                assert who not in self.waiting and who not in self.running
                self.waiting.append(who)
                continue
            if who in self.waiting:
                in_line = [each for each in self.waiting if self.keys[each] == self.keys[who]]
                assert isinstance(reply, Settled) or in_line[0] == who, "first come, first served"
                self.waiting.remove(who)
            assert who not in self.running and who not in self.told, "told twice"
            if isinstance(reply, Granted):
                self.running[who] = self.now + LONGEST
            else:
                self.told[who] = reply.outcome
        for who in self.waiting:
            assert self.holder(self.keys[who]) is not None, f"{who} waits for nobody"
        for key in set(self.keys.values()):
            self.holder(key)

    def say(self, worker: int, message: Message) -> None:
        self.heard(self.table.handle(worker, message, self.now))

    def ask(self, worker: int, key: bytes = KEY) -> tuple[int, int]:
        who = (worker, next(self.numbers))
        self.keys[who] = key
        known = self.settled.get(key)
        holder = self.holder(key)
        self.say(worker, Ask(who[1], key, LONGEST))
        if known is not None and known[1] > self.now and holder is None:
            assert self.told[who] == known[0], "within its grace the outcome answers"
        elif holder is not None:
            assert who in self.waiting
        else:
            assert who in self.running
        return who

    def done(self, worker: int, grace: float = GRACE) -> None:
        """The oldest flow of a worker ends, whether its lease is good or not."""
        who = next((each for each in self.running if each[0] == worker), None)
        if who is None:
            return
        key, counts = self.keys[who], self.holder(self.keys[who]) == who
        due = [each for each in self.waiting if self.keys[each] == key] if counts else []
        outcome = b"outcome of %d" % who[1]
        del self.running[who]
        if counts and grace:
            self.settled[key] = (outcome, self.now + grace)
        elif counts:
            self.settled.pop(key, None)
        self.say(worker, Done(who[1], outcome, grace))
        assert all(self.told.get(each) == outcome for each in due), "everybody who waited gets it"

    def release(self, worker: int) -> None:
        """The oldest flow of a worker ends without an outcome, else its oldest question is taken back."""
        mine = [each for each in (*self.running, *self.waiting) if each[0] == worker]
        if mine:
            self.running.pop(mine[0], None)
            if mine[0] in self.waiting:
                self.waiting.remove(mine[0])
            self.say(worker, Release(mine[0][1]))

    def leave(self, worker: int) -> None:
        self.running = {who: until for who, until in self.running.items() if who[0] != worker}
        self.waiting = [who for who in self.waiting if who[0] != worker]
        replies = self.table.left(worker, self.now)
        assert all(told != worker for told, _ in replies), "nothing is said to the dead"
        self.heard(replies)

    def wait(self, seconds: float) -> None:
        """Time passes; the table is called whenever it wants to be."""
        end = self.now + seconds
        while self.table.deadline is not None and self.table.deadline <= end:
            assert self.table.deadline >= self.now
            self.now = max(self.now, self.table.deadline)
            self.heard(self.table.tick(self.now))
        self.now = end

    def finish(self) -> None:
        """Whatever happened: in the end nobody waits and nothing is kept."""
        for _ in range(len(self.waiting) + 1):
            self.wait(LONGEST)
        assert self.waiting == []
        self.wait(LONGEST)
        assert self.table.deadline is None
        assert (self.table._entries, self.table._askers, self.table._settled) == ({}, {}, {})
        assert self.table._outcome_bytes == 0


STEPS: tuple[Callable[[World], object], ...] = (
    lambda world: world.ask(1),
    lambda world: world.ask(2),
    lambda world: world.ask(3),
    lambda world: world.done(1),
    lambda world: world.done(2),
    lambda world: world.done(1, 0.0),
    lambda world: world.release(1),
    lambda world: world.release(2),
    lambda world: world.leave(1),
    lambda world: world.wait(GRACE),
    lambda world: world.wait(LONGEST),
)


def test_every_history_of_five_events() -> None:
    for history in itertools.product(STEPS, repeat=5):
        world = World()
        for step in history:
            step(world)
        world.finish()


EVENTS = st.one_of(
    st.tuples(st.just("ask"), st.integers(1, 4), st.sampled_from([b"a", b"b", b"c"])),
    st.tuples(st.just("done"), st.integers(1, 4), st.sampled_from([0.0, 10.0, GRACE])),
    st.tuples(st.just("release"), st.integers(1, 4)),
    st.tuples(st.just("leave"), st.integers(1, 4)),
    st.tuples(st.just("wait"), st.sampled_from([0.0, 1.0, 10.0, 59.0, 60.0, 61.0])),
)


@given(st.lists(EVENTS, max_size=60))
def test_long_histories_of_several_keys(events: list[tuple[object, ...]]) -> None:
    world = World()
    for name, *arguments in events:
        getattr(world, str(name))(*arguments)
    world.finish()


def test_the_first_runs_and_the_others_get_what_it_bought() -> None:
    table = LeaseTable()
    assert table.handle(1, Ask(7, KEY, 60.0), 0.0) == [(1, Granted(7))]
    assert table.handle(2, Ask(7, KEY, 60.0), 1.0) == [(2, Queued(7))]
    assert table.handle(3, Ask(9, b"other", 60.0), 1.0) == [(3, Granted(9))]
    assert table.handle(1, Done(7, b"sealed", 30.0), 2.0) == [(2, Settled(7, b"sealed"))]
    assert table.handle(2, Ask(8, KEY, 60.0), 31.9) == [(2, Settled(8, b"sealed"))]
    assert table.handle(2, Ask(9, KEY, 60.0), 32.0) == [(2, Granted(9))]


def test_what_a_dead_worker_held_goes_to_the_next_in_line() -> None:
    table = LeaseTable()
    for worker in (1, 2, 1, 3):
        table.handle(worker, Ask(worker * 10 + len(table._askers), KEY, 60.0), 0.0)
    assert table.left(1, 1.0) == [(2, Granted(21))]
    assert table.left(3, 1.0) == []
    assert table.handle(2, Done(21, b"sealed", 30.0), 2.0) == []


def test_a_holder_that_takes_too_long_is_not_listened_to_any_more() -> None:
    table = LeaseTable()
    table.handle(1, Ask(1, KEY, 60.0), 0.0)
    table.handle(2, Ask(1, KEY, 60.0), 1.0)
    assert table.deadline == 60.0
    assert table.tick(59.9) == []
    assert table.tick(60.0) == [(2, Granted(1))]
    assert table.handle(1, Done(1, b"old", 30.0), 61.0) == []
    assert table.handle(3, Ask(1, KEY, 60.0), 61.0) == [(3, Queued(1))]
    assert table.handle(2, Done(1, b"new", 30.0), 62.0) == [(3, Settled(1, b"new"))]


def test_a_question_asked_twice_and_numbers_that_are_unknown_change_nothing() -> None:
    table = LeaseTable()
    table.handle(1, Ask(1, KEY, 60.0), 0.0)
    assert table.handle(1, Ask(1, KEY, 60.0), 0.0) == []
    assert table.handle(1, Done(2, b"x", 30.0), 0.0) == []
    assert table.handle(2, Release(1), 0.0) == []
    assert table.handle(2, Ask(1, KEY, 60.0), 0.0) == [(2, Queued(1))]
    assert table.handle(2, Done(1, b"not the holder's", 30.0), 0.0) == []
    assert table.handle(1, Done(1, b"x", 30.0), 0.0) == [(2, Settled(1, b"x"))]


def test_a_full_desk_lets_everybody_run() -> None:
    table = LeaseTable(max_askers=2)
    table.handle(1, Ask(1, b"a", 60.0), 0.0)
    table.handle(2, Ask(1, b"a", 60.0), 0.0)
    assert table.handle(3, Ask(1, b"b", 60.0), 0.0) == [(3, Granted(1))]
    assert table.handle(3, Ask(2, b"a", 60.0), 0.0) == [(3, Granted(2))]
    assert table.handle(3, Done(1, b"unheard", 30.0), 0.0) == []
    assert table.handle(1, Done(1, b"sealed", 30.0), 0.0) == [(2, Settled(1, b"sealed"))]
    assert table.handle(3, Ask(3, b"b", 60.0), 0.0) == [(3, Granted(3))]


def test_outcomes_are_kept_up_to_a_number_of_bytes_and_the_oldest_goes() -> None:
    table = LeaseTable(max_outcome_bytes=10)

    def settle(number: int, key: bytes, outcome: bytes) -> None:
        table.handle(1, Ask(number, key, 60.0), 0.0)
        table.handle(1, Done(number, outcome, 30.0), 0.0)

    settle(1, b"a", b"12345")
    settle(2, b"b", b"12345")
    settle(3, b"c", b"1")
    assert table.handle(2, Ask(1, b"a", 60.0), 0.0) == [(2, Granted(1))]
    assert table.handle(2, Ask(2, b"b", 60.0), 0.0) == [(2, Settled(2, b"12345"))]
    settle(4, b"d", b"x" * 11)
    assert table.handle(2, Ask(3, b"d", 60.0), 0.0) == [(2, Granted(3))]
    assert table.handle(2, Ask(4, b"b", 60.0), 0.0) == [(2, Settled(4, b"12345"))]


def test_times_that_are_outdated_do_not_pile_up() -> None:
    table = LeaseTable()
    for number in range(10_000):
        table.handle(1, Ask(number, KEY, 60.0), 0.0)
        table.handle(1, Done(number, b"", 0.0), 0.0)
    assert len(table._times) < 100
