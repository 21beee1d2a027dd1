"""`ostiary demo`: a provider, an application and the doorkeeper in one process, on loopback, without any network.

With `broken_ipv6` the provider's name has a dead IPv6 address besides its good IPv4 one: a port whose queue is full, so
that connecting neither succeeds nor fails, as behind a firewall that drops packets. RFC 6724 puts it first. The
doorkeeper's own connections are recorded, and drawn after the first sign-in.
"""

from __future__ import annotations

import asyncio
import shlex
import shutil
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any, Final

from ostiary.app import logs
from ostiary.app.administration import AdminFactory
from ostiary.app.lifecycle import EXIT_INTERRUPTED, Doorkeeper
from ostiary.core.trace import ConnectTrace
from ostiary.dialects import native
from ostiary.model.config import Config
from ostiary.model.errors import ConfigError, OstiaryError
from ostiary.model.process import Process
from ostiary.net.connector import Connector
from ostiary.testing.demo_app import DemoApp
from ostiary.testing.dns_server import DnsServer
from ostiary.testing.provider import DEMO_CLIENT, DemoProvider

PROVIDER_NAME: Final = "login.ostiary.test"
_QUIET: Final = Process(log_level="warning")
_POLL: Final = 0.2
"""Seconds between two looks at whether someone has signed in."""

CONFIGURATION: Final = """\
listen: 127.0.0.1:{port}
upstream: {upstream}
{admin}provider:
  issuer: {issuer}
  authorization_endpoint: {browser}/authorize
  end_session_endpoint: {browser}/end_session
  client_id: {client_id}
  scopes: [openid, profile, email, groups]
  allow_http: true
  dns_resolvers: {dns_resolvers}
access:
  - {{paths: [/status], public: true}}
  - {{domains: [example.com]}}
access_log: off
"""


class _DeadEnd:
    """A port of ::1 that takes no connection and refuses none: its queue is full and nobody empties it."""

    def __init__(self, port: int) -> None:
        self._sockets = [socket.socket(socket.AF_INET6)]
        try:
            self._sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._sockets[0].bind(("::1", port))
            self._sockets[0].listen(0)
            for _ in range(4):
                filler = socket.socket(socket.AF_INET6)
                filler.setblocking(False)
                self._sockets.append(filler)
                filler.connect_ex(("::1", port))
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        for one in self._sockets:
            one.close()


