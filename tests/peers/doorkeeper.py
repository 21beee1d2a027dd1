"""Ostiary with its own short configuration, as a process, before the recording application."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from peers.proxies import Proxy, ostiary_arguments
from peers.recorders import Application
from ports import free_port
from waiting import PATIENCE


@contextmanager
def doorkeeper(directory: Path, provider: dict[str, Any], app_port: int, **changes: Any) -> Iterator[Proxy]:
    """`ostiary run` with this provider; `ports[0]` is where browsers go."""
    port, workers = changes.pop("port", None) or free_port(), changes.pop("workers", 1)
    name = f"doorkeeper-{port}"
    secret = directory / "session-secret"
    if not secret.exists():
        secret.write_text(os.urandom(32).hex())
    admin = free_port()
    document = {
        "listen": f"127.0.0.1:{port}",
        "admin": f"127.0.0.1:{admin}",
        "upstream": f"http://127.0.0.1:{app_port}",
        "provider": provider,
        "secret_file": str(secret),
        **changes,
    }
    config = directory / f"{name}.yaml"
    config.write_text(yaml.safe_dump(document))
    proxy = Proxy(name, ostiary_arguments(config, workers), (port,), admin, directory / f"{name}.log").start()
    try:
        yield proxy
    finally:
        status = proxy.stop()
    assert status == 0, f"ended with {status}:\n{proxy.output()[-3000:]}"


@contextmanager
def program(argv: list[str], directory: Path, port: int, name: str) -> Iterator[subprocess.Popen[bytes]]:
    """A provider as a process that listens on `port`."""
    log = directory / f"{name}.log"
    with log.open("ab") as out:
        process = subprocess.Popen(argv, stdout=out, stderr=out, stdin=subprocess.DEVNULL, cwd=Path(__file__).parent)
    try:
        deadline = time.monotonic() + PATIENCE
        while not answers(port):
            assert process.poll() is None, log.read_text()[-2000:]
            assert time.monotonic() < deadline, f"{name} is late: {log.read_text()[-2000:]}"
            time.sleep(0.05)
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def answers(port: int) -> bool:
    """Whether HTTP is spoken there."""
    try:
        ask(port, "GET", "/")
    except (OSError, http.client.HTTPException):
        return False
    return True


def ask(port: int, method: str, path: str, headers: dict[str, str] | None = None) -> tuple[int, str]:
    """One request without cookies: status and body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request(method, path, headers=headers or {})
        response = connection.getresponse()
        return response.status, response.read().decode("utf-8", "replace")
    finally:
        connection.close()


def json_of(port: int, path: str) -> Any:
    """A JSON document."""
    return json.loads(ask(port, "GET", path)[1])


def identity(app: Application) -> dict[str, str]:
    """The identity headers and cookies of the last request that reached the application."""
    last = app.drain()[-1]
    wanted = ("x-forwarded-user", "x-forwarded-email", "x-forwarded-preferred-username", "x-forwarded-groups", "cookie")
    return {name: value for name in wanted if (value := last.get(name)) is not None}
