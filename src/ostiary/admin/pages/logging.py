"""`/logging`: levels, read and changed while it runs. Every worker carries out what was asked."""

from __future__ import annotations

from typing import Final

from ostiary.admin.page import Page, Parameter, Part, Reply, Request
from ostiary.app import logs
from ostiary.app.lifecycle import Doorkeeper
from ostiary.core.log_levels import answer
from ostiary.net.log import log


def _collect(_worker: Doorkeeper, request: Request) -> Part:
    parameters = [(name, value) for name, values in request.parameters().items() for value in values]
    answered = answer(parameters, logs.levels())
    for component, text in answered.notes:
        log(component).info("%s", text)
    logs.set_levels(answered.changes)
    return [answered.status, answered.text]


def _render(parts: list[Part], _request: Request) -> Reply:
    status, text = parts[0]
    return Reply(text, status)


PAGES: Final = (
    Page(
        path="/logging",
        help="query/change logging levels",
        collect=_collect,
        render=_render,
        mutates=True,
        parameters=(
            Parameter("paths", "Change multiple logging levels by setting to <logger_name1>:<desired_level1>,"
                               "<logger_name2>:<desired_level2>."),
            Parameter("level", "desired logging level, this will change all loggers's level",
                      ("", "trace", "debug", "info", "warning", "error", "critical", "off")),
        ),
    ),
)  # fmt: skip
