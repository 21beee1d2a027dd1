"""A line on a terminal's stderr that says what is being waited for; gone when there is something to read."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Final, TextIO

from ostiary.cli.terminal import is_terminal, plain, speaks_unicode
from ostiary.core.trace import ConnectTrace
from ostiary.model import limits

_CLEAR: Final = "\r\x1b[2K"
_MAX_NAMED: Final = 3
_USUAL_WIDTH: Final = 80


class Progress:
    """`async with Progress(text)`: `text` is asked again and again what to say. Silent where nobody watches."""

    def __init__(self, text: Callable[[], str], stream: TextIO | None = None) -> None:
        self._text = text
        self._stream = sys.stderr if stream is None else stream
        self._task: asyncio.Task[None] | None = None
        self._started = time.monotonic()

    async def __aenter__(self) -> Progress:
        if is_terminal(self._stream):
            self._task = asyncio.create_task(self._show())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._task is None:
            return
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def _show(self) -> None:
        await asyncio.sleep(limits.PROGRESS_AFTER)
        width = _width(self._stream)
        try:
            while True:
                line = f"{time.monotonic() - self._started:5.1f} s  {self._text()}"
                line = "".join(c if c.isprintable() else "?" for c in line)[: width - 1]
                self._stream.write(_CLEAR + (line if speaks_unicode(self._stream) else plain(line)))
                self._stream.flush()
                await asyncio.sleep(limits.PROGRESS_INTERVAL)
        finally:
            self._stream.write(_CLEAR)
            self._stream.flush()


def _width(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns or _USUAL_WIDTH
    except (OSError, ValueError):
        return _USUAL_WIDTH


def waiting_for(trace: ConnectTrace) -> str:
    """What a connection that is under way waits for."""
    handshakes = [a.address for a in trace.attempts if _runs(a.started, a.ended) and a.stage == "tls"]
    dials = [a.address for a in trace.attempts if _runs(a.started, a.ended) and a.stage != "tls"]
    queries = [f"{query.type} from {query.server}" for query in trace.dns if query.outcome == "pending"]
    parts = []
    if handshakes:
        parts.append(f"TLS with {_named(handshakes)}")
    if dials:
        parts.append(f"TCP to {_named(dials)}")
    if queries:
        parts.append(f"DNS: {_named(queries)}")
    return f"waiting for {'; '.join(parts) or 'the next step'}"


def _runs(started: float | None, ended: float | None) -> bool:
    return started is not None and ended is None


def _named(items: list[str]) -> str:
    more = len(items) - _MAX_NAMED
    return ", ".join(items[:_MAX_NAMED]) + (f" and {more} more" if more > 0 else "")
