"""What the kernel knows: cores, processor time, memory, and which machine this is.

A rate says how fast a proxy was while its neighbours were noisy; processor time per request says what the work cost.
Both are reported, because only the second survives a busy machine.
"""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

PROXY_CORE = 0
LOAD_CORE = 1
TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


def pin(core: int) -> list[str]:
    """The command prefix that keeps a program on one core."""
    return ["taskset", "-c", str(core)]


def descendants(pid: int) -> list[int]:
    """The process and every process below it that is still there."""
    found = [pid]
    for parent in found:
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                found += [int(child) for child in children.read_text().split()]
            except OSError:
                continue
    return found


def cpu_seconds(pid: int) -> float:
    """User and system time of a process tree, in seconds (to the kernel's tick, 10 ms)."""
    total = 0
    for one in descendants(pid):
        try:
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += int(fields[11]) + int(fields[12])
    return total / TICK


def rss_bytes(pid: int) -> int:
    """Resident memory of a process tree; pages that forks share count once (PSS where the kernel tells it)."""
    total = 0
    for one in descendants(pid):
        try:
            rollup = Path(f"/proc/{one}/smaps_rollup").read_text()
        except OSError:
            continue
        key = "Pss:" if one != pid else "Rss:"
        total += next(int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith(key))
    return total


def busy_cores() -> float:
    """How many cores the whole machine keeps busy right now, over a quarter of a second."""

    def idle_and_total() -> tuple[int, int]:
        values = [int(v) for v in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
        return values[3] + values[4], sum(values)

    idle, total = idle_and_total()
    time.sleep(0.25)
    idle_after, total_after = idle_and_total()
    share = 1 - (idle_after - idle) / max(1, total_after - total)
    return share * (os.cpu_count() or 1)


def wait_for_quiet(threshold: float = 0.5, patience: float = 20.0) -> float:
    """Wait until at most `threshold` cores are busy, or `patience` seconds; returns the busy cores seen last."""
    deadline = time.monotonic() + patience
    while (busy := busy_cores()) > threshold and time.monotonic() < deadline:
        time.sleep(0.25)
    return busy


def describe() -> dict[str, str]:
    """Processor, cores, memory, kernel, Python."""
    model = next((x.split(":")[1].strip() for x in _lines("/proc/cpuinfo") if x.startswith("model name")), "unknown")
    memory = next((int(x.split()[1]) for x in _lines("/proc/meminfo") if x.startswith("MemTotal")), 0)
    return {
        "processor": f"{model}, {os.cpu_count()} cores",
        "memory": f"{memory // 1024 // 1024} GiB",
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()


@dataclass(slots=True)
class Program:
    """A child process of ours, with its output in a file, ended for certain."""

    argv: Sequence[str]
    log: Path
    env: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; its output goes to `log`."""
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                list(self.argv), stdout=out, stderr=out, stdin=subprocess.DEVNULL, env=os.environ | self.env
            )

    @property
    def pid(self) -> int:
        """The process id. Raises RuntimeError before `start`."""
        if self.process is None:
            raise RuntimeError(f"{self.argv[0]} was not started")
        return self.process.pid

    def check(self) -> None:
        """Raises RuntimeError with the end of the log if the program has ended."""
        if self.process is None or self.process.poll() is None:
            return
        tail = self.log.read_text(errors="replace")[-2000:]
        raise RuntimeError(f"{' '.join(self.argv[:6])} ended with {self.process.returncode}:\n{tail}")

    def stop(self) -> None:
        """SIGTERM, then SIGKILL after two seconds."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(2)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
