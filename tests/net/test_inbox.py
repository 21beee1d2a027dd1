"""Questions to workers: real forks, and what asking each of them is like when one is dead, hangs or is overrun."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from net.loops import Run
from ostiary.model import limits
from ostiary.net.inbox import Handler, InboxError, Inboxes, pack_question


async def echo(path: str, body: bytes, fds: list[int]) -> bytes:
    """What a worker was asked, and who it is."""
    if path == "/slow":
        await asyncio.sleep(0.2)
    if path == "/hang":
        os.kill(os.getpid(), signal.SIGSTOP)
    if path == "/die":
        os._exit(3)
    if path == "/fail":
        raise InboxError("the address is in use")
    if path == "/defect":
        raise RuntimeError("boom")
    if path == "/large":
        return b"x" * int(body)
    if path == "/files":
        return str(len(os.listdir("/proc/self/fd"))).encode()
    if path == "/read":
        with open(fds.pop(), "rb") as file:
            return file.read()
    return f"{os.getpid()} {path} {len(body)} {len(fds)}".encode()


class Family:
    """A parent with workers that answer."""

    def __init__(self, count: int) -> None:
        self.inboxes = Inboxes(count)
        self.pids: dict[int, int] = {}

    def born(self, index: int, handler: Handler = echo) -> int:
        pid = os.fork()
        if not pid:
            code = 70
            try:
                inbox = self.inboxes.inbox(index)

                async def main() -> None:
                    inbox.serve(handler)
                    await asyncio.Event().wait()

                asyncio.run(main())
            finally:
                os._exit(code)
        self.pids[index] = pid
        return pid

    def kill(self, index: int) -> None:
        pid = self.pids.pop(index)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)

    def close(self) -> None:
        for index in list(self.pids):
            self.kill(index)
        self.inboxes.close()


@pytest.fixture
def family() -> Iterator[Callable[[int], Family]]:
    made: list[Family] = []

    def make(count: int) -> Family:
        made.append(Family(count))
        return made[-1]

    yield make
    for each in made:
        each.close()


Make = Callable[[int], Family]


def test_a_question_that_comes_late_is_answered(family: Make, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """As from a machine that stood still: it takes longer than an answer may."""
    here = family(1)
    monkeypatch.setattr(limits, "INBOX_TIMEOUT", 0.05)  # the worker's, by the fork
    here.born(0)

    async def test() -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            assert here.inboxes.deliver(0, theirs, ())
            theirs.close()
            ours.setblocking(False)
            loop = asyncio.get_running_loop()
            question = pack_question("/who", b"", ())
            await loop.sock_sendall(ours, question[:3])
            await asyncio.sleep(0.5)
            await loop.sock_sendall(ours, question[3:])
            assert (await loop.sock_recv(ours, 1)) == b"\0"

    run(test())


def test_every_worker_answers_for_itself(family: Make, run: Run) -> None:
    here = family(3)
    pids = [here.born(index) for index in range(3)]

    async def main() -> None:
        answers = await asyncio.gather(*(here.inboxes.ask(index, "/who?x=ä", b"body") for index in range(3)))
        assert answers == [f"{pid} /who?x=ä 4 0".encode() for pid in pids]

    run(main())


def test_descriptors_go_along_and_stay_open_at_home(family: Make, run: Run, tmp_path: Path) -> None:
    here = family(1)
    here.born(0)
    (tmp_path / "file").write_text("handed over")

    async def main() -> None:
        before = await here.inboxes.ask(0, "/files")
        with (tmp_path / "file").open("rb") as file:
            assert await here.inboxes.ask(0, "/read", fds=(file.fileno(),)) == b"handed over"
            assert (await here.inboxes.ask(0, "/count", fds=(file.fileno(),) * 252)).endswith(b" 252")
            assert file.read() == b"", "the offset is shared: it was this very file"
        assert await here.inboxes.ask(0, "/files") == before, "what the handler left was closed"

    run(main())


def test_a_question_waits_for_the_next_worker(family: Make, run: Run) -> None:
    here = family(2)
    here.born(0)
    here.born(1)
    here.kill(1)

    async def main() -> None:
        asking = asyncio.create_task(here.inboxes.ask(1, "/who"))
        assert await here.inboxes.ask(0, "/who"), "a dead one holds up nobody"
        await asyncio.to_thread(lambda: None)
        assert not asking.done()
        pid = here.born(1)
        assert (await asking).startswith(f"{pid} ".encode())

    run(main())


def test_one_that_dies_over_a_question_is_known_at_once(family: Make, run: Run) -> None:
    here = family(2)
    here.born(0)
    here.born(1)

    async def main() -> None:
        with pytest.raises(InboxError, match="worker 0 ended before it answered"):
            await here.inboxes.ask(0, "/die", patience=3600)
        with pytest.raises(InboxError, match=r"worker 0 doesn't answer within 0\.1 s"):
            await here.inboxes.ask(0, "/who", patience=0.1)

    run(main())


def test_one_that_hangs_costs_the_timeout_and_nobody_else_anything(family: Make, run: Run) -> None:
    here = family(2)
    here.born(0)
    here.born(1)

    async def main() -> None:
        hanging = asyncio.create_task(here.inboxes.ask(0, "/hang", patience=3600))
        while b" T " not in Path(f"/proc/{here.pids[0]}/stat").read_bytes():
            await asyncio.sleep(0.01)
        for _ in range(20):  # more than its socket holds
            with pytest.raises(InboxError, match=r"worker 0 doesn't answer within 0\.01 s"):
                await here.inboxes.ask(0, "/who", patience=0.01)
        assert await here.inboxes.ask(1, "/who")
        here.kill(0)
        with pytest.raises(InboxError, match="ended"):
            await hanging
        pid = here.born(0)
        assert (await here.inboxes.ask(0, "/who")).startswith(f"{pid} ".encode()), "what nobody waits for is skipped"

    run(main())


def test_failures_are_told(family: Make, run: Run) -> None:
    here = family(1)
    here.born(0)

    async def main() -> None:
        with pytest.raises(InboxError, match="worker 0: the address is in use"):
            await here.inboxes.ask(0, "/fail")
        with pytest.raises(InboxError, match="worker 0: it failed, see its log"):
            await here.inboxes.ask(0, "/defect")
        assert await here.inboxes.ask(0, "/who")

    run(main())


def test_sizes_are_bounded(family: Make, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_INBOX_BYTES", 1_000_000)
    here = family(1)
    here.born(0)

    async def main() -> None:
        assert len(await here.inboxes.ask(0, "/large", b"1000000")) == 1_000_000
        assert (await here.inboxes.ask(0, "/who", b"x" * 999_996)).endswith(b" 999996 0")
        with pytest.raises(InboxError, match="the answer is too large"):
            await here.inboxes.ask(0, "/large", b"1000001")
        with pytest.raises(ValueError, match="more than 1000000 bytes"):
            await here.inboxes.ask(0, "/who", b"x" * 1_000_000)
        with pytest.raises(ValueError, match="descriptors"):
            await here.inboxes.ask(0, "/who", fds=(0,) * 253)
        ours, theirs = socket.socketpair()  # whoever asks for more than is allowed is hung up on
        with ours, theirs:
            assert here.inboxes.deliver(0, theirs, ())
            theirs.close()
            ours.sendall(b"\xff\xff\xff\xff")
            ours.setblocking(False)
            assert await asyncio.get_running_loop().sock_recv(ours, 1) == b""

    run(main())


def test_many_ask_at_once(family: Make, run: Run) -> None:
    here = family(2)
    here.born(0)
    here.born(1)

    async def main() -> None:
        bodies = [b"x" * (number * 1000) for number in range(200)]
        asked = (here.inboxes.ask(number % 2, "/slow", body, patience=30) for number, body in enumerate(bodies))
        for number, answer in enumerate(await asyncio.gather(*asked)):
            assert answer == f"{here.pids[number % 2]} /slow {len(bodies[number])} 0".encode()

    run(main())


def test_one_process_asks_itself(run: Run) -> None:
    async def main() -> None:
        inboxes = Inboxes(1)
        inbox = inboxes.inbox(0)
        begun = asyncio.Event()

        async def endless(path: str, body: bytes, fds: list[int]) -> bytes:
            if path == "/endless":
                begun.set()
                await asyncio.Event().wait()
            return await echo(path, body, fds)

        inbox.serve(endless)
        assert await inboxes.ask(0, "/who") == f"{os.getpid()} /who 0 0".encode()
        asking = asyncio.create_task(inboxes.ask(0, "/endless"))
        await begun.wait()
        await inbox.close()
        with pytest.raises(InboxError, match="ended"):
            await asking
        inboxes.close()

    run(main())
