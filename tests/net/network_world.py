"""Runs inside a network namespace of its own: changes it, and prints what was seen as JSON."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess

from ostiary.model import limits
from ostiary.net import network
from ostiary.net.connector import Connector


def ip(command: str) -> None:
    subprocess.run(["ip", *command.split()], check=True)


def changed(*commands: str) -> bool:
    before = network.watch().generation()
    for command in commands:
        ip(command)
    return network.watch().generation() != before


def child_sees_changes() -> bool:
    """A fork has a socket of its own, and takes nothing from its parent's."""
    before = network.watch().generation()
    pid = os.fork()
    if pid == 0:
        network.watch().generation()
        ip("addr add 10.77.9.9/32 dev lo")
        os._exit(0 if network.watch().generation() else 1)
    good = os.waitpid(pid, 0)[1] == 0
    return good and network.watch().generation() != before


async def memory() -> dict[str, list[str]]:
    """IPv6 is dead (its packets go nowhere), and that is learnt; then the network changes."""
    peer = await asyncio.start_server(lambda _reader, writer: writer.close(), "10.77.0.7", 8443)
    connector = Connector()
    addresses = [("2001:db8::7", 8443), ("10.77.0.7", 8443)]

    async def families() -> list[str]:
        await asyncio.sleep(limits.NETWORK_LOOK)
        transport, _, trace = await connector.connect(
            "peer", 8443, asyncio.Protocol, addresses=addresses, attempt_delay=0.02
        )
        transport.abort()
        return [attempt.family for attempt in trace.attempts if attempt.started is not None]

    await families()
    found = {"first after the memory": await families()}
    ip("addr add 10.77.1.1/32 dev lo")
    found["first after the change"] = await families()
    peer.close()
    return found


def main() -> None:
    ip("link set lo up")
    ip("addr add 10.77.0.7/32 dev lo")
    for command in ("link add v0 type veth peer name v1", "link set v0 up", "link set v1 up"):
        ip(command)
    ip("-6 addr add 2001:db8:1::1/64 dev v0 nodad")
    ip("-6 neigh add 2001:db8:1::2 lladdr 02:00:00:00:00:01 dev v0")
    ip("-6 route add 2001:db8::/64 via 2001:db8:1::2")
    print(
        json.dumps(
            {
                "quiet": changed(),
                "address": changed("addr add 10.77.0.1/32 dev lo"),
                "route": changed("route add 10.99.0.0/16 dev lo"),
                "link": changed("link add v2 type veth peer name v3", "link set v2 up"),
                "child sees its own": child_sees_changes(),
                **asyncio.run(memory()),
            }
        )
    )


if __name__ == "__main__":
    main()
