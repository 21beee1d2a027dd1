"""Sends OTLP to one collector: a POST over HTTP, or a call of gRPC's (core/grpc.py).

Both go through the client that speaks to providers: with Happy Eyeballs, and with an error that says why a collector
can't be reached. That is logged once, and again when it can.
"""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, Literal, TypeVar, final
from urllib.parse import urlsplit

from ostiary._version import __version__
from ostiary.core import grpc
from ostiary.core.decision import Fetch, Fetched, FetchFailed
from ostiary.net.log import log

if TYPE_CHECKING:
    from ostiary.app.files import Files
    from ostiary.model.telemetry import Collector
    from ostiary.net.client import ProviderClient

_LOG: Final = log("tracing")
_Result = TypeVar("_Result")
Signal = Literal["spans", "metrics"]
Clients = Callable[["Collector"], "ProviderClient"]
"""Makes the client for a collector, which verifies it as configured."""
USER_AGENT: Final = f"OTel-OTLP-Exporter-ostiary/{__version__}"
_SERVICES: Final[dict[Signal, str]] = {
    "spans": "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    "metrics": "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
}
_MENDS: Final = {
    "UNIMPLEMENTED": "it has no OTLP receiver of %s by gRPC at this port, which is usually 4317",
    "UNAUTHENTICATED": "it does not know who we are: see the headers (gRPC's metadata) configured for it",
    "PERMISSION_DENIED": "the headers (gRPC's metadata) configured for it don't allow it",
    "RESOURCE_EXHAUSTED": "it takes less than it is sent, or less often",
}
_NO_GRPC: Final = "gRPC has a port of its own, usually 4317"
_NO_HTTP: Final = "if it is a port for gRPC, usually 4317, configure gRPC"


@final
class Encoder:
    """The thread that encodes, for everything that one process exports."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(1, "otlp")

    async def run(self, work: Callable[..., _Result], *arguments: object) -> _Result:
        """The result of `work`, done in the thread."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)

    def close(self) -> None:
        """Wait for nothing."""
        self._threads.shutdown(wait=False, cancel_futures=True)


@final
class Sender:
    """Sends to one collector, and says once that it can't."""

    def __init__(self, collector: Collector, client: ProviderClient, files: Files, encoder: Encoder) -> None:
        self._encoder = encoder
        self._collector = collector
        self._client = client
        self._headers = [(name, files.source(source, strip=True)) for name, source in collector.headers]
        self._where = collector.url.partition("?")[0] or f"cluster {collector.cluster}"
        self._failing = False
        self._rejecting = False

    async def send(self, body: bytes, signal: Signal, count: int) -> int:
        """How many of the `count` that it holds the collector took."""
        collector = self._collector
        if collector.compress:
            body = await self._encoder.run(gzip.compress, body)
        fetch = self._call(body, signal) if collector.grpc else self._post(body, signal)
        try:
            answer = await self._client.fetch(fetch)
        except FetchFailed as error:
            mend = (_NO_GRPC if collector.grpc else _NO_HTTP) if error.kind == "protocol" else ""
            return self._failed(signal, error.reason, mend)
        if collector.grpc:
            outcome = grpc.outcome(answer)
            if not outcome.is_ok:
                return self._failed(signal, f"it answered {outcome}", _MENDS.get(outcome.code, ""))
        elif not 200 <= answer.status < 300:
            return self._failed(signal, f"it answered {answer.status}")
        if self._failing:
            self._failing = False
            _LOG.info("%s takes %s again", self._where, signal)
        return max(0, count - self._rejected(answer, signal))

    def _post(self, body: bytes, signal: Signal) -> Fetch:
        headers = [("content-type", "application/x-protobuf")]
        if self._collector.compress:
            headers.append(("content-encoding", "gzip"))
        return self._fetch(self._collector.url, self._collector.path, headers, body, signal)

    def _call(self, body: bytes, signal: Signal) -> Fetch:
        collector, path = self._collector, _SERVICES[signal]
        headers = [("te", "trailers"), ("content-type", "application/grpc")]
        headers.append(("grpc-timeout", grpc.timeout_value(collector.timeout)))
        if collector.compress:
            headers.append(("grpc-encoding", "gzip"))
        parts = urlsplit(collector.url)
        url = f"{parts.scheme}://{parts.netloc}{path}" if collector.url else ""
        return self._fetch(url, path, headers, grpc.framed(body, compressed=collector.compress), signal)

    def _fetch(self, url: str, path: str, headers: list[tuple[str, str]], body: bytes, signal: Signal) -> Fetch:
        collector = self._collector
        headers.append(("user-agent", USER_AGENT))
        headers += [(name, value().decode("latin-1")) for name, value in self._headers]
        return Fetch(
            method="POST",
            url=url,
            cluster=collector.cluster,
            path=path,
            authority=collector.authority,
            headers=tuple(headers),
            body=body,
            timeout=collector.timeout,
            retries=1,
            repeatable=True,
            purpose=signal,
            http2=collector.grpc,
        )

    def _rejected(self, answer: Fetched, signal: Signal) -> int:
        """How many it did not take though it took the others; said once."""
        message = grpc.message_of(answer.body) if self._collector.grpc else answer.body
        if not message:
            return 0
        from ostiary.app.otlp import rejected

        number, why = rejected(message, signal)
        if number and not self._rejecting:
            self._rejecting = True
            _LOG.warning("%s refuses some of the %s (%d of this export): %s", self._where, signal, number, why)
        return number

    def _failed(self, signal: Signal, reason: str, mend: str = "") -> int:
        if not self._failing:
            self._failing = True
            text = "%s does not take %s, which are dropped until it does: %s"
            mend = mend % signal if "%s" in mend else mend
            _LOG.warning(text, self._where, signal, f"{reason} ({mend})" if mend else reason)
        return 0
