"""`/server_info`, and what else is asked about the process: `/memory`, `/init_dump`, `/hot_restart_version`."""

from __future__ import annotations

import time
from typing import Any, Final

from ostiary._version import __version__
from ostiary.admin.memory import memory
from ostiary.admin.node import user_agent
from ostiary.admin.page import Page, Parameter, Part, Reply, Request, json_reply
from ostiary.admin.pages.ready import worst
from ostiary.admin.state import state_of
from ostiary.app.lifecycle import Doorkeeper


def _info(worker: Doorkeeper, _request: Request) -> Part:
    return {
        "state": state_of(worker),
        "uptime": int(time.time() - worker.started_at),
        "options": _options(worker),
    }


def _options(worker: Doorkeeper) -> dict[str, Any]:
    """admin.v3.CommandLineOptions: what has a meaning here."""
    process = worker.process
    components = ",".join(f"{name}:{level}" for name, level in process.component_log_level.items())
    return {
        "base_id": "0",
        "concurrency": worker.peers.count + 1,
        "log_level": process.log_level,
        "component_log_level": components,
        "log_format": process.log_format,
        "drain_time": f"{process.drain_timeout:g}s",
        "mode": "Serve",
        "disable_hot_restart": True,
        "restart_epoch": 0,
    }


def _info_of(parts: list[Part], _request: Request) -> Reply:
    """Envoy's version has five parts: revision, version, status, build, TLS library; tools look at the second."""
    state, _ = worst([part["state"] for part in parts])
    uptime = f"{max(part['uptime'] for part in parts)}s"
    return json_reply(
        {
            "version": f"ostiary/{__version__}/Clean/RELEASE/OpenSSL",
            "state": state,
            "uptime_current_epoch": uptime,
            "uptime_all_epochs": uptime,
            "hot_restart_version": "disabled",
            "command_line_options": parts[0]["options"],
            "node": user_agent(),
        }
    )


def _memory(_worker: Doorkeeper, _request: Request) -> Part:
    return memory()


def _memory_of(parts: list[Part], _request: Request) -> Reply:
    """Envoy's fields. Python keeps no page heap and no thread caches: those are zero."""
    total = {name: sum(part.get(name, 0) for part in parts) for name in ("allocated", "heap", "physical")}
    return json_reply(
        {
            "allocated": str(total["allocated"]),
            "heap_size": str(total["heap"]),
            "pageheap_unmapped": "0",
            "pageheap_free": "0",
            "total_thread_cache": "0",
            "total_physical_bytes": str(total["physical"]),
        }
    )


def _unready(worker: Doorkeeper, _request: Request) -> Part:
    state, why = state_of(worker)
    return [why] if state.endswith("INITIALIZING") else []


def _unready_of(parts: list[Part], _request: Request) -> Reply:
    targets = list(dict.fromkeys(target for part in parts for target in part))
    dumps = [{"name": "init manager Server", "target_names": targets}] if targets else []
    return json_reply({"unready_targets_dumps": dumps} if dumps else {})


def _hot_restart(_parts: list[Part], _request: Request) -> Reply:
    return Reply("disabled")


PAGES: Final = (
    Page(path="/server_info", help="print server version/status information", collect=_info, render=_info_of),
    Page(path="/memory", help="print current allocation/heap usage", collect=_memory, render=_memory_of),
    Page(
        path="/init_dump",
        help="dump current init manager information: what it waits for",
        collect=_unready,
        render=_unready_of,
        parameters=(Parameter("mask", "Taken as Envoy's, and without effect: there is one init manager"),),
    ),
    Page(
        path="/hot_restart_version",
        help="print the hot restart compatibility version",
        render=_hot_restart,
        alike=True,
    ),
)
