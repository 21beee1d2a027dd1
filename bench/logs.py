"""Log reading beside `grep -E` with the same words, over a generated debug-level sidecar log: `python -m bench.logs`.

One line in ten thousand matters. Both read the same file, one after the other, in processes of their own; the file has
been read once before, so that the disk counts for neither. `BENCH_LOG_BYTES` or `--bytes` sets its size.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from bench.machine import describe

HERE: Final = Path(__file__).parent
RESULTS: Final = HERE / "LOGS.md"
MARK: Final = "<!-- table: written by python -m bench.logs --write -->"
BYTES: Final = 2 * 1024**3
RELEVANT: Final = 10_000
"""Lines to one that matters."""
ROUNDS: Final = 3

# One request through Envoy 1.39.3 at debug level: logger, tags (d: of the client's connection and stream, u: of the
# upstream connection), message.
CLIENT_HEADERS: Final = """request headers complete (end_stream=true):
':authority', 'app.example.com'
':path', '/anything/{path}?page=2'
':method', 'GET'
'accept-encoding', 'gzip, deflate, br'
'accept', 'text/html,application/xhtml+xml,*/*;q=0.8'
'sec-fetch-mode', 'navigate'
'sec-fetch-site', 'same-origin'
'user-agent', 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36'
'cookie', 'OauthHMAC=9IS7vZY8CdEUyLJ1uG4Q1pH9fBYN2vNN9TE1vbJJZY; OauthExpires=1795657873; BearerToken={token}'
"""
ROUTED_HEADERS: Final = """router decoding headers:
':authority', 'app.example.com'
':path', '/anything/{path}?page=2'
':method', 'GET'
':scheme', 'https'
'accept-encoding', 'gzip, deflate, br'
'x-forwarded-proto', 'https'
'x-request-id', '2f2e08c1-5a25-4c82-9f8e-{path}'
'authorization', 'Bearer {token}'
'x-envoy-expected-rq-timeout-ms', '15000'
"""
ANSWER_HEADERS: Final = """encoding headers via codec (end_stream=false):
':status', '200'
'content-type', 'text/html'
'content-length', '23'
'x-envoy-upstream-service-time', '3'
'date', 'Thu, 26 Nov 2026 01:46:13 GMT'
'server', 'istio-envoy'
"""
REQUEST: Final = (
    ("http", "d", CLIENT_HEADERS),
    ("http", "d", "request end stream timestamp recorded"),
    ("connection", "d", "current connecting state: false"),
    ("oauth2", "d", "skipping oauth flow due to valid hmac cookie"),
    ("router", "d", "cluster 'inbound|8080||' match for URL '/anything/{path}?page=2'"),
    ("router", "d", ROUTED_HEADERS),
    ("pool", "u", "using existing fully connected connection"),
    ("pool", "u", "creating stream"),
    ("router", "d", "pool ready"),
    ("client", "u", "encode complete"),
    ("router", "d", "upstream headers complete: end_stream=false"),
    ("http", "d", ANSWER_HEADERS),
    ("client", "u", "response complete"),
    ("router", "", "Executing cleanup(): resetting retry_state_ and disabling timers"),
    ("http", "d", "Codec completed encoding stream."),
    ("pool", "u", "response complete"),
    ("pool", "u", "destroying stream: 0 active remaining, readyForStream true, currentUnusedCapacity 2147483647"),
    ("conn_handler", "d", "new connection from 10.244.1.7:{port}"),
    ("connection", "d", "remote close"),
    ("connection", "d", "closing socket: 0"),
    ("connection", "u", "connecting to 127.0.0.1:8080"),
    ("connection", "u", "connection in progress"),
    ("connection", "u", "connected"),
    ("upstream", "", "DNS refresh rate reset for login.microsoftonline.com, refresh rate 5000 ms"),
)  # fmt: skip
RESET: Final = "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure"
CAUSE: Final = "Responding with 401 Unauthorized. Cause: "
TIMEOUT: Final = 'dns resolution for idp.test failed with c-ares status 0x000c: "Timeout while contacting DNS servers"'
FAILURES: Final = (
    ("connection", "u", "immediate connect error: Network is unreachable|remote address:[2606:4700::6810:a016]:443"),
    ("oauth2", "d", f"{CAUSE}Failed to get access token: response code: 503, response body: {RESET}"),
    ("oauth2", "d", f"{CAUSE}CSRF token validation failed"),
    ("dns", "", TIMEOUT),
)


def lines(entries: Sequence[tuple[str, str, str]]) -> str:
    """Entries in Istio's format, with places for what differs."""
    tags = {
        "d": '[Tags: "ConnectionId":"{connection}","StreamId":"{stream}"] ',
        "u": '[Tags: "ConnectionId":"{upstream}"] ',
        "": "",
    }
    return "".join(
        f"2026-11-26T{{hour:02d}}:{{minute:02d}}:{{second:02d}}.{{micro:06d}}Z\tdebug\tenvoy {logger} "
        f"external/envoy/source/common/{logger}/{logger}_impl.cc:{100 + number}\t{tags[tag]}{message}"
        "\tthread={thread}\n"
        for number, (logger, tag, message) in enumerate(entries)
    )


