"""`/ready`: whether requests may come."""

from __future__ import annotations

from typing import Final

from ostiary.admin.page import Page, Part, Reply, Request
from ostiary.app.lifecycle import Doorkeeper


def _collect(worker: Doorkeeper, _request: Request) -> Part:
    return worker.runtime is not None and worker.runtime.is_ready


def _render(parts: list[Part], _request: Request) -> Reply:
    return Reply("LIVE\n") if all(parts) else Reply("INITIALIZING\n", 503)


def _live(_parts: list[Part], _request: Request) -> Reply:
    return Reply("LIVE\n")


PAGES: Final = (
    Page(
        path="/ready",
        help="print server state, return 200 if LIVE, otherwise return 503",
        collect=_collect,
        render=_render,
    ),
    Page(path="/.ostiary/ready", help="the same", collect=_collect, render=_render, hidden=True),
    Page(path="/.ostiary/live", help="200 while the process runs", render=_live, hidden=True),
)
