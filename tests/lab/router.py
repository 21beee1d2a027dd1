"""The way between the client's network and the servers': moves packets by rules, at exact times, and logs each one."""

from __future__ import annotations

import heapq
import os
import select
import threading
import time
from collections.abc import Sequence
from contextlib import suppress

from lab.model import CLIENT_V4, CLIENT_V6, ROUTER_V4, ROUTER_V6, Judge, Rule, Sighting
from lab.packets import ICMPV6, Packet, parse, reset, unreachable


class Router(threading.Thread):
    """Runs in a thread, because `select` waits to the microsecond and asyncio's loop only to the millisecond."""

    def __init__(self, client: int, servers: int, rules: Sequence[Rule]) -> None:
        super().__init__(name="router", daemon=True)
        self.log: list[Sighting] = []
        self._client = client
        self._servers = servers
        self._judges: list[Judge] = []
        self._known: dict[tuple[str, int], Judge | None] = {}
        self.follow(rules)
        self._due: list[tuple[float, int, int, bytes]] = []
        self._count = 0
        self._wake, self._waker = os.pipe()
        self._stopped = False

    def follow(self, rules: Sequence[Rule]) -> None:
        """Go by these rules from now on. What is on its way arrives as the old ones said."""
        self._judges, self._known = [Judge(rule) for rule in rules], {}

    def stop(self) -> None:
        """End it."""
        self._stopped = True
        os.write(self._waker, b".")
        self.join()
        os.close(self._wake)
        os.close(self._waker)

    def run(self) -> None:
        while not self._stopped:
            wait = max(0.0, self._due[0][0] - time.monotonic()) if self._due else None
            readable, _, _ = select.select([self._client, self._servers, self._wake], [], [], wait)
            self._deliver()
            if self._client in readable:
                for packet in _packets(self._client):
                    self._from_client(packet)
            if self._servers in readable:
                for packet in _packets(self._servers):
                    self._from_server(packet)

    def _from_client(self, packet: Packet) -> None:
        now = time.monotonic()
        judge = self._judge(packet.destination, packet.dport)
        if judge is None:
            self._note(now, True, "passed", packet)
            self._send(self._servers, packet.raw)
            return
        rule = judge.rule
        at = now + rule.delay
        if judge.drops(packet) or _too_long(rule, packet):
            self._note(now, True, "lost", packet)
        elif rule.rst and packet.is_syn:
            self._note(now, True, "rst", packet)
            self._later(at, self._client, reset(packet))
        elif rule.icmp is not None:
            self._note(now, True, "icmp", packet)
            router = ROUTER_V6 if ":" in packet.source else ROUTER_V4
            self._later(at, self._client, unreachable(packet, *rule.icmp, router))
        else:
            self._note(now, True, "passed", packet)
            self._later(at, self._servers, packet.raw)

    def _from_server(self, packet: Packet) -> None:
        judge = self._judge(packet.source, packet.sport)
        if judge is not None and _too_long(judge.rule, packet):
            self._note(time.monotonic(), False, "lost", packet)
        else:
            self._note(time.monotonic(), False, "passed", packet)
            self._send(self._client, packet.raw)

    def _judge(self, address: str, port: int) -> Judge | None:
        known = self._known
        if (address, port) not in known:
            known[address, port] = next((judge for judge in self._judges if judge.fits(address, port)), None)
        return known[address, port]

    def _note(self, now: float, sent: bool, fate: str, packet: Packet) -> None:
        if packet.protocol != ICMPV6:  # neighbours and routers look for each other
            self.log.append(Sighting(now, sent, fate, packet))  # type: ignore[arg-type]

    def _later(self, at: float, device: int, raw: bytes) -> None:
        self._count += 1
        heapq.heappush(self._due, (at, self._count, device, raw))
        self._deliver()

    def _deliver(self) -> None:
        while self._due and self._due[0][0] <= time.monotonic():
            _, _, device, raw = heapq.heappop(self._due)
            if device == self._client and (answer := parse(raw)) is not None:
                self._note(time.monotonic(), False, "passed", answer)
            self._send(device, raw)

    def _send(self, device: int, raw: bytes) -> None:
        with suppress(OSError):  # as a full queue does: the packet is lost, and TCP sends it again
            os.write(device, raw)


def _too_long(rule: Rule, packet: Packet) -> bool:
    return rule.max_size is not None and len(packet.raw) > rule.max_size


def _packets(device: int) -> list[Packet]:
    """What has arrived, between the client and the servers only."""
    found = []
    while True:
        try:
            packet = parse(os.read(device, 65535))
        except BlockingIOError:
            return found
        except OSError:
            return found
        if packet is not None and {packet.source, packet.destination} & {CLIENT_V4, CLIENT_V6, "fe80::2"}:
            found.append(packet)
