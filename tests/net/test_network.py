"""What the kernel tells about changes of the network: messages as they come, and real changes in a namespace."""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.net.network import NetworkWatch
from waiting import PATIENCE

WORLD = Path(__file__).parent / "network_world.py"


@pytest.fixture(scope="module")
def watch() -> NetworkWatch:
    found = NetworkWatch()
    found.close()  # messages come from the test
    return found


def message(kind: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body + bytes(-len(body) % 4)


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def address(flags: int = 0x80, lifetime: int = 100, kind: int = 20) -> bytes:
    body = struct.pack("=BBBBI", 10, 64, 0, 0, 2) + attribute(1, socket.inet_pton(socket.AF_INET6, "2001:db8::1"))
    return message(
        kind, body + attribute(8, struct.pack("=I", flags)) + attribute(6, struct.pack("=4I", *[lifetime] * 4))
    )


def route(priority: int = 1024, kind: int = 24, route_kind: int = 1, expires: int = 100) -> bytes:
    body = struct.pack("=BBBBBBBBI", 10, 0, 0, 0, 254, 9, 0, route_kind, 0) + attribute(4, struct.pack("=I", 2))
    return message(kind, body + attribute(6, struct.pack("=I", priority)) + attribute(12, struct.pack("=I", expires)))


def test_an_address_is_news_once_however_often_its_lifetime_is_renewed(watch: NetworkWatch) -> None:
    assert watch.changed_by(address())
    assert not watch.changed_by(address(lifetime=99))
    assert watch.changed_by(address(flags=0xA0)), "deprecated now"
    assert watch.changed_by(address(kind=21)), "gone"
    assert watch.changed_by(address()), "back"


def test_a_route_is_news_once_and_the_hosts_own_are_none(watch: NetworkWatch) -> None:
    assert watch.changed_by(route())
    assert not watch.changed_by(route(expires=50))
    assert watch.changed_by(route(priority=1))
    assert watch.changed_by(route(priority=1, kind=25))
    assert not watch.changed_by(route(route_kind=2) + route(route_kind=5))


def test_a_link_is_news_when_it_goes_up_or_down(watch: NetworkWatch) -> None:
    def link(flags: int) -> bytes:
        return message(16, struct.pack("=BxHiII", 0, 1, 7, flags, 0) + attribute(7, b"statistics"))

    assert watch.changed_by(link(0x1043))
    assert not watch.changed_by(link(0x1043))
    assert watch.changed_by(link(0x1003))


@given(st.binary(max_size=200))
def test_no_bytes_break_it(data: bytes) -> None:
    watch = NetworkWatch()
    watch.close()
    watch.changed_by(data)
    watch.changed_by(struct.pack("=IHHII", 16 + len(data), 24, 0, 0, 0) + data)


def test_without_netlink_nothing_ever_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "AF_NETLINK")
    watch = NetworkWatch()
    assert not watch.reports
    assert watch.generation() == watch.generation() == 0


def test_m03_real_changes_are_seen_and_flush_what_was_learnt(own_network: list[str]) -> None:
    command = [*own_network, sys.executable, str(WORLD)]
    result = subprocess.run(command, check=True, capture_output=True, text=True, timeout=PATIENCE)
    found = json.loads(result.stdout)
    assert found == {
        "quiet": False,
        "address": True,
        "route": True,
        "link": True,
        "child sees its own": True,
        "first after the memory": ["v4"],
        "first after the change": ["v6", "v4"],
    }