def log(size: int) -> Iterator[bytes]:
    """A log of about that size."""
    request, failures = lines(REQUEST), [lines([entry]) for entry in FAILURES]
    written = since = count = 0
    while written < size:
        values = {
            "hour": count // 360_000 % 24, "minute": count // 6000 % 60, "second": count // 100 % 60,
            "micro": count * 7919 % 1_000_000, "connection": 1000 + count // 9, "upstream": 2000 + count // 50,
            "stream": count * 2654435761 % 2**64, "thread": 21 + count % 4, "port": 32768 + count % 28000,
            "path": f"{count:012d}", "token": f"gDD7UHYczyQDiNkLnr2apPyfWjaTT06ouDJZcsFjr5pUnIAV2WIN5jkn{count:08d}",
        }  # fmt: skip
        block = request.format(**values)
        since += block.count("\n")
        if since >= RELEVANT:
            block += failures[count % len(failures)].format(**values)
            since = 0
        count += 1
        data = block.encode()
        written += len(data)
        yield data


@dataclass(frozen=True, slots=True)
class Run:
    """One program over the whole file."""

    seconds: float
    cpu: float
    rss: int
    found: str


def run(argv: Sequence[str], env: dict[str, str] | None = None) -> Run:
    """Run it, measured."""
    began = time.perf_counter()
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=os.environ | (env or {}))
    assert process.stdout is not None
    out = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status) not in (0, 1):
        raise RuntimeError(f"{argv[0]} failed")
    return Run(time.perf_counter() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, out.strip())


READ: Final = """
import sys
from ostiary.doctor.logs import read
with open(sys.argv[1], "rb", buffering=0) as stream:
    found = read(stream, sys.argv[1])
print(len(found.facts), "facts in", found.lines, "lines")
"""


def expression() -> str:
    """The words of all patterns that give facts, as POSIX extended regular expressions know them."""
    from ostiary.doctor.logs.pattern import expanded
    from ostiary.doctor.logs.patterns import PATTERNS

    words = [expanded(word) for pattern in PATTERNS if not pattern.context for word in pattern.words]
    text = "|".join(dict.fromkeys(words)).replace("(?:", "(")
    for ours, posix in (("[\\s_]", "[[:space:]_]"), ("\\d", "[0-9]"), ("\\S", "[^[:space:]]"), ("\\s", "[[:space:]]")):
        text = text.replace(ours, posix)
    return re.sub(r"\[\[\^", "[^", re.sub(r"\[\[0-9\]", "[0-9", text))


def measure(path: Path, rounds: int) -> dict[str, list[Run]]:
    """Each reader as often, taking turns."""
    words = expression()
    found: dict[str, list[Run]] = {"ostiary": [], "grep -E": [], "grep -E, LC_ALL=C": []}
    for _ in range(rounds):
        found["ostiary"].append(run([sys.executable, "-c", READ, str(path)], {"PYTHONPATH": "src"}))
        found["grep -E"].append(run(["grep", "-cE", words, str(path)], {"LC_ALL": "C.UTF-8"}))
        found["grep -E, LC_ALL=C"].append(run(["grep", "-cE", words, str(path)], {"LC_ALL": "C"}))
    return found


def table(found: dict[str, list[Run]], size: int) -> str:
    """Markdown."""
    best = {name: min(runs, key=lambda each: each.cpu) for name, runs in found.items()}
    ours = best["ostiary"]
    rows = [
        "| reader | MB/s | CPU s | memory MB | speed of ostiary beside it | finds |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for name, each in best.items():
        quickest = min(one.seconds for one in found[name])
        rows.append(
            f"| {name} | {size / quickest / 1e6:,.0f} | {each.cpu:.2f} | {each.rss / 1e6:.0f} | "
            f"{each.cpu / ours.cpu:.2f}× | {each.found} |"
        )
    return "\n".join(rows)


def main() -> None:
    """Generate, measure, print; `--write` puts it into bench/LOGS.md."""
    parser = argparse.ArgumentParser(prog="python -m bench.logs", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument(
        "--bytes", type=int, default=int(os.environ.get("BENCH_LOG_BYTES", BYTES)), help="size of the log"
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--write", action="store_true", help="write the table into bench/LOGS.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sidecar.log"
        with path.open("wb") as out:
            for block in log(options.bytes):
                out.write(block)
        size = path.stat().st_size
        run(["wc", "-l", str(path)])
        here, now = describe(), datetime.now(UTC).strftime("%Y-%m-%d %H:%M")
        machine = (
            f"{now} UTC · {here['processor']} · {here['memory']} · Linux {here['kernel']} · Python {here['python']}"
        )
        text = f"{machine} · a log of {size / 1e9:.2f} GB\n\n{table(measure(path, options.rounds), size)}"
    print(text)
    if options.write:
        before = RESULTS.read_text().split(MARK)[0]
        RESULTS.write_text(f"{before}{MARK}\n{text}\n")


if __name__ == "__main__":
    main()
