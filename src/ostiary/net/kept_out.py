"""After a failed connection: would a family that was not asked for have worked?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from ostiary.core.addresses import Destination, RecordType, first_lookups
from ostiary.core.trace import ConnectTrace
from ostiary.model import limits
from ostiary.net import routes
from ostiary.net.resolver import Lookup


async def kept_out(
    ask: Callable[[RecordType, str], Lookup],
    port: int,
    local: Sequence[routes.LocalAddress],
    trace: ConnectTrace,
) -> tuple[str, ...]:
    """Addresses with a route that the lookup family kept out: after a failure, what would have worked.

    Whoever resolved the name, here or for a whole cluster, asked for what the attempts show.
    """
    asked = {query.type for query in trace.dns} - {"HTTPS"}
    asked = asked or {"AAAA" if attempt.family == "v6" else "A" for attempt in trace.attempts}
    family = trace.dns_lookup_family
    if family == "ALL" or not asked or asked == {"A", "AAAA"}:
        return ()
    lookup = ask("A" if first_lookups(family)[0] == "AAAA" else "AAAA", "")
    if lookup.answer is None:
        arrived: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def on_answer(answer: object) -> None:
            if not arrived.done():
                arrived.set_result(answer)

        lookup.wait(on_answer)
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(limits.OTHER_FAMILY_LOOKUP):
                    await arrived
        finally:
            lookup.release(on_answer)
    if lookup.answer is None:
        return ()
    return tuple(a for a in lookup.answer.addresses if routes.check(Destination(a, port), local).routable)
