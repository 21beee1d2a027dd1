"""A connection over a Unix socket: one attempt, with the same record as those of a race."""

from __future__ import annotations

import asyncio
import ssl
import time

from ostiary.core.trace import Attempt, ConnectTrace
from ostiary.net.attempt import HeldProtocol, describe
from ostiary.net.race import CheckPeer


async def open_pipe(
    path: str, context: ssl.SSLContext | None, name: str, check_peer: CheckPeer | None, trace: ConnectTrace
) -> HeldProtocol | None:
    """The connection, to be handed over; None if there is none. The trace is complete in either case."""
    loop = asyncio.get_running_loop()
    record = Attempt(address=path, port=0, family="unix", started=trace.started)
    trace.attempts.append(record)
    held = HeldProtocol()
    try:
        async with asyncio.timeout(trace.timeout):
            transport, _ = await loop.create_unix_connection(
                lambda: held, path, ssl=context, server_hostname=name if context is not None else None
            )
        if check_peer is not None:
            check_peer(transport.get_extra_info("ssl_object"))
    except (OSError, ValueError) as error:
        if held.transport is not None:
            held.transport.abort()
        record.ended = trace.ended = time.monotonic()
        if isinstance(error, TimeoutError) and error.errno is None:
            record.outcome, record.message = "timeout", "no answer"
        else:
            record.outcome = "failed"
            record.errno, record.message = describe(error)
        return None
    record.ended = trace.ended = time.monotonic()
    record.outcome = "won"
    trace.winner = record
    return held
