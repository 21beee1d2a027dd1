"""The admin API: Envoy's paths and shapes, for tools that were made for Envoy. Loopback unless configured otherwise."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, final
from urllib.parse import parse_qs, urlsplit

from ostiary.app.clusters_page import as_json, as_text, matching
from ostiary.core.header_lines import BadMessage
from ostiary.core.http1 import HeadReader, parse_request_line
from ostiary.model.config import Address
from ostiary.net.listener import bind
from ostiary.net.status import status_line

if TYPE_CHECKING:
    from ostiary.app.runtime import Runtime

_MAX_HEAD: Final = 16 * 1024
_TEXT: Final = "text/plain; charset=UTF-8"
_HELP: Final = """admin commands are:
  /clusters: clusters and their hosts (filter=REGEX, format=json)
  /help: this page
  /ready: 200 LIVE once every provider is known, 503 before
  /stats: counters (filter=REGEX, usedonly, format=json|prometheus)
  /stats/prometheus: the same for Prometheus
"""


@final
class AdminServer:
    """Answers one request per connection."""

    def __init__(self, address: Address, runtime: Runtime) -> None:
        self._address = address
        self._runtime = runtime
        self._servers: list[asyncio.Server] = []

    async def start(self) -> list[str]:
        """Listen; returns the addresses."""
        sockets = bind(self._address, 128)
        for sock in sockets:
            server = await asyncio.start_server(self._serve, sock=sock, limit=_MAX_HEAD)
            self._servers.append(server)
        names = [sock.getsockname() for sock in sockets]
        return [f"[{n[0]}]:{n[1]}" if ":" in n[0] else f"{n[0]}:{n[1]}" for n in names if isinstance(n, tuple)]

    async def stop(self) -> None:
        """Listen no more."""
        for server in self._servers:
            server.close()
        self._servers.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(5):
                head = await reader.readuntil(b"\r\n\r\n")
                line, _, block = head[:-2].partition(b"\r\n")
                method, target, _ = parse_request_line(line)
                HeadReader().read(block)
                status, kind, body = self.answer(method.decode(), target.decode())
        except BadMessage as error:
            status, kind, body = error.status, _TEXT, error.details + "\n"
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            writer.close()
            return
        data = body.encode()
        writer.write(
            status_line(status)
            + f"content-type: {kind}\r\ncontent-length: {len(data)}\r\ncache-control: no-cache, max-age=0\r\n"
            "x-content-type-options: nosniff\r\nconnection: close\r\n\r\n".encode()
            + data
        )
        writer.close()

    def answer(self, method: str, target: str) -> tuple[int, str, str]:
        """-> (status, content type, body)."""
        parts = urlsplit(target)
        query = parse_qs(parts.query, keep_blank_values=True)
        if method not in ("GET", "HEAD"):
            return 405, _TEXT, "Method Not Allowed\n"
        if parts.path in ("/", "/help"):
            return 200, _TEXT, _HELP
        if parts.path == "/.ostiary/live":
            return 200, _TEXT, "LIVE\n"
        if parts.path in ("/ready", "/.ostiary/ready"):
            ready = self._runtime.is_ready
            return (200, _TEXT, "LIVE\n") if ready else (503, _TEXT, "INITIALIZING\n")
        if parts.path == "/stats/prometheus" or (parts.path == "/stats" and query.get("format") == ["prometheus"]):
            stats = self._runtime.stats
            return 200, _TEXT, prometheus(stats.values(), stats.is_gauge)
        if parts.path == "/stats":
            return self._stats(query)
        if parts.path == "/clusters":
            return self._clusters(query)
        return 404, _TEXT, f"invalid path. {_HELP}"

    def _clusters(self, query: dict[str, list[str]]) -> tuple[int, str, str]:
        try:
            found = matching(self._runtime.clusters.values(), query.get("filter", [""])[0])
        except re.error:
            return 400, _TEXT, "Invalid re2 regex\n"
        if query.get("format") == ["json"]:
            return 200, "application/json", as_json(found)
        return 200, _TEXT, as_text(found)

    def _stats(self, query: dict[str, list[str]]) -> tuple[int, str, str]:
        try:
            text = self._runtime.stats.text(query.get("filter", [""])[0], used_only="usedonly" in query)
        except re.error:
            return 400, _TEXT, "Invalid re2 regex\n"
        if query.get("format") == ["json"]:
            pairs = [line.rpartition(": ") for line in text.splitlines()]
            stats = [{"name": name, "value": int(value)} for name, _, value in pairs]
            return 200, "application/json", json.dumps({"stats": stats})
        return 200, _TEXT, text


def prometheus(values: Mapping[str, int], is_gauge: Callable[[str], bool]) -> str:
    """Prometheus' text format: `envoy_` before the name, what it can't hold as `_`."""
    lines: list[str] = []
    for name, value in values.items():
        metric = "envoy_" + re.sub(r"[^a-zA-Z0-9_]", "_", name)
        kind = "gauge" if is_gauge(name) else "counter"
        lines.append(f"# TYPE {metric} {kind}\n{metric} {value}\n")
    return "".join(lines)
