"""Every peer under every workload, in interleaved rounds: a table on stdout, everything in bench/results."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from bench import machine, report
from bench.peers import PEERS, Peer, Ports, ostiary_command, usual
from bench.upstreams import Nginx, Sink, wait_for_port
from bench.workloads import ALL, Sample, Setting, Workload, prove_session

LOAD_SHARE = 0.7
HERE = Path(__file__).parent
MARKS = ("<!-- table: written by python -m bench --write -->", "<!-- /table -->")


def parse(argv: list[str]) -> argparse.Namespace:
    """The command line."""
    names = [w.name for w in ALL]
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--peers", default=",".join(usual()), help="comma-separated (default: %(default)s)")
    parser.add_argument("--work", default=",".join(names), help="comma-separated (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, choices=range(1, 21), metavar="1-20")
    parser.add_argument("--seconds", type=int, default=4, choices=range(1, 31), metavar="1-30", help="a round's length")
    parser.add_argument("--quick", action="store_true", help="one round of one second")
    parser.add_argument("--write", action="store_true", help="put the table into bench/README.md")
    options = parser.parse_args(argv)
    if options.quick:
        options.rounds, options.seconds = 1, 1
    for given, known in ((options.peers, PEERS), (options.work, names)):
        unknown = [x for x in given.split(",") if x not in known]
        if unknown:
            parser.error(f"unknown: {', '.join(unknown)} (there are {', '.join(known)})")
    return options


def main(argv: list[str]) -> int:
    options = parse(argv)
    wanted = set(options.work.split(","))
    workloads = [w for w in ALL if w.name in wanted]
    os.sched_setaffinity(0, {machine.LOAD_CORE})  # the proxy's core is the proxy's
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="ostiary-bench-", dir=memory if memory.is_dir() else None) as name:
        directory = Path(name)
        measure_this_checkout(directory)
        nginx, sink = Nginx(directory), Sink(directory)
        peers: list[Peer] = []
        try:
            nginx.start()
            sink.start()
            peers += (PEERS[peer](directory, Ports(nginx.port, sink.port)) for peer in options.peers.split(","))
            for peer in peers:
                peer.program.start()
                wait_for_port(peer.port, peer.program)
                prove_session(peer)
            samples = measure(workloads, peers, Setting(nginx, directory, options.seconds), options.rounds)
        finally:
            for peer in peers:
                peer.program.stop()
            nginx.stop()
            sink.stop()
    publish(workloads, peers, samples, write=options.write)
    return 0


def measure_this_checkout(directory: Path) -> None:
    """The sources beside this file, whatever is installed; compiled once, as an installed package is."""
    os.environ["PYTHONPATH"] = str(HERE.parent / "src")
    os.environ["PYTHONPYCACHEPREFIX"] = str(directory / "pycache")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    subprocess.run([*ostiary_command(), "--version"], check=True, capture_output=True, timeout=60)


Samples = dict[str, dict[str, list[Sample]]]


def measure(workloads: list[Workload], peers: list[Peer], setting: Setting, rounds: int) -> Samples:
    """Each workload over all peers before the next round, so that a noisy minute falls on everyone."""
    samples: Samples = {w.name: {p.name: [] for p in peers} for w in workloads}
    for workload in workloads:
        able = peers
        if workload.load:
            rate, able = equal_rate(workload, samples, peers)
            setting = dataclasses.replace(setting, equal_rate=rate)
        for turn in range(rounds):
            for peer in able:
                if workload.fresh:
                    peer.program.stop()
                    peer.program.start()
                    wait_for_port(peer.port, peer.program)
                noise = machine.wait_for_quiet()
                try:
                    sample = workload.measure(peer, setting)
                except (RuntimeError, OSError, TimeoutError) as error:
                    print(
                        f"{workload.name} {peer.name}: failed: {error}{last_words(peer)}", file=sys.stderr, flush=True
                    )
                    peer.program.stop()
                    peer.program.start()
                    wait_for_port(peer.port, peer.program)
                    continue
                samples[workload.name][peer.name].append(sample | {"noise": noise})
                shown = " ".join(f"{k}={report.number(v)}" for k, v in sample.items())
                print(f"{workload.name} round {turn + 1} {peer.name}: {shown}", file=sys.stderr, flush=True)
    return samples


def last_words(peer: Peer) -> str:
    """How a peer ended, if it did."""
    process = peer.program.process
    if process is None or process.poll() is None:
        return ""
    return f"\n{peer.name} had ended with {process.returncode}: {peer.program.log.read_text()[-1500:]}"


def equal_rate(workload: Workload, samples: Samples, peers: list[Peer]) -> tuple[float, list[Peer]]:
    """70 % of what the slowest of the workload's peers can do, and who can do as much."""
    found = {p.name: report.median(samples.get("get-varying", {}).get(p.name, []), "rate") for p in peers}
    slow = [found[p.name] for p in peers if p.name in workload.load or (workload.load == ("*",) and p.signs_in)]
    rate = LOAD_SHARE * min([rate for rate in slow if rate], default=1000.0 / LOAD_SHARE)
    return rate, [p for p in peers if (found[p.name] or rate) >= rate]


def publish(workloads: list[Workload], peers: list[Peer], samples: Samples, *, write: bool) -> None:
    """Print the table, keep everything in bench/results, and put the table into the README if asked."""
    names = [p.name for p in peers]
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M")
    here = machine.describe()
    versions = sorted({p.version for p in peers})
    text = "\n".join(
        (
            f"{now} UTC · {here['processor']} · {here['memory']} · Linux {here['kernel']} · Python {here['python']} · "
            + " · ".join(versions),
            "",
            report.table(workloads, names, samples),
        )
    )
    print(text)
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    document = {"when": now, "machine": here, "versions": versions, "samples": samples}
    stamp = now.replace(" ", "T").replace(":", "")
    (results / f"{stamp}.json").write_text(json.dumps(document, indent=1))
    (results / f"{stamp}.md").write_text(text + "\n")
    if write:
        readme = HERE / "README.md"
        before, _, rest = readme.read_text().partition(MARKS[0])
        after = rest.partition(MARKS[1])[2]
        readme.write_text(f"{before}{MARKS[0]}\n{text}\n{MARKS[1]}{after}")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
