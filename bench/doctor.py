"""Hundreds of admin ports examined, beside fetching the same documents without looking: `python -m bench.doctor`.

The ports are real listeners of another process, and answer with what a real Envoy said: `BENCH_ADMIN_SAMPLES` names
the folder with its answers (clusters.json, config_dump_clusters_mask.json, ...).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from bench.machine import describe
from ostiary.doctor.examine import Question, examine
from ostiary.doctor.live.fetch import Documents, fetch
from ostiary.net.admin_client import HttpAdmin

RESULTS: Final = Path(__file__).parent / "DOCTOR.md"
PORTS: Final = 500
AT_ONCE: Final = 64
ROUNDS: Final = 3
FILES: Final = {
    "/ready": "ready_live.txt",
    "/server_info": "server_info.json",
    "/init_dump": "init_dump_live.json",
    "/clusters": "clusters.json",
    "/config_dump?mask=static_clusters": "config_dump_clusters_mask.json",
    "/config_dump?mask=static_listeners": "config_dump_listeners_mask.json",
    "/config_dump?mask=static_secrets": "config_dump_secrets_mask.json",
    "/stats": "stats_oauth.json",
}
"""How a request begins -> what answers it. The listeners are those of one sign-in, as a sidecar has it."""


class Admin(asyncio.Protocol):
    """Answers requests, one after the other."""

    answers: tuple[tuple[bytes, bytes], ...] = ()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep it."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """A request: they are small."""
        for start, answer in self.answers:
            if data.startswith(start):
                self._transport.write(answer)
                return
        self._transport.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")


async def serve(samples: Path, count: int) -> None:
    """Listen on `count` ports, print them, and go on until standard input ends."""
    bodies = {path: (samples / name).read_bytes() for path, name in FILES.items()}
    listeners = next(path for path in FILES if "listeners" in path)
    bodies[listeners] = one_sign_in(bodies[listeners])
    Admin.answers = tuple(
        (b"GET " + path.encode(), b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
        for path, body in bodies.items()
    )
    loop = asyncio.get_running_loop()
    servers = [await loop.create_server(Admin, "127.0.0.1", 0) for _ in range(count)]
    print(*(server.sockets[0].getsockname()[1] for server in servers), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


def one_sign_in(dump: bytes) -> bytes:
    """The dump with the first of its listeners that has a sign-in filter: a sidecar has one."""
    document = json.loads(dump)
    for section in document["configs"]:
        for name in ("static_listeners", "dynamic_listeners"):
            found = [each for each in section.get(name, ()) if "oauth2.v3.OAuth2" in json.dumps(each)]
            if found:
                section[name] = found[:1]
    return json.dumps(document).encode()


async def fetch_all(ports: list[int]) -> list[Documents]:
    """The same documents, not looked at."""
    turn = asyncio.Semaphore(AT_ONCE)

    async def one(port: int) -> Documents:
        client = HttpAdmin(f"http://127.0.0.1:{port}")
        async with turn:
            try:
                return await fetch(client)
            finally:
                client.close()

    return await asyncio.gather(*map(one, ports))


def examined(ports: list[int]) -> int:
    """How many findings."""
    admins = tuple(HttpAdmin(f"http://127.0.0.1:{port}") for port in ports)
    return len(asyncio.run(examine(Question(admins=admins, probes=False))).findings)


def measure(ports: list[int]) -> str:
    """What it says, as Markdown."""
    rows: list[tuple[float, float]] = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        documents = asyncio.run(fetch_all(ports))
        fetched = time.perf_counter() - began
        began = time.perf_counter()
        findings = examined(ports)
        rows.append((fetched, time.perf_counter() - began))
    size = sum(len(body) for body in documents[0].bodies.values())
    fetched, looked = (statistics.median(row[n] for row in rows) for n in (0, 1))
    return TEXT.format(
        ports=len(ports), size=size / 1000, fetched=fetched, looked=looked, ratio=looked / fetched, findings=findings,
        rounds=ROUNDS, machine=", ".join(describe().values()),
    )  # fmt: skip


def main() -> None:
    """Measure, and say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ports", type=int, default=PORTS)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    given = parser.parse_args()
    samples = Path(os.environ.get("BENCH_ADMIN_SAMPLES", ""))
    if not (samples / "clusters.json").is_file():
        parser.error("BENCH_ADMIN_SAMPLES names no folder with clusters.json and the rest")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, hard), hard))
    if given.serve:
        asyncio.run(serve(samples, given.ports))
        return
    command = [sys.executable, "-m", "bench.doctor", "--serve", "--ports", str(given.ports)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as server:
        assert server.stdout is not None
        assert server.stdin is not None
        text = measure([int(port) for port in server.stdout.readline().split()])
        server.stdin.close()
    print(text)
    if given.write:
        RESULTS.write_text(text)


TEXT: Final = """\
# The doctor and many proxies

`make bench-doctor`: {ports} admin ports that answer with a real Envoy's documents ({size:.0f} kB each: one sign-in
filter, dozens of clusters), fetched without looking at them, and examined: fetched again, read, judged, equal findings
grouped. The same run, median of {rounds}.

| | s |
|---|---|
| fetch only | {fetched:.2f} |
| `ostiary doctor` on all of them | {looked:.2f} |
| ratio | {ratio:.2f} |

{findings} findings after grouping. The ports and the doctor share one machine: {machine}.
"""

if __name__ == "__main__":
    main()
