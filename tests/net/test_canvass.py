"""All workers asked at once, from a loop over a selector that must not wait."""

from __future__ import annotations

import os
import resource
import selectors
import signal
import time
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager

from net.loops import open_sockets
from net.test_inbox import Family
from ostiary.net.canvass import Answers, Canvass
from waiting import PATIENCE


@contextmanager
def family(count: int) -> Iterator[Family]:
    with closing(Family(count)) as made:
        yield made


def ask(here: Family, indices: Collection[int], path: str, body: bytes = b"", patience: float = PATIENCE) -> Answers:
    found: list[Answers] = []
    before = open_sockets()
    with selectors.DefaultSelector() as selector:
        until = time.monotonic() + patience
        canvass = Canvass(here.inboxes, selector, indices, (path, body, []), until, found.append)
        canvass.tick(time.monotonic())
        while not found:
            for key, events in selector.select(max(0.0, canvass.deadline(time.monotonic()) - time.monotonic())):
                key.data(events)
            canvass.tick(time.monotonic())
    assert len(found) == 1
    assert open_sockets() == before
    return found[0]


def test_all_are_heard() -> None:
    with family(3) as here:
        pids = [here.born(index) for index in range(3)]
        assert ask(here, range(3), "/slow", b"x" * 2_000_000) == {
            index: (False, f"{pid} /slow 2000000 0".encode()) for index, pid in enumerate(pids)
        }
        assert {len(answer[1]) for answer in ask(here, range(3), "/large", b"3000000").values() if answer} == {
            3_000_000
        }


def test_a_failure_comes_with_its_reason_and_a_death_at_once() -> None:
    with family(2) as here:
        here.born(0)
        here.born(1)
        assert ask(here, [1], "/fail") == {1: (True, b"the address is in use")}
        assert ask(here, [0], "/die", patience=36_000) == {0: None}


def test_one_that_is_silent_costs_the_patience_and_nobody_elses_answer() -> None:
    with family(2) as here:
        here.born(0)
        here.born(1)
        os.kill(here.pids[1], signal.SIGSTOP)
        for _ in range(15):  # more than its inbox holds
            assert ask(here, [0, 1], "/who", patience=0.02)[1] is None
        answers = ask(here, [0, 1], "/who", patience=2.0)
        assert answers[0] is not None and answers[1] is None


def test_who_looks_late_gives_a_moment_more() -> None:
    """The machine stood still, not those who were asked."""
    with family(1) as here:
        here.born(0)
        assert ask(here, [0], "/who", patience=-5.0)[0] is not None


def test_whoever_has_no_descriptor_left_asks_again() -> None:
    with family(1) as here:
        here.born(0)
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        with selectors.DefaultSelector() as selector:
            found: list[Answers] = []
            canvass = Canvass(here.inboxes, selector, [0], ("/who", b"", []), time.monotonic() + PATIENCE, found.append)
            resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
            try:
                canvass.tick(time.monotonic())
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, before)
            while not found:
                canvass.tick(time.monotonic())
                for key, events in selector.select(max(0.0, canvass.deadline(time.monotonic()) - time.monotonic())):
                    key.data(events)
        assert found[0][0] is not None


def test_one_that_is_known_to_be_dead_is_not_waited_for() -> None:
    with family(2) as here:
        pid = here.born(0)
        found: list[Answers] = []
        with selectors.DefaultSelector() as selector:
            question = ("/who", b"", [])
            canvass = Canvass(here.inboxes, selector, [0, 1], question, time.monotonic() + 3600, found.append)
            canvass.tick(time.monotonic())
            canvass.gone(1)
            while not found:
                for key, events in selector.select():
                    key.data(events)
        assert found == [{0: (False, f"{pid} /who 0 0".encode()), 1: None}]
