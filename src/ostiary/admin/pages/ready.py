"""`/ready`: whether requests may come, for probes; what it waits for, for people.

The first line is Envoy's, and so is the status: tools look at those. What isn't LIVE says why in a second line.
"""

from __future__ import annotations

from typing import Final

from ostiary.admin.page import Page, Part, Reply, Request
from ostiary.admin.state import LEAVES, STATES, state_of
from ostiary.app.lifecycle import Doorkeeper
from ostiary.model import limits


def _collect(worker: Doorkeeper, _request: Request) -> Part:
    return state_of(worker)


def worst(parts: list[Part]) -> tuple[str, str]:
    """(state, why) of the worker that is furthest from serving.

    One that leaves counts if the others are known to leave, too: a probe must not take a process out of use because a
    worker was too busy to answer another.
    """
    staying = [part for part in parts if part[1] != LEAVES]
    if not staying and len(parts) == 1:
        return "LIVE", ""
    state, why = max(staying or parts, key=lambda part: STATES.index(part[0]))
    return state, why


def _render(parts: list[Part], _request: Request) -> Reply:
    state, why = worst(parts)
    return Reply("LIVE\n") if state == "LIVE" else Reply(f"{state}\n{why}\n", 503)


def _live(_parts: list[Part], _request: Request) -> Reply:
    return Reply("LIVE\n")


PAGES: Final = (
    Page(
        path="/ready",
        help="print server state, return 200 if LIVE, otherwise return 503",
        collect=_collect,
        render=_render,
        patience=limits.PROBE_ANSWER_TIMEOUT,
    ),
    Page(
        path="/.ostiary/ready",
        help="the same",
        collect=_collect,
        render=_render,
        patience=limits.PROBE_ANSWER_TIMEOUT,
        hidden=True,
    ),
    Page(path="/.ostiary/live", help="200 while the process runs", render=_live, alike=True, hidden=True),
)
