"""Runs the measurements of `ostiary connect`: with a line of progress, and with what was seen so far on Ctrl-C."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ostiary.cli.progress import Progress, waiting_for
from ostiary.core.addresses import Destination
from ostiary.core.lookup_families import LOOKUP_FAMILIES, verdicts
from ostiary.core.places import Comparison
from ostiary.core.recommend import recommend
from ostiary.core.trace import ConnectTrace
from ostiary.model.clusters import DnsLookupFamily
from ostiary.net.connector import Connector
from ostiary.net.survey import Place, connect_once, survey

Look = Callable[[], ConnectTrace]


@dataclass(slots=True)
class Measured:
    """What was found."""

    target: str
    traces: list[ConnectTrace] = field(default_factory=list)
    comparison: Comparison | None = None
    interrupted: bool = False

    @property
    def ok(self) -> bool:
        """Every connection came about; of the lookup families, that of ALL."""
        if self.comparison is not None:
            return self.comparison.traces["ALL"].ok
        return bool(self.traces) and all(trace.ok for trace in self.traces)

    def document(self, *, repeated: bool) -> Any:
        """The JSON document."""
        if self.comparison is not None:
            return self.comparison.as_dict()
        documents = [trace.as_dict() for trace in self.traces]
        return documents if repeated else documents[-1] if documents else None


def measure_series(place: Place, family: DnsLookupFamily, count: int) -> Measured:
    """Connect `count` times; later connections know what earlier ones learnt."""
    found = Measured(str(Destination(place.host, place.port)))
    looks: list[Look] = []

    def say() -> str:
        now = waiting_for(looks[-1]()) if looks else ""
        if count == 1:
            return f"{found.target}: {now}"
        failed = sum(not trace.ok for trace in found.traces)
        return f"{len(found.traces) + 1} of {count}" + (f", {failed} failed" if failed else "") + f": {now}"

    async def run() -> None:
        connector = Connector(linger=0.0)
        try:
            async with Progress(say):
                for _ in range(count):
                    found.traces.append(
                        await connect_once(connector, place, dns_lookup_family=family, watch=looks.append)
                    )
                    looks.clear()
        except asyncio.CancelledError:
            found.traces += [_cut_short(look()) for look in looks[-1:]]
            raise
        finally:
            connector.close()

    _run(run(), found)
    return found


def measure_families(place: Place) -> Measured:
    """Compare the lookup families. Interrupted, it gives what ALL had seen by then."""
    found = Measured(str(Destination(place.host, place.port)))
    looks: dict[DnsLookupFamily, Look] = {}

    def say() -> str:
        open_ones = [family for family in LOOKUP_FAMILIES if family in looks and looks[family]().winner is None]
        return f"{found.target}: comparing {len(LOOKUP_FAMILIES)} lookup families; {_first_wait(looks, open_ones)}"

    async def run() -> None:
        try:
            async with Progress(say):
                seen = await survey(place, lambda family: partial(looks.__setitem__, family))
        except asyncio.CancelledError:
            if "ALL" in looks:
                found.traces.append(_cut_short(looks["ALL"]()))
            raise
        found.comparison = Comparison(
            target=found.target,
            connect_timeout=place.timeout,
            answers=seen.answers,
            probes=seen.probes,
            verdicts=tuple(verdicts(seen.answers, seen.probes, place.timeout)),
            traces=seen.traces,
            recommendation=recommend(seen.answers, seen.probes, place.timeout),
        )

    _run(run(), found)
    return found


def _first_wait(looks: dict[DnsLookupFamily, Look], families: list[DnsLookupFamily]) -> str:
    for family in families:
        text = waiting_for(looks[family]())
        if not text.endswith("the next step"):
            return f"{family} is {text}"
    return "probing each address"


def _run(main: Coroutine[Any, Any, None], found: Measured) -> None:
    try:
        asyncio.run(main)
    except KeyboardInterrupt:
        found.interrupted = True


def _cut_short(trace: ConnectTrace) -> ConnectTrace:
    """The trace of a connection that someone did not wait for."""
    if trace.winner is None:
        trace.error = "interrupted"
        trace.summary = f"Interrupted after {trace.elapsed_ms:.0f} ms, {waiting_for(trace)}."
    for attempt in trace.attempts:
        if attempt.started is not None and attempt.ended is None:
            attempt.outcome, attempt.ended = "cancelled", trace.ended
    return trace
