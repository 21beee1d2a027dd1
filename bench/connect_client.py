"""The clients of `bench.connect`: each makes one connection in a given network, and says how long it took and to whom.

`python -m bench.connect_client NAME` imports a client once, then forks for each order on stdin, so that no trial finds
the threads, caches or sockets of another one. Before it counts, each asks for a name that does not exist: a program
that runs has used its resolver before. The clock starts at the call and stops when the connection can be used: after
TCP, or after TLS where the order has a CA.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import ssl
import subprocess
import sys
import time
import traceback
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import uvloop

from lab import namespaces


@dataclass(frozen=True, slots=True)
class Order:
    """One trial."""

    network: str
    host: str
    port: int
    timeout: float
    ca: str = ""
    """A file with the roots to trust; empty: no TLS."""
    again: int = 0
    """So many further connections; the slowest of them is what counts, and not the first."""

    def url(self, host: str) -> str:
        """For HTTP clients."""
        return f"{'https' if self.ca else 'http'}://{host}:{self.port}/"

    def tls(self) -> ssl.SSLContext | None:
        """The client's context."""
        return ssl.create_default_context(cafile=self.ca) if self.ca else None


@dataclass(slots=True)
class Result:
    """What came of it."""

    ok: bool = False
    ms: float = 0.0
    address: str = ""
    error: str = ""
    """Everything that the error tells, its causes included."""


Connect = Callable[[str], Awaitable[tuple[float, str]]]
"""One connection to a host: (moment at which it could be used, the peer's address)."""
NOWHERE = "no-such-name.test"


async def timed(order: Order, connect: Connect) -> Result:
    """One trial of a client whose state is in `connect`."""
    results = []
    with suppress(Exception):
        await connect(NOWHERE)
    for _ in range(order.again + 1):
        started = time.perf_counter()
        try:
            usable, address = await connect(order.host)
        except Exception as error:  # noqa: BLE001 # whatever it is, it is the result
            text = "".join(traceback.format_exception(error, limit=0))
            return Result(ms=(time.perf_counter() - started) * 1000, error=text)
        results.append(Result(True, (usable - started) * 1000, address))
    return slowest(results, order)


def slowest(results: list[Result], order: Order) -> Result:
    """The result that counts."""
    return max(results[1 if order.again else 0 :], key=lambda result: result.ms)


def _peer(transport: Any) -> str:
    return str(transport.get_extra_info("peername")[0])


def run_ostiary(order: Order) -> Result:
    """Ostiary's connector, as it comes."""
    from ostiary.net.connector import Connector

    async def main() -> Result:
        connector, tls = Connector(), order.tls()

        async def connect(host: str) -> tuple[float, str]:
            transport, _, _ = await connector.connect(
                host, order.port, asyncio.Protocol, ssl=tls, timeout=order.timeout
            )
            usable, address = time.perf_counter(), _peer(transport)
            transport.abort()
            return usable, address

        return await timed(order, connect)

    return uvloop.run(main())


def _asyncio(order: Order, **options: float) -> Result:
    async def main() -> Result:
        loop, tls = asyncio.get_running_loop(), order.tls()

        async def connect(host: str) -> tuple[float, str]:
            async with asyncio.timeout(order.timeout):
                transport, _ = await loop.create_connection(asyncio.Protocol, host, order.port, ssl=tls, **options)
            usable, address = time.perf_counter(), _peer(transport)
            transport.abort()
            return usable, address

        return await timed(order, connect)

    return asyncio.run(main())


def run_asyncio(order: Order) -> Result:
    """The standard library, with its Happy Eyeballs switched on."""
    return _asyncio(order, happy_eyeballs_delay=0.25)


def run_asyncio_sequential(order: Order) -> Result:
    """The standard library as it comes."""
    return _asyncio(order)


def run_aiohttp(order: Order) -> Result:
    """aiohttp, which races with aiohappyeyeballs."""
    import aiohttp

    async def main() -> Result:
        moments: list[float] = []

        async def on_created(*_: Any) -> None:
            moments.append(time.perf_counter())

        tracing = aiohttp.TraceConfig()
        tracing.on_connection_create_end.append(on_created)
        connector = aiohttp.TCPConnector(force_close=True, ssl=order.tls() or True)
        timeout = aiohttp.ClientTimeout(total=order.timeout)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout, trace_configs=[tracing]) as session:

            async def connect(host: str) -> tuple[float, str]:
                async with session.get(order.url(host)) as response:
                    await response.read()
                    return moments[-1], await _body(response)

            return await timed(order, connect)

    async def _body(response: Any) -> str:
        return str(await response.text())

    return asyncio.run(main())


