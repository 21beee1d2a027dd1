"""A test reads as a script of a world:

    with lab.world(peers=[Peer()], rules=[Rule(to=V6, drop=True)]) as world:
        trace = world.connect("dual.test", 443)
        assert [a.address for a in world.attempts()] == [V6, V4]

`Lab` holds the process in which worlds live, `World` one of them. What the client does runs in a thread of this
process that has moved into the client's namespace; what it did is read from the router's packets.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import ssl
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import dns.exception
import dns.message
import dns.rdatatype
import uvloop

from lab import namespaces
from lab.model import DNS, NAME, V4, V6, Peer, Ready, Records, Rule, Sighting, Spec
from lab.packets import RST, TCP, UDP
from net.dns_server import Reply
from ostiary.core.trace import ConnectTrace
from ostiary.net.connect_error import ConnectError
from ostiary.net.connector import Connector
from waiting import PATIENCE

ROOT = Path(__file__).parents[2]
T = TypeVar("T")


def names(
    v6: Reply | Sequence[str] = (V6,), v4: Reply | Sequence[str] = (V4,), name: str = NAME
) -> dict[tuple[str, str], Reply]:
    """Records of one name, each type an answer of its own."""
    answers = (("AAAA", v6), ("A", v4))
    return {
        (f"{name}.", record_type): given if isinstance(given, Reply) else Reply(tuple(given))
        for record_type, given in answers
    }


@dataclass(frozen=True, slots=True)
class Attempt:
    """A connection the client began: its first SYN."""

    time: float
    address: str
    port: int
    sport: int
    syns: int
    """How often the SYN was sent, the kernel's own repetitions included."""

    @property
    def family(self) -> int:
        """6 or 4."""
        return 6 if ":" in self.address else 4


@dataclass(frozen=True, slots=True)
class Question:
    """A DNS query the client sent, and when its first answer came back."""

    time: float
    server: str
    name: str
    type: str
    answered: float | None


class World:
    """One network, from the client's point of view."""

    def __init__(self, ready: Ready, ask: Callable[[Any], Any]) -> None:
        self.ready = ready
        self._ask = ask

    # --- what the client does

    def run(self, main: Callable[[], Coroutine[Any, Any, T]], loop: str = "uvloop") -> T:
        """Run a coroutine in the client's network."""
        factory = uvloop.new_event_loop if loop == "uvloop" else asyncio.new_event_loop

        def inside() -> T:
            namespaces.enter(self.ready.client)
            with asyncio.Runner(loop_factory=factory) as runner:
                return runner.run(asyncio.wait_for(main(), PATIENCE))

        with ThreadPoolExecutor(1) as pool:
            return pool.submit(inside).result()

    def connect(self, host: str = NAME, port: int = 443, *, loop: str = "uvloop", **options: Any) -> ConnectTrace:
        """One connection with a connector of its own; its trace, whether there is a connection or not."""

        async def main() -> ConnectTrace:
            connector = Connector(linger=0.0)
            try:
                return await connect(connector, host, port, **options)
            finally:
                connector.close()

        return self.run(main, loop)

    def client_tls(self) -> ssl.SSLContext:
        """Trusts this world's authority."""
        return ssl.create_default_context(cadata=self.ready.ca_pem.decode())

    def program(self, *argv: str, servers: bool = False) -> list[str]:
        """The command that runs a program in the client's network (or the servers'), and not longer than we live."""
        network = self.ready.servers if servers else self.ready.client
        inside = ["nsenter", f"--net={network}", f"--mount={self.ready.mounts}", f"--wd={os.getcwd()}"]
        return ["setpriv", "--pdeathsig", "KILL", *inside, *argv]

    # --- the router

    def follow(self, *rules: Rule) -> None:
        """Change the network: these rules from now on."""
        self._ask(list(rules))

    def packets(self) -> list[Sighting]:
        """Every packet of the client so far, in order."""
        found: list[Sighting] = self._ask("log")
        return found

    def forget(self) -> None:
        """Start the log anew."""
        self._ask("clear")

    def attempts(self) -> list[Attempt]:
        """Connections in the order in which the client began them; those to DNS servers are left out."""
        syns: dict[tuple[str, int, int], list[float]] = {}
        for seen in self.packets():
            if seen.sent and seen.packet.is_syn and seen.packet.dport != 53:
                key = (seen.packet.destination, seen.packet.dport, seen.packet.sport)
                syns.setdefault(key, []).append(seen.time)
        return [Attempt(times[0], *key, len(times)) for key, times in syns.items()]

    def resets(self) -> list[str]:
        """The addresses from which the client got a RST."""
        return [
            seen.packet.source
            for seen in self.packets()
            if not seen.sent and seen.packet.protocol == TCP and seen.packet.flags & RST
        ]

    def questions(self) -> list[Question]:
        """DNS queries over UDP, in order."""
        asked: dict[tuple[str, int, int], tuple[float, str, str, str]] = {}
        answered: dict[tuple[str, int, int], float] = {}
        for seen in self.packets():
            packet = seen.packet
            if packet.protocol != UDP or 53 not in (packet.sport, packet.dport):
                continue
            try:
                message = dns.message.from_wire(packet.payload, question_only=True)
            except dns.exception.DNSException:
                continue
            if seen.sent:
                question = message.question[0]
                text = (question.name.to_text(), dns.rdatatype.to_text(question.rdtype))
                asked.setdefault((packet.destination, packet.sport, message.id), (seen.time, packet.destination, *text))
            else:
                answered.setdefault((packet.source, packet.dport, message.id), seen.time)
        return [Question(*question, answered.get(key)) for key, question in asked.items()]


async def connect(connector: Connector, host: str = NAME, port: int = 443, **options: Any) -> ConnectTrace:
    """Connect, close, and give back the trace, also of a failure."""
    options.setdefault("dns_servers", [(DNS, 53)])
    try:
        transport, _, trace = await connector.connect(host, port, asyncio.Protocol, **options)
    except ConnectError as error:
        return error.trace
    transport.abort()
    await asyncio.sleep(0)
    return trace


class Lab:
    """The process of the worlds. `close` it, or die: both end it."""

    def __init__(self) -> None:
        path = os.pathsep.join((str(ROOT / "tests"), str(ROOT / "src")))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "lab.serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": path},
        )

    @property
    def pid(self) -> int:
        """Of the process that holds the namespaces."""
        return self._process.pid

    @contextmanager
    def world(
        self,
        *,
        peers: Sequence[Peer] = (),
        rules: Sequence[Rule] = (),
        dns: Records | None = None,
        more_dns: Mapping[str, Records] | None = None,
        client: str = "",
    ) -> Iterator[World]:
        """A fresh network; `dns` is what the client's DNS server knows (default: NAME at V6 and V4)."""
        servers = {DNS: names() if dns is None else dns, **(more_dns or {})}
        ready = self._ask(Spec(rules=rules, peers=peers, dns=servers, client=client))
        if not isinstance(ready, Ready):
            raise RuntimeError(ready)
        yield World(ready, self._ask)

    def close(self) -> None:
        """End it, and everything in it."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(PATIENCE)
        self._process.stdout.close()

    def _ask(self, order: Any) -> Any:
        assert self._process.stdin is not None and self._process.stdout is not None
        pickle.dump(order, self._process.stdin)
        self._process.stdin.flush()
        return pickle.load(self._process.stdout)
