"""Runs inside a network namespace of its own, which has two local ports; prints two connections' ends as JSON."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path

from ostiary.net.connect_error import ConnectError
from ostiary.net.connector import Connector


async def ports() -> dict[str, object]:
    """The third connection to one place finds no port."""
    peer = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 8443)
    connector = Connector()
    made = []
    try:
        for _ in range(3):
            transport, _, _ = await connector.connect("127.0.0.1", 8443, asyncio.Protocol)
            made.append(transport)
    except ConnectError as error:
        return error.trace.as_dict()["attempts"][0]
    finally:
        for transport in made:
            transport.abort()
        peer.close()
    raise AssertionError("there were ports enough")


async def zone() -> dict[str, object] | None:
    """A link-local address is one of an interface."""
    peer = await asyncio.start_server(lambda _reader, writer: writer.close(), "fe80::7%v0", 8443)
    transport, _, trace = await Connector().connect("fe80::7%v0", 8443, asyncio.Protocol)
    transport.abort()
    peer.close()
    return trace.as_dict()["winner"]


if __name__ == "__main__":
    for command in (
        "link set lo up", "link add v0 type veth peer name v1", "link set v0 addrgenmode none", "link set v0 up",
        "link set v1 up", "-6 addr add fe80::7/64 dev v0 nodad",
    ):  # fmt: skip
        subprocess.run(["ip", *command.split()], check=True)
    found: dict[str, object] = {"zone": asyncio.run(zone())}
    Path("/proc/sys/net/ipv4/ip_local_port_range").write_text("40000 40001")
    found["ports"] = asyncio.run(ports())
    print(json.dumps(found))