def run_anyio(order: Order) -> Result:
    """anyio on asyncio."""
    import anyio

    async def main() -> Result:
        tls = order.tls()

        async def connect(host: str) -> tuple[float, str]:
            with anyio.fail_after(order.timeout):
                if tls is None:
                    stream: Any = await anyio.connect_tcp(host, order.port)
                else:
                    stream = await anyio.connect_tcp(host, order.port, ssl_context=tls)
            usable, address = time.perf_counter(), str(stream.extra(anyio.abc.SocketAttribute.remote_address)[0])
            await anyio.aclose_forcefully(stream)
            return usable, address

        return await timed(order, connect)

    return anyio.run(main)


def run_trio(order: Order) -> Result:
    """trio."""
    import trio

    async def main() -> Result:
        tls = order.tls()

        async def connect(host: str) -> tuple[float, str]:
            with trio.fail_after(order.timeout):
                if tls is None:
                    stream: Any = await trio.open_tcp_stream(host, order.port)
                    socket = stream.socket
                else:
                    stream = await trio.open_ssl_over_tcp_stream(host, order.port, ssl_context=tls)
                    await stream.do_handshake()
                    socket = stream.transport_stream.socket
            usable, address = time.perf_counter(), str(socket.getpeername()[0])
            await trio.aclose_forcefully(stream)
            return usable, address

        return await timed(order, connect)

    return trio.run(main)


def run_httpx(order: Order) -> Result:
    """httpx on asyncio, through httpcore and anyio."""
    import httpx

    async def main() -> Result:
        moments: list[float] = []

        async def trace(event: str, _: Any) -> None:
            if event in {"connection.connect_tcp.complete", "connection.start_tls.complete"}:
                moments.append(time.perf_counter())

        tls = order.tls()
        async with httpx.AsyncClient(timeout=order.timeout, verify=tls if tls is not None else True) as client:

            async def connect(host: str) -> tuple[float, str]:
                async with asyncio.timeout(order.timeout):
                    response = await client.get(
                        order.url(host), headers={"connection": "close"}, extensions={"trace": trace}
                    )
                return moments[-1], response.text

            return await timed(order, connect)

    return asyncio.run(main())


def run_curl(order: Order) -> Result:
    """Debian's curl; its own clock."""
    command = ["curl", "-sS", "--connect-timeout", str(order.timeout), "-H", "connection: close", "-w", "%{json}\n"]
    command += ["--cacert", order.ca] if order.ca else []
    for _ in range(order.again + 1):
        command += ["-o", os.devnull, order.url(order.host)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    results = []
    for line in done.stdout.splitlines():
        told = json.loads(line)
        usable = told["time_appconnect" if order.ca else "time_connect"]
        if told["exitcode"] or not usable:
            return Result(ms=told["time_total"] * 1000, error=done.stderr.strip())
        results.append(Result(True, usable * 1000, told["remote_ip"]))
    return slowest(results, order)


CLIENTS: dict[str, Callable[[Order], Result]] = {
    "ostiary": run_ostiary,
    "asyncio 0.25": run_asyncio,
    "asyncio": run_asyncio_sequential,
    "aiohttp": run_aiohttp,
    "anyio": run_anyio,
    "trio": run_trio,
    "httpx": run_httpx,
    "curl": run_curl,
}
MODULES: dict[str, tuple[str, ...]] = {
    "ostiary": ("ostiary.net.connector", "dns.rdtypes.IN.A", "dns.rdtypes.IN.AAAA", "dns.rdtypes.ANY.OPT"),
    "aiohttp": ("aiohttp",),
    "anyio": ("anyio", "anyio._backends._asyncio"),
    "trio": ("trio",),
    "httpx": ("httpx", "httpcore", "anyio._backends._asyncio"),
}
"""What a client loads when it is first used; a program that runs has it."""


def main(name: str) -> None:
    """Serve orders until stdin ends."""
    for module in MODULES.get(name, ()):
        importlib.import_module(module)
    for line in sys.stdin:
        order = Order(**json.loads(line))
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            namespaces.enter(order.network)
            os.write(writer, json.dumps(asdict(CLIENTS[name](order))).encode())
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            told = pipe.read()
        os.waitpid(child, 0)
        print(told.decode() or json.dumps(asdict(Result(error="the client crashed"))), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
