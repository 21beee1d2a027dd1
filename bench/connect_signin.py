"""Whole sign-ins through the doorkeeper in networks that differ in the provider's addresses.

The doorkeeper is `ostiary run` with a native configuration that says nothing about address families. The provider is
the demo's, by name, on the servers' side; the browser gets its login page at the IPv4 address, because only the
doorkeeper's own connections are what is measured.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from lab.model import DNS, NO_IPV6, V4, Peer, Rule
from lab.world import Lab, World, names
from net.dns_server import Reply
from ostiary.testing.provider import DEMO_CLIENT, DemoProvider
from peers.person import Person

_NAME, _PORT = "login.test", 8081
_V4, _V6 = "192.0.2.7", "2001:db8:5::7"
_DOOR: Final = "127.0.0.1:8080"
_START_SECONDS: Final = 10.0
_SETTLE_SECONDS: Final = 1.0
"""Programs that have just begun to listen still load what comes later."""

_CONFIGURATION = f"""\
listen: {_DOOR}
upstream: http://{V4}:80
provider:
  issuer: http://{_NAME}:{_PORT}
  authorization_endpoint: http://{_V4}:{_PORT}/authorize
  client_id: {DEMO_CLIENT.client_id}
  client_secret: {json.dumps(DEMO_CLIENT.client_secret)}
  allow_http: true
  dns_resolvers: ['{DNS}:53']
"""


@dataclass(slots=True)
class SignIn:
    """One network, and how long its sign-ins took."""

    network: str
    records: str
    ms: list[float] = field(default_factory=list)


_NETWORKS: Final[tuple[tuple[str, str, Mapping[tuple[str, str], Reply], str, tuple[Rule, ...]], ...]] = (
    ("IPv4 only", "A", names((), (_V4,), _NAME), NO_IPV6, ()),
    ("IPv4 only", "A and AAAA (the incident)", names((_V6,), (_V4,), _NAME), NO_IPV6, ()),
    ("both families", "A and AAAA", names((_V6,), (_V4,), _NAME), "", ()),
    ("IPv6 is a black hole", "A and AAAA", names((_V6,), (_V4,), _NAME), "", (Rule(to=_V6, drop=True),)),
)


def measure(lab: Lab, directory: Path, rounds: int) -> list[SignIn]:
    """Sign in with a doorkeeper that has just been started: the networks in turns, so many times."""
    config = directory / "ostiary.yaml"
    config.write_text(_CONFIGURATION)
    found = [SignIn(network, records) for network, records, *_ in _NETWORKS]
    for _ in range(rounds):
        for sign_in, (_, _, dns, client, rules) in zip(found, _NETWORKS, strict=True):
            with (
                lab.world(peers=[Peer(at=[V4], port=80)], dns=dns, client=client, rules=rules) as world,
                _program(world, directory, "-m", "bench.connect_signin", servers=True),
                _program(world, directory, "-m", "ostiary", "run", "-c", str(config)),
            ):
                sign_in.ms.append(world.run(_sign_in))
            print(
                f"sign-in, {sign_in.network}, {sign_in.records}: {sign_in.ms[-1]:.0f} ms", file=sys.stderr, flush=True
            )
    return found


@contextmanager
def _program(world: World, directory: Path, *argv: str, servers: bool = False) -> Iterator[None]:
    with (directory / f"{argv[1]}.log").open("wb") as log:
        command = world.program(sys.executable, *argv, servers=servers)
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            yield
        finally:
            process.kill()
            process.wait()


async def _sign_in() -> float:
    """Milliseconds from the first request to the application's page."""
    await _listening(*_DOOR.split(":"))
    await _listening(_V4, str(_PORT))
    await asyncio.sleep(_SETTLE_SECONDS)
    started = time.perf_counter()
    person = Person()
    page = person.submit(person.open(f"http://{_DOOR}/"), username="ada")
    elapsed = (time.perf_counter() - started) * 1000
    if page.status != http.client.OK or page.text != V4:
        raise RuntimeError(f"the sign-in ended at {page.url} with {page.status}: {page.text[:300]}")
    return elapsed


async def _listening(host: str, port: str) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        try:
            _, writer = await asyncio.open_connection(host, int(port))
        except OSError:
            await asyncio.sleep(0.02)
            continue
        writer.close()
        return
    raise RuntimeError(f"nothing listens on {host}:{port}")


async def serve_provider() -> None:
    """The provider, until killed."""
    async with DemoProvider([_V4, _V6], _PORT, f"http://{_NAME}:{_PORT}"):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve_provider())
