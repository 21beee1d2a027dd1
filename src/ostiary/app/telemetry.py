"""Exports over OTLP: spans as they come, metrics at an interval.

Nothing here is waited for by a request. Spans queue up (bounded; what doesn't fit is dropped and counted), a thread
encodes them in small slices, and they are sent (app/otlp_sender.py). At the end there is one more try, for
`TELEMETRY_FLUSH_TIMEOUT` at most.

A thread is started with the first export, so never before workers are forked.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections import defaultdict, deque
from collections.abc import Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any, Final, final

from ostiary.app.metrics import Stats
from ostiary.app.otlp_sender import Clients, Encoder, Sender
from ostiary.app.slices import in_slices
from ostiary.app.tracing import Tracer
from ostiary.core.decision import Counter
from ostiary.core.entropy import BufferedEntropy
from ostiary.core.spans import Finished, Span, SpanMaker
from ostiary.core.stat_tags import TagExtractor, Tags
from ostiary.core.tracing import Propagator
from ostiary.model import limits
from ostiary.model.telemetry import Collector, MetricsExport, Tracing
from ostiary.net.log import log
from ostiary.net.ticker import Ticker

if TYPE_CHECKING:
    from ostiary.app.files import Files

_LOG: Final = log("tracing")


class _Exporter:
    """One task at a time."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self.task: asyncio.Task[None] | None = None

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Run it."""
        self.task = asyncio.get_running_loop().create_task(work)
        self.task.add_done_callback(self._done)

    def cancel(self) -> None:
        """Give up."""
        if self.task is not None:
            self.task.cancel()

    def _done(self, task: asyncio.Task[None]) -> None:
        self.task = None
        if not task.cancelled() and task.exception() is not None:
            _LOG.error("an export failed unexpectedly: %r", task.exception())


@final
class SpanExporter(_Exporter):
    """The queue of spans for one collector, under one resource."""

    def __init__(
        self, sender: Sender, resource: tuple[tuple[str, str], ...], size: int, encoder: Encoder, stats: Stats
    ) -> None:
        super().__init__(encoder)
        self._sender = sender
        self._resource = resource
        self._size = size
        self._queue: deque[tuple[SpanMaker, Finished]] = deque()
        self._held = 0
        """Bytes, about."""
        self._ids = BufferedEntropy(os.urandom)
        counter = stats.scope("tracing.opentelemetry")
        self._sent = counter("spans_sent")
        self._dropped = counter("spans_dropped")
        self._timed = counter("timer_flushed")

    def add(self, maker: SpanMaker, request: Finished) -> None:
        """One more request; its spans are made later."""
        if len(self._queue) >= self._size or self._held > limits.TELEMETRY_QUEUE_BYTES:
            self._dropped.value += 1
            return
        self._queue.append((maker, request))
        self._held += request.size
        if len(self._queue) >= limits.TELEMETRY_BATCH and self.task is None:
            self.begin(self._flush())

    def check_deadlines(self, _now: float) -> None:
        """Once a second."""
        if self._queue and self.task is None:
            self._timed.value += 1
            self.begin(self._flush())

    async def _flush(self) -> None:
        while self._queue:
            parts: list[bytes] = []
            count = 0
            for _ in range(limits.TELEMETRY_BATCH // limits.TELEMETRY_SLICE):
                batch = [self._queue.popleft() for _ in range(min(len(self._queue), limits.TELEMETRY_SLICE))]
                self._held -= sum(request.size for _, request in batch)
                if batch:
                    encoded, made = await self.encoder.run(self._encode, batch)
                    parts.append(encoded)
                    count += made
            taken = await self._sender.send(b"".join(parts), "spans", count)
            self._sent.value += taken
            self._dropped.value += count - taken

    def _encode(self, batch: list[tuple[SpanMaker, Finished]]) -> tuple[bytes, int]:
        from ostiary.app.otlp import encode_spans

        ids = self._new_ids()
        spans: list[Span] = []
        for maker, request in batch:
            spans += maker.spans(request, ids)
        return encode_spans(self._resource, spans), len(spans)

    def _new_ids(self) -> Iterator[bytes]:
        while True:
            yield self._ids(8).hex().encode()

    async def finish(self) -> None:
        """Send what there is."""
        while self._queue or self.task is not None:
            if self.task is None:
                self.begin(self._flush())
            assert self.task is not None
            await asyncio.wait([self.task])


@final
class MetricsExporter(_Exporter):
    """Sends every counter and gauge at an interval, and once more at the end."""

    def __init__(
        self,
        export: MetricsExport,
        sender: Sender,
        resource: tuple[tuple[str, str], ...],
        encoder: Encoder,
        stats: Stats,
        tags: Callable[[], TagExtractor],
        started: float,
    ) -> None:
        super().__init__(encoder)
        self._export = export
        self._tags = tags
        self._sender = sender
        self._resource = resource
        self._stats = stats
        self._started = started
        self._due = time.monotonic() + export.interval

    def check_deadlines(self, now: float) -> None:
        """Once a second."""
        if now >= self._due and self.task is None:
            self._due = now + self._export.interval
            self.begin(self._send())

    def _shown(self, extractor: TagExtractor, full: str) -> tuple[str, Tags]:
        export = self._export
        name, tags = extractor.extract(full)
        name = name if export.extract else full
        return f"{export.prefix}.{name}" if export.prefix else name, tags if export.attributes else ()

    async def _send(self) -> None:
        histograms = {name: (list(bins), total) for name, (bins, total) in self._stats.histograms().items()}
        counters, gauges = await in_slices(self._stats.gather())
        values = counters | gauges
        body = await self.encoder.run(self._encode, self._tags(), values, histograms)
        await self._sender.send(body, "metrics", 0)

    def _encode(
        self, extractor: TagExtractor, values: dict[str, int], recorded: dict[str, tuple[list[int], int]]
    ) -> bytes:
        from ostiary.app.otlp import encode_metrics

        counters: defaultdict[str, list[tuple[Tags, int]]] = defaultdict(list)
        gauges: defaultdict[str, list[tuple[Tags, int]]] = defaultdict(list)
        histograms: defaultdict[str, list[tuple[Tags, tuple[list[int], int]]]] = defaultdict(list)
        for full, value in values.items():
            name, tags = self._shown(extractor, full)
            (gauges if self._stats.is_gauge(full) else counters)[name].append((tags, value))
        for full, histogram in recorded.items():
            name, tags = self._shown(extractor, full)
            histograms[name].append((tags, histogram))
        return encode_metrics(self._resource, counters, gauges, histograms, self._started, time.time())

    async def finish(self) -> None:
        """The last values."""
        if self.task is not None:
            await asyncio.wait([self.task])
        self.begin(self._send())
        assert self.task is not None
        await asyncio.wait([self.task])


@final
class Telemetry:
    """Everything that one process exports."""

    def __init__(
        self, ticker: Ticker, stats: Stats, files: Files, clients: Clients, *, started: float, several: bool
    ) -> None:
        """`started`: since when the counters have counted, Unix seconds. `several`: there are other workers."""
        self._started = started
        self._several = several
        self._ticker = ticker
        self._stats = stats
        self._files = files
        self._clients = clients
        self._encoder = Encoder()
        self._spans: dict[tuple[Collector, tuple[tuple[str, str], ...]], SpanExporter] = {}
        self._metrics: list[MetricsExporter] = []
        self._entropy = BufferedEntropy(os.urandom)

    def tracer(self, tracing: Tracing, counter: Callable[[str], Counter]) -> Tracer:
        """The tracer of one listener; those with the same collector and resource share a queue."""
        key = (tracing.collector, tracing.resource)
        exporter = self._spans.get(key)
        if exporter is None:
            resource, sender = self._resource(tracing.resource), self._sender(tracing.collector)
            exporter = SpanExporter(sender, resource, tracing.max_queue, self._encoder, self._stats)
            self._spans[key] = exporter
            self._ticker.idle.add(exporter)
        maker = SpanMaker(tracing, dict(os.environ))
        return Tracer(Propagator(tracing, self._entropy), maker, exporter.add, counter)

    def export_metrics(self, export: MetricsExport, tags: Callable[[], TagExtractor]) -> None:
        """Begin to export metrics; `tags` knows what there is by then, clusters of providers included."""
        resource, sender = self._resource(export.resource), self._sender(export.collector)
        exporter = MetricsExporter(export, sender, resource, self._encoder, self._stats, tags, self._started)
        self._metrics.append(exporter)
        self._ticker.idle.add(exporter)

    def _sender(self, collector: Collector) -> Sender:
        return Sender(collector, self._clients(collector), self._files, self._encoder)

    async def close(self) -> None:
        """Export what is left, for `TELEMETRY_FLUSH_TIMEOUT` at most."""
        exporters = self._exporters()
        for exporter in exporters:
            self._ticker.idle.discard(exporter)
        try:
            async with asyncio.timeout(limits.TELEMETRY_FLUSH_TIMEOUT):
                await asyncio.gather(*(exporter.finish() for exporter in exporters))
        except TimeoutError:
            _LOG.warning("the last export took more than %g s and was given up", limits.TELEMETRY_FLUSH_TIMEOUT)
        self.stop()

    def retire(self) -> None:
        """Another one exports the metrics from now on; spans of requests that still run come here."""
        for exporter in self._metrics:
            self._ticker.idle.discard(exporter)
            exporter.cancel()
        self._metrics.clear()

    def stop(self) -> None:
        """Export nothing more."""
        for exporter in self._exporters():
            self._ticker.idle.discard(exporter)
            exporter.cancel()
        self._encoder.close()

    def _exporters(self) -> list[SpanExporter | MetricsExporter]:
        return [*self._spans.values(), *self._metrics]

    def _resource(self, given: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
        """That of this worker: what it counts must not be taken for another one's."""
        resource = dict(given)
        own = resource.get("service.instance.id")
        if own is None or self._several:
            resource["service.instance.id"] = f"{own or socket.gethostname()}:{os.getpid()}"
        return tuple(resource.items())
