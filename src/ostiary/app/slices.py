"""Long work on the loop, in slices: requests go on between them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator
from typing import TypeVar

from ostiary.model import limits

T = TypeVar("T")


async def in_slices(work: Generator[None, None, T]) -> T:
    """What `work` returns. It yields wherever others may have a turn; they get one after each SLICE."""
    until = time.monotonic() + limits.SLICE
    while True:
        try:
            next(work)
        except StopIteration as end:
            found: T = end.value
            return found
        if time.monotonic() > until:
            await asyncio.sleep(0)
            until = time.monotonic() + limits.SLICE


def whole(work: Generator[None, None, T]) -> T:
    """The same at once."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            found: T = end.value
            return found
