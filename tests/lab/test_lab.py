"""The lab itself: what it says it does to packets is what programs see."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lab.model import DNS, V4, V6, Peer, Rule
from lab.world import ROOT, Lab, World
from net.dns_server import Reply
from waiting import PATIENCE, until


def tcp(world: World, address: str, port: int = 443, within: float = 3.0) -> float:
    """Seconds one plain connection takes. Raises OSError."""

    async def main() -> float:
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as sock:
            sock.setblocking(False)
            started = time.monotonic()
            await asyncio.wait_for(loop.sock_connect(sock, (address, port)), within)
            return time.monotonic() - started

    return world.run(main, "asyncio")


@pytest.mark.parametrize("address", [V4, V6])
def test_a_delay_is_the_round_trip(lab: Lab, address: str) -> None:
    with lab.world(peers=[Peer()], rules=[Rule(to=address, delay=0.1)]) as world:
        assert 0.1 <= tcp(world, address) < 1.0
        syn, answer = world.packets()[:2]
        assert 0.1 <= answer.time - syn.time < 1.0


@pytest.mark.parametrize("address", [V4, V6])
def test_a_refusal_arrives_when_it_should_and_is_believed(lab: Lab, address: str) -> None:
    with lab.world(peers=[Peer()], rules=[Rule(to=address, rst=True, delay=0.05)]) as world:
        started = time.monotonic()
        with pytest.raises(ConnectionRefusedError):
            tcp(world, address)
        assert time.monotonic() - started >= 0.05
        assert world.resets() == [address]


@pytest.mark.parametrize(
    ("address", "icmp", "number"),
    [
        (V4, (3, 0), errno.ENETUNREACH),
        (V4, (3, 1), errno.EHOSTUNREACH),
        (V4, (3, 13), errno.EHOSTUNREACH),
        (V6, (1, 0), errno.ENETUNREACH),
        (V6, (1, 1), errno.EACCES),
        (V6, (1, 3), errno.EHOSTUNREACH),
        (V6, (1, 4), errno.ECONNREFUSED),
    ],
)
def test_an_icmp_error_ends_an_attempt(lab: Lab, address: str, icmp: tuple[int, int], number: int) -> None:
    with (
        lab.world(peers=[Peer()], rules=[Rule(to=address, icmp=icmp, delay=0.005)]) as world,
        pytest.raises(OSError, match=rf"\[Errno {number}\]"),
    ):
        tcp(world, address)


def test_what_is_dropped_is_logged_and_never_arrives(lab: Lab) -> None:
    with lab.world(peers=[Peer()], rules=[Rule(to=V6, drop=True)]) as world:
        with pytest.raises(TimeoutError):
            tcp(world, V6, within=0.3)
        assert [(seen.sent, seen.fate) for seen in world.packets()] == [(True, "lost")]


def test_the_first_syns_of_a_connection_are_lost_and_then_no_more(lab: Lab) -> None:
    with lab.world(peers=[Peer()], rules=[Rule(to=V6, drop_syns=1)]) as world:
        assert tcp(world, V6) >= 1.0  # Linux repeats a SYN after a second
        assert [attempt.syns for attempt in world.attempts()] == [2]


def sent_in(world: World) -> list[str]:
    """What became of each packet that the client sent."""
    return [seen.fate for seen in world.packets() if seen.sent]


def test_the_same_seed_loses_the_same_packets(lab: Lab) -> None:
    async def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for _ in range(40):
                sock.sendto(b"x", (V4, 9))

    fates = []
    for seed in (1, 1, 2):
        with lab.world(rules=[Rule(to=V4, loss=0.3, seed=seed)]) as world:
            world.run(send)
            until(lambda world=world: len(sent_in(world)) == 40)  # type: ignore[misc]
            fates.append(sent_in(world))
    assert fates[0] == fates[1] != fates[2]
    assert 4 < fates[0].count("lost") < 24


def test_a_host_without_a_peer_has_closed_ports(lab: Lab) -> None:
    with lab.world() as world, pytest.raises(ConnectionRefusedError):
        tcp(world, "2001:db8:5:ffff::1")


def test_the_clients_own_programs_see_the_worlds_dns(lab: Lab) -> None:
    records = {("dual.test.", "A"): Reply(("192.0.2.9",))}
    with lab.world(dns=records) as world:
        done = subprocess.run(
            world.program("getent", "ahostsv4", "dual.test"),
            capture_output=True,
            text=True,
            check=True,
            timeout=PATIENCE,
        )
        assert "192.0.2.9" in done.stdout
        assert {(question.server, question.name) for question in world.questions()} == {(DNS, "dual.test.")}


_VICTIM = """
import signal
from lab.model import Peer
from lab.world import Lab
lab = Lab()
with lab.world(peers=[Peer()]) as world:
    print(lab.pid, flush=True)
    signal.pause()
"""


def test_nothing_is_left_behind_even_when_the_test_is_killed(lab: Lab) -> None:
    path = os.pathsep.join((str(ROOT / "tests"), str(ROOT / "src")))
    command = [sys.executable, "-c", _VICTIM]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": path}) as victim:
        assert victim.stdout is not None
        pid = int(victim.stdout.readline())
        network = os.readlink(f"/proc/{pid}/ns/net")
        assert network != os.readlink("/proc/self/ns/net")
        victim.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + PATIENCE
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline, "the lab outlives its test"
        time.sleep(0.02)
    holders = [entry for entry in Path("/proc").glob("[0-9]*/ns/net") if _link(entry) == network]
    assert holders == []


def _link(path: Path) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""