def _named_provider() -> DemoProvider:
    """A provider whose issuer is a name, which has to be known before it listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    return DemoProvider("127.0.0.1", port, f"http://{PROVIDER_NAME}:{port}")


class _RecordingConnector(Connector):
    """A connector that keeps the traces of what it did."""

    __slots__ = ("traces",)

    def __init__(self) -> None:
        super().__init__()
        self.traces: list[ConnectTrace] = []

    async def connect(self, *args: Any, **kwargs: Any) -> Any:
        result = await super().connect(*args, **kwargs)
        self.traces.append(result[2])
        return result


class Demo:
    """The three of them. `await start()`, then `url`; `await stop()`."""

    def __init__(self, port: int, *, broken_ipv6: bool = False, admin: AdminFactory | None = None) -> None:
        self._port = port
        self._admin = admin
        self._broken_ipv6 = broken_ipv6
        self.app = DemoApp()
        self.provider = _named_provider() if broken_ipv6 else DemoProvider("127.0.0.1")
        self.connector = _RecordingConnector()
        self.url = ""
        self.flights = ""
        """Where the admin API shows what happened; empty without one."""
        self._dns: DnsServer | None = None
        self._dead_end: _DeadEnd | None = None
        self._doorkeeper: Doorkeeper | None = None

    async def start(self) -> None:
        """Start all. Raises OSError if the port is taken."""
        await self.app.start()
        await self.provider.start()
        browser = f"http://127.0.0.1:{self.provider.port}"
        if self._broken_ipv6:
            await self._break_ipv6()
        config = self._configuration(browser)
        doorkeeper = self._doorkeeper = Doorkeeper(config, _QUIET, self.connector, admin=self._admin)
        await doorkeeper.start()
        self.url = f"http://{doorkeeper.addresses['ostiary'][0]}/"
        if self._admin is not None:
            self.flights = f"http://{doorkeeper.addresses['admin'][0]}/flights"

    async def _break_ipv6(self) -> None:
        address = "::1"
        try:
            self._dead_end = _DeadEnd(self.provider.port)
        except OSError:
            address = "100::1"  # no IPv6 here at all: the discard prefix (RFC 6666) leads nowhere either
        self._dns = DnsServer({PROVIDER_NAME: (address, "127.0.0.1")})
        await self._dns.start()

    def _configuration(self, browser: str) -> Config:
        text = CONFIGURATION.format(
            port=self._port,
            admin="" if self._admin is None else "admin: 127.0.0.1:0\n",
            upstream=self.app.url,
            issuer=self.provider.issuer,
            browser=browser,
            client_id=DEMO_CLIENT.client_id,
            dns_resolvers="[]" if self._dns is None else f"['{self._dns.address[0]}:{self._dns.address[1]}']",
        )
        variables = {"OSTIARY_CLIENT_SECRET": DEMO_CLIENT.client_secret}
        config, diagnostics = native.load([("demo.yaml", text.encode())], flags={}, env=variables)
        if config is None:
            raise ConfigError(diagnostics)
        return config

    async def stop(self) -> None:
        """Stop all, cutting what runs."""
        if self._doorkeeper is not None:
            await self._doorkeeper.stop(0)
        self.connector.close()
        await self.provider.stop()
        await self.app.stop()
        if self._dns is not None:
            self._dns.stop()
        if self._dead_end is not None:
            self._dead_end.close()


def draw(trace: ConnectTrace) -> str:
    """A connection as lines of text, in the order of its events."""

    def at(moment: float | None) -> float:
        return 0.0 if moment is None else max(0.0, (moment - trace.started) * 1000)

    def took(started: float | None, ended: float | None) -> str:
        return f"{at(ended) - at(started):.1f} ms" if ended is not None else "still waiting"

    lines = []
    for query in trace.dns:
        found = ", ".join(query.answers) or query.outcome
        lines.append(
            (at(query.started), f"{query.type:<5} {query.name} -> {found}  ({took(query.started, query.ended)})")
        )
    for attempt in trace.attempts:
        if attempt.started is None:
            continue
        place = f"[{attempt.address}]:{attempt.port}" if attempt.family == "v6" else f"{attempt.address}:{attempt.port}"
        why = f", {attempt.errno}" if attempt.errno else ""
        outcome = f"{attempt.outcome}{why} after {took(attempt.started, attempt.ended)}"
        lines.append((at(attempt.started), f"{attempt.family:<5} {place}  {outcome}"))
    body = "\n".join(f"  {moment:7.1f} ms  {text}" for moment, text in sorted(lines))
    return f"{trace.target}: {trace.summary}\n{body}"


def greeting(demo: Demo, *, broken_ipv6: bool) -> str:
    """What is printed once all three run."""
    # A checkout's own `ostiary` may be in no PATH; then it is named as it was called.
    program = sys.argv[0] if shutil.which("ostiary") is None and sys.argv[0].endswith("/ostiary") else "ostiary"
    own = [
        "  An application of your own behind this provider, from a second terminal:",
        f"    OSTIARY_CLIENT_SECRET={shlex.quote(DEMO_CLIENT.client_secret)} {program} run --listen 127.0.0.1:4181 \\",
        f"      --issuer {demo.provider.issuer} --client-id {DEMO_CLIENT.client_id} --upstream http://127.0.0.1:8080",
        "",
    ]
    broken = f"  {PROVIDER_NAME} has a dead IPv6 address before its good one: sign in and see.\n"
    lines = [
        "",
        f"  Click here:  {demo.url}",
        "",
        "  ada@example.com may enter; bob@example.org may sign in but not enter.",
        "  /status/418 needs no sign-in. Try /stream, /ws and /upload too.",
        "",
        f"  The application alone: {demo.app.url}   The provider: http://127.0.0.1:{demo.provider.port}",
        *([f"  What happened to each sign-in: {demo.flights}"] if demo.flights else []),
        "",
        *([broken] if broken_ipv6 else own),
        "  Ctrl-C ends it.",
        "",
    ]
    return "\n".join(lines)


async def _run(port: int, broken_ipv6: bool, admin: AdminFactory, say: Callable[[str], None]) -> int:
    demo = Demo(port, broken_ipv6=broken_ipv6, admin=admin)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    code = 0

    def stop(number: signal.Signals) -> None:
        nonlocal code
        code = EXIT_INTERRUPTED if number == signal.SIGINT else code
        stopped.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)
    try:
        await demo.start()
        say(greeting(demo, broken_ipv6=broken_ipv6))
        shown = not broken_ipv6
        while not stopped.is_set():
            if not shown and demo.provider.token_requests and demo.connector.traces:
                shown = True
                first = next((t for t in demo.connector.traces if PROVIDER_NAME in t.target), None)
                say("  Someone signed in. This is how the doorkeeper reached the provider:\n")
                say(f"{draw(first)}\n" if first is not None else "  over a connection that was there already\n")
            try:
                await asyncio.wait_for(stopped.wait(), _POLL)
            except TimeoutError:
                continue
    finally:
        await demo.stop()
    return code


def run(port: int, broken_ipv6: bool, admin: AdminFactory) -> int:
    """Run the demo until SIGTERM (exit code 0) or Ctrl-C (130). Raises OstiaryError if the port is taken."""
    import uvloop

    logs.configure(_QUIET.log_level, {}, _QUIET.log_format)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_run(port, broken_ipv6, admin, lambda text: print(text, flush=True)))
    except OSError as error:
        raise OstiaryError(
            f"{error.strerror or error} (--port 0 takes any free one; make demo ARGS='--port 0' too)"
        ) from None
