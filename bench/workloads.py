"""The work: each workload measures one peer once; `__main__` interleaves peers and rounds.

Every workload first proves that the session opens (the upstream's own body comes back), since a proxy that redirects
to the sign-in is fast and useless.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench import wrk
from bench.heads import head
from bench.machine import LOAD_CORE, PROXY_CORE, cpu_seconds, pin, rss_bytes
from bench.peers import Peer
from bench.sessions import HOST
from bench.upstreams import Nginx, wait_for_port

Sample = dict[str, float]
CONNECTIONS = 32
MESSAGE_BYTES = 200
MEGABYTE = 1_000_000
STARTS = 3


@dataclass(frozen=True, slots=True)
class Setting:
    """What a workload may need besides the peer."""

    nginx: Nginx
    directory: Path
    seconds: int
    equal_rate: float = 0.0
    """Requests a second of a constant-rate workload, the same for every peer."""


@dataclass(frozen=True, slots=True)
class Workload:
    """`measure` returns figures by name; `figure` is the one in the table."""

    name: str
    title: str
    figure: str
    unit: str
    more_is_better: bool
    measure: Callable[[Peer, Setting], Sample]
    fresh: bool = False
    """Needs a newly started proxy."""
    load: tuple[str, ...] = ()
    """Runs at a share of what the slowest of these peers can do with differing heads (`*`: of all that sign users in);
    a peer that can't do as much is left out."""


def prove_session(peer: Peer) -> None:
    """Raises RuntimeError unless the peer's cookie gets the upstream's answer, and no cookie does not."""
    for cookie, wanted in ((peer.cookie, True), ("", False)):
        status, passed = _ask(peer, cookie)
        if passed is not wanted and (wanted or peer.signs_in):
            raise RuntimeError(f"{peer.name} answered {status} {'with' if wanted else 'without'} a session")


def _ask(peer: Peer, cookie: str) -> tuple[int, bool]:
    """One request: the status, and whether it is the upstream's own answer."""
    connection = http.client.HTTPConnection("127.0.0.1", peer.port, timeout=10)
    connection.putrequest("GET", "/proof", skip_host=True, skip_accept_encoding=True)
    for name, value in (("Host", HOST), ("Accept", "text/html"), *([("Cookie", cookie)] if cookie else [])):
        connection.putheader(name, value)
    connection.endheaders()
    response = connection.getresponse()
    passed = response.status == 200 and b"Quarterly report" in response.read()
    connection.close()
    return response.status, passed


def _wrk(peer: Peer, setting: Setting, request: bytes, connections: int, varies: bool, body: int = 0) -> wrk.Result:
    return wrk.run(
        peer.port,
        request,
        peer.pid,
        setting.directory,
        seconds=setting.seconds,
        connections=connections,
        varies=varies,
        body_bytes=body,
    )


def small_get(*, varies: bool) -> Callable[[Peer, Setting], Sample]:
    """Authenticated GET of a small answer, over 32 connections."""

    def measure(peer: Peer, setting: Setting) -> Sample:
        prove_session(peer)
        before = setting.nginx.requests_served()
        found = _wrk(peer, setting, head("GET", "/reports/42?x=1", peer.cookie), CONNECTIONS, varies)
        served = setting.nginx.requests_served() - before - 1
        if served < found.requests:
            raise RuntimeError(f"{peer.name}: {found.requests} answers, but the upstream saw {served} requests")
        return _figures(found) | {"rss_mb": rss_bytes(peer.pid) / 2**20}

    return measure


def download(name: str, connections: int) -> Callable[[Peer, Setting], Sample]:
    """Authenticated GET of a file."""

    def measure(peer: Peer, setting: Setting) -> Sample:
        return _figures(_wrk(peer, setting, head("GET", f"/files/{name}", peer.cookie), connections, False))

    return measure


def upload(size: int, connections: int) -> Callable[[Peer, Setting], Sample]:
    """Authenticated POST of a body that the upstream reads to its end."""

    def measure(peer: Peer, setting: Setting) -> Sample:
        extra = (("content-type", "application/octet-stream"), ("content-length", str(size)))
        request = head("POST", "/sink/upload", peer.cookie, extra=extra)
        found = _wrk(peer, setting, request, connections, False, body=size)
        return _figures(found) | {"mb_per_second": found.rate * size / MEGABYTE}

    return measure


def _figures(found: wrk.Result) -> Sample:
    return {
        "rate": found.rate,
        "cpu_us": found.cpu * 1e6,
        "busy": found.busy,
        "mb_per_second": found.bytes_per_second / MEGABYTE,
    }


def _load(module: str, *arguments: object, timeout: float) -> Sample:
    """Run one of our own generators on the load core."""
    argv = [*pin(LOAD_CORE), sys.executable, "-m", f"bench.{module}", *map(str, arguments)]
    done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=timeout)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    found: Sample = json.loads(done.stdout)
    return found


def _head_file(setting: Setting, request: bytes) -> Path:
    path = setting.directory / "head"
    path.write_bytes(request)
    return path


