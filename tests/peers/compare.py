"""Runs one script against the real Envoy and against Ostiary and says where they differ.

Where Ostiary differs on purpose, `differences.py` says so.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import yaml
from msgspec.structs import replace

from envoy_example import read_again
from ostiary.dialects.envoy import load
from peers.client import Client, Side
from peers.differences import judge
from peers.proxies import Proxy, envoy_arguments, ostiary_arguments
from peers.recorders import Answer, Application, Provider
from peers.same_yaml import Tree, fill
from ports import free_port

FLOW_IN_TEXT = re.compile(r"\b[0-9a-f]{16}\b")
UNSTABLE_DETAILS = re.compile(r"response_body:.*")
"""protobuf puts random spaces into its errors, so that nobody compares them."""
LINE = re.compile(
    r"(?P<code>\S+) (?P<details>.*) (?P<flags>\S+) (?P<cluster>\S+) (?P<route>\S+) (?P<method>\S+) "
    r"(?P<original_path>\S+) (?P<path>\S+) (?P<authority>\S+) (?P<protocol>HTTP/1\.[01]|-) "
    r"(?P<received>\d+) (?P<sent>\d+) (?P<added>\S+) (?P<content_type>\S+) (?P<seen>.*)"
)
"""same_yaml's LOG_FORMAT after the case; details may hold spaces."""
CREDENTIALS = re.compile(r"(?<=[?&])(code|state)=[^&\s]*")
"""What Envoy writes into its log and Ostiary must not: [secret] is what has to be there."""
COUNTED = re.compile(
    r"oauth_(?!legacy)|^http\.ing\.(no_route|no_cluster|rq_direct_response|rq_redirect|downstream_rq_[1-5]xx)$"
)


@dataclass(frozen=True, slots=True)
class Case:
    """One script for one configuration."""

    id: str
    config: str
    """The name of a configuration in the module's table."""
    script: Callable[[Client], None]


def credentials_of(tree: Any) -> Mapping[str, Any]:
    """The first OAuth2 credentials in a configuration; empty if there are none."""
    branches = tree.values() if isinstance(tree, Mapping) else tree if isinstance(tree, list) else ()
    if isinstance(tree, Mapping) and "credentials" in tree:
        found: Mapping[str, Any] = tree["credentials"]
        return found
    return next((found for branch in branches if (found := credentials_of(branch))), {})


class Pair:
    """Envoy and Ostiary, running the same configuration."""

    def __init__(self, name: str, tree: Tree, directory: Path) -> None:
        self.name = name
        self.directory = directory
        credentials = credentials_of(tree)
        self.names: Mapping[str, str] = credentials.get("cookie_names", {})
        self.domain: str = credentials.get("cookie_domain", "")
        self.sides = tuple(self._side(kind, tree) for kind in ("envoy", "ostiary"))

    def _side(self, kind: str, tree: Tree) -> Side:
        app, idp = Application(), Provider()
        port, admin = free_port(), free_port()
        log = self.directory / f"{self.name}-{kind}.access.log"
        values = {"PORT": port, "ADMIN": admin, "APP": app.port, "IDP": idp.port, "LOG": str(log), "DEAD": 1}
        config = self.directory / f"{self.name}-{kind}.yaml"
        config.write_text(yaml.safe_dump(fill(tree, values), sort_keys=False))
        if kind == "ostiary":
            read, _ = load([(config.name, config.read_bytes())], read=lambda name: Path(name).read_bytes())
            assert read is None or read_again(read) == replace(read, differences=())
        argv = envoy_arguments(config) if kind == "envoy" else ostiary_arguments(config)
        proxy = Proxy(kind, argv, (port,), admin, self.directory / f"{self.name}-{kind}.log")
        return Side(kind, proxy, app, idp, log, port)

    def start(self) -> Pair:
        """Start everything."""
        for side in self.sides:
            side.proxy.start()
        return self

    def stop(self) -> None:
        """Stop everything; logs are complete afterwards."""
        for side in self.sides:
            side.proxy.stop()
            side.app.close()
            side.idp.close()


def play(pair: Pair, side: Side, case: Case) -> dict[str, object]:
    """Run a script against one side; what was seen, and what it counted."""
    before = side.proxy.counters()
    side.app.drain()
    side.idp.drain()
    side.app.script.clear()
    side.idp.script.clear()
    client = Client(side, case.id, pair.names, pair.domain)
    case.script(client)
    after = side.proxy.counters()
    for name, value in after.items():
        if COUNTED.search(name) and value != before.get(name, 0):
            client.seen[f"counters.{name}"] = value - before.get(name, 0)
    return client.seen


def differences(envoy: Mapping[str, object], ostiary: Mapping[str, object]) -> dict[str, tuple[Any, Any]]:
    """Observation -> (Envoy's, Ostiary's), where they are not equal."""
    missing = "<nothing>"
    paths = sorted({*envoy, *ostiary})
    return {
        path: (envoy.get(path, missing), ostiary.get(path, missing))
        for path in paths
        if envoy.get(path, missing) != ostiary.get(path, missing)
    }


class Pairs(Protocol):
    """Finds the running pair of a configuration."""

    pairs: dict[str, Pair]

    def pair(self, name: str) -> Pair: ...

    def stop(self) -> None: ...


def compare(case: Case, fleet: Pairs, tally: Counter[str]) -> None:
    """Play a case on both sides and judge. Raises AssertionError."""
    pair = fleet.pair(case.config)
    envoy, ostiary = (play(pair, side, case) for side in pair.sides)
    tally["scripts"] += 1
    tally["observations"] += len(envoy.keys() | ostiary.keys())
    tally.update(judge(case.id, differences(envoy, ostiary)))


def compare_access_logs(fleet: Pairs, tally: Counter[str]) -> None:
    """Stop every pair and compare what they logged about each case. Raises AssertionError."""
    fleet.stop()
    problems = []
    for pair in fleet.pairs.values():
        envoy, ostiary = (_log_lines(side.access_log) for side in pair.sides)
        for case in sorted(envoy.keys() | ostiary.keys()):
            tally["log lines"] += len(envoy.get(case, ()))
            theirs = _columns(envoy.get(case, []))
            for name in theirs.keys() & {"log.path", "log.original_path"}:
                theirs[name] = [CREDENTIALS.sub(r"\1=[secret]", target) for target in theirs[name]]
            found = differences(theirs, _columns(ostiary.get(case, [])))
            try:
                tally.update(judge(case, found, whole=False))
            except AssertionError as problem:
                problems.append(f"{pair.name}: {problem}")
    assert not problems, "\n".join(problems)


def _log_lines(path: Path) -> dict[str, list[str]]:
    lines: dict[str, list[str]] = {}
    for line in path.read_text("latin-1").splitlines() if path.exists() else ():
        case, _, rest = line.partition(" ")
        lines.setdefault(case, []).append(FLOW_IN_TEXT.sub("<flow>", rest))
    return lines


def _columns(lines: list[str]) -> dict[str, list[str]]:
    """Log lines by column."""
    split = [LINE.fullmatch(line) for line in lines]
    columns = {f"log.{name}": [m[name] if m else "?" for m in split] for name in LINE.groupindex} if lines else {}
    if lines:
        columns["log.details"] = [UNSTABLE_DETAILS.sub("response_body:<body>", d) for d in columns["log.details"]]
    return columns


def refused(status: int = 400, body: bytes = b"") -> Answer:
    """A token endpoint that says no."""
    return Answer(status, (("content-type", "application/json"),), body or b'{"error":"invalid_grant"}')
