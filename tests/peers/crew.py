"""The workers of one `ostiary run`, and connections that are known to belong to one of them.

Which worker accepts a connection is the kernel's choice. To have one at each, all others are stopped for a moment.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from peers import rawhttp
from peers.proxies import Proxy
from waiting import PATIENCE


def until(what: Callable[[], bool], why: str) -> None:
    """Wait for something that is bound to happen."""
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline, why
        time.sleep(0.02)


def workers(proxy: Proxy) -> list[int]:
    """The process ids of those that run, the oldest first."""
    found = Path(f"/proc/{proxy.pid}/task/{proxy.pid}/children").read_text().split()
    return [int(pid) for pid in found if state(int(pid)) not in "ZX"]


def state(pid: int) -> str:
    """`R`, `S`, `T` (stopped), `Z` (a zombie); `X` if there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"


def whole(proxy: Proxy, number: int) -> list[int]:
    """The workers once there are `number` of them, all serving."""
    until(lambda: len(workers(proxy)) == number, "workers are missing")
    pids = workers(proxy)
    for pid in pids:
        with alone(pids, pid), rawhttp.Connection(proxy.ports[0]) as connection:
            live(connection)
    return pids


@contextmanager
def alone(pids: list[int], pid: int) -> Iterator[None]:
    """All but one are stopped."""
    others = [each for each in pids if each != pid]
    try:
        for each in others:
            os.kill(each, signal.SIGSTOP)
        until(lambda: all(state(each) == "T" for each in others), "a worker doesn't stop")
        yield
    finally:
        for each in others:
            os.kill(each, signal.SIGCONT)


def connections(proxy: Proxy, pids: list[int], each: int) -> dict[int, list[rawhttp.Connection]]:
    """Some connections to every worker."""
    found: dict[int, list[rawhttp.Connection]] = {}
    for pid in pids:
        with alone(pids, pid):
            found[pid] = [rawhttp.Connection(proxy.ports[0]) for _ in range(each)]
            for connection in found[pid]:
                live(connection)
    return found


def live(connection: rawhttp.Connection) -> None:
    """One answer, whatever it is: then the connection has been accepted."""
    connection.send(rawhttp.request("GET", "/.ostiary/live", host="localhost"))
    connection.receive()
