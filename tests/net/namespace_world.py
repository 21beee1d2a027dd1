"""Runs inside a network namespace of its own: builds a small network on `lo`, connects, prints the traces as JSON.

    unshare --net python namespace_world.py SCENARIO

10.77.0.1 answers DNS, 10.77.0.7 is the provider; its name also has two IPv6 addresses that this network can't reach.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from net.dns_server import DnsServer, Reply  # the tests' directory is not a package
from ostiary.model.dns import DnsOptions
from ostiary.net.connect_error import ConnectError
from ostiary.net.connector import Connector

NAME = "login.example"
V6 = ("2606:4700::6810:a016", "2606:4700::6810:a116")
V4 = "10.77.0.7"

SCENARIOS = {
    "ipv4_only": [],
    "unreachable": ["ip -6 route add unreachable 2606:4700::/32"],
    "prohibit": ["ip -6 route add prohibit 2606:4700::/32"],
    "blackhole": ["ip -6 route add blackhole 2606:4700::/32"],
    "link_local_only": [
        "ip link add v0 type veth peer name v1",
        "ip link set v0 addrgenmode none",
        "ip link set v0 up",
        "ip link set v1 up",
        "ip -6 addr add fe80::1/64 dev v0 nodad",
        "ip -6 route add default dev v0",
    ],
    "throw": ["ip -6 route add throw 2606:4700::/32"],
    "disabled": [],
}


def build(scenario: str) -> None:
    """The addresses of this world."""
    for command in ("ip link set lo up", "ip addr add 10.77.0.1/32 dev lo", f"ip addr add {V4}/32 dev lo"):
        subprocess.run(command.split(), check=True)
    if scenario == "disabled":
        Path("/proc/sys/net/ipv6/conf/all/disable_ipv6").write_text("1")
    for command in SCENARIOS[scenario]:
        subprocess.run(command.split(), check=True)


async def main() -> None:
    """Connect with each lookup family, without memory."""
    records = {(f"{NAME}.", "AAAA"): Reply(V6), (f"{NAME}.", "A"): Reply((V4,))}
    peer = await asyncio.start_server(lambda _reader, writer: writer.close(), V4, 8443)
    found = {}
    async with DnsServer(records) as server:
        for family in ("AUTO", "V4_ONLY", "V6_ONLY", "V4_PREFERRED", "ALL", "AUTO, filtered"):
            connector = Connector(linger=0.0)
            try:
                transport, _, trace = await connector.connect(
                    NAME,
                    8443,
                    asyncio.Protocol,
                    dns_lookup_family=family.partition(",")[0],  # type: ignore[arg-type]
                    dns_servers=[server.address],
                    timeout=1.5,
                    dns_options=DnsOptions(filter_unroutable_families=family.endswith("filtered")),
                )
                transport.abort()
            except ConnectError as error:
                trace = error.trace
            found[family] = trace.as_dict()
    peer.close()
    print(json.dumps(found))


if __name__ == "__main__":
    build(sys.argv[1])
    asyncio.run(main())
