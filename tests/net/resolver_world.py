"""A resolver's answers, and the system's files, for tests."""

from __future__ import annotations

import asyncio
from pathlib import Path

from ostiary.net.dns_exchange import Answer
from ostiary.net.resolv_conf import SystemFiles
from ostiary.net.resolver import Lookup


async def answer_of(lookup: Lookup, *, fresh: bool = False) -> Answer:
    """What it comes to."""
    if lookup.answer is None or (fresh and lookup.answer.stale):
        arrived: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        lookup.wait(arrived.set_result)
        return await arrived
    return lookup.answer


def files(tmp_path: Path, resolv_conf: str = "", hosts: str = "") -> SystemFiles:
    """resolv.conf and hosts with that content."""
    tmp_path.mkdir(exist_ok=True)
    (tmp_path / "resolv.conf").write_text(resolv_conf)
    (tmp_path / "hosts").write_text(hosts)
    return SystemFiles(tmp_path / "resolv.conf", tmp_path / "hosts")
