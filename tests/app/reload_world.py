"""`ostiary run` as a process whose configuration a test changes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from load import application
from ports import free_port
from waiting import PATIENCE
from wire import Upstream

ROOT = Path(__file__).parents[2]
SECRET = "0123456789abcdef0123456789abcdef"


def native(port: int, app: int, **more: Any) -> dict[str, Any]:
    """Ostiary's own: everything is public unless `more` says otherwise."""
    return {
        "listen": f"127.0.0.1:{port}",
        "upstream": f"http://127.0.0.1:{app}",
        "provider": {"issuer": "http://127.0.0.1:9", "client_id": "app", "client_secret": "s", "allow_http": True},
        "secret": SECRET,
        "access": [{"public": True}],
        "access_log": "off",
        **more,
    }


def envoy(port: int, app: int, *, extra: int | None = None) -> dict[str, Any]:
    """Envoy's: a listener, or with `extra` a second one, and a cluster."""
    return {
        "static_resources": {
            "listeners": [_listener(f"on-{each}", each) for each in (port, extra) if each is not None],
            "clusters": [
                {
                    "name": "app",
                    "type": "STATIC",
                    "load_assignment": {
                        "cluster_name": "app",
                        "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(app)}}]}],
                    },
                }
            ],
        },
    }


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _listener(name: str, port: int) -> dict[str, Any]:
    kind = "type.googleapis.com/envoy.extensions.filters"
    manager = {
        "@type": f"{kind}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "ingress",
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "http_filters": [{"name": "router", "typed_config": {"@type": f"{kind}.http.router.v3.Router"}}],
        "route_config": {
            "virtual_hosts": [
                {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "app"}}]}
            ]
        },
    }
    filters = [{"name": "http", "typed_config": manager}]
    return {"name": name, "address": _address(port), "filter_chains": [{"filters": filters}]}


class Run:
    """The process, its configuration file and its log."""

    def __init__(self, directory: Path, *arguments: str, **env: str) -> None:
        self.file = directory / "ostiary.yaml"
        self.log = directory / "log"
        self.admin = free_port()
        self._arguments = arguments
        self._env = env
        self.process: subprocess.Popen[bytes] = None  # type: ignore[assignment] # set by start

    def write(self, document: dict[str, Any] | str, *, swapped: bool = False) -> None:
        """Change the configuration; `swapped` as Kubernetes does it, by one rename."""
        text = document if isinstance(document, str) else json.dumps(document)
        new = self.file.with_suffix(".new") if swapped else self.file
        new.write_text(text)
        if swapped:
            new.rename(self.file)

    def start(self) -> None:
        command = [sys.executable, "-m", "ostiary", "run", "-c", str(self.file), *self._arguments]
        env = {name: value for name, value in os.environ.items() if not name.startswith("OSTIARY_")}
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                command, stdout=out, stderr=out, env={**env, "PYTHONPATH": str(ROOT / "src"), **self._env}
            )

    def said(self, text: str) -> int:
        """How often the log says it."""
        return self.log.read_text().count(text)

    async def until(self, what: Callable[[], object], patience: float = PATIENCE) -> None:
        async with asyncio.timeout(patience):
            while not what():
                assert self.process.poll() is None, self.log.read_text()[-3000:]
                await asyncio.sleep(0.02)

    async def hears(self, text: str, count: int = 1) -> None:
        try:
            await self.until(lambda: self.said(text) >= count)
        except TimeoutError:
            raise AssertionError(f"{text!r} was not said: {self.log.read_text()[-3000:]}") from None

    async def reload(
        self, document: dict[str, Any] | str | None = None, said: str = "the new configuration is in use"
    ) -> None:
        """Change the configuration, say so by SIGHUP, and wait until it is in use, or for what else is said."""
        before = self.said(said)
        if document is not None:
            self.write(document)
        self.process.send_signal(signal.SIGHUP)
        await self.hears(said, before + 1)

    def children(self) -> list[int]:
        """The workers."""
        pid = self.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def descriptors(self) -> list[int]:
        """How many each process has open."""
        return [len(os.listdir(f"/proc/{pid}/fd")) for pid in (self.process.pid, *self.children())]

    def memory(self) -> list[int]:
        """What each process has resident, in KiB."""
        return [memory(pid) for pid in (self.process.pid, *self.children())]

    @contextlib.asynccontextmanager
    async def serving(self, port: int) -> AsyncIterator[None]:
        """It listens on `port`; afterwards it ends as it should, and whatever happens nothing of it stays."""
        self.start()
        try:
            await self.until(lambda: listening(port))
            yield
        finally:
            if self.process.poll() is None:
                children = self.children()
                try:
                    assert await self.stop() == 0, self.log.read_text()[-3000:]
                finally:
                    for pid in (self.process.pid, *children):
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(pid, signal.SIGKILL)
                    self.process.wait()
        assert "Traceback" not in self.log.read_text(), self.log.read_text()[-5000:]

    async def stop(self) -> int:
        """By SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return await asyncio.to_thread(self.process.wait, PATIENCE)


@contextlib.asynccontextmanager
async def running(
    directory: Path, document: dict[str, Any], port: int, *arguments: str, **env: str
) -> AsyncIterator[Run]:
    """It listens on `port`; afterwards it ends as it should."""
    run = Run(directory, "--watch", "false", "--drain-timeout", "20s", *arguments, **env)
    run.write(document)
    async with run.serving(port):
        yield run


@contextlib.asynccontextmanager
async def two_applications() -> AsyncIterator[tuple[int, int]]:
    """Their ports; they are named `one` and `two`."""
    one, two = Upstream(handler=application("one")), Upstream(handler=application("two"))
    async with one.running(), two.running():
        yield one.port, two.port


def memory(pid: int) -> int:
    """What a process has resident, in KiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmRSS")))


def listening(port: int) -> bool:
    """Whether anybody listens on a loopback port."""
    wanted = f"0100007F:{port:04X} 00000000:0000 0A"
    return wanted in Path("/proc/net/tcp").read_text()
