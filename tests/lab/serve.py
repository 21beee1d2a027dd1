"""The lab's process: builds one world after the other, as told on stdin, and ends when stdin does.

`python -m lab.serve` speaks pickles: a `Spec` builds a world in fresh namespaces (answered by `Ready`, or by the text
of what went wrong), a list of rules replaces the router's, `"log"` is answered by what the router has seen, and
`"clear"` forgets that.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import sys
from contextlib import AsyncExitStack
from typing import Any

from lab import model, namespaces
from lab.model import Ready, Spec
from lab.router import Router
from lab.servers import Certificates, Servers
from net.dns_server import DnsServer

_CLIENT = f"""
ip link set lo up
ip link set wan addrgenmode none
ip link set wan up
ip addr add {model.CLIENT_V4}/32 dev wan
ip -6 addr add {model.CLIENT_V6}/128 dev wan nodad
ip route add default dev wan src {model.CLIENT_V4}
ip -6 route add default dev wan
"""
# `local` routes make this host answer at every address of a prefix.
_SERVERS = f"""
ip link set lo up
ip link set lan addrgenmode none
ip link set lan up
ip route add local {model.SERVERS_V4} dev lo
ip -6 route add local {model.SERVERS_V6} dev lo
ip route add {model.CLIENT_V4} dev lan
ip -6 route add {model.CLIENT_V6} dev lan
echo 1 > /proc/sys/net/ipv4/ip_nonlocal_bind
echo 1 > /proc/sys/net/ipv6/ip_nonlocal_bind
echo 0 > /proc/sys/net/ipv4/icmp_ratelimit
echo 0 > /proc/sys/net/ipv6/icmp/ratelimit
"""


class World:
    """One network and everyone on it."""

    def __init__(self, certificates: Certificates, resolv_conf: int) -> None:
        self._certificates = certificates
        self._resolv_conf = resolv_conf
        self._stack = AsyncExitStack()
        self.router: Router | None = None

    async def build(self, spec: Spec) -> Ready:
        """Make it. Raises RuntimeError, OSError or ValueError."""
        os.truncate(self._resolv_conf, 0)
        os.pwrite(self._resolv_conf, f"nameserver {next(iter(spec.dns))}\n".encode(), 0)
        client = self._held(namespaces.new_network())
        client_tun = self._held(namespaces.open_tun("wan"))
        namespaces.shell(_CLIENT + spec.client)
        servers = self._held(namespaces.new_network())
        servers_tun = self._held(namespaces.open_tun("lan"))
        namespaces.shell(_SERVERS)
        self.router = Router(client_tun, servers_tun, spec.rules)
        self.router.start()
        self._stack.callback(self.router.stop)
        peers = Servers(self._certificates)
        self._stack.push_async_callback(peers.stop)
        peers.start(spec.peers)
        for address, records in spec.dns.items():
            await self._stack.enter_async_context(DnsServer(dict(records), host=address, port=53))
        own = f"/proc/{os.getpid()}"
        return Ready(
            pid=os.getpid(),
            client=f"{own}/fd/{client}",
            servers=f"{own}/fd/{servers}",
            mounts=f"{own}/ns/mnt",
            ca_pem=self._certificates.authority.cert_pem.bytes(),
        )

    def _held(self, descriptor: int) -> int:
        self._stack.callback(os.close, descriptor)
        return descriptor

    async def close(self) -> None:
        """Take it down."""
        await self._stack.aclose()


async def main() -> None:
    """Answer until stdin ends."""
    certificates = Certificates()
    world = World(certificates, resolv_conf := namespaces.own_resolv_conf())
    while (order := await asyncio.to_thread(_read)) is not None:
        answer: Any
        if isinstance(order, Spec):
            await world.close()
            world = World(certificates, resolv_conf)
            try:
                answer = await world.build(order)
            except (OSError, RuntimeError, ValueError) as error:
                answer = str(error)
        else:
            assert world.router is not None
            answer = _order(world.router, order)
        pickle.dump(answer, sys.stdout.buffer)
        sys.stdout.buffer.flush()


def _order(router: Router, order: Any) -> Any:
    if order == "log":
        return list(router.log)
    if order == "clear":
        return router.log.clear()
    return router.follow(order)


def _read() -> Any:
    try:
        return pickle.load(sys.stdin.buffer)
    except (EOFError, pickle.UnpicklingError):
        return None


if __name__ == "__main__":
    asyncio.run(main())
    os._exit(0)  # the namespaces go with the process; nothing else is to be put in order
