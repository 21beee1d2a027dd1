"""The one clock of a worker."""

import asyncio
from email.utils import formatdate

from hypothesis import given
from hypothesis import strategies as st

from ostiary.net.ticker import Ticker, http_date
from waiting import PATIENCE


@given(st.integers(0, 250_000_000_000))
def test_dates_are_those_of_the_standard(second: int) -> None:
    assert http_date(second).decode() == formatdate(second, usegmt=True)


class Late:
    def __init__(self) -> None:
        self.asked: list[float] = []

    def check_deadlines(self, now: float) -> None:
        self.asked.append(now)


def test_what_is_active_is_asked_until_it_is_taken_out() -> None:
    async def run() -> None:
        ticker = Ticker(asyncio.get_running_loop())
        active = Late()
        ticker.active.add(active)
        while len(active.asked) < 3:
            await asyncio.sleep(0.01)
        assert active.asked == sorted(active.asked)
        ticker.active.discard(active)
        seen = len(active.asked)
        await asyncio.sleep(0.2)
        assert len(active.asked) == seen
        ticker.stop()

    asyncio.run(asyncio.wait_for(run(), PATIENCE))


class LikeAConnection(Late):
    """As large as a Downstream: objects of a size lie at addresses with a step in common."""

    __slots__ = tuple(f"_{number}" for number in range(24))


def test_each_of_many_idle_things_is_asked_once_a_second_and_not_all_at_once() -> None:
    async def run() -> None:
        ticker = Ticker(asyncio.get_running_loop())
        idle = [LikeAConnection() for _ in range(4000)]
        for each in idle:
            ticker.idle.add(each)
        while not all(len(each.asked) >= 2 for each in idle):
            await asyncio.sleep(0.01)
        ticker.idle.discard(idle[0])
        seen = len(idle[0].asked)
        rounds = [each.asked[0] for each in idle]
        assert max(rounds.count(moment) for moment in set(rounds)) < 2000  # 200 each, if they were even and nobody late
        while len(idle[1].asked) < seen + 2:
            await asyncio.sleep(0.01)
        assert len(idle[0].asked) == seen
        ticker.stop()

    asyncio.run(asyncio.wait_for(run(), PATIENCE))
