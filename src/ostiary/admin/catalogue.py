"""The catalogue of pages: which there are, and which one a path means.

A new page is a file in `admin/pages/` with a tuple `PAGES`, and its name here.
"""

from __future__ import annotations

from typing import Final

from ostiary._version import __version__
from ostiary.admin.page import HTML, Page, Part, Reply, Request
from ostiary.admin.pages import (
    actions,
    certs,
    clusters,
    config_dump,
    flights,
    listeners,
    logging,
    ready,
    runtime,
    server_info,
    stats,
)
from ostiary.admin.state import state_of
from ostiary.app.lifecycle import Doorkeeper

LISTED: Final = (
    *actions.PAGES,
    *certs.PAGES,
    *clusters.PAGES,
    *config_dump.PAGES,
    *flights.PAGES,
    *listeners.PAGES,
    *logging.PAGES,
    *ready.PAGES,
    *runtime.PAGES,
    *server_info.PAGES,
    *stats.PAGES,
)


def help_text() -> str:
    """Envoy's `/help`, sorted by path."""
    lines = ["admin commands are:\n"]
    for page in sorted(PAGES, key=lambda page: page.path):
        if page.hidden:
            continue
        lines.append(f"  {page.path}{' (POST)' if page.mutates else ''}: {page.help}\n")
        lines += [f"      {each.name}: {each.text}\n" for each in page.parameters]
    return "".join(lines)


def _help(_parts: object, _request: Request) -> Reply:
    return Reply(help_text())


def _state(worker: Doorkeeper, _request: Request) -> Part:
    return state_of(worker)


def _home(parts: list[Part], _request: Request) -> Reply:
    from ostiary.pages import render

    state, why = ready.worst(parts)
    shown = [
        page for page in sorted(PAGES, key=lambda page: page.path) if not page.hidden and not page.path.endswith("/")
    ]
    body = render("admin", {"state": state, "why": why, "version": __version__, "pages": shown})
    return Reply(body, content_type=HTML)


PAGES: Final = (
    *LISTED,
    Page(path="/", help="Admin home page", collect=_state, render=_home),
    Page(path="/help", help="print out list of admin commands", render=_help, alike=True),
)
_BY_PATH: Final = {page.path: page for page in PAGES}
_FOLDERS: Final = tuple(page for page in PAGES if page.path.endswith("/") and page.path != "/")


def find(path: str) -> Page | None:
    """The page of that path, or None."""
    return _BY_PATH.get(path) or next((page for page in _FOLDERS if path.startswith(page.path)), None)
