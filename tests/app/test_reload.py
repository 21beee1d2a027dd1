"""A new configuration under load: not one request fails, whatever else happens."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.reload_world import envoy, native, running, two_applications
from load import Load
from ports import free_port
from wire import scenario

DIALECTS = {"native": native, "envoy": envoy}


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("dialect", list(DIALECTS))
@scenario
async def test_reloads_under_load_lose_no_request(tmp_path: Path, dialect: str, workers: int) -> None:
    port, write = free_port(), DIALECTS[dialect]
    async with (
        two_applications() as (one, two),
        running(tmp_path, write(port, one), port, "--workers", str(workers)) as run,
    ):
        load = Load(f"127.0.0.1:{port}")
        async with load.running():
            for app in (two, one, two, two, one, two):
                await run.reload(write(port, app))
                await load.progress()
            load.seen.clear()
            await load.progress()
            assert load.seen["one"] <= 2, "but for streams that began before, everyone is served by the new one"
        assert load.failures == []
        assert load.closed == 0, "no connection was told to close"
        assert run.said("cluster app changed") + run.said("cluster upstream changed") >= 5, run.log.read_text()
