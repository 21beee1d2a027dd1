"""Supervision: what happens to workers, told by a parent process that runs a few lines in each of them."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path

import pytest

from waiting import PATIENCE

ROOT = Path(__file__).parents[2]
PROGRAM = """
import os, signal, sys, time
from ostiary.app import logs, workers

def say(text):
    os.write(1, (text + "\\n").encode())

def serve(ends_with=0, on_signal=lambda name: None, signals=1):
    told = []
    for what in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        signal.signal(what, lambda number, _: (told.append(number), on_signal(signal.Signals(number).name)))
    say(f"up {index} {os.getpid()}")
    while len([number for number in told if number != signal.SIGUSR1]) < signals:
        time.sleep(0.01)
    return 130 if signal.SIGINT in told else ends_with

def work(number, desk):
    global index
    index = number
    say(f"born {index} {time.monotonic()}")
%s

logs.configure("info", {}, "envoy")
sys.exit(workers.supervise(%d, work, lambda: say("closed")))
"""


class Parent:
    """The process, and what it and its workers have said."""

    def __init__(self, process: subprocess.Popen[bytes], said: Path) -> None:
        self.process = process
        self._said = said

    def said(self, start: str = "") -> list[str]:
        return [line for line in self._said.read_text().splitlines() if line.startswith(start)]

    def output(self) -> str:
        return self._said.read_text()

    def up(self, count: int) -> list[int]:
        """The workers that have come up so far, once there are so many."""
        until(lambda: len(self.said("up ")) >= count, self.output)
        return [int(line.split()[2]) for line in self.said("up ")]

    def last(self, index: int) -> int:
        """The last worker that came up there."""
        return int(self.said(f"up {index} ")[-1].split()[2])

    def children(self) -> list[int]:
        """Those that were started and not waited for, zombies included."""
        pid = self.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def ends_with(self, code: int) -> None:
        assert self.process.wait(PATIENCE) == code, self.output()


def until(what: Callable[[], bool], why: Callable[[], str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline, why()
        time.sleep(0.01)


@contextmanager
def parent(directory: Path, body: str, number: int = 2, program: str = PROGRAM) -> Iterator[Parent]:
    """Run `body` (of `work`) in so many workers."""
    said = directory / "said"
    code = program % ("\n".join("    " + line for line in body.splitlines()), number)
    with said.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdout=out, stderr=out, env=os.environ | {"PYTHONPATH": str(ROOT / "src")}
        )
    found = Parent(process, said)
    try:
        yield found
    finally:
        if process.poll() is None:
            children = found.children()
            for pid in (process.pid, *children):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait()
            pytest.fail(f"it did not end: {found.output()}")
    assert "Traceback" not in found.output() or "boom" in body


@pytest.mark.parametrize(("what", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_ends_all_with_the_worst_exit_code(tmp_path: Path, what: signal.Signals, code: int) -> None:
    with parent(tmp_path, "return serve()", 3) as running:
        pids = running.up(3)
        running.process.send_signal(what)
        running.ends_with(code)
        assert running.said("closed") == ["closed"], "the parent's sockets, once"
        assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_the_worst_exit_code_counts(tmp_path: Path) -> None:
    with parent(tmp_path, "return serve(ends_with=number * 3)", 3) as running:
        running.up(3)
        running.process.terminate()
        running.ends_with(6)


def test_signals_are_passed_on_each_time(tmp_path: Path) -> None:
    with parent(tmp_path, "return serve(on_signal=lambda name: say(f'{name} at {index}'))") as running:
        running.up(2)
        for count in (1, 2):
            running.process.send_signal(signal.SIGUSR1)
            until(lambda count=count: len(running.said("SIGUSR1")) == 2 * count, running.output)  # type: ignore[misc]
        running.process.terminate()
        running.ends_with(0)
        assert sorted(running.said("SIGTERM")) == ["SIGTERM at 0", "SIGTERM at 1"]


def test_a_second_signal_reaches_those_that_drain(tmp_path: Path) -> None:
    body = "return serve(on_signal=lambda name: say(name), signals=2)"
    with parent(tmp_path, body) as running:
        running.up(2)
        running.process.terminate()
        until(lambda: len(running.said("SIGTERM")) == 2, running.output)
        assert running.process.poll() is None, "they drain"
        running.process.terminate()
        running.ends_with(0)
        assert (len(running.said("SIGTERM")), running.said("closed")) == (4, ["closed"])


def test_a_configuration_that_can_not_start_ends_it(tmp_path: Path) -> None:
    with parent(tmp_path, "return 2 if number else serve()") as running:
        running.ends_with(2)
        assert running.said("closed") == ["closed"]
        assert len(running.said("born 1")) == 1


def test_a_worker_that_dies_is_replaced_after_pauses_that_grow(tmp_path: Path) -> None:
    lives = tmp_path / "lives"
    lives.touch()
    dies = f"with open({str(lives)!r}, 'r+') as lives: dies = len(lives.read()) < 3; lives.write('x')"
    with parent(tmp_path, f"if number:\n  {dies}\n  if dies: raise RuntimeError('boom')\nreturn serve()") as running:
        until(lambda: running.said("up 1") != [], running.output)
        born = [float(line.split()[2]) for line in running.said("born 1")]
        pauses = [after - before for before, after in pairwise(born)]
        assert all(pause >= least for pause, least in zip(pauses, (0.5, 1.0, 2.0), strict=True)), pauses
        assert running.output().count("worker 1 ended with 70 and is replaced") == 3
        assert len(running.said("born 0")) == 1
        running.process.terminate()
        running.ends_with(0)


def test_one_that_pauses_holds_up_nobody(tmp_path: Path) -> None:
    """While a replacement has to wait, another death is seen, signals are passed on, and the end is at once."""
    with parent(tmp_path, "return serve(on_signal=lambda name: say(name))", 3) as running:
        running.up(3)
        for lives in (1, 2, 3, 4):  # the next pause takes seconds
            until(lambda lives=lives: len(running.said("up 0")) == lives, running.output)  # type: ignore[misc]
            os.kill(running.last(0), signal.SIGKILL)
        until(lambda: running.last(0) not in running.children(), running.output)
        os.kill(dead := running.last(1), signal.SIGKILL)
        until(lambda: len(running.said("up 1")) == 2, running.output)
        assert dead not in running.children(), "no zombie"
        assert len(running.said("up 0")) == 4
        running.process.send_signal(signal.SIGUSR1)
        until(lambda: "SIGUSR1" in running.said(), running.output)
        running.process.terminate()
        running.ends_with(0)


def test_a_worker_that_can_not_be_started_ends_nobody_else(tmp_path: Path) -> None:
    with parent(tmp_path, "return serve()") as running:
        running.up(2)
        pid = running.process.pid
        highest = max(int(entry.name) for entry in Path(f"/proc/{pid}/fd").iterdir())
        _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (highest + 1, hard))
        os.kill(running.last(0), signal.SIGKILL)
        until(lambda: "worker 0 can't be started now: " in running.output(), running.output)
        assert running.children() == [running.last(1)]
        running.process.terminate()
        running.ends_with(0)


def test_the_parent_sleeps_while_nothing_happens(tmp_path: Path) -> None:
    with parent(tmp_path, "return serve()") as running:
        running.up(2)

        def turns() -> int:
            status = Path(f"/proc/{running.process.pid}/status").read_text()
            return sum(int(line.split()[1]) for line in status.splitlines() if "ctxt_switches" in line)

        before = turns()
        time.sleep(1)
        assert turns() - before < 10
        running.process.terminate()
        running.ends_with(0)


def test_a_worker_inherits_nothing_of_the_supervisor(tmp_path: Path) -> None:
    """Or signals sent to it would reach the parent's loop, and no worker would see the parent die."""
    body = "say(f'files {len(os.listdir(\"/proc/self/fd\"))} {signal.set_wakeup_fd(-1)}')\nreturn serve()"
    with parent(tmp_path, body, 4) as running:
        running.up(4)
        counts = set(running.said("files"))
        assert len(counts) == 1 and counts.pop().endswith(" -1"), "the fourth has no more open than the first"
        running.process.terminate()
        running.ends_with(0)


