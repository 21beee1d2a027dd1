"""How long tests wait for what must happen: longer than any machine needs. A wait that succeeds costs nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

PATIENCE: Final = 120.0
"""Seconds. Less than pytest's own `timeout`, so that the test says what it missed."""
_LOOK: Final = 0.01


def until(what: Callable[[], object], why: Callable[[], object] = lambda: "it never came about") -> None:
    """Wait for what is bound to happen. Raises AssertionError."""
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline, why()
        time.sleep(_LOOK)


async def soon(what: Callable[[], object], why: Callable[[], object] = lambda: "it never came about") -> None:
    """The same for what happens on this loop."""
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline, why()
        await asyncio.sleep(_LOOK)
