"""What tests of probes share: configurations of a provider on loopback, and examinations of them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any, TypeVar

import yaml

from ostiary.doctor.examine import Question, examine
from ostiary.doctor.report import Report
from ostiary.testing.provider import DEMO_CLIENT
from waiting import PATIENCE

S = TypeVar("S", bound=AbstractAsyncContextManager[Any])
CALLBACK = "http://127.0.0.1:8080"


def native(issuer: str, **provider: Any) -> dict[str, Any]:
    """A native configuration as a document."""
    known = {"client_id": DEMO_CLIENT.client_id, "client_secret": DEMO_CLIENT.client_secret}
    return {
        "upstream": "http://127.0.0.1:9",
        "provider": {"issuer": issuer, **known, **provider},
        "secret": "0123456789abcdef0123456789abcdef",
        "external_url": CALLBACK,
    }


async def examined(target: str = "", config: dict[str, Any] | None = None) -> Report:
    """The report on a target, a configuration, or both."""
    text = yaml.safe_dump(config).encode() if config is not None else b""
    files = (("ostiary.yaml", text),) if config is not None else ()
    return await examine(Question(target=target, configurations=files))


def rules(report: Report) -> list[str]:
    """What was found, most telling first."""
    return [finding.rule for finding in report.findings]


@contextmanager
def in_thread(server: S) -> Iterator[S]:
    """A server on a loop of its own, for commands that are other processes, or run a loop themselves."""
    loop = asyncio.new_event_loop()
    ready = threading.Event()
    stop = asyncio.Event()

    async def serve() -> None:
        async with server:
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    try:
        assert ready.wait(PATIENCE)
        yield server
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(PATIENCE)
        loop.close()
