"""Answers of the admin API with several workers: sums over all, also when one has died."""

from __future__ import annotations

import http.client
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from peers.proxies import Proxy, ostiary_arguments
from peers.recorders import Application
from peers.same_yaml import bootstrap, fill
from ports import free_port
from waiting import PATIENCE

REQUESTS = 20


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Proxy]:
    with Application() as app:
        port, admin = free_port(), free_port()
        values = {"PORT": port, "ADMIN": admin, "APP": app.port, "IDP": 1, "LOG": str(tmp_path / "access.log")}
        config = tmp_path / "envoy.json"
        config.write_text(json.dumps(fill(bootstrap(), values)))
        running = Proxy("two workers", ostiary_arguments(config, workers=2), (port,), admin, tmp_path / "log").start()
        try:
            yield running
        finally:
            running.stop()


def ask(proxy: Proxy, path: str, method: str = "GET") -> tuple[str, str | None]:
    """(body, how many workers it is about; None: one)."""
    connection = http.client.HTTPConnection("127.0.0.1", proxy.admin_port, timeout=PATIENCE)
    connection.request(method, path)
    response = connection.getresponse()
    body = response.read().decode()
    connection.close()
    return body, response.headers["x-ostiary-workers"]


def send(proxy: Proxy, count: int = REQUESTS) -> None:
    for _ in range(count):
        connection = http.client.HTTPConnection("127.0.0.1", proxy.ports[0], timeout=PATIENCE)
        connection.request("GET", "/")
        assert connection.getresponse().read() is not None
        connection.close()


def until(what: Callable[[], bool], proxy: Proxy) -> None:
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline, proxy.output()
        time.sleep(0.05)


def workers(proxy: Proxy) -> list[int]:
    assert proxy.process is not None
    pid = proxy.process.pid
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def both(proxy: Proxy) -> bool:
    return ask(proxy, "/ready")[1] == "2/2"


def total(proxy: Proxy) -> int:
    body, _ = ask(proxy, "/stats?filter=downstream_rq_total$")
    return int(body.rpartition(": ")[2])


def test_numbers_are_sums_over_all_workers(proxy: Proxy) -> None:
    until(lambda: both(proxy), proxy)
    send(proxy)
    until(lambda: total(proxy) == REQUESTS, proxy)
    for _ in range(8):  # whichever worker is asked
        assert ask(proxy, "/stats?filter=^cluster.app.upstream_rq_total$")[0].endswith(f": {REQUESTS}\n")
        status = json.loads(ask(proxy, "/clusters?format=json&filter=app")[0])["cluster_statuses"][0]
        stats = {each["name"]: each.get("value", "0") for each in status["host_statuses"][0]["stats"]}
        assert stats["rq_total"] == str(REQUESTS)


def test_a_dead_worker_takes_nothing_away_but_its_counts(proxy: Proxy) -> None:
    until(lambda: both(proxy), proxy)
    send(proxy)
    victim = workers(proxy)[0]
    os.kill(victim, signal.SIGKILL)
    body, heard = ask(proxy, "/stats?filter=downstream_rq_total$")
    assert heard in ("1/2", "2/2"), "the successor may have come in time"
    assert 0 <= int(body.rpartition(": ")[2]) <= REQUESTS
    until(lambda: both(proxy) and victim not in workers(proxy), proxy)
    before = total(proxy)
    send(proxy)
    until(lambda: total(proxy) == before + REQUESTS, proxy)


def test_the_process_is_as_old_as_before_when_a_worker_is_new(proxy: Proxy) -> None:
    until(lambda: both(proxy), proxy)

    def uptime() -> int:
        return int(json.loads(ask(proxy, "/server_info")[0])["uptime_current_epoch"].removesuffix("s"))

    since = time.monotonic()
    until(lambda: uptime() >= 2, proxy)
    first = workers(proxy)
    for worker in first:
        os.kill(worker, signal.SIGKILL)
    until(lambda: len(workers(proxy)) == len(first) and not set(first) & set(workers(proxy)), proxy)
    until(lambda: both(proxy), proxy)
    assert uptime() >= int(time.monotonic() - since)


def test_a_worker_that_hangs_is_left_out(proxy: Proxy) -> None:
    until(lambda: both(proxy), proxy)
    stopped = workers(proxy)[0]
    os.kill(stopped, signal.SIGSTOP)
    try:
        assert ask(proxy, "/ready")[1] == "1/2"  # it can't accept either, so the other one does
        assert ask(proxy, "/.ostiary/live") == ("LIVE\n", None), "whoever is asked says so at once"
    finally:
        os.kill(stopped, signal.SIGCONT)
    until(lambda: both(proxy), proxy)


def test_levels_hold_for_the_parent_too(proxy: Proxy) -> None:
    """Its lines say when a worker has died."""
    until(lambda: both(proxy), proxy)

    def replaced() -> str:
        """What the log says about the end of a worker."""
        before, victim = len(proxy.output()), workers(proxy)[0]
        os.kill(victim, signal.SIGKILL)
        until(lambda: victim not in workers(proxy) and both(proxy), proxy)
        return proxy.output()[before:]

    ask(proxy, "/logging?paths=main:off", "POST")
    assert "is replaced" not in replaced()
    ask(proxy, "/logging?paths=main:info", "POST")
    assert "ended with -9 and is replaced" in replaced()
