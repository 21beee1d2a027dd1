"""The desk and its clients over real socket pairs, on one loop: the desk's selector is itself something to wait for."""

from __future__ import annotations

import asyncio
import contextlib
import selectors
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from net.loops import Run
from ostiary.core.leases import Ask, Done, Granted, Queued
from ostiary.model import limits
from ostiary.net.lease_client import LeaseClient
from ostiary.net.lease_desk import LeaseDesk
from ostiary.net.lease_wire import FrameReader, WireError, frame, message_reader, reply_reader
from waiting import PATIENCE

KEY = b"k" * 32


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody gives the desk up because this machine is slow."""
    monkeypatch.setattr(limits, "LEASE_ANSWER_TIMEOUT", PATIENCE)


class Office:
    """A desk that runs, and its clients."""

    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        self.cut_off: list[tuple[int, str]] = []
        self.desk = LeaseDesk(self.selector, time.monotonic, lambda worker, why: self.cut_off.append((worker, why)))
        self.lost = 0
        self.clients: list[LeaseClient] = []
        self._wake: asyncio.TimerHandle | None = None

    def pump(self) -> None:
        for key, events in self.selector.select(0):
            key.data(events)
        self.desk.tick()
        if self._wake is not None:
            self._wake.cancel()
        if self.desk.deadline is not None:
            delay = max(0.0, self.desk.deadline - time.monotonic())
            self._wake = asyncio.get_running_loop().call_later(delay, self.pump)

    async def client(self) -> LeaseClient:
        def lost() -> None:
            self.lost += 1

        self.clients.append(await LeaseClient.connect(self.desk.hire()[1], lost))
        return self.clients[-1]

    def close(self) -> None:
        for worker in list(self.desk._lines):
            self.desk.dismiss(worker)


@contextlib.asynccontextmanager
async def office() -> AsyncIterator[Office]:
    opened = Office()
    loop = asyncio.get_running_loop()
    loop.add_reader(opened.selector.fileno(), opened.pump)  # type: ignore[attr-defined] # epoll and kqueue have one
    try:
        yield opened
    finally:
        for client in opened.clients:
            client.close()
        opened.close()
        if opened._wake is not None:
            opened._wake.cancel()
        loop.remove_reader(opened.selector.fileno())  # type: ignore[attr-defined]
        opened.selector.close()


def test_one_runs_and_the_others_are_told(run: Run) -> None:
    async def main() -> None:
        async with office() as here:
            clients = [await here.client() for _ in range(4)]
            first = await clients[0].ask(KEY, 60.0)
            assert first.outcome is None
            asked = [asyncio.ensure_future(client.ask(KEY, 60.0)) for client in clients[1:] * 2]
            other = await clients[1].ask(b"other", 60.0)
            assert other.outcome is None, "another key waits for nobody"
            first.done(b"x" * 200_000, 60.0)
            assert {(await each).outcome for each in asked} == {b"x" * 200_000}
            assert (await clients[2].ask(KEY, 60.0)).outcome == b"x" * 200_000

    run(main())


def test_whoever_ends_without_an_outcome_lets_the_next_one_try(run: Run) -> None:
    async def main() -> None:
        async with office() as here:
            one, two, three = [await here.client() for _ in range(3)]
            lease = await one.ask(KEY, 60.0)
            second = asyncio.ensure_future(two.ask(KEY, 60.0))
            await asyncio.sleep(0.01)
            third = asyncio.ensure_future(three.ask(KEY, 60.0))
            await asyncio.sleep(0.01)
            lease.release()
            assert (await second).outcome is None
            assert not third.done()
            two.close()  # as when its process dies
            assert (await third).outcome is None

    run(main())


def test_who_no_longer_waits_is_passed_over(run: Run) -> None:
    async def main() -> None:
        async with office() as here:
            one, two, three = [await here.client() for _ in range(3)]
            lease = await one.ask(KEY, 60.0)
            second = asyncio.ensure_future(two.ask(KEY, 60.0))
            await asyncio.sleep(0.01)
            third = asyncio.ensure_future(three.ask(KEY, 60.0))
            await asyncio.sleep(0.01)
            second.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await second
            lease.release()
            assert (await third).outcome is None

    run(main())


def test_a_holder_that_takes_too_long_loses_it(run: Run) -> None:
    async def main() -> None:
        async with office() as here:
            one, two, three = [await here.client() for _ in range(3)]
            slow = await one.ask(KEY, 0.05)
            heir = await two.ask(KEY, 60.0)
            assert heir.outcome is None
            waiting = asyncio.ensure_future(three.ask(KEY, 60.0))
            slow.done(b"too late", 60.0)
            heir.done(b"in time", 60.0)
            assert (await waiting).outcome == b"in time"

    run(main())


def test_without_a_desk_everybody_runs(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with office() as here:
            one, two = [await here.client() for _ in range(2)]
            lease = await one.ask(KEY, 60.0)
            waiting = asyncio.ensure_future(two.ask(KEY, 60.0))
            await asyncio.sleep(0.01)
            here.close()
            assert (await waiting).outcome is None
            assert (await two.ask(KEY, 60.0)).outcome is None
            lease.done(b"to nobody", 60.0)
            assert here.lost == 2

    run(main())


def test_a_desk_that_says_nothing_is_not_waited_for(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LEASE_ANSWER_TIMEOUT", 0.05)

    async def main() -> None:
        ours, theirs = socket.socketpair()
        client = await LeaseClient.connect(theirs, lambda: None)
        try:
            lease = await client.ask(KEY, 60.0)
            assert lease.outcome is None
            lease.done(b"nobody asked for it", 60.0)
            said = message_reader().feed(ours.recv(65536))
            assert [type(each).__name__ for each in said] == ["Ask", "Release"], "and nothing is left to be told"
            ours.send(frame(Granted(1)))  # at last
            waiting = asyncio.ensure_future(client.ask(KEY, 0.1))
            await asyncio.sleep(0)
            ours.send(frame(Queued(2)))
            assert (await waiting).outcome is None, "in line, and then nothing more: patience ends"
        finally:
            client.close()
            ours.close()

    run(main())


@pytest.mark.parametrize("sent", [b"\xff\xff\xff\xff", b"\0\0\0\x01\xc1", frame(Granted(1))])
def test_a_worker_that_talks_nonsense_is_cut_off(run: Run, sent: bytes) -> None:
    async def main() -> None:
        async with office() as here:
            _, theirs = here.desk.hire()
            theirs.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(theirs, frame(Ask(1, KEY, 60.0)) + sent)
            client = await here.client()
            assert (await client.ask(KEY, 60.0)).outcome is None, "what it held is free again"
            assert [worker for worker, _ in here.cut_off] == [1]
            theirs.close()

    run(main())


def test_a_worker_that_reads_nothing_is_cut_off(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_LEASE_BACKLOG_BYTES", 1024 * 1024)

    async def main() -> None:
        async with office() as here:
            one = await here.client()
            _, theirs = here.desk.hire()
            theirs.setblocking(False)
            (await one.ask(KEY, 60.0)).done(b"x" * 100_000, 60.0)
            loop = asyncio.get_running_loop()
            with contextlib.suppress(OSError):
                for number in range(100):
                    await loop.sock_sendall(theirs, frame(Ask(number, KEY, 60.0)))
                    await asyncio.sleep(0.001)
            assert [worker for worker, _ in here.cut_off] == [2]
            assert (await one.ask(KEY, 60.0)).outcome == b"x" * 100_000
            theirs.close()

    run(main())


def test_the_last_words_of_a_worker_count(run: Run) -> None:
    async def main() -> None:
        async with office() as here:
            worker, theirs = here.desk.hire()
            theirs.sendall(frame(Ask(1, KEY, 60.0)) + frame(Done(1, b"last words", 60.0)))
            theirs.close()
            here.desk.dismiss(worker)  # its death is seen before its socket is
            assert (await (await here.client()).ask(KEY, 60.0)).outcome == b"last words"

    run(main())


def test_an_outcome_that_is_too_large_stays_where_it_is(run: Run) -> None:
    async def main() -> None:
        async with office() as here:
            one, two = [await here.client() for _ in range(2)]
            lease = await one.ask(KEY, 60.0)
            waiting = asyncio.ensure_future(two.ask(KEY, 60.0))
            await asyncio.sleep(0.01)
            lease.done(b"x" * limits.MAX_LEASE_MESSAGE_BYTES, 60.0)
            assert (await waiting).outcome is None
            assert here.cut_off == []

    run(main())


def test_never_two_at_once_however_many_ask(run: Run) -> None:
    async def main() -> None:
        async with office() as here:
            clients = [await here.client() for _ in range(4)]
            running: set[bytes] = set()
            ran: list[bytes] = []
            outcomes: dict[bytes, set[bytes]] = {}

            async def one(number: int) -> None:
                key = b"key-%d" % (number % 40)
                lease = await clients[number % 4].ask(key, 60.0)
                if lease.outcome is None:
                    assert key not in running
                    running.add(key)
                    ran.append(key)
                    await asyncio.sleep(0.002 * (number % 3))
                    running.discard(key)
                    lease.done(b"of %d" % number, 60.0)
                else:
                    outcomes.setdefault(key, set()).add(lease.outcome)

            await asyncio.gather(*(one(number) for number in range(2000)))
            assert len(ran) == len(set(ran)) == 40
            assert all(len(seen) == 1 for seen in outcomes.values())

    run(main())


def test_the_child_of_a_fork_gives_up_the_parents_ends() -> None:
    selector = selectors.DefaultSelector()
    desk = LeaseDesk(selector, time.monotonic, lambda *_: None)
    before = len(list(Path("/proc/self/fd").iterdir()))
    ends = [desk.hire()[1] for _ in range(3)]
    desk.abandon()
    assert [end.recv(1) for end in ends] == [b""] * 3
    for end in ends:
        end.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    selector.close()


def test_messages_come_in_any_pieces() -> None:
    sent = [Ask(1, KEY, 60.0), Done(1, b"\0" * 300, 30.0), Ask(2, b"", 0.5)]
    data = b"".join(frame(each) for each in sent)
    for size in (1, 3, 7, 64, len(data)):
        reader = message_reader()
        assert [m for at in range(0, len(data), size) for m in reader.feed(data[at : at + size])] == sent
    with pytest.raises(WireError):
        reply_reader().feed(frame(sent[0]))
    assert isinstance(reply_reader(), FrameReader)
