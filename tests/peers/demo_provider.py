"""The demo provider behind a socket, in a thread of the test, so that its faults can be switched while it serves."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ostiary.testing.provider import DEMO_CLIENT, DemoProvider
from ostiary.testing.provider_server import Reply
from peers.in_thread import serving
from waiting import PATIENCE


@contextmanager
def demo_provider(port: int = 0, again: DemoProvider | None = None, **settings: Any) -> Iterator[DemoProvider]:
    """A running provider; settings are DemoProvider's. `again` starts a stopped one with the same keys."""
    provider = again or DemoProvider(port=port, **settings)
    with serving(provider):
        yield provider


@contextmanager
def holding(provider: DemoProvider) -> Iterator[threading.Event]:
    """Inside the block the provider answers nobody; the event is set when somebody waits."""
    asked, go_on, usual = threading.Event(), threading.Event(), provider.handle

    def held(*request: Any) -> Reply:
        asked.set()
        go_on.wait(PATIENCE)
        return usual(*request)

    provider.handle = held  # type: ignore[method-assign]
    try:
        yield asked
    finally:
        provider.handle = usual  # type: ignore[method-assign]
        go_on.set()


def settings_for(issuer: str) -> dict[str, Any]:
    """The doorkeeper's `provider` section."""
    return {
        "issuer": issuer,
        "client_id": DEMO_CLIENT.client_id,
        "client_secret": DEMO_CLIENT.client_secret,
        "timeout": "2s",
    }
