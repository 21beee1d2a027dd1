"""Closed-loop load with wrk: as many requests as the proxy can take, over a fixed number of connections."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench.machine import LOAD_CORE, cpu_seconds, pin

# Two requests are the same but for `traceparent` and `x-request-id`, so nothing that remembers whole heads can help.
SCRIPT = """
local before, after = [==[{before}]==], "\\r\\n\\r\\n" .. string.rep("u", {body_bytes})
local varies = {varies}
local counter = 0
local same = before .. "00-00000000000000000000000000000001-0000000000000001-01\\r\\nx-request-id: fixed" .. after
request = function()
  if not varies then return same end
  counter = counter + 1
  local id = string.format("%032x", counter)
  return before .. "00-" .. id .. "-00f067aa0ba902b7-01\\r\\nx-request-id: " .. id .. after
end
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '@@{{"requests":%d,"seconds":%.6f,"bytes":%d,"p50":%.6f,"p99":%.6f,"status":%d,"broken":%d}}\\n',
    summary.requests, summary.duration / 1e6, summary.bytes, latency:percentile(50) / 1e6,
    latency:percentile(99) / 1e6, e.status, e.connect + e.read + e.write + e.timeout))
end
"""


@dataclass(frozen=True, slots=True)
class Result:
    """One round. Rates are a second, `cpu` is the proxy's processor seconds a request."""

    rate: float
    cpu: float
    busy: float
    """The proxy's share of its core: well below 1 means that something else was the limit."""
    requests: int
    p50: float
    p99: float
    bytes_per_second: float


def run(
    port: int,
    head: bytes,
    proxy_pid: int,
    directory: Path,
    *,
    seconds: int,
    connections: int,
    varies: bool,
    body_bytes: int = 0,
) -> Result:
    """Load `port` for a time. Raises RuntimeError when a response failed or was not a success.

    `head` is one request's head without traceparent and x-request-id, which are put before its last line break.
    """
    before = head[:-2].decode("latin-1") + "traceparent: "
    script = directory / "wrk.lua"
    values = {"before": _lua(before), "body_bytes": body_bytes, "varies": "true" if varies else "false"}
    script.write_text(SCRIPT.format(**values), encoding="latin-1")
    argv = [*pin(LOAD_CORE), "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", str(script)]
    cpu_before = cpu_seconds(proxy_pid)
    argv.append(f"http://127.0.0.1:{port}/")
    done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=seconds + 30)
    cpu = cpu_seconds(proxy_pid) - cpu_before
    line = next((x for x in done.stdout.splitlines() if x.startswith("@@")), None)
    if line is None:
        raise RuntimeError(f"wrk failed: {done.stdout[-500:]} {done.stderr[-500:]}")
    found = json.loads(line[2:])
    if found["status"] or found["broken"] or not found["requests"]:
        raise RuntimeError(f"wrk saw failures: {found}")
    count, lasted = found["requests"], found["seconds"]
    return Result(
        rate=count / lasted,
        cpu=cpu / count,
        busy=cpu / lasted,
        requests=count,
        p50=found["p50"],
        p99=found["p99"],
        bytes_per_second=found["bytes"] / lasted,
    )


def _lua(text: str) -> str:
    """Text inside a Lua long bracket; a leading line break would be swallowed, CR LF would be folded."""
    return text.replace("\r\n", "]==] .. '\\r\\n' .. [==[")
