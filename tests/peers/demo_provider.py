"""The demo provider behind a socket, in a thread of the test, so that its faults can be switched while it serves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ostiary.testing.provider import DEMO_CLIENT, DemoProvider
from peers.in_thread import serving


@contextmanager
def demo_provider(port: int = 0, again: DemoProvider | None = None, **settings: Any) -> Iterator[DemoProvider]:
    """A running provider; settings are DemoProvider's. `again` starts a stopped one with the same keys."""
    provider = again or DemoProvider(port=port, **settings)
    with serving(provider):
        yield provider


def settings_for(issuer: str) -> dict[str, Any]:
    """The doorkeeper's `provider` section."""
    return {
        "issuer": issuer,
        "client_id": DEMO_CLIENT.client_id,
        "client_secret": DEMO_CLIENT.client_secret,
        "timeout": "2s",
    }
