"""Races a second on one core to a peer on ::1 and 127.0.0.1, beside aiohappyeyeballs: `python -m bench.races`.

Like with like: ready addresses, TCP only, uvloop, one race after the other, and the same end for both: a transport with
the caller's protocol. The peer runs on another core. Connections end with a reset, so that no port waits. Processor
time a race is what counts on a machine with neighbours, in the quietest of many short rounds that take turns; the rate
is printed beside it. Memory is this process's resident size before and after many more races.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import socket
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Final

import uvloop

from bench.machine import LOAD_CORE, PROXY_CORE, rss_bytes

RESET: Final = struct.pack("ii", 1, 0)
PEER: Final = """
import asyncio, socket, sys, uvloop
class Peer(asyncio.Protocol): pass
async def main():
    loop = asyncio.get_running_loop()
    six = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True, backlog=1024)
    await loop.create_server(Peer, sock=six)
    print(six.getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
uvloop.run(main())
"""
Race = Callable[[], Awaitable[asyncio.BaseTransport]]


def ours(port: int) -> Race:
    """`Connector.connect` with ready addresses."""
    from ostiary.net.connector import Connector

    connector = Connector()
    addresses = (("::1", port), ("127.0.0.1", port))

    async def race() -> asyncio.BaseTransport:
        transport, _, _ = await connector.connect("localhost", port, asyncio.Protocol, addresses=addresses)
        return transport

    return race


def aiohappyeyeballs(port: int) -> Race:
    """What aiohttp does: `start_connection`, then a transport for its socket."""
    from aiohappyeyeballs import start_connection

    infos = [
        (socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("::1", port, 0, 0)),
        (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", port)),
    ]
    loop = asyncio.get_running_loop()

    async def race() -> asyncio.BaseTransport:
        sock = await start_connection(infos, happy_eyeballs_delay=0.25, interleave=1, loop=loop)
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=sock)
        return transport

    return race


PEERS: Final = {"ostiary": ours, "aiohappyeyeballs": aiohappyeyeballs}


async def run(race: Race, count: int) -> tuple[float, float]:
    """Seconds and processor seconds of `count` races."""
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(count):
        transport = await race()
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        transport.abort()  # type: ignore[attr-defined] # uvloop's are not subclasses of asyncio.Transport
    return time.perf_counter() - wall, time.process_time() - cpu


async def measure(port: int, options: argparse.Namespace) -> None:
    """Rounds in turn, then memory."""
    races = {name: make(port) for name, make in PEERS.items()}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in races}
    for race in races.values():
        await run(race, options.races // 10)
    for number in range(options.rounds):
        for name, race in list(races.items())[:: 1 if number % 2 else -1]:
            gc.collect()
            found[name].append(await run(race, options.races))
    cost = {name: min(cpu for _, cpu in runs) / options.races for name, runs in found.items()}
    median = {name: statistics.median(cpu for _, cpu in runs) / options.races for name, runs in found.items()}
    rate = {name: options.races / min(wall for wall, _ in runs) for name, runs in found.items()}
    print(f"{'':<18} {'us of CPU a race':>17} {'(median)':>9} {'races/s':>9}")
    for name in races:
        print(f"{name:<18} {cost[name] * 1e6:>17.1f} {median[name] * 1e6:>9.1f} {rate[name]:>9.0f}")
    print(
        f"ostiary to aiohappyeyeballs: {cost['aiohappyeyeballs'] / cost['ostiary']:.2f} times the races for the same "
        f"processor time ({median['aiohappyeyeballs'] / median['ostiary']:.2f} in the median), "
        f"{rate['ostiary'] / rate['aiohappyeyeballs']:.2f} times the rate"
    )
    before = rss_bytes(os.getpid())
    for _ in range(4):
        await run(races["ostiary"], options.memory // 4)
        gc.collect()
        print(f"memory after {options.memory // 4} more races: {(rss_bytes(os.getpid()) - before) / 1024:+.0f} KiB")


def main(argv: list[str]) -> int:
    """Start the peer, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m bench.races", description=__doc__)
    parser.add_argument("--races", type=int, default=500, help="in a round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=40, help="default: %(default)s")
    parser.add_argument("--memory", type=int, default=100_000, help="races for the memory (default: %(default)s)")
    options = parser.parse_args(argv)
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[PROXY_CORE % len(cores)]})
    peer = subprocess.Popen(
        ["taskset", "-c", str(cores[LOAD_CORE % len(cores)]), sys.executable, "-c", PEER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert peer.stdout is not None
        uvloop.run(measure(int(peer.stdout.readline()), options))
    finally:
        peer.kill()
        peer.wait()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
