"""Proxies whose levels `ostiary log` changes, and the command itself."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from envoy_example import PLAIN
from ostiary.core.level_change import parse_listing
from peers.proxies import ROOT, Proxy, envoy_arguments, ostiary_arguments
from ports import free_port
from waiting import PATIENCE

_CONFIG = PLAIN.replace("@ROUTES@", "              - {match: {prefix: /}, direct_response: {status: 200}}")
STARTED = ("warning", "misc:error,oauth2:info")
"""The levels that a proxy of these tests is started with, as Istio would: some are special."""


def proxy(kind: str, folder: Path) -> Proxy:
    """A running Envoy, or an Ostiary with two workers."""
    port, admin = free_port(), free_port()
    config = folder / f"{kind}.yaml"
    config.write_text(_CONFIG.replace("@PORT@", str(port)).replace("@ADMIN@", str(admin)))
    if kind == "envoy":
        argv = envoy_arguments(config)
        argv[argv.index("--log-level") + 1] = STARTED[0]
    else:
        argv = [*ostiary_arguments(config, workers=2), "--log-level", STARTED[0]]
    return Proxy(kind, [*argv, "--component-log-level", STARTED[1]], (port,), admin, folder / f"{kind}.log").start()


def post(running: Proxy, path: str) -> tuple[int, str]:
    """One POST to the admin port."""
    connection = http.client.HTTPConnection("127.0.0.1", running.admin_port, timeout=PATIENCE)
    connection.request("POST", path)
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    return response.status, text


def levels(running: Proxy) -> dict[str, str]:
    """What the proxy itself says, asked without Ostiary's client."""
    return parse_listing(post(running, "/logging")[1])


class Command:
    """`ostiary log` for one person: with a state directory and a PATH of their own."""

    def __init__(self, state: Path, target: list[str], path: str = "") -> None:
        self.target = target
        sources = os.pathsep.join(p for p in (str(ROOT / "src"), os.environ.get("PYTHONPATH")) if p)
        self.env = os.environ | {"XDG_STATE_HOME": str(state), "PYTHONPATH": sources}
        if path:
            self.env["PATH"] = path + os.pathsep + self.env["PATH"]

    def argv(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "ostiary", "log", *self.target, *arguments]

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.argv(*arguments), check=False, capture_output=True, text=True, timeout=PATIENCE, env=self.env
        )

    @contextmanager
    def start(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """The command under way; ended afterwards, whatever happened."""
        pipe = subprocess.PIPE
        with subprocess.Popen(self.argv(*arguments), stdout=pipe, stderr=pipe, text=True, env=self.env) as process:
            try:
                yield process
            finally:
                process.kill()


def wait_for(condition: Callable[[], bool]) -> None:
    """Until it holds; fails after 20 seconds."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