def test_a_worker_that_does_not_listen_yet_ends_too(tmp_path: Path) -> None:
    for _ in range(10):
        with parent(tmp_path, "return serve()", 4) as running:
            until(lambda: running.said("born") != [], running.output)  # type: ignore[has-type]
            running.process.terminate()
            running.ends_with(0)


HUNG = """
from ostiary.app import heartbeat
from ostiary.model import limits
limits.WATCHDOG, heartbeat._LOOK = 3.0, 0.2
beats = heartbeat.Heartbeats(2)

def hang_or_serve(number):
    lives = len(open(FILE).read()) if number else 9
    with open(FILE, "a") as file:
        file.write("x" * number)
    beats.beat(number)
    say(f"up {number} {os.getpid()}")
    while lives:
        beats.beat(number)
        time.sleep(0.1)
    time.sleep(60)
"""


def test_a_worker_that_hangs_is_killed_and_replaced(tmp_path: Path) -> None:
    lives = tmp_path / "lives"
    lives.touch()
    body = "hang_or_serve(number)"
    code = PROGRAM.replace("logs.configure", HUNG.replace("FILE", repr(str(lives))) + "\nlogs.configure")
    code = code.replace('lambda: say("closed"))', 'lambda: say("closed"), None, beats)')
    with parent(tmp_path, body, program=code) as running:
        until(lambda: len(running.said("up 1 ")) == 2, running.output)
        assert "worker 1 is killed: it hangs, its loop has not turned for 3 s" in running.output()
        assert len(running.said("up 0 ")) == 1, "who lives is left alone"
        running.process.terminate()
        running.ends_with(0)