def websocket(peer: Peer, setting: Setting) -> Sample:
    """200-byte messages there and back over 32 WebSockets."""
    extra = (
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    )
    request = head("GET", "/sink/ws", peer.cookie, extra=extra).replace(
        b"Connection: keep-alive", b"Connection: Upgrade"
    )
    before = cpu_seconds(peer.pid)
    path = _head_file(setting, request)
    found = _load("websockets", peer.port, setting.seconds, CONNECTIONS, MESSAGE_BYTES, path, timeout=90)
    cpu = cpu_seconds(peer.pid) - before
    return {"rate": found["rate"], "cpu_us": cpu / found["messages"] * 1e6, "busy": cpu / found["seconds"]}


def latency(peer: Peer, setting: Setting) -> Sample:
    """Response times at a rate that is equal for all peers, over 64 connections, open loop."""
    path = _head_file(setting, head("GET", "/reports/42?x=1", peer.cookie))
    found = _load("openloop", peer.port, setting.equal_rate, setting.seconds + 1, 64, path, timeout=90)
    return {
        "p50_ms": found["p50"] * 1e3,
        "p90_ms": found["p90"] * 1e3,
        "p99_ms": found["p99"] * 1e3,
        "max_ms": found["max"] * 1e3,
        "rate": found["rate"],
        "unanswered": found["unanswered"],
    }


def idle(count: int) -> Callable[[Peer, Setting], Sample]:
    """Memory with `count` keep-alive connections open that have each made one request."""

    def measure(peer: Peer, setting: Setting) -> Sample:
        before = rss_bytes(peer.pid)
        path = _head_file(setting, head("GET", "/reports/42?x=1", peer.cookie))
        argv = [*pin(LOAD_CORE), sys.executable, "-m", "bench.idle", str(peer.port), str(count), str(path)]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
            assert holder.stdout is not None
            assert holder.stdin is not None
            answer = holder.stdout.readline().split()
            after = rss_bytes(peer.pid)
            holder.stdin.close()
            holder.wait(30)
        if answer != ["ready", str(count)]:
            raise RuntimeError(f"only {answer} of {count} connections could be held")
        return {"rss_mb": after / 2**20, "before_mb": before / 2**20, "kb_each": (after - before) / 1024 / count}

    return measure


def start_up(peer: Peer, _: Setting) -> Sample:
    """From the start of the process to its first connection and to the upstream's first answer, best of a few.

    What is written in Python is compared with what it takes to start Python and do nothing.
    """
    starts = [_start(peer) for _ in range(STARTS)]
    listening, answered = min(x for x, _ in starts), min(x for _, x in starts)
    found = {"listening_ms": listening * 1e3, "answered_ms": answered * 1e3, "rss_mb": rss_bytes(peer.pid) / 2**20}
    if not peer.version_command:
        return found
    peer.program.stop()
    python = process_seconds([sys.executable, "-c", "pass"], 2 * STARTS)
    version = process_seconds(list(peer.version_command), 2 * STARTS)
    return found | {
        "python_ms": python * 1e3,
        "listening_times": listening / python,
        "version_ms": version * 1e3,
        "version_times": version / python,
    }


def _start(peer: Peer) -> tuple[float, float]:
    """Seconds from a start to listening, and to the first answer from the upstream."""
    peer.program.stop()
    began = time.perf_counter()
    peer.program.start()
    wait_for_port(peer.port, peer.program, pause=0.001)
    listening = time.perf_counter() - began
    while not _answers(peer):
        if time.perf_counter() - began > 15:
            raise TimeoutError(f"{peer.name} gave no answer within 15 s of its start")
        time.sleep(0.001)
    return listening, time.perf_counter() - began


def _answers(peer: Peer) -> bool:
    try:
        return _ask(peer, peer.cookie)[1]
    except (OSError, http.client.HTTPException):
        return False


def process_seconds(argv: list[str], repeat: int) -> float:
    """The best of a few runs of a command, on the proxy's core."""
    times = []
    for _ in range(repeat):
        began = time.perf_counter()
        subprocess.run([*pin(PROXY_CORE), *argv], check=True, capture_output=True, timeout=30)
        times.append(time.perf_counter() - began)
    return min(times)


ALL = (
    Workload("get-same", "small GET, identical heads", "rate", "requests/s", True, small_get(varies=False)),
    Workload("get-varying", "small GET, every head differs", "rate", "requests/s", True, small_get(varies=True)),
    Workload("down-64k", "download 64 KB", "mb_per_second", "MB/s", True, download("64k", 16)),
    Workload("down-10m", "download 10 MB", "mb_per_second", "MB/s", True, download("10m", 4)),
    Workload("up-64k", "upload 64 KB", "mb_per_second", "MB/s", True, upload(65536, 16)),
    Workload("up-10m", "upload 10 MB", "mb_per_second", "MB/s", True, upload(10 * 2**20, 4)),
    Workload("websocket", "WebSocket messages there and back", "rate", "messages/s", True, websocket),
    Workload(
        "latency",
        "response time at 70 % load",
        "p99_ms",
        "ms p99",
        False,
        latency,
        load=("ostiary", "ostiary-envoy", "envoy"),
    ),
    Workload("latency-light", "response time at light load", "p99_ms", "ms p99", False, latency, load=("*",)),
    Workload("idle-1k", "memory with 1,000 idle connections", "rss_mb", "MB", False, idle(1000), True),
    Workload("idle-10k", "memory with 10,000 idle connections", "rss_mb", "MB", False, idle(10_000), True),
    Workload("start", "start to first answer", "answered_ms", "ms", False, start_up, True),
)
