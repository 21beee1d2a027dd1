"""What changes something: health checks, listeners, counters, logs, and the end. It happens in every worker."""

from __future__ import annotations

from typing import Final

from ostiary.admin.page import Page, Parameter, Part, Reply, Request
from ostiary.app.lifecycle import Doorkeeper

_OK: Final = Reply("OK\n")


def _done(_parts: list[Part], _request: Request) -> Reply:
    return _OK


def _fail(worker: Doorkeeper, _request: Request) -> Part:
    worker.fail_health_checks(True)


def _pass(worker: Doorkeeper, _request: Request) -> Part:
    worker.fail_health_checks(False)


def _reset(worker: Doorkeeper, _request: Request) -> Part:
    if worker.runtime is not None:
        worker.runtime.stats.reset()


def _reopen(worker: Doorkeeper, _request: Request) -> Part:
    if worker.runtime is not None:
        worker.runtime.reopen_logs()


def _drain(worker: Doorkeeper, request: Request) -> Part:
    parameters = request.parameters()
    if "skip_exit" in parameters and "graceful" not in parameters:
        return "skip_exit requires graceful\n"
    if "skip_exit" in parameters:
        worker.start_draining()
    else:
        worker.drain_listeners(graceful="graceful" in parameters)
    return None


def _drained(parts: list[Part], _request: Request) -> Reply:
    return Reply(parts[0], 400) if parts[0] is not None else _OK


def _quit(worker: Doorkeeper, _request: Request) -> Part:
    worker.shared.quit()


def _quitting(_parts: list[Part], _request: Request) -> Reply:
    return Reply("OK\n", ends_process=True)


PAGES: Final = (
    Page(
        path="/drain_listeners",
        help="drain listeners",
        collect=_drain,
        render=_drained,
        mutates=True,
        parameters=(
            Parameter(
                "graceful",
                "When draining listeners, enter a graceful drain period prior to closing listeners. Its duration is "
                "drain_timeout",
                flag=True,
            ),
            Parameter(
                "skip_exit",
                "When draining listeners, do not exit after the drain period. This must be used with graceful",
                flag=True,
            ),
            Parameter("inboundonly", "Drains all inbound listeners. Here every listener is one", flag=True),
        ),
    ),
    Page(
        path="/healthcheck/fail",
        help="cause the server to fail health checks",
        collect=_fail,
        render=_done,
        mutates=True,
    ),
    Page(
        path="/healthcheck/ok",
        help="cause the server to pass health checks",
        collect=_pass,
        render=_done,
        mutates=True,
    ),
    Page(path="/quitquitquit", help="exit the server", collect=_quit, render=_quitting, mutates=True),
    Page(path="/reopen_logs", help="reopen access logs", collect=_reopen, render=_done, mutates=True),
    Page(path="/reset_counters", help="reset all counters to zero", collect=_reset, render=_done, mutates=True),
)
